"""Samples of a tar file: members looked at together give what each by itself gives."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faceprep.core.storage import ByteSource
from faceprep.sets.members import SkippedFiles
from faceprep.sets.tar.samples import SampleGrouper
from faceprep.sets.tar.scan import Gap, TarScan

NEVER = 1 << 40
LONG = "y" * 90
Found = list[tuple[object, ...]]
Member = tuple[str, bytes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("samples")


def group(path: Path, n_together: int) -> tuple[Found, list[str], tuple[object, ...]]:
    """Return the entries, the skipped files, and what was noted of all samples."""
    skipped = SkippedFiles()
    with ByteSource(path) as source:
        samples = SampleGrouper(source, skipped, n_together)
        for members in TarScan(source).read_members():
            if isinstance(members, Gap):
                samples.finish()
            else:
                samples.add(members)
    entries = samples.entries
    columns = entries.keys, entries.identities, entries.starts, entries.stops, entries.numbers
    noted = samples.n_several, samples.n_dropped_names, samples.has_others, samples.max_labels
    return list(zip(*columns, strict=True)), skipped.lines(), noted


def write(path: Path, members: list[Member], form: int) -> None:
    with tarfile.open(path, "w", format=form) as archive:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


FOLDERS = st.sampled_from(["", "a/", "ä/ö/", "a.b/", "./", "__d__/", f"{LONG}/", "x" * 600 + "/"])
BASES = st.sampled_from(["1", "2", "10", "%2e", "b.1", "", "é" * 40, "n" * 60])
EXTENSIONS = st.lists(
    st.sampled_from(["jpg", "PNG", "cls", "json", "txt", "seg.png", "", "landmarks.npy"]),
    min_size=1,
    max_size=3,
)


@given(
    samples=st.lists(st.tuples(FOLDERS, BASES, EXTENSIONS), min_size=1, max_size=12),
    content=st.sampled_from([b"7", b"ann", b"../x", b'{"labels": [1, 2]}']),
    form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
@example([("a/", str(i), ["jpg", "cls"]) for i in range(40)], b"7", tarfile.USTAR_FORMAT)
@example([("", str(i), ["cls", "jpg"]) for i in range(40)], b"ann", tarfile.USTAR_FORMAT)
@example([("a/", str(i), ["jpg", "PNG"]) for i in range(9)], b"7", tarfile.USTAR_FORMAT)
@example([("a/", str(i), ["jpg", "cls", "cls"]) for i in range(9)], b"7", tarfile.USTAR_FORMAT)
@example([("a/", str(i), ["cls", "txt"][i % 2 :]) for i in range(9)], b"7", tarfile.USTAR_FORMAT)
@example([("__d__/", str(i), ["jpg"]) for i in range(9)], b"7", tarfile.USTAR_FORMAT)
@example([(f"{LONG}/", f"{i}", ["jpg", "json"]) for i in range(9)], b"{}", tarfile.PAX_FORMAT)
def test_samples_that_are_looked_at_together(
    folder: Path, samples: list[tuple[str, str, list[str]]], content: bytes, form: int
) -> None:
    members = [
        (f"{where}{base}.{extension}", content)
        for where, base, extensions in samples
        for extension in extensions
        if form != tarfile.USTAR_FORMAT or len(where) < 100
    ]
    path = folder / "a.tar"
    write(path, members, form)
    assert group(path, 1) == group(path, NEVER)


@pytest.mark.parametrize("name", ["a/1\0.jpg", "a/1.jpg\0", "a/\0/1.jpg"])
def test_zeros_in_a_long_name(folder: Path, name: str) -> None:
    """A pax record may hold any bytes; a header ends its name at the first zero."""
    members = [(f"a/{i}.{suffix}", b"7") for i in range(20) for suffix in ("jpg", "cls")]
    path = folder / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for number, (usual, data) in enumerate(members):
            entry = tarfile.TarInfo(usual)
            entry.size = len(data)
            if number == 17:
                entry.pax_headers = {"path": name}
            archive.addfile(entry, io.BytesIO(data))
    assert group(path, 1) == group(path, NEVER)


def test_bytes_behind_the_end_of_a_name_do_not_count(folder: Path) -> None:
    path = folder / "a.tar"
    names = [*(f"a/{i}.jpg" for i in range(19)), f"a/{LONG}.jpg"]
    write(path, [(name, b"7") for name in names], tarfile.USTAR_FORMAT)
    expected = group(path, NEVER)
    data = bytearray(path.read_bytes())
    for header in range(0, 19 * 1024, 1024):
        data[header + 60 : header + 64] = b"a.b/"
        total = sum(data[header : header + 512]) - sum(data[header + 148 : header + 156]) + 256
        data[header + 148 : header + 156] = b"%06o\0 " % total
    path.write_bytes(data)
    assert group(path, 1) == group(path, NEVER) == expected
