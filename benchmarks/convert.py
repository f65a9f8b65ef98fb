"""convert: a .rec to four .tar shards and back, beside the loops that people write.

    python benchmarks/convert.py --n 60000 --mxnet-python PYTHON --root /dev/shm

PYTHON has mxnet and webdataset (`PYTHONPATH` is passed on). Each candidate is a whole command; the
peers print the seconds of their loop, without their imports, which is in their favour.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rec import write_set
from timing import side_by_side

_PEERS = Path(__file__).parent / "peers"
_N_SHARDS = 4


def convert(source: Path, target: Path, *options: str) -> None:
    """Run the whole command with two workers."""
    words = [sys.executable, "-m", "faceprep", "convert", str(source), str(target), *options]
    subprocess.run([*words, "--workers", "2", "-q"], check=True, stdout=subprocess.DEVNULL)


def peer(python: str, script: str, *words: str) -> float:
    """Run a peer's loop and return the seconds that it prints."""
    done = subprocess.run(
        [python, str(_PEERS / script), *words], check=True, capture_output=True, text=True
    )
    return float(done.stdout.split()[-1])


def forget(path: Path) -> None:
    """Drop the pages of a file from the cache, so that it is read from the disk."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def copy_bytes(sources: list[Path], target: Path) -> None:
    """Copy the same bytes and wait for the disk: the least that any conversion costs."""
    with target.open("wb") as file:
        for source in sources:
            with source.open("rb") as read:
                shutil.copyfileobj(read, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=60_000)
    parser.add_argument("--root", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--mxnet-python", default="")
    parser.add_argument("--bytes", type=int, default=6000, help="bytes of an image")
    parser.add_argument("--cold", action="store_true", help="read the .rec from the disk each time")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(dir=args.root))
    source = root / "set"
    source.mkdir()
    write_set(source, args.n, [], args.bytes)
    numbers = iter(range(1 << 30))

    def fresh() -> Path:
        if args.cold:
            os.sync()
            forget(source / "train.rec")
        folder = root / f"out{next(numbers)}"
        folder.mkdir()
        return folder

    shards = fresh()
    convert(source, shards / "a.tar", "--shards", str(_N_SHARDS))
    candidates = {
        "faceprep convert, two workers": lambda: convert(
            source, fresh() / "a.tar", "--shards", str(_N_SHARDS)
        )
    }
    if args.mxnet_python:
        per_shard = str(-(-args.n // _N_SHARDS))
        candidates["MXNet's loop into ShardWriter"] = lambda: peer(
            args.mxnet_python,
            "webdataset_shards.py",
            str(source / "train"),
            str(fresh() / "a-%d.tar"),
            per_shard,
        )
    tars = sorted(shards.glob("*.tar"))
    to_rec = {"faceprep convert": lambda: convert(shards, fresh() / "a.rec")}
    if args.mxnet_python:
        words = [str(tar) for tar in tars]
        to_rec["tarfile and MXNet's writer"] = lambda: peer(
            args.mxnet_python, "tar_to_rec.py", str(fresh() / "a"), *words
        )
    candidates["cat of the same bytes, with fsync"] = lambda: copy_bytes(tars, fresh() / "a")
    side_by_side(f".rec to {_N_SHARDS} .tar", args.n, candidates, args.repeats)
    side_by_side(".tar to .rec", args.n, to_rec, args.repeats)
    shuffle = ("--seed", "1")
    side_by_side(
        ".rec to .tar, shuffled",
        args.n,
        {
            "faceprep convert, read directly": lambda: convert(
                source, fresh() / "a.tar", *shuffle, "--memory", str(1 << 60)
            ),
            "faceprep convert, in two passes": lambda: convert(
                source, fresh() / "a.tar", *shuffle, "--memory", "1"
            ),
        },
        args.repeats,
    )
    for suffix in (".tfrecord", ".parquet"):
        side_by_side(
            f".tar to {suffix}",
            args.n,
            {"faceprep convert": lambda suffix=suffix: convert(shards, fresh() / f"a{suffix}")},
            args.repeats,
        )
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
