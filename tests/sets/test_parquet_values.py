"""Values by row group and row: the same as pyarrow's, whatever the pages; damage is one line."""

from __future__ import annotations

import hashlib
import itertools
import random
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.storage import ByteSource
from faceprep.sets import parquet_values
from faceprep.sets.parquet_footer import read_chunks
from faceprep.sets.parquet_pages import NotPlain
from faceprep.sets.parquet_rows import RowReader, _File
from faceprep.sets.parquet_values import ValueReader

CODECS = ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]
Value = bytes | None


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("values") / "a.parquet"


def write(path: Path, values: list[Value], **settings: Any) -> None:
    pq.write_table(pa.table({"image": pa.array(values, pa.binary())}), path, **settings)


def read(
    path: Path, places: list[tuple[int, int]], long: int = parquet_values._LONG
) -> list[Value]:
    """Read the values at `places`; those of `long` bytes and more may be read one by one."""
    with (
        patch.object(parquet_values, "_LONG", long),
        closing(RowReader([str(path)], "image")) as rows,
    ):
        return [rows.read(0, group, row).data for group, row in places]


def open_values(path: Path) -> ValueReader:
    with pq.ParquetFile(path) as file, ByteSource(path) as source:
        chunks = read_chunks(source, file, "image")
    return ValueReader(str(path), chunks)


def value_lists() -> st.SearchStrategy[list[Value]]:
    return st.lists(st.none() | st.binary(max_size=40), min_size=1, max_size=60)


def ways() -> st.SearchStrategy[dict[str, Any]]:
    """Return settings of pyarrow's writer."""
    sizes = st.integers(1, 200)
    return st.fixed_dictionaries(
        {
            "compression": st.sampled_from(CODECS),
            "data_page_version": st.sampled_from(["1.0", "2.0"]),
            "use_dictionary": st.booleans(),
            "row_group_size": st.integers(1, 60),
            "data_page_size": sizes,
            "dictionary_pagesize_limit": sizes,
            "write_batch_size": st.just(3),
        }
    )


@given(values=value_lists(), way=ways(), seed=st.integers(), long=st.sampled_from([0, 99]))
def test_any_pages_in_any_order(
    path: Path, values: list[Value], way: dict[str, Any], seed: int, long: int
) -> None:
    write(path, values, **way)
    order = random.Random(seed).choices(range(len(values)), k=30)
    places = [divmod(position, way["row_group_size"]) for position in order]
    assert read(path, places, long) == [values[position] for position in order]


def test_long_values_that_are_not_compressed_are_read_one_by_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: list[Value] = [None, *(bytes([i]) * 6000 for i in range(200))]
    write(path, values, compression="none", use_dictionary=False)
    read_at, sizes = ByteSource.read_at, list[int]()

    def note(source: ByteSource, offset: int, n_bytes: int) -> bytes:
        sizes.append(n_bytes)
        return read_at(source, offset, n_bytes)

    monkeypatch.setattr(ByteSource, "read_at", note)
    with closing(open_values(path)) as reader:
        assert [reader.read(0, row) for row in (150, 0, 7)] == [values[150], None, values[7]]
    assert sum(sizes) < 60_000


@pytest.mark.parametrize(("cut", "value"), [(10, 199), (6004, 199), (6008, 198)])
def test_a_file_that_was_cut_off_after_it_was_opened(path: Path, cut: int, value: int) -> None:
    write(path, [bytes(6000)] * 200, compression="none", use_dictionary=False)
    with pq.ParquetFile(path) as file:
        about = file.metadata.row_group(0).column(0)
    reader = open_values(path)
    with path.open("r+b") as changed:
        changed.truncate(about.data_page_offset + about.total_compressed_size - cut)
    assert reader.read(0, value - 1) == bytes(6000)
    with pytest.raises(SourceError, match=f"its pages are damaged: value {value} ends beyond"):
        reader.read(0, value)
    reader.close()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("has_dictionary", [False, True])
def test_pyarrow_is_not_needed(path: Path, codec: str, has_dictionary: bool) -> None:
    write(
        path, [b"%d" % (i % 9) for i in range(40)], compression=codec, use_dictionary=has_dictionary
    )
    values = open_values(path)
    assert [values.read(0, row) for row in (39, 0)] == [b"3", b"0"]
    values.close()


@pytest.mark.parametrize("encoding", ["DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"])
def test_rare_encodings_are_left_to_pyarrow(path: Path, encoding: str) -> None:
    values: list[Value] = [b"%d" % i * 9 for i in range(200)]
    write(path, values, use_dictionary=False, column_encoding={"image": encoding})
    reader = open_values(path)
    with pytest.raises(NotPlain):
        reader.read(0, 150)
    reader.close()
    assert read(path, [(0, 150), (0, 3), (0, 199)]) == [values[150], values[3], values[199]]


def test_no_image_is_kept_that_pyarrow_has_read(path: Path) -> None:
    """An exception that is raised again and again would keep the frames of all readers."""
    values: list[Value] = [b"%d" % i * 20_000 for i in range(10, 100)]
    way = {"image": "DELTA_LENGTH_BYTE_ARRAY"}
    write(path, values, use_dictionary=False, column_encoding=way, row_group_size=45)
    with closing(RowReader([str(path)], "image")) as rows:
        tracemalloc.start()
        for position, value in enumerate(values):
            assert rows.read(0, *divmod(position, 45)).data == value
        n_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert n_bytes < 1_000_000


@pytest.mark.parametrize("way", [{}, {"compression": "none", "use_dictionary": False}])
def test_what_the_disk_failed_to_give_is_read_when_asked_again(
    path: Path, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    values: list[Value] = [b"%d" % i * 9 for i in range(200)]
    write(path, values, data_page_size=100, write_batch_size=3, **way)
    read_at, n_failed = ByteSource.read_at, 0
    for n in range(3, 100, 7):
        reads = itertools.count()

        def fail_once(*place: Any, reads: Any = reads, n: int = n) -> bytes:
            if next(reads) == n:
                raise SourceError("cannot read: Input/output error")
            return read_at(*place)

        monkeypatch.setattr(ByteSource, "read_at", fail_once)
        with closing(RowReader([str(path)], "image")) as rows:
            try:
                rows.read(0, 0, 199)
            except SourceError as error:
                assert "Input/output" in str(error)
                n_failed += 1
            assert [rows.read(0, 0, row).data for row in (199, 3)] == [values[199], values[3]]
    assert n_failed > 2


def test_the_levels_of_a_million_rows_that_are_null(path: Path) -> None:
    n = 1_000_000
    write(path, [None] * (n - 1) + [b"last"])
    assert read(path, [(0, n - 1), (0, 0)]) == [b"last", None]


def test_a_row_beyond_its_group(path: Path) -> None:
    write(path, [b"1", b"2"])
    with pytest.raises(SourceError, match=r"a\.parquet: its pages are damaged: it ends at row 2"):
        read(path, [(0, 2)])


def test_a_damaged_page_is_unpacked_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, [b"%d" % i for i in range(40)], compression="gzip", use_dictionary=False)
    content = bytearray(path.read_bytes())
    start = content.index(b"\x1f\x8b\x08")
    content[start + 10 : start + 30] = bytes(20)
    path.write_bytes(content)
    unpacked: list[int] = []
    undo = parquet_values._undo
    monkeypatch.setattr(
        parquet_values, "_undo", lambda *given: unpacked.append(given[0]) or undo(*given)
    )
    rows = RowReader([str(path)], "image")
    for row in (3, 0, 39):
        with pytest.raises(SourceError, match="a page that cannot be unpacked .*Copy or make"):
            rows.read(0, 0, row)
    rows.close()
    assert len(unpacked) == 1


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["none", "snappy"])
def test_a_checksum_is_checked(path: Path, codec: str, version: str) -> None:
    digests = [hashlib.sha256(bytes([i])).digest() for i in range(40)]
    values: list[Value] = [None, *digests]
    settings = {"compression": codec, "data_page_version": version, "use_dictionary": False}
    write(path, values, write_page_checksum=True, **settings)
    assert read(path, [(0, row) for row in range(41)]) == values
    content = bytearray(path.read_bytes())
    content[content.index(digests[17]) + 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(SourceError, match="the checksum of the page at offset .* does not match"):
        read(path, [(0, 3)])


def test_no_checksum_is_computed_for_a_page_without_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, [b"one", b"two"])
    monkeypatch.setattr("zlib.crc32", lambda _: pytest.fail("the bytes were read twice"))
    assert read(path, [(0, 0), (0, 1)]) == [b"one", b"two"]


def test_a_row_group_with_fewer_paths_than_values(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, [None] * 5)
    monkeypatch.setattr(_File, "_read_paths", lambda *_: pa.nulls(2))
    assert read(path, [(0, 1)]) == [None]
    with pytest.raises(SourceError, match="the file has changed"):
        read(path, [(0, 4)])


@given(data=st.data(), way=ways(), long=st.sampled_from([0, 99]))
def test_changed_bytes(path: Path, data: st.DataObject, way: dict[str, Any], long: int) -> None:
    """Changed bytes give another value or one line that names the file."""
    values: list[Value] = [None if i % 5 == 0 else b"%d" % i * (i % 7) for i in range(40)]
    write(path, values, **way | {"row_group_size": 40})
    content = bytearray(path.read_bytes())
    end = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(4, end - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    for row in (0, 13, 39):
        try:
            assert read(path, [(0, row)], long)
        except SourceError as error:
            assert "a.parquet" in str(error)
            assert "\n" not in str(error)
