"""Read random images of a Parquet file by offset or by row group, beside pyarrow's row group.

    python benchmarks/parquet_images.py --dir /dev/shm

Images of plain files, as `convert` and Hugging Face write them, are read by offset. Those of files
with compression are read by row group and row, which is measured on the plain file too. The third
file has one row group, as pandas writes it; of its images, a hundredth is read. Positions are
random, and each image is read by itself.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
from rec import write_set
from timing import Candidate, side_by_side

from faceprep.core.types import Outcome
from faceprep.sets.containers import index_set
from faceprep.sets.image_set import ImageSet
from faceprep.sets.parquet_rows import RowReader

_ROWS = 256
"""Rows of a group: what `convert` writes."""


def write_files(folder: Path, n: int, n_bytes: int) -> list[Path]:
    """Write the same images to a plain, a compressed and a default Parquet file."""
    source = folder / "set"
    plain, packed, default = (folder / f"{name}.parquet" for name in ("plain", "packed", "default"))
    source.mkdir()
    write_set(source, n, [], n_bytes)
    command = [sys.executable, "-m", "faceprep", "convert", str(source), str(plain), "-q"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    table = pq.read_table(plain)
    pq.write_table(table, packed, row_group_size=_ROWS, compression="zstd")
    pq.write_table(table, default)
    return [plain, packed, default]


def read_ours(images: ImageSet, positions: list[int]) -> None:
    for position in positions:
        (sample,) = images.read([position])
        if isinstance(sample, Outcome):
            raise RuntimeError(sample.reason)


def read_rows(path: Path, n_rows: int, positions: list[int]) -> None:
    """Read by row group and row, whatever the file allows."""
    rows = RowReader([str(path)], "image")
    for position in positions:
        _check(rows.read(0, *divmod(position, n_rows)).data, position)
    rows.close()


def read_pyarrow(path: Path, n_rows: int, positions: list[int]) -> None:
    """Read the row group of each image, of the column of images alone."""
    with pq.ParquetFile(path) as file:
        for position in positions:
            number, row = divmod(position, n_rows)
            group = file.read_row_group(number, columns=["image"])
            _check(group["image"][row].as_py()["bytes"], position)


def _check(image: bytes, position: int) -> None:
    """Stop if a reader found nothing, because its time would mean nothing."""
    if not image:
        raise RuntimeError(f"image {position} is empty")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, default=50_000)
    options.add_argument("--reads", type=int, default=2_000)
    options.add_argument("--bytes", type=int, default=6000, help="bytes of an image")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--dir", help="where to work; a folder on the disk to be measured")
    given = options.parse_args()
    drawn = random.Random(1).choices(range(given.images), k=given.reads)
    some = drawn[: max(given.reads // 100, 1)]
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        root = Path(folder)
        plain, packed, default = write_files(root, given.images, given.bytes)
        compare("plain", plain, _ROWS, drawn, given.repeats)
        compare("compressed by zstd", packed, _ROWS, drawn, given.repeats)
        compare("one row group, compressed by snappy", default, given.images, some, given.repeats)


def compare(title: str, path: Path, n_rows: int, positions: list[int], repeats: int) -> None:
    """Show the ways to read a file side by side. Its row groups have `n_rows` rows."""
    scratch = path.with_suffix("")
    scratch.mkdir()
    with index_set(path, scratch) as images:
        candidates: dict[str, Candidate] = {
            "pyarrow's row group": partial(read_pyarrow, path, n_rows, positions),
            "faceprep, as it reads this file": partial(read_ours, images, positions),
            "faceprep, by row group and row": partial(read_rows, path, n_rows, positions),
        }
        side_by_side(title, len(positions), candidates, repeats)


if __name__ == "__main__":
    main()
