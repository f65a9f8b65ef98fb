"""Compare a shuffled `convert` of a .rec larger than memory with direct reads in that order.

    python benchmarks/shuffle.py --dir /var/tmp --n 400000 --mib 1000

Each candidate runs in a control group whose memory, cached pages included, is limited to a part of
the source's bytes. It needs root on Linux, and a folder on a disk. The loop of direct reads writes
plain bytes to one file; `convert` writes .tar with two workers. Parts of one file are joined by a
copy, which four shards do not need. No payload repeats.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rec import write_set
from timing import Candidate, side_by_side

_GROUPS = Path("/sys/fs/cgroup")
_FAR = str(1 << 60)
_SHARDS = ("--shards", "4")


def copy_shuffled(source: Path, target: Path) -> None:
    """Copy the records of a .rec in random order, each read by itself, and wait for the disk."""
    lines = (source / "train.idx").read_text().splitlines()
    offsets = [int(line.partition("\t")[2]) for line in lines]
    ends = [*offsets[1:], (source / "train.rec").stat().st_size]
    order = random.Random(1).sample(range(len(offsets)), len(offsets))
    with (source / "train.rec").open("rb") as records, target.open("wb") as file:
        for i in order:
            file.write(os.pread(records.fileno(), ends[i] - offsets[i], offsets[i]))
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def memory_group(n_bytes: int) -> Iterator[Path]:
    """Create a control group of `n_bytes` of memory, of either version of control groups."""
    root, limit = _GROUPS, "memory.max"
    if (_GROUPS / "memory").is_dir():
        root, limit = _GROUPS / "memory", "memory.limit_in_bytes"
    group = root / f"faceprep-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise SystemExit(f"needs root and a control group for memory: {error}") from None
    try:
        (group / limit).write_text(str(n_bytes))
        yield group
    finally:
        group.rmdir()


def run_in(group: Path, words: list[str]) -> None:
    """Run a command in a control group; its children are in it too."""
    join = partial((group / "cgroup.procs").write_text, "0")
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, preexec_fn=join)


def forget(path: Path) -> None:
    """Drop the pages of a file from the cache."""
    os.sync()
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def time_in(group: Path, source: Path, words: list[str]) -> float:
    """Return the seconds of a command that reads `source` cold and writes to a new folder."""
    forget(source / "train.rec")
    folder = Path(tempfile.mkdtemp(dir=source.parent))
    started = time.perf_counter()
    run_in(group, [*words, str(folder / "a.tar")])
    seconds = time.perf_counter() - started
    shutil.rmtree(folder)
    return seconds


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--n", type=int, default=400_000)
    options.add_argument("--bytes", type=int, default=6000, help="bytes of an image")
    options.add_argument("--mib", type=int, default=1000, help="limit of the memory")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--dir", help="where to work: a folder on a disk")
    options.add_argument("--loop", nargs=2, type=Path, metavar=("SET", "TO"), help="the loop alone")
    given = options.parse_args()
    if given.loop:
        copy_shuffled(*given.loop)
        return
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        source = Path(folder) / "set"
        source.mkdir()
        write_set(source, given.n, [], given.bytes)
        command = [sys.executable, "-m", "faceprep", "convert", "--seed", "1", "--workers", "2"]
        works = {
            "a loop of direct reads, one file": [sys.executable, __file__, "--loop"],
            "faceprep convert, one file": command,
            "faceprep convert, four shards": [*command, *_SHARDS],
            "four shards, read directly": [*command, *_SHARDS, "--memory", _FAR],
            "four shards, in two passes": [*command, *_SHARDS, "--memory", "1"],
        }
        with memory_group(given.mib << 20) as group:
            candidates: dict[str, Candidate] = {
                name: partial(time_in, group, source, [*words, str(source)])
                for name, words in works.items()
            }
            title = f"shuffled, of {given.n * given.bytes >> 20} MiB with {given.mib} of memory"
            side_by_side(title, given.n, candidates, given.repeats)


if __name__ == "__main__":
    main()
