"""Parquet manifests: rows come back, parts join to the same rows, damage is one clear line."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import OutputError, SourceError
from faceprep.core.io import parquet
from faceprep.core.os_errors import is_fault

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
ROWS = st.lists(st.tuples(TEXT, st.integers(0, 1 << 40), TEXT), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parquet") / "a.parquet"


def as_file(*groups: list[tuple[str, int, str]]) -> bytes:
    file = io.BytesIO()
    parquet.write_tables(file, (parquet.table_of(*zip(*rows, strict=True)) for rows in groups))  # type: ignore[arg-type]
    return file.getvalue()


def as_rows(rows: list[tuple[str, int, str]]) -> list[dict[str, object]]:
    return [
        dict(zip(("image_names", "image_classes", "identity"), row, strict=True)) for row in rows
    ]


@given(rows=ROWS)
def test_rows_come_back(path: Path, rows: list[tuple[str, int, str]]) -> None:
    data = as_file(rows)
    assert data == as_file(rows)
    path.write_bytes(data)
    assert list(parquet.read_rows(path)) == as_rows(rows)
    contents = parquet.describe(path)
    assert (contents.n_images, contents.n_classes) == (
        len(rows),
        len({label for _, label, _ in rows}),
    )


def test_the_name_of_a_file_need_not_be_utf_8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff\n.parquet")
    path.write_bytes(as_file([("a/0", 0, "a")]))
    assert list(parquet.read_rows(path)) == as_rows([("a/0", 0, "a")])
    assert parquet.describe(path).n_images == 1


def test_parts_join_to_one_file(tmp_path: Path) -> None:
    parts = [[(f"{k}/{i}", i, str(k)) for i in range(4)] for k in range(3)]
    paths = [tmp_path / str(k) for k in range(3)]
    for path, rows in zip(paths, parts, strict=True):
        path.write_bytes(as_file(rows))
    joined = io.BytesIO()
    parquet.join(paths, joined)
    assert joined.getvalue() == as_file(*parts)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_embeddings_are_lists_of_fixed_length(path: Path, dtype: type) -> None:
    embeddings = np.arange(6, dtype=dtype).reshape(2, 3)
    file = io.BytesIO()
    parquet.write_tables(file, [parquet.table_of(["a", "b"], [0, 1], ["x", "y"], embeddings)])
    path.write_bytes(file.getvalue())
    assert [row["embeddings"] for row in parquet.read_rows(path)] == embeddings.tolist()


@given(cut=st.integers(0))
def test_a_cut_off_file_is_refused(path: Path, cut: int) -> None:
    data = as_file([("a", 0, "b")])
    path.write_bytes(data[: cut % len(data)])
    for read in (parquet.describe, lambda path: list(parquet.read_rows(path))):
        with pytest.raises(SourceError, match=r"a\.parquet: cannot be read as Parquet"):
            read(path)


@pytest.mark.parametrize("place", ["first page", "footer"])
def test_damage_is_not_taken_for_a_fault_of_the_disk(path: Path, place: str) -> None:
    """pyarrow raises an OSError for some damage."""
    data = bytearray(as_file([("a", 0, "b")]))
    at = 4
    if place == "footer":
        at = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    data[at : at + 8] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"a\.parquet: cannot be read as Parquet") as caught:
        list(parquet.read_rows(path))
    assert not is_fault(caught.value)


def test_a_checksum_is_checked(path: Path) -> None:
    table = pa.table({"name": [f"name {i}" for i in range(50)]})
    settings = {"use_dictionary": False, "write_statistics": False, "compression": "none"}
    pq.write_table(table, path, write_page_checksum=True, **settings)
    path.write_bytes(path.read_bytes().replace(b"name 17", b"name 71"))
    with pytest.raises(SourceError, match=r"\.parquet: cannot be read as Parquet: .*CRC checksum"):
        list(parquet.read_rows(path))


def test_what_the_disk_says_is_not_lost() -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OutputError("cannot write: No space left on device", path="a.parquet")

    with pytest.raises(OutputError, match="No space left"):
        parquet.write_tables(Full(), [parquet.table_of(["a"], [0], ["x"])])


def test_a_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"identity": pa.array([b"a", b"\xff"]).view(pa.string())}), path)
    for read in (parquet.read_rows, lambda path: parquet.read_columns(path, ["identity"])):
        with pytest.raises(SourceError, match="cannot be read as Parquet: .*UTF8"):
            list(read(path))
