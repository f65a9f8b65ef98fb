"""Measure the memory of `merge-identities` on many identities, from vectors and a .rec.

    python benchmarks/merge_memory.py [--identities 200000] [--images 2] [--dim 512] [--blocks 20]

The vectors are made up; every hundredth identity is a person who signed up twice. Comparing all
pairs takes hours at full size and the same memory from the first block to the last. So only
`--blocks` blocks are compared, and the planted pairs are the ones found. All else runs as in the
command. Anonymous memory is what the system cannot take back; mapped files are not counted.
"""

from __future__ import annotations

import itertools
import re
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from figures import show_table
from timing import describe_options

import faceprep.cli
from faceprep.core import storage
from faceprep.core.arrays import Floats, Ints
from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.large_arrays import allocate
from faceprep.identity import merge
from faceprep.identity.similarity import Factors, Progress, all_pairs
from faceprep.sets.recordio.framing import frame_image
from faceprep.tables.embeddings import Place, write_npz

MODEL = Model("made up", merge_from=0.5, undecided_from=0.3)
EACH = 100
ROWS = 1 << 14


def write_rec(rec: Path, n: int, per_identity: int) -> None:
    """Write `n` records of a small photo; bytes after its end mark make each one different."""
    photo = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    offset = 0
    with storage.AtomicFile(rec) as file, storage.AtomicFile(rec.with_suffix(".idx")) as idx:
        for key in range(n):
            record = frame_image([key // per_identity], photo + struct.pack("<q", key), key)
            file.write(record)
            idx.write(b"%d\t%d\n" % (key, offset))
            offset += len(record)


def draw_vectors(n: int, per_identity: int, dim: int) -> Floats:
    """Draw vectors (n, dim); identity g is the person of g - 1 where g is a multiple of 100."""
    random = np.random.default_rng(0)
    vectors: Floats = allocate((n, dim), np.float32, in_memory=0)
    for start in range(0, n, ROWS):
        stop = min(start + ROWS, n)
        vectors[start:stop] = random.standard_normal((stop - start, dim), np.float32)
    same = np.arange(EACH, n // per_identity, EACH) * per_identity
    for image in range(per_identity):
        vectors[same + image] = vectors[same - 1]
        vectors[same - 1 - image] = vectors[same - 1]
    return vectors


def write_vectors(path: Path, rec: Path, vectors: Floats, per_identity: int) -> None:
    n = len(vectors)
    identities = [str(at // per_identity) for at in range(n)]
    keys = [f"{identity}/{at}" for at, identity in enumerate(identities)]
    with storage.AtomicFile(path) as file:
        write_npz(file, Embeddings(keys, identities, vectors, MODEL), Place(str(rec)))


def compare_some(n_blocks: int) -> None:
    """Let the merge compare the first blocks only, and find the planted pairs."""

    def search(
        factors: Factors, least: float, block: int = 0, progress: Progress | None = None
    ) -> Iterator[tuple[Ints, Ints]]:
        done: list[int] = []
        started = time.perf_counter()
        total = [0]

        def count(step: int, of: int) -> None:
            total[0] = of
            done.append(step)
            if step >= n_blocks:
                raise StopIteration

        try:
            for _ in all_pairs(factors, least, block, count):
                pass
        except RuntimeError:  # a StopIteration that left a generator
            pass
        seconds = time.perf_counter() - started
        print(f"compared {len(done)} of {total[0]:,} blocks in {seconds:.1f} s", file=sys.stderr)
        names = sorted(map(str, range(factors.n)))
        place = {int(name): at for at, name in enumerate(names)}
        twins = np.arange(EACH, factors.n, EACH)
        left = np.array([place[each - 1] for each in twins.tolist()], np.int64)
        right = np.array([place[each] for each in twins.tolist()], np.int64)
        yield np.minimum(left, right), np.maximum(left, right)

    merge.all_pairs = search


@contextmanager
def watched() -> Iterator[list[int]]:
    """Sample the anonymous memory of this process, in kB, and print its peak every 10 s."""
    samples, is_over = [0], threading.Event()

    def watch() -> None:
        for step in itertools.count():
            status = Path("/proc/self/status").read_text()
            found = re.search(r"RssAnon:\s+(\d+)", status)
            samples.append(int(found[1]) if found else 0)
            if step % 100 == 0:
                print(f"anonymous memory {samples[-1] / 1e6:.2f} GB", file=sys.stderr)
            if is_over.wait(0.1):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        is_over.set()
        thread.join()


def main() -> None:
    parser = describe_options(__doc__)
    parser.add_argument("--identities", type=int, default=200_000)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--dir", help="where to work; a folder on the disk to be measured")
    parser.add_argument("--quick", action="store_true", help="20,000 identities")
    parser.add_argument("--kept", type=Path, help="a folder that keeps the inputs")
    args = parser.parse_args()
    if args.quick:
        args.identities = 20_000
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        folder = args.kept or Path(name)
        rec, npz = folder / "train.rec", folder / "vectors.npz"
        if not npz.exists():
            n = args.identities * args.images
            write_rec(rec, n, args.images)
            write_vectors(npz, rec, draw_vectors(n, args.images, args.dim), args.images)
        compare_some(args.blocks)
        output = Path(name) / "merged.rec"
        sys.argv = ["faceprep", "merge-identities", str(npz), str(output), "--runner", "serial"]
        started = time.perf_counter()
        with watched() as samples:
            status = faceprep.cli.main()
        seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"merge-identities ended with {status}")
    row = {"identities": args.identities, "images": args.identities * args.images}
    row |= {"seconds": seconds, "GB": max(samples) / 1e6}
    note = f"anonymous memory; {args.blocks} blocks compared, once"
    show_table("merge-identities", {"the whole command": row}, note)


if __name__ == "__main__":
    main()
