"""A zip of a folder of identities is the set that the folder is."""

from __future__ import annotations

import io
import logging
import stat
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.types import Outcome
from faceprep.sets.containers import index_set, kind_of, open_set
from faceprep.sets.image_set import Sample

PART = st.text(
    st.characters(codec="utf-8", exclude_characters="\0/\\"), min_size=1, max_size=20
).filter(lambda part: part[0] != ".")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zip") / "a.zip"


def pack(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def read(path: Path) -> list[Sample | Outcome]:
    with tempfile.TemporaryDirectory() as scratch, index_set(path, Path(scratch)) as found:
        results = list(found.read(range(len(found))))
        assert [result.key for result in results] == found.keys(0, len(found))
    return results


def rows(found: list[Sample | Outcome]) -> list[tuple[str, str, bytes]]:
    samples = [sample for sample in found if isinstance(sample, Sample)]
    assert len(samples) == len(found)
    return [(sample.key, sample.identity, bytes(sample.data)) for sample in samples]


@given(
    names=st.lists(st.tuples(PART, PART), min_size=1, max_size=20, unique=True),
    data=st.binary(min_size=1, max_size=2000),
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
)
def test_what_zipfile_wrote_is_read(
    path: Path, names: list[tuple[str, str]], data: bytes, method: int
) -> None:
    files = {f"{folder}/{name}.jpg": data for folder, name in names}
    pack(path, files, method)
    assert sorted(rows(read(path))) == sorted((key, key.partition("/")[0], data) for key in files)


@pytest.mark.parametrize("root", ["", "set/"])
def test_it_is_the_set_of_its_folder(
    tmp_path: Path, root: str, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["10/2.jpg", "10/10.jpg", "9/1.PNG", "9/b/1.jpg", "9/b/x.txt", "9/.hidden.jpg"]
    files = {name: name.encode() for name in names}
    for name, data in files.items():
        target = tmp_path / "folder" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    packed = {root + name: data for name, data in files.items()}
    if root:
        packed = {root: b""} | packed
    pack(tmp_path / "a.zip", packed)
    with caplog.at_level(logging.WARNING, "faceprep"):
        found = read(tmp_path / "a.zip")
    assert found == read(tmp_path / "folder")
    assert f"1 skipped, not images: {root}9/b/x.txt" in caplog.text
    assert f"1 skipped, hidden files: {root}9/.hidden.jpg" in caplog.text


def test_one_identity_keeps_its_name_and_photos_have_none(path: Path) -> None:
    pack(path, {"ann/1.jpg": b"1"})
    assert rows(read(path)) == [("ann/1.jpg", "ann", b"1")]
    pack(path, {"1.jpg": b"1"})
    assert rows(read(path)) == [("1.jpg", "", b"1")]


@pytest.mark.parametrize("before", [b"", b"a program" * 100])
def test_zip64_streams_and_bytes_in_front(path: Path, before: bytes) -> None:
    class Unseekable(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise OSError

    buffer = Unseekable()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a/1.jpg", "w", force_zip64=True) as file:
            file.write(b"x" * 5000)
        archive.writestr("a/2.jpg", b"2")
    path.write_bytes(before + buffer.getvalue())
    assert rows(read(path)) == [("a/1.jpg", "a", b"x" * 5000), ("a/2.jpg", "a", b"2")]


def test_more_members_than_16_bits_count(path: Path) -> None:
    n = 70_000
    pack(path, {f"a/{i}.jpg": b"%d" % i for i in range(n)}, zipfile.ZIP_STORED)
    with tempfile.TemporaryDirectory() as scratch, index_set(path, Path(scratch)) as found:
        assert len(found) == n
        (last,) = found.read([n - 1])
        assert isinstance(last, Sample)
        assert (last.key, last.data) == (f"a/{n - 1}.jpg", b"%d" % (n - 1))
        with open_set(Path(scratch)) as opened:
            assert list(opened.read([7])) == list(found.read([7]))


@pytest.mark.parametrize("name", ["../a.jpg", "/a/b.jpg", "a/../../b.jpg"])
def test_a_name_that_leads_out_is_refused(path: Path, name: str) -> None:
    pack(path, {"a/1.jpg": b"1", name: b"2"})
    with pytest.raises(SourceError, match="leads out of the set"):
        read(path)


def change(path: Path, at: int, data: bytes) -> None:
    """Write `data` at this offset of the first record of the directory."""
    whole = bytearray(path.read_bytes())
    start = whole.find(b"PK\1\2") + at
    whole[start : start + len(data)] = data
    path.write_bytes(whole)


@pytest.mark.parametrize(
    ("at", "data", "problem"),
    [
        (8, b"\1", "encrypted"),
        (10, b"\x0e", "compressed by method 14"),
        (20, b"\xff\xff\xff\x7f", "more than the file has"),
        (24, b"\xff\xff\xff\x7f", "size is implausible"),
    ],
)
def test_members_that_are_refused(path: Path, at: int, data: bytes, problem: str) -> None:
    pack(path, {"a/1.jpg": b"1" * 500})
    change(path, at, data)
    with pytest.raises(SourceError, match=f"a/1.jpg'.*{problem}") as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("at", [30, 32])
def test_a_length_that_hides_the_next_members_is_refused(path: Path, at: int) -> None:
    """The lengths of the extra fields and of the comment."""
    pack(path, {f"a/{i}.jpg": b"1" for i in range(3)})
    change(path, at, b"\xff\xff")
    with pytest.raises(SourceError, match=r"the directory of the zip file is damaged at offset"):
        read(path)


def test_a_damaged_member_costs_one_image(path: Path) -> None:
    pack(path, {"a/1.jpg": b"1" * 500, "a/2.jpg": b"2"}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    lost, sound = read(path)
    assert isinstance(lost, Outcome)
    assert "checksum" in lost.reason
    assert isinstance(sound, Sample)


@pytest.mark.parametrize("system", [0, 3])
def test_backslashes_are_separators_where_no_name_has_a_slash(
    system: int, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def pack_names(*names: str) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                member = zipfile.ZipInfo(name)
                member.create_system = system
                archive.writestr(member, name.encode())

    pack_names("a\\1.jpg", "b\\1.jpg", "b\\x.txt", "b\\.2.jpg")
    assert [row[:2] for row in rows(read(path))] == [("a/1.jpg", "a"), ("b/1.jpg", "b")]
    assert ("the names have backslashes and no slashes" in caplog.text) == (system == 3)
    assert caplog.text.count("1 skipped, hidden files") == 1
    if system == 3:  # a name of Linux may have a backslash
        pack_names("a/1\\2.jpg")
        assert [row[0] for row in rows(read(path))] == ["a/1\\2.jpg"]
        pack_names("a\\..\\..\\1.jpg")
        with pytest.raises(SourceError, match="leads out of the set"):
            read(path)


def test_a_link_is_a_named_failure(path: Path) -> None:
    link = zipfile.ZipInfo("b/1.jpg")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/1.jpg", b"1")
        archive.writestr(link, "../a/1.jpg")
    sample, failed = read(path)
    assert rows([sample]) == [("a/1.jpg", "a", b"1")]
    assert isinstance(failed, Outcome) and (failed.key, failed.status) == ("b/1.jpg", "unreadable")
    assert "expected an image, found a link" in failed.reason


def test_two_members_of_one_name(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a/1.jpg", b"old")
        archive.writestr("a/1.jpg", b"new")
    with caplog.at_level(logging.WARNING, "faceprep"):
        assert rows(read(path)) == [("a/1.jpg", "a", b"new")]
    assert "1 skipped, replaced by a later member of the same name" in caplog.text


@given(data=st.binary(max_size=400), at=st.integers(0, 400))
def test_any_bytes_are_read_or_refused(path: Path, data: bytes, at: int) -> None:
    pack(path, {"a/1.jpg": b"1" * 50, "a/2.jpg": b"2"})
    whole = path.read_bytes()
    for damaged in (data, whole[:at], whole[:at] + data[:8] + whole[at + len(data[:8]) :]):
        path.write_bytes(damaged)
        try:
            read(path)
        except SourceError as error:
            assert "a.zip" in str(error)


def test_the_kind(path: Path) -> None:
    pack(path, {"a/1.jpg": b"1"})
    assert kind_of(path) == "zip"
