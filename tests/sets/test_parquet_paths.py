"""Rows of a .parquet that name a file instead of holding an image, as Hugging Face writes them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceprep.core.types import Outcome
from faceprep.sets.containers import index_set
from faceprep.sets.image_set import Sample

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def read(file: Path, scratch: Path, relative_to: Path | None = None) -> list[Sample | Outcome]:
    with index_set(file, scratch, relative_to=relative_to) as images:
        return list(images.read(range(len(images))))


@pytest.mark.parametrize("is_absolute", [True, False])
def test_paths_below_a_given_folder(is_absolute: bool, tmp_path: Path) -> None:
    """An absolute path counts as well; only one outside the folder is refused."""
    root, table = tmp_path / "photos", tmp_path / "tables" / "a.parquet"
    for folder in (root / "x", table.parent):
        folder.mkdir(parents=True)
    (root / "x" / "1.jpg").write_bytes(b"one")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    names = [str(root / "x" / "1.jpg") if is_absolute else "x/1.jpg", str(tmp_path / "secret.jpg")]
    rows = [{"bytes": None, "path": name} for name in names]
    pq.write_table(pa.table({"image": pa.array(rows, STRUCT), "label": [0, 0]}), table)
    first, second = read(table, tmp_path / "scratch", root)
    assert isinstance(first, Sample) and first.data == b"one"
    assert isinstance(second, Outcome)
    assert second.reason.endswith(f"leads outside the folder {root}. See --relative-to")
    (lost, _) = read(table, tmp_path / "again")
    assert isinstance(lost, Outcome)
    problem = "leads outside the folder" if is_absolute else "It was looked for in"
    assert lost.reason.endswith(f"{problem} {table.parent}. See --relative-to")


def test_an_absolute_path_below_the_folder_of_the_table(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"one")
    rows = [{"bytes": None, "path": str(tmp_path / "1.jpg")}]
    pq.write_table(pa.table({"image": pa.array(rows, STRUCT)}), tmp_path / "a.parquet")
    (found,) = read(tmp_path / "a.parquet", tmp_path / "scratch")
    assert isinstance(found, Sample) and found.data == b"one"
