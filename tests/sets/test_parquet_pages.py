"""The walk over pages: changed bytes are named or give other places inside the chunk."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.storage import ByteSource
from faceprep.sets.parquet_footer import ColumnChunk, read_chunks
from faceprep.sets.parquet_pages import DamagedPage, NotPlain, find_values, read_pages
from faceprep.sets.protobuf import varint
from faceprep.sets.thrift import MalformedStruct, read_struct


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages") / "chunk"


def write_chunk(path: Path, version: str) -> ColumnChunk:
    """Write 40 values in pages of a few, every fifth of them null."""
    values = [None if i % 5 == 0 else b"%d" % i * (i % 7) for i in range(40)]
    table = pa.table({"image": pa.array(values, pa.binary())})
    settings = {"data_page_size": 20, "write_batch_size": 3, "data_page_version": version}
    pq.write_table(table, path, compression="none", use_dictionary=False, **settings)
    column = pq.read_metadata(path).row_group(0).column(0)
    start = column.data_page_offset
    return ColumnChunk(start, start + column.total_compressed_size, 40, 1)


def walk(path: Path, chunk: ColumnChunk) -> None:
    with ByteSource(path) as source:
        try:
            for places in find_values(source, chunk):
                there = places[:, 1] >= 0
                assert (places[there, 0] >= chunk.start).all()
                assert (places[there].sum(1) <= chunk.stop).all()
        except (DamagedPage, NotPlain):
            return


@given(data=st.data(), version=st.sampled_from(["1.0", "2.0"]))
def test_changed_bytes(path: Path, data: st.DataObject, version: str) -> None:
    chunk = write_chunk(path, version)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(chunk.start, chunk.stop - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    walk(path, chunk)


def test_a_negative_length_is_damage(path: Path) -> None:
    chunk = write_chunk(path, "2.0")
    content = bytearray(path.read_bytes())
    for place in range(chunk.start, min(chunk.start + 200, chunk.stop)):
        changed = bytearray(content)
        changed[place] = 129
        path.write_bytes(changed)
        walk(path, chunk)


def test_a_size_of_more_than_32_bits_is_damage(path: Path) -> None:
    size = b"\xfe" + b"\xff" * 8 + b"\x01"  # 2 ** 63 - 1, as a zigzag varint
    path.write_bytes(b"\x15\0\x15" + size + b"\x15\x0a\x2c\x15\x02\x15\0\x15\x06\0\0" + bytes(5))
    with ByteSource(path) as source, pytest.raises(DamagedPage, match="a page of 9223372036854775"):
        list(read_pages(source, ColumnChunk(0, 40, 1, 1, codec=1)))


@given(content=st.binary(max_size=120), n=st.integers(0, 50), level=st.integers(0, 300))
def test_any_bytes(path: Path, content: bytes, n: int, level: int) -> None:
    path.write_bytes(content)
    walk(path, ColumnChunk(0, len(content), n, level))
    walk(path, ColumnChunk(5, 1 << 40, n, level))


@given(data=st.binary(max_size=60))
def test_any_bytes_as_a_struct(data: bytes) -> None:
    try:
        _, end = read_struct(data, 0)
        assert end <= len(data)
    except MalformedStruct:
        return


def test_structs_in_structs_end() -> None:
    for kind in (b"\x1c", b"\x19\xf9\x01", b"\x19\x19"):
        with pytest.raises(MalformedStruct):
            read_struct(kind * 10_000, 0)


def test_items_of_a_list_are_shrunk_as_they_are_read() -> None:
    items = b"\x29\x2c" + b"\x15\x06\x00" + b"\x15\x08\x00" + b"\x00"  # 2: [{1: 3}, {1: 4}]
    assert read_struct(items, 0)[0] == {2: [{1: 3}, {1: 4}]}
    assert read_struct(items, 0, {2: lambda item: item[1]})[0] == {2: [3, 4]}


def test_a_footer_of_many_row_groups_takes_little_memory(path: Path) -> None:
    """Five columns of 2,000 row groups would take 20 MB."""
    n = 2000
    columns = {name: [b"x"] * n for name in ("image", "label", "identity", "key", "file")}
    pq.write_table(pa.table(columns), path, row_group_size=1, compression="none")
    with pq.ParquetFile(path) as file, ByteSource(path) as source:
        tracemalloc.start()
        chunks = read_chunks(source, file, "image")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(chunks) == n
    assert peak < 4 << 20


@pytest.mark.parametrize("number", [1 << 62, 1 << 63])
def test_an_offset_beyond_any_file_is_damage(path: Path, number: int) -> None:
    chunk = write_chunk(path, "1.0")
    data = path.read_bytes()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    size = varint(2 * (chunk.stop - chunk.start))
    assert size in data[start:]
    footer = data[start:-8].replace(size, varint(2 * number))
    path.write_bytes(data[:start] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    refused = pytest.raises(SourceError, match="its footer is damaged: column 0")
    with pq.ParquetFile(path) as file, ByteSource(path) as source, refused:
        read_chunks(source, file, "image")
