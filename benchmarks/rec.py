"""Compare `rec2folder` and `folder2rec` with MXNet's loops, and with a bare loop of writes.

The index of a large .idx, and the memory of all of them.

python benchmarks/rec.py --mxnet-python .venv-mxnet/bin/python  60,000 records of about 6 kB
python benchmarks/rec.py --label-arrays …                       the same with two labels an image
python benchmarks/rec.py --images 6000                          a quick look, without MXNet
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing import Process
from pathlib import Path

from figures import peak_mb, show_table
from timing import Candidate, side_by_side

from faceprep.core import storage
from faceprep.sets.recordio.framing import frame_image
from faceprep.synthetic import encode_face

N_OF_IDENTITY = 60
_BYTES = 6000


def payloads(n: int, n_bytes: int = _BYTES) -> Iterator[bytes]:
    """Draw faces, each filled up in front of its end mark to the size of a 112 × 112 photo.

    No two are equal, as a disk or a cache may make use of payloads that repeat.
    """
    faces = [encode_face(i, 0) for i in range(64)]
    for i in range(n):
        face = faces[i % len(faces)]
        filling = os.urandom(max(16, n_bytes - len(face))).replace(b"\xff", b"\x00")
        yield face[:-2] + filling + face[-2:]


def write_set(root: Path, n: int, more_labels: list[float], n_bytes: int = _BYTES) -> None:
    """Write a set in InsightFace's layout.

    Each image is labelled with its identity and `more_labels`.
    """
    images = payloads(n, n_bytes)
    n_identities = -(-n // N_OF_IDENTITY)
    offset = 0
    with (
        storage.AtomicFile(root / "train.rec") as rec,
        storage.AtomicFile(root / "train.idx") as idx,
    ):
        for key in range(n + 1 + n_identities):
            if key == 0:
                record = frame_image([n + 1, n + 1 + n_identities], b"", 0)
            elif key <= n:
                labels = [(key - 1) // N_OF_IDENTITY, *more_labels]
                record = frame_image(labels, next(images), key)
            else:
                first = (key - n - 1) * N_OF_IDENTITY + 1
                record = frame_image([first, min(first + N_OF_IDENTITY, n + 1)], b"", key)
            rec.write(record)
            idx.write(b"%d\t%d\n" % (key, offset))
            offset += len(record)


def fresh(root: Path) -> Path:
    """Return a new name each time, because ext4 creates files slowly where many were just
    deleted.
    """
    os.sync()
    return Path(tempfile.mkdtemp(dir=root)) / "out"


def ours(command: str, run_only: bool, source: Path, root: Path, *options: str) -> float:
    """Time the whole command, or return the time that it reports: planning and workers, but no
    imports.
    """
    target = fresh(root)
    started = time.perf_counter()
    asked = [sys.executable, "-m", "faceprep", command, source, target, "--json", *options]
    done = subprocess.run(asked, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["seconds"]) if run_only else time.perf_counter() - started


def theirs(python: str, command: str, loop_only: bool, source: Path, root: Path) -> float:
    """Time the whole script as people start it, or its loop alone, without the import of MXNet."""
    target = fresh(root)
    started = time.perf_counter()
    script = Path(__file__).parent / "peers" / "mxnet_rec.py"
    done = subprocess.run(
        [python, script, command, source, target], check=True, capture_output=True, text=True
    )
    return float(done.stdout.split()[-1]) if loop_only else time.perf_counter() - started


def mxnet(python: str, command: str, source: Path, root: Path) -> dict[str, Candidate]:
    return {
        "MXNet script": partial(theirs, python, command, False, source, root),
        "MXNet script, its loop alone": partial(theirs, python, command, True, source, root),
    }


def bare(n: int, n_workers: int, low_level: bool, root: Path) -> float:
    """Create the same files from ready bytes and names; the work alone is timed."""
    target = fresh(root)
    images = list(payloads(64))
    names = [f"{target}/{(key - 1) // N_OF_IDENTITY}/{key}.jpg" for key in range(1, n + 1)]
    started = time.perf_counter()
    for identity in range(-(-n // N_OF_IDENTITY)):
        os.makedirs(f"{target}/{identity}")
    step = -(-n // n_workers)
    workers = [
        Process(target=_create, args=(names[i : i + step], images, low_level))
        for i in range(0, n, step)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - started


def _create(names: list[str], images: list[bytes], low_level: bool) -> None:
    for i, name in enumerate(names):
        if low_level:
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.write(fd, images[i % 64])
            os.close(fd)
        else:
            with open(name, "wb") as file:
                file.write(images[i % 64])


def measure_index(root: Path, n_lines: int) -> None:
    """Parse an .idx of `n_lines` lines in a process of its own; show seconds and peak memory."""
    with storage.AtomicFile(root / "big.idx") as idx:
        for start in range(0, n_lines, 1 << 16):
            stop = min(start + (1 << 16), n_lines)
            idx.write(b"".join(b"%d\t%d\n" % (key, key * 6033 & ~3) for key in range(start, stop)))
    (root / "big.rec").write_bytes(b"\x0a\x23\xd7\xce" + bytes(28))
    code = (
        "import sys,time,resource;from pathlib import Path;"
        "from faceprep.sets.recordio import index as rec_index;"
        "t=time.perf_counter();n=rec_index.write_index(rec_index.find_rec(Path(sys.argv[1])),Path(sys.argv[2]));"
        "print(n,time.perf_counter()-t,resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    times = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code, root / "big.rec", root / "copy"],
            check=True,
            capture_output=True,
        )
        n, seconds, peak = done.stdout.split()
        times.append(float(seconds))
    row = {"seconds": statistics.median(times), "MB at the peak": int(peak) / 1024}
    show_table("index", {"faceprep": row}, f".idx of {int(n):,} lines, median of 3")


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--images", type=int, default=60_000)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--index-lines", type=int, default=17_000_000)
    options.add_argument(
        "--label-arrays", action="store_true", help="two labels an image, as some large sets have"
    )
    options.add_argument("--mxnet-python", default="")
    options.add_argument("--dir", help="where to work; a folder on the disk to be measured")
    given = options.parse_args()
    workers = ("--workers", str(given.workers))
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        root = Path(folder)
        source, folders = root / "set", root / "folders"
        write_set(source, given.images, [0.0] if given.label_arrays else [])
        candidates: dict[str, Candidate] = {
            "faceprep rec2folder": partial(ours, "rec2folder", False, source, root, *workers),
            "faceprep rec2folder, its run alone": partial(
                ours, "rec2folder", True, source, root, *workers
            ),
            "bare loop: open(), write, close": partial(
                bare, given.images, given.workers, False, root
            ),
            "bare loop: os.open, os.write, os.close": partial(
                bare, given.images, given.workers, True, root
            ),
        }
        if given.mxnet_python:
            candidates = mxnet(given.mxnet_python, "rec2folder", source, root) | candidates
        side_by_side("rec2folder", given.images, candidates, given.repeats)
        subprocess.run(
            [sys.executable, "-m", "faceprep", "rec2folder", source, folders],
            check=True,
            capture_output=True,
        )
        flat = ("--layout", "flat", "--seed", "1")
        candidates = {
            "faceprep folder2rec": partial(ours, "folder2rec", False, folders, root, *workers),
            "faceprep folder2rec, its run alone": partial(
                ours, "folder2rec", True, folders, root, *workers
            ),
            "faceprep folder2rec --layout flat": partial(
                ours, "folder2rec", False, folders, root, *flat, *workers
            ),
        }
        if given.mxnet_python:
            candidates = mxnet(given.mxnet_python, "folder2rec", folders, root) | candidates
        side_by_side("folder2rec", given.images, candidates, given.repeats)
        peak = {"MB": peak_mb(resource.RUSAGE_CHILDREN)}
        show_table("memory", {"the largest process, MXNet's included": peak})
        if given.index_lines:
            measure_index(root, given.index_lines)


if __name__ == "__main__":
    main()
