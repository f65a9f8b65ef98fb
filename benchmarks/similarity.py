"""All pairs of n x 512 vectors against the machine's own sgemm rate, measured in turns in the same
run.

    python benchmarks/similarity.py [--quick] [--rows 100000] [--repeats 3] [--million]

The sgemm rate is that of numpy on blocks of 4096 x 4096 into the same memory. Ours is counted as
the products that a triangle needs, n(n-1)/2 x 2 x 512 operations, over the whole call: scaling,
products, thresholds, measuring what was found. Vectors are random people of ten images each, one in
a hundred of them under two names; pairs between identities from a likeness of 0.3 on are found.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from timing import describe_options

from faceprep.core.embeddings import Embeddings, Model
from faceprep.identity.similarity import find_pairs
from faceprep.identity.vectors import prepare

DIM, BLOCK = 512, 4096
PER_IDENTITY = 10


def people(n: int, path: Path) -> Embeddings:
    """Memory-mapped: ten images around each of n / 10 random directions."""
    rows = np.lib.format.open_memmap(path, "w+", np.float32, (n, DIM))
    for start in range(0, n, 10_000):
        random = np.random.default_rng(start)
        block = rows[start : start + 10_000]
        centres = random.standard_normal((-(-len(block) // PER_IDENTITY), DIM), np.float32)
        centres[1::100] = centres[::100][: len(centres[1::100])]
        block[:] = np.repeat(centres, PER_IDENTITY, axis=0)[: len(block)]
        block += 0.65 * random.standard_normal(block.shape, np.float32)
    rows.flush()
    keys = [f"{i:08d}" for i in range(n)]
    return Embeddings(
        keys, [f"{i // PER_IDENTITY:08d}" for i in range(n)], np.load(path, mmap_mode="r"), Model()
    )


def sgemm_rate(seconds: float, height: int = BLOCK) -> float:
    """Operations a second, in units of 1e9, of products of `height` x 4096."""
    random = np.random.default_rng(0)
    left = random.standard_normal((height, DIM), np.float32)
    right = random.standard_normal((BLOCK, DIM), np.float32)
    out = np.empty((height, BLOCK), np.float32)
    np.matmul(left, right.T, out=out)
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        np.matmul(left, right.T, out=out)
        done += 1
    return done * 2 * out.size * DIM / (time.perf_counter() - started) / 1e9


def all_pairs(embeddings: Embeddings) -> tuple[float, float, int]:
    """(seconds, operations a second in units of 1e9, pairs found)."""
    started = time.perf_counter()
    found = find_pairs(prepare(embeddings), 0.3, between_identities=True)
    seconds = time.perf_counter() - started
    return seconds, len(embeddings) * (len(embeddings) - 1) * DIM / seconds / 1e9, len(found.left)


def in_turns(embeddings: Embeddings, repeats: int) -> float:
    """Prints a line a round; the median seconds of ours."""
    rounds = []
    for _ in range(repeats):
        before = sgemm_rate(2)
        seconds, ours, n_pairs = all_pairs(embeddings)
        theirs = (before + sgemm_rate(2)) / 2
        rounds.append((seconds, ours / theirs))
        shown = (
            f"{len(embeddings):>9,} rows {seconds:8.2f} s {ours:7.1f} of {theirs:7.1f} "
            f"GFLOP/s = {ours / theirs:4.0%}"
        )
        print(f"{shown}; {n_pairs:,} pairs found; peak {peak():.2f} GB", flush=True)
    seconds, share = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"{'median':>9s}      {seconds:8.2f} s, {share:.0%}")
    return seconds


def peak() -> float:
    """Resident memory of this process at its highest, in GB; pages of the mapped file count as
    well.
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def sizes(most: int) -> Iterator[int]:
    for share in (4, 2, 1):
        yield most // share


def main() -> None:
    parser = describe_options(__doc__)
    parser.add_argument("--quick", action="store_true", help="20,000 rows, once")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--million",
        action="store_true",
        help="run 1,000,000 rows once instead of projecting it only",
    )
    args = parser.parse_args()
    rows, repeats = (20_000, 1) if args.quick else (args.rows, args.repeats)
    with tempfile.TemporaryDirectory() as folder:
        measured = {}
        for n in sizes(rows):
            measured[n] = in_turns(people(n, Path(folder) / f"{n}.npy"), repeats)
        n, half = rows, rows // 2
        power = np.log(measured[n] / measured[half]) / np.log(n / half)
        print(f"time grows with rows to the power of {power:.2f}; 2 is what pairs do")
        print(
            f"1,000,000 rows, projected with the square: {measured[n] * (1e6 / n) ** 2 / 60:.0f} "
            "minutes"
        )
        if args.million:
            in_turns(people(1_000_000, Path(folder) / "million.npy"), 1)


if __name__ == "__main__":
    main()
