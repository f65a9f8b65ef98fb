"""Time the index of a .tar of small samples beside one pass of webdataset, or of tarfile, over it.

python benchmarks/tar_index.py             100,000 samples of .jpg and .cls
python benchmarks/tar_index.py --quick     a tenth of it

Two files: as faceprep writes them, and as webdataset.TarWriter does, with a pax header for each
member. The seconds are those of the wall; name a folder in memory, such as /dev/shm, by --dir.
"""

from __future__ import annotations

import argparse
import io
import os
import tarfile
import tempfile
import time
from functools import partial
from pathlib import Path

from timing import Candidate, side_by_side

from faceprep.sets.containers import index_set, open_set
from faceprep.sets.webdataset import END, key_of, sample_bytes

try:
    from webdataset import WebDataset
except ImportError:
    WebDataset = None


def write_ours(path: Path, n: int, n_bytes: int) -> None:
    with path.open("wb") as file:
        for i in range(n):
            file.write(sample_bytes(key_of(f"{i // 50}/{i}"), os.urandom(n_bytes), ".jpg", i // 50))
        file.write(END)


def write_theirs(path: Path, n: int, n_bytes: int) -> None:
    """Write what webdataset.TarWriter writes; its time of change has a fraction."""
    with tarfile.open(path, "w") as archive:
        for i in range(n):
            for suffix, data in (("cls", b"%d" % (i // 50)), ("jpg", os.urandom(n_bytes))):
                entry = tarfile.TarInfo(f"{i:07d}.{suffix}")
                entry.size, entry.mtime = len(data), 1.5 + i  # type: ignore[assignment]
                archive.addfile(entry, io.BytesIO(data))


def index(path: Path) -> float:
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        started = time.perf_counter()
        index_set(path, Path(scratch)).close()
        return time.perf_counter() - started


def reopen(path: Path, n: int) -> float:
    """Measure the time to open an index again and to look up one key and identity."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        index_set(path, Path(scratch)).close()
        started = time.perf_counter()
        with open_set(Path(scratch)) as found:
            found.key(n // 2)
            found.identity(n // 2)
        return time.perf_counter() - started


def read_all(path: Path) -> float:
    with (
        tempfile.TemporaryDirectory(dir=path.parent) as scratch,
        index_set(path, Path(scratch)) as found,
    ):
        started = time.perf_counter()
        for _ in found.read(range(len(found))):
            pass
        return time.perf_counter() - started


def iterate_webdataset(path: Path) -> None:
    for _ in WebDataset(str(path), shardshuffle=False):
        pass


def iterate_tarfile(path: Path) -> None:
    """Read as webdataset does: a stream, each member whole."""
    with tarfile.open(path, "r|*") as archive:
        for entry in archive:
            content = archive.extractfile(entry)
            if content is not None:
                content.read()
            archive.members = []


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--samples", type=int, default=100_000)
    options.add_argument("--bytes", type=int, default=500)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--dir", help="where to work; a folder on the disk to be measured")
    given = options.parse_args()
    n = given.samples // 10 if given.quick else given.samples
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        for title, write in (("our shard", write_ours), ("a TarWriter's shard", write_theirs)):
            path = Path(folder) / "a.tar"
            write(path, n, given.bytes)
            candidates: dict[str, Candidate] = {}
            if WebDataset is not None:
                candidates["webdataset, one pass"] = partial(iterate_webdataset, path)
            candidates |= {
                "tarfile, one pass as a stream": partial(iterate_tarfile, path),
                "faceprep, index": partial(index, path),
                "faceprep, read all by the index": partial(read_all, path),
                "faceprep, index opened again": partial(reopen, path, n),
            }
            side_by_side(title, n, candidates, given.repeats)


if __name__ == "__main__":
    main()
