"""Compare all pairs of n x 512 vectors with the machine's own sgemm rate, in the same run.

    python benchmarks/similarity.py [--quick] [--rows 60000] [--repeats 3] [--million]

The sgemm rate is that of numpy on blocks of 4096 x 4096 into the same memory. Ours is counted as
the products that a triangle needs, n(n-1)/2 x 2 x 512 operations, over the whole call: scaling,
products, thresholds, measuring what was found. Vectors are random people of ten images each, one in
a hundred of them under two names; pairs between identities from a likeness of 0.3 on are found.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from figures import Cell, peak_mb, show_table
from timing import describe_options, describe_runs

from faceprep.core.embeddings import Embeddings, Model
from faceprep.identity.similarity import all_pairs, factors_of_images
from faceprep.identity.vectors import prepare

DIM, BLOCK = 512, 4096
PER_IDENTITY = 10


def people(n: int, path: Path) -> Embeddings:
    """Draw ten images around each of n / 10 random directions, memory-mapped."""
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
    """Return the rate of products of `height` x 4096, in units of 1e9 operations a second."""
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


def compare_all(embeddings: Embeddings) -> tuple[float, float, int]:
    """Return seconds, operations a second in units of 1e9, and pairs of two identities found."""
    started, n_found = time.perf_counter(), 0
    vectors = prepare(embeddings)
    for i, j in all_pairs(factors_of_images(vectors), 0.3):
        apart = vectors.group_of(i) != vectors.group_of(j)
        n_found += np.count_nonzero(vectors.likeness(i[apart], j[apart]) >= 0.3)
    seconds = time.perf_counter() - started
    return seconds, len(embeddings) * (len(embeddings) - 1) * DIM / seconds / 1e9, n_found


def in_turns(embeddings: Embeddings, repeats: int) -> dict[str, Cell]:
    """Return a row with the medians of ours and of the machine's rate."""
    rounds = []
    for _ in range(repeats):
        before = sgemm_rate(2)
        seconds, ours, n_pairs = compare_all(embeddings)
        theirs = (before + sgemm_rate(2)) / 2
        rounds.append((seconds, ours, theirs, ours / theirs))
    columns = ("seconds", "GFLOP/s", "sgemm GFLOP/s", "share")
    medians = (statistics.median(column) for column in zip(*rounds, strict=True))
    counts = {"rows": len(embeddings), "pairs found": n_pairs, "MB at the peak": peak_mb()}
    return dict(zip(columns, medians, strict=True)) | counts


def main() -> None:
    parser = describe_options(__doc__)
    parser.add_argument("--quick", action="store_true", help="20,000 rows, once")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--million", action="store_true", help="run 1,000,000 rows once as well")
    args = parser.parse_args()
    rows, repeats = (20_000, 1) if args.quick else (args.rows, args.repeats)
    with tempfile.TemporaryDirectory() as folder:
        rows_of = {}
        for name, share in (("a quarter", 4), ("half", 2), ("largest", 1)):
            embeddings = people(rows // share, Path(folder) / f"{share}.npy")
            rows_of[name] = in_turns(embeddings, repeats)
        if args.million:
            rows_of["a million"] = in_turns(people(1_000_000, Path(folder) / "million.npy"), 1)
    note = f"{DIM} numbers, memory-mapped, {describe_runs(repeats)}"
    show_table("all pairs", rows_of, note)


if __name__ == "__main__":
    main()
