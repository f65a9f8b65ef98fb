"""Compare a search for 1,000 probes among n x 512 vectors with the machine's own sgemm rate.

    python benchmarks/search.py [--quick] [--rows 1000000] [--probes 1000] [--top 5] [--approximate]

The sgemm rate is that of numpy on all cores, on blocks of the same shape, probes x 4096, into the
same memory. The search runs as in a worker of the command: a thread per core, each with a BLAS of
one thread.
Our rate counts the products alone, probes x n x 2 x 512 operations, over the whole call: order of
the gallery, lengths, scaling, products, the closest identities and their images. Vectors are people
of ten images each; probes are further images of some of them. --approximate also builds the index.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
from figures import show_table
from similarity import DIM, PER_IDENTITY, people, sgemm_rate
from threadpoolctl import threadpool_limits
from timing import describe_options, describe_runs

from faceprep.core.embeddings import Embeddings
from faceprep.identity.ann_search import NearIndex
from faceprep.identity.search import Hits, find_closest
from faceprep.identity.vectors import prepare


def probes_of(gallery: Embeddings, n: int) -> Embeddings:
    """Draw further images of people spread over the gallery."""
    random = np.random.default_rng(1)
    rows = np.linspace(0, len(gallery) - 1, n).astype(int)
    rows = rows // PER_IDENTITY * PER_IDENTITY
    centres = np.stack([gallery.vectors[row : row + PER_IDENTITY].mean(axis=0) for row in rows])
    vectors = centres + 0.65 * random.standard_normal(centres.shape, np.float32)
    keys = [f"probe-{i:07d}" for i in range(n)]
    identities = [gallery.identities[row] for row in rows.tolist()]
    return Embeddings(keys, identities, vectors.astype(np.float32), gallery.model)


def exact(probes: Embeddings, gallery: Embeddings, top: int) -> tuple[float, Hits]:
    with threadpool_limits(1), mock.patch.dict(os.environ, OPENBLAS_NUM_THREADS="1"):
        started = time.perf_counter()
        hits = find_closest(prepare(probes), prepare(gallery), top + 1)
        return time.perf_counter() - started, hits


def approximate(probes: Embeddings, gallery: Embeddings, top: int, wanted: Hits) -> None:
    """Show the times of the index and of the search, and the recall over all probes."""
    ready, started = prepare(gallery), time.perf_counter()
    index = NearIndex.build(ready, 0)
    built, asked = time.perf_counter() - started, prepare(probes)
    tuning = index.tune(asked, top + 1, 0)
    started = time.perf_counter()
    hits = index.search(asked, top + 1)
    seconds = time.perf_counter() - started
    found, best = (each.choose(each.ranks == 1) for each in (hits, wanted))
    row = {"index s": built, "search s": seconds, "lists": tuning.n_lists}
    row |= {"recall@1": (found.groups == best.groups).mean(), "by its own sample": tuning.recall}
    note = f"{len(gallery):,} random vectors, the hardest kind; once"
    show_table("search --approximate", {"faceprep": row}, note)


def main() -> None:
    parser = describe_options(__doc__)
    parser.add_argument("--quick", action="store_true", help="50,000 rows, once")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--probes", type=int, default=1000)
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--approximate", action="store_true")
    args = parser.parse_args()
    n, repeats = (50_000, 1) if args.quick else (args.rows, args.repeats)
    with tempfile.TemporaryDirectory() as folder:
        gallery = people(n, Path(folder) / "gallery.npy")
        probes = probes_of(gallery, args.probes)
        rounds, height = [], min(args.probes, 1024)
        for _ in range(repeats):
            before = sgemm_rate(2, height)
            seconds, hits = exact(probes, gallery, args.top)
            theirs = (before + sgemm_rate(2, height)) / 2
            ours = args.probes * n * 2 * DIM / seconds / 1e9
            rounds.append((seconds, ours, theirs, ours / theirs))
            first = hits.choose(hits.ranks == 1)
            names = [gallery.identities[row * PER_IDENTITY] for row in first.groups.tolist()]
            right = np.mean([a == b for a, b in zip(names, probes.identities, strict=True)])
        columns = ("seconds", "GFLOP/s", "sgemm GFLOP/s", "share")
        medians = (statistics.median(column) for column in zip(*rounds, strict=True))
        row = dict(zip(columns, medians, strict=True)) | {"rank 1": right}
        note = f"{args.probes:,} probes, {n:,} vectors, {describe_runs(repeats)}"
        show_table("search", {"faceprep, exact": row}, note)
        if args.approximate:
            approximate(probes, gallery, args.top, hits)


if __name__ == "__main__":
    main()
