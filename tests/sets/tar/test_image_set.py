"""WebDataset shards as a set: every image is there or named, whoever wrote the shards."""

from __future__ import annotations

import io
import json
import logging
import os
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.types import Outcome
from faceprep.sets.containers import index_set, kind_of, open_set
from faceprep.sets.image_set import Sample
from faceprep.sets.tar.image_set import find_shards
from faceprep.sets.webdataset import END, key_of, sample_bytes

JPEG = b"\xff\xd8\xff an image"
Files = Sequence[tuple[str, bytes]]


def pack(files: Files, form: int = tarfile.USTAR_FORMAT, mtime: float = 0) -> bytes:
    """Make a tar file with `tarfile`, as webdataset.TarWriter does."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), mtime  # type: ignore[assignment]
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def read(path: Path) -> list[Sample | Outcome]:
    with tempfile.TemporaryDirectory() as scratch, index_set(path, Path(scratch)) as found:
        keys = found.keys(0, len(found))
        results = list(found.read(range(len(found))))
        assert [result.key for result in results] == keys
        assert len(set(keys)) == len(keys)
        assert [found.key(i) for i in range(len(found))] == keys
        backwards = list(found.read(range(len(found))[::-1]))
        assert backwards[::-1] == results
    return results


def read_bytes(data: bytes, folder: Path) -> list[Sample | Outcome]:
    path = folder / "a.tar"
    path.write_bytes(data)
    return read(path)


def rows(found: list[Sample | Outcome]) -> list[tuple[str, str, bytes, tuple[float, ...]]]:
    samples = [sample for sample in found if isinstance(sample, Sample)]
    assert len(samples) == len(found)
    return [(s.key, s.identity, bytes(s.data), s.labels) for s in samples]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tar")


PART = st.text(
    st.characters(codec="utf-8", exclude_characters="\0/", exclude_categories=("Cs",)),
    min_size=1,
    max_size=50,
)
NAME = st.tuples(PART, PART).filter(lambda parts: not {".", ".."} & set(parts)).map("/".join)


@given(names=st.lists(NAME, min_size=1, max_size=40, unique=True), data=st.binary(min_size=1))
@example([f"{i // 3}/{i}" for i in range(40)], b"x")
@example(["a.b/c.d", "a/" + "x" * 200, "ä/ö ü", "a/b%2Ec"], b"x" * 600)
def test_what_we_write_is_read_back(folder: Path, names: list[str], data: bytes) -> None:
    shard = b"".join(sample_bytes(key_of(n), data, ".jpg", i) for i, n in enumerate(names)) + END
    expected = [(n, n.partition("/")[0], data, (float(i),)) for i, n in enumerate(names)]
    assert rows(read_bytes(shard, folder)) == expected


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("n", [3, 3000])
def test_shards_that_tarfile_wrote(folder: Path, form: int, n: int) -> None:
    """Long names, times with fractions (a pax header for each member), more than one block."""
    names = [f"{'y' * (i % 7 * 30)}p{i // 5}/{'x' * (i % 5 * 40)}{i}" for i in range(n)]
    files = [
        (f"{name}.{suffix}", data)
        for i, name in enumerate(names)
        for suffix, data in (("cls", b"%d" % i), ("jpg", b"%d" % i * 200), ("txt", b"caption"))
    ]
    found = read_bytes(pack(files, form, 1.5), folder)
    assert rows(found) == [
        (name, name.partition("/")[0], b"%d" % i * 200, (float(i),)) for i, name in enumerate(names)
    ]
    assert all(isinstance(s, Sample) and s.extra == {"txt": b"caption"} for s in found)


@pytest.mark.parametrize("n", [2, 500])
def test_a_key_without_a_folder_has_its_class_as_identity(folder: Path, n: int) -> None:
    files = [
        (f"{i:06d}.{suffix}", data)
        for i in range(n)
        for suffix, data in (("cls", b"%d" % (i // 2)), ("jpg", JPEG))
    ]
    expected = [(f"{i // 2}/{i:06d}", str(i // 2), JPEG, (float(i // 2),)) for i in range(n)]
    assert rows(read_bytes(pack(files), folder)) == expected


@pytest.mark.parametrize("n", [2, 40])
def test_labels_in_upper_case_are_labels(folder: Path, n: int) -> None:
    """webdataset reads extensions in lower case."""
    files = [
        file for i in range(n) for file in ((f"{i}.JPG", b"image"), (f"{i}.CLS", b"%d" % (i % 2)))
    ]
    files += [("last.jpg", b"image"), ("last.txt", b"t"), ("last.Json", b'{"label": 3}')]
    (folder / "upper.tar").write_bytes(pack(files))
    found = rows(read(folder / "upper.tar"))
    labels = [(float(i % 2),) for i in range(n)]
    assert [labels for _, _, _, labels in found] == [*labels, (3.0,)]
    assert [identity for _, identity, _, _ in found] == [*(str(i % 2) for i in range(n)), "3"]


@pytest.mark.parametrize("n", [2, 40])
def test_the_label_of_a_json_is_the_class_of_a_key_without_a_folder(folder: Path, n: int) -> None:
    files = [
        file
        for i in range(n)
        for file in ((f"{i}.jpg", b"image"), (f"{i}.json", b'{"label": %d}' % (i % 3)))
    ]
    files += [("x.jpg", b"image"), ("x.json", b'{"label": "ann", "age": 3}')]
    files += [("y.jpg", b"image"), ("y.json", b'{"labels": [3, 0.5]}')]
    (folder / "json.tar").write_bytes(pack(files))
    found = [each for each in read(folder / "json.tar") if isinstance(each, Sample)]
    identities = [*(str(i % 3) for i in range(n)), "ann", ""]
    assert [sample.identity for sample in found] == identities
    assert [sample.labels for sample in found[:n]] == [(float(i % 3),) for i in range(n)]


def test_a_class_with_a_point_is_a_whole_number(folder: Path) -> None:
    texts = (b"0.0", b"0", b"12.00", b"-1.", b"0.5", b"00.0", b"v1.0")
    files = [
        file for i, text in enumerate(texts) for file in ((f"{i}.cls", text), (f"{i}.jpg", JPEG))
    ]
    found = rows(read_bytes(pack(files), folder))
    assert [row[1] for row in found] == ["0", "0", "12", "-1", "0.5", "00.0", "v1.0"]


def test_labels(folder: Path) -> None:
    files = [
        ("a/1.jpg", JPEG),
        ("a/1.json", json.dumps({"labels": [3, 0.5]}).encode()),
        ("a/2.jpg", JPEG),
        ("a/2.json", json.dumps({"label": 4, "age": 30}).encode()),
        ("a/3.jpg", JPEG),
        ("a/3.cls", b"actor"),
        ("a/4.jpg", JPEG),
        ("a/4.json", b"[" * 100_000),
    ]
    found = [sample for sample in read_bytes(pack(files), folder) if isinstance(sample, Sample)]
    assert [sample.labels for sample in found] == [(3, 0.5), (4,), (), ()]
    assert [sorted(sample.extra) for sample in found] == [[], ["json"], ["cls"], ["json"]]


def test_several_images_of_one_key_are_images_of_their_own(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = [
        ("p/b.1.jpg", b"1"),
        ("p/b.2.jpg", b"2"),
        ("p/c.jpg", b"3"),
        ("p/c.png", b"4"),
        ("p/c.cls", b"7"),
        ("p/c.x.npy", b"5"),
    ]
    with caplog.at_level(logging.WARNING, "faceprep"):
        found = rows(read_bytes(pack(files), folder))
    assert found == [
        ("p/b.1", "p", b"1", ()),
        ("p/b.2", "p", b"2", ()),
        ("p/c", "p", b"3", (7.0,)),
        ("p/c.png", "p", b"4", (7.0,)),
    ]
    assert "2 samples with several images" in caplog.text
    assert "p/c.x.npy" in caplog.text


def test_thousands_of_images_of_one_key(folder: Path) -> None:
    files = [(f"p/img.{i:05d}.jpg", b"%d" % i) for i in range(5000)]
    found = rows(read_bytes(pack(files), folder))
    assert found == [(f"p/img.{i:05d}", "p", b"%d" % i, ()) for i in range(5000)]


def test_what_is_skipped_is_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = [
        ("a/1.jpg", b"1"),
        ("a/2.jpg", b"2"),
        ("a/1.cls", b"0"),
        ("a/README", b"text"),
        ("a/.hidden.jpg", b"4"),
        ("__x__", b"5"),
        ("__x__/6.jpg", b"6"),
    ]
    with caplog.at_level(logging.WARNING, "faceprep"):
        found = rows(read_bytes(pack(files), folder))
    assert [key for key, *_ in found] == ["a/1", "a/2", "__x__/6"]
    lines = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert lines == [
        "1 skipped, not part of a sample with an image: a/1.cls",
        "3 skipped, without a name or an extension: a/README, a/.hidden.jpg, __x__",
        "1 image in a folder __NAME__, which webdataset skips",
    ]


def test_links_and_folders(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    links = [
        ("./a/2.jpg", tarfile.LNKTYPE),
        (f"b/{'long' * 30}.jpg", tarfile.SYMTYPE),
        ("c/3.jpg", tarfile.FIFOTYPE),
        ("a/1.cls", tarfile.SYMTYPE),
    ]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        entry = tarfile.TarInfo("./a/1.jpg")
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"1"))
        for name, kind in (("./a", tarfile.DIRTYPE), *links):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "./a/1.jpg"
            archive.addfile(entry)
    with caplog.at_level(logging.WARNING, "faceprep"):
        found = read_bytes(buffer.getvalue(), folder)
    images = [each for each in found if isinstance(each, Sample)]
    assert rows(list(images)) == [("a/1", "a", b"1", ())]
    failed = [each for each in found if isinstance(each, Outcome)]
    assert [each.key for each in failed] == ["a/2", f"b/{'long' * 30}", "c/3"]
    assert all(
        "expected an image, found a link or a special file" in each.reason for each in failed
    )
    assert "1 skipped, links or special files: a/1.cls" in caplog.text


def test_joined_files_are_both_read(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = pack([("a/1.jpg", b"1")]) + pack([("a/1.jpg", b"2"), ("a/3.jpg", b"3")])
    with caplog.at_level(logging.WARNING, "faceprep"):
        found = rows(read_bytes(data, folder))
    assert [(key, data) for key, _, data, _ in found] == [
        ("a/1", b"1"),
        ("a/1_1", b"2"),
        ("a/3", b"3"),
    ]
    assert "1 tar file after its end mark" in caplog.text
    assert "1 key occurs more than once" in caplog.text


FILES = [(f"a/{i}.jpg", b"%d" % i * 300) for i in range(6)]
WHOLE = pack(FILES)[: 6 * 1024 + 1024]


@given(cut=st.integers(1, len(WHOLE) - 1024))
@example(len(WHOLE) - 1024)
def test_a_cut_off_file_keeps_what_is_whole(folder: Path, cut: int) -> None:
    n_whole = (cut + 212) // 1024
    if not n_whole:
        with pytest.raises(SourceError, match="the tar file is cut off"):
            read_bytes(WHOLE[:cut], folder)
        return
    found = read_bytes(WHOLE[:cut], folder)
    n_lost = sum(isinstance(result, Outcome) and result.is_failure for result in found)
    assert n_lost == 1
    whole = [sample for sample in found if isinstance(sample, Sample)]
    assert [bytes(sample.data) for sample in whole] == [data for _, data in FILES[: len(whole)]]
    assert len(whole) == min(n_whole, 6)


@given(at=st.integers(0, 511), byte=st.integers(1, 255))
def test_a_damaged_header_costs_one_image(folder: Path, at: int, byte: int) -> None:
    data = bytearray(WHOLE)
    data[2 * 1024 + at] ^= byte
    found = read_bytes(bytes(data), folder)
    lost = [result for result in found if isinstance(result, Outcome)]
    if not lost:
        assert at in range(148, 156), "only blanks around the checksum can change"
        assert len(found) == 6
        return
    assert [result.key for result in found] == ["a/0", "a/1", "a_at_2048", "a/3", "a/4", "a/5"]
    assert "offset 2048" in lost[0].reason


def test_a_file_of_another_kind_is_refused(folder: Path) -> None:
    with pytest.raises(SourceError, match="not a tar file.*50 4b"):
        read_bytes(b"PK\3\4" + bytes(range(1, 256)) * 20, folder)


@given(data=st.binary(max_size=3000))
def test_any_bytes_are_read_or_refused(folder: Path, data: bytes) -> None:
    try:
        read_bytes(data, folder)
    except SourceError as error:
        assert "a.tar" in str(error)


@given(at=st.integers(0, len(WHOLE) - 1), bytes_=st.binary(min_size=1, max_size=40))
def test_any_damage_is_read_or_refused(folder: Path, at: int, bytes_: bytes) -> None:
    data = WHOLE[:at] + bytes_ + WHOLE[at + len(bytes_) :]
    try:
        read_bytes(data, folder)
    except SourceError as error:
        assert "a.tar" in str(error)


def test_sizes_beyond_8_gb(folder: Path) -> None:
    """A sparse file; the member takes 9 GB in a base-256 or a pax size."""
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        entry = tarfile.TarInfo("a/1.jpg")
        entry.size = 9 << 30
        path = folder / "large.tar"
        with path.open("wb") as file:
            header = entry.tobuf(form)
            file.write(header)
            file.seek(len(header) + entry.size)
            file.write(pack([("a/2.jpg", b"2")]))
        large, small = read(path)
        assert isinstance(large, Outcome)
        assert "9,663,67" in large.reason
        assert isinstance(small, Sample)
        assert (small.key, small.data) == ("a/2", b"2")
        path.unlink()


@pytest.mark.parametrize("name", ["../a.jpg", "/a/b.jpg", "a/../../b.jpg"])
def test_a_name_that_leads_out_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(SourceError, match="leads out of the set"):
        read_bytes(pack([(name, b"1")]), folder)


def test_an_escaped_slash_stays_a_name(folder: Path) -> None:
    found = rows(read_bytes(pack([("a/%2E%2E%2Fb.jpg", b"1")]), folder))
    assert [key for key, *_ in found] == ["a/%2E%2E%2Fb"]


def test_families_and_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in (0, 2):
        files = [(f"p/{i}.jpg", b"%d" % (10 * number + i)) for i in range(2)]
        (tmp_path / f"t-0000{number}-of-00004.tar").write_bytes(pack(files))
    (tmp_path / "other.txt").write_text("x")
    (tmp_path / "t_classes.csv").write_text("its own map, which is no stray file")
    with caplog.at_level(logging.WARNING, "faceprep"):
        found = rows(read(tmp_path / "t-00002-of-00004.tar"))
    assert [key for key, *_ in found] == ["p/0_0", "p/0_1", "p/1_0", "p/1_1"]
    assert find_shards(tmp_path).missing == ["t-00001-of-00004.tar", "t-00003-of-00004.tar"]
    assert kind_of(tmp_path) == "webdataset"
    assert rows(read(tmp_path)) == found
    assert "1 skipped, not shards: other.txt" in caplog.text
    os.rename(tmp_path / "t-00000-of-00004.tar", tmp_path / "x.tar")
    assert len(read(tmp_path / "x.tar")) == 2


def test_a_worker_opens_the_same_set(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(WHOLE)
    with index_set(tmp_path / "a.tar", tmp_path / "run") as built:
        samples = list(built.read([3, 1]))
    with open_set(tmp_path / "run") as opened:
        assert opened.kind == "webdataset"
        assert list(opened.read([3, 1])) == samples


def test_webdataset_shards(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for i in range(20):
            writer.write({"__key__": f"{i // 4}/{i}", "jpg": b"%d" % i, "cls": i // 4})
    expected = [(f"{i // 4}/{i}", str(i // 4), b"%d" % i, (i // 4,)) for i in range(20)]
    assert rows(read(tmp_path / "a.tar")) == expected
