"""Compare `convert` from a .rec to four .tar shards and back with the loops that people write.

    python benchmarks/convert.py --n 60000 --mxnet-python PYTHON --dir /dev/shm

PYTHON has mxnet and webdataset (`PYTHONPATH` is passed on). Each candidate is a whole command; the
peers print the seconds of their loop, without their imports, which is in their favour. An output is
removed after its candidate, so that the disk or the memory need not hold all of them. No payload
repeats. `--only rec-to-tar` and so on measures one conversion.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from filecmp import cmp
from pathlib import Path

from rec import N_OF_IDENTITY, write_set
from timing import Candidate, side_by_side

_PEERS = Path(__file__).parent / "peers"
_N_SHARDS = 4
Work = Callable[[Path], float | None]


def convert(source: Path, target: Path, *options: str) -> None:
    """Run the whole command with two workers."""
    words = [sys.executable, "-m", "faceprep", "convert", str(source), str(target), *options]
    subprocess.run([*words, "--workers", "2", "-q"], check=True, stdout=subprocess.DEVNULL)


def peer(python: str, script: str, *words: object) -> float:
    """Run a peer's loop and return the seconds that it prints."""
    command = [python, str(_PEERS / script), *map(str, words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def copy_bytes(sources: list[Path], target: Path) -> None:
    """Copy the same bytes and wait for the disk: the least that any conversion costs."""
    with target.open("wb") as file:
        for source in sources:
            with source.open("rb") as read:
                shutil.copyfileobj(read, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())


class Benchmark:
    """The set of a run, and its conversions."""

    def __init__(self, given: argparse.Namespace, root: Path) -> None:
        self.n, self.root, self.repeats = given.n, root, given.repeats
        self.python = given.mxnet_python
        self.source, self.shards = root / "set", root / "shards"
        for folder in (self.source, self.shards):
            folder.mkdir()
        write_set(self.source, given.n, [], given.bytes)
        convert(self.source, self.shards / "a.tar", "--shards", str(_N_SHARDS))
        self.tars = sorted(self.shards.glob("*.tar"))

    def timed(self, work: Work) -> Candidate:
        """Return a candidate that works in a new folder and times the work alone."""

        def run() -> float:
            folder = Path(tempfile.mkdtemp(dir=self.root))
            os.sync()
            started = time.perf_counter()
            own = work(folder)
            seconds = time.perf_counter() - started
            shutil.rmtree(folder)
            return seconds if own is None else own

        return run

    def compare(self, title: str, works: dict[str, Work]) -> None:
        """Show the candidates side by side."""
        candidates = {name: self.timed(work) for name, work in works.items()}
        side_by_side(title, self.n, candidates, self.repeats)

    def rec_to_tar(self) -> None:
        shards = ("--shards", str(_N_SHARDS))
        works: dict[str, Work] = {}
        if self.python:
            words = (self.source / "train", -(-self.n // _N_SHARDS))
            works["MXNet's loop into ShardWriter"] = lambda to: peer(
                self.python, "webdataset_shards.py", words[0], to / "a-%d.tar", words[1]
            )
        works |= {
            "faceprep convert, two workers": lambda to: convert(self.source, to / "a.tar", *shards),
            "cat of the same bytes, with fsync": lambda to: copy_bytes(self.tars, to / "a"),
        }
        self.compare(f".rec to {_N_SHARDS} .tar", works)

    def tar_to_rec(self) -> None:
        works: dict[str, Work] = {}
        if self.python:
            works["tarfile and MXNet's writer"] = self._peer_to_rec
        works |= {
            "faceprep convert, two workers": lambda to: convert(self.shards, to / "a.rec"),
            "cat of the same bytes, with fsync": lambda to: copy_bytes(self.tars, to / "a"),
        }
        self.compare(f"{_N_SHARDS} .tar to .rec", works)
        if self.python and not self._are_equal():
            raise RuntimeError("convert and MXNet's writer differ")

    def _peer_to_rec(self, folder: Path) -> float:
        counts = (self.n, -(-self.n // N_OF_IDENTITY))
        return peer(self.python, "tar_to_rec.py", folder / "a", *counts, *self.tars)

    def _are_equal(self) -> bool:
        """Return whether both write the same .rec and .idx."""
        with tempfile.TemporaryDirectory(dir=self.root) as folder:
            ours, theirs = Path(folder) / "ours", Path(folder) / "theirs"
            theirs.mkdir()
            convert(self.shards, ours / "a.rec")
            self._peer_to_rec(theirs)
            return all(
                cmp(ours / name, theirs / name, shallow=False) for name in ("a.rec", "a.idx")
            )

    def to_others(self) -> None:
        for suffix in (".tfrecord", ".parquet"):
            works: dict[str, Work] = {
                "faceprep convert": lambda to, name=f"a{suffix}": convert(self.shards, to / name)
            }
            self.compare(f".tar to {suffix}", works)


_CONVERSIONS = {
    "rec-to-tar": Benchmark.rec_to_tar,
    "tar-to-rec": Benchmark.tar_to_rec,
    "others": Benchmark.to_others,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=60_000)
    parser.add_argument("--dir", help="where to work; a folder on the disk to be measured")
    parser.add_argument("--mxnet-python", default="")
    parser.add_argument("--bytes", type=int, default=6000, help="bytes of an image")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=_CONVERSIONS, action="append")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        benchmark = Benchmark(given, Path(folder))
        for name in given.only or _CONVERSIONS:
            _CONVERSIONS[name](benchmark)


if __name__ == "__main__":
    main()
