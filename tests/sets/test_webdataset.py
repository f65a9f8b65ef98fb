"""WebDataset shards: tarfile reads them, keys survive, headers are fixed, damage is found."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.sets import webdataset
from faceprep.sets.webdataset import END, TarSample, key_of, path_of, sample_bytes

FIRST_DOT = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$", re.DOTALL)
"""The rule by which webdataset splits a name into key and extension."""
PART = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=60)
PATH = st.lists(PART, min_size=1, max_size=4).map("/".join)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tar") / "a.tar"


@given(name=PATH)
@example("a.b/c.d%2E.e")
def test_a_key_ends_at_no_dot_and_leads_back(name: str) -> None:
    key = key_of(name)
    match = FIRST_DOT.match(f"{key}.jpg")
    assert match
    assert match.groups() == (key, "jpg")
    assert path_of(key) == name


@given(names=st.lists(PATH, min_size=1, max_size=4, unique=True), image=st.binary(max_size=1100))
@example(["x" * 99, "x" * 96, "x" * 97, "ä"], b"image")
def test_tarfile_and_we_read_them_back(path: Path, names: list[str], image: bytes) -> None:
    keys = [key_of(name) for name in names]
    data = b"".join(sample_bytes(key, image, ".jpg", label) for label, key in enumerate(keys)) + END
    path.write_bytes(data)
    expected = [
        TarSample(key, {"jpg": image, "cls": b"%d" % label}) for label, key in enumerate(keys)
    ]
    assert list(webdataset.read_samples(path)) == expected
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        entries = archive.getmembers()
        assert [entry.name for entry in entries] == [
            f"{key}.{ext}" for key in keys for ext in ("jpg", "cls")
        ]
        assert [archive.extractfile(entry).read() for entry in entries[::2]] == [image] * len(keys)  # type: ignore[union-attr]
        for entry in entries:
            assert (entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname) == (
                0,
                0,
                0,
                "",
                "",
            )
            assert entry.mode == 0o644


def test_shards_that_others_wrote(path: Path) -> None:
    """GNU long names, folders in between, several files a sample."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        folder = tarfile.TarInfo("d")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name in ("d/a.jpg", "d/a.seg.png", "y" * 150 + ".cls", "d/a.cls"):
            entry = tarfile.TarInfo(name)
            entry.size = 2
            archive.addfile(entry, io.BytesIO(b"ab"))
    assert list(webdataset.read_samples(path)) == [
        TarSample("d/a", {"jpg": b"ab", "seg.png": b"ab"}),
        TarSample("y" * 150, {"cls": b"ab"}),
        TarSample("d/a", {"cls": b"ab"}),
    ]


WHOLE = sample_bytes("a/1", b"one", ".jpg", 0) + sample_bytes("a/2", b"two", ".jpg", 1) + END


@given(cut=st.integers(0, len(WHOLE) - len(END)))
def test_a_cut_off_shard_is_named(path: Path, cut: int) -> None:
    path.write_bytes(WHOLE[:cut])
    with pytest.raises(SourceError, match=r"a\.tar: the (file is cut off|end mark is missing) at"):
        list(webdataset.read_samples(path))


@given(at=st.integers(0, 511), byte=st.integers(1, 255))
def test_a_damaged_header_is_no_end(path: Path, at: int, byte: int) -> None:
    data = bytearray(WHOLE)
    data[2 * 1024 + at] ^= byte
    path.write_bytes(data)
    try:
        samples = list(webdataset.read_samples(path))
    except SourceError as error:
        assert "offset 2048" in str(error)
    else:
        assert at in range(148, 156), "only blanks around the checksum can change"
        assert len(samples) == 2


@given(data=st.binary(max_size=3000))
def test_any_bytes_are_read_or_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        list(webdataset.read_samples(path))
    except SourceError as error:
        assert "a.tar" in str(error)
