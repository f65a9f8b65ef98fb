"""The scan of a tar file: headers that are followed together give what each by itself gives."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.storage import ByteSource
from faceprep.sets.tar.scan import Gap, TarScan

NEVER = 1 << 40
Found = list[tuple[object, ...]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scan")


def scan(path: Path, n_together: int) -> tuple[Found, list[str], int]:
    """Return the members, links and gaps, the skipped files, and the number of joined files."""
    found: Found = []
    with ByteSource(path) as source:
        reader = TarScan(source, n_together)
        for each in reader.read_members():
            if isinstance(each, Gap):
                found.append(each)
                continue
            columns = (each.starts, each.contents, each.sizes)
            found += zip(each.names, *(part.tolist() for part in columns), strict=True)
        found += reader.bodiless
    return found, reader.skipped.lines(), reader.n_joined


ENTRIES = st.tuples(
    st.sampled_from(["a/1.jpg", "a/1.cls", "b" * 120 + ".jpg", "ö.png", "plain"]),
    st.sampled_from([tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE]),
    st.integers(0, 1500),
    st.sampled_from([0, 1.5]),
    st.dictionaries(st.sampled_from(["size", "comment", "GNU.sparse.major"]), st.just("7")),
)


@given(
    entries=st.lists(ENTRIES, min_size=1, max_size=12),
    form=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    damage=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=40)), max_size=2),
    cut=st.floats(0, 1),
)
def test_headers_that_are_followed_together(
    folder: Path,
    entries: list[tuple[str, bytes, int, float, dict[str, str]]],
    form: int,
    damage: list[tuple[float, bytes]],
    cut: float,
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, kind, size, mtime, pax in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mtime, entry.pax_headers = kind, mtime, pax  # type: ignore[assignment]
            if kind in (tarfile.REGTYPE, tarfile.AREGTYPE):
                entry.size = size
            archive.addfile(entry, io.BytesIO(b"7" * size))
    data = bytearray(buffer.getvalue() * 2)
    for where, content in damage:
        at = int(where * len(data))
        data[at : at + len(content)] = content
    if cut < 0.5:
        del data[int(2 * cut * len(data)) + 1 :]
    path = folder / "a.tar"
    path.write_bytes(data)
    assert scan(path, 1) == scan(path, NEVER)
