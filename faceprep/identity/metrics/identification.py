"""Identification metrics: rank-k and TPIR at FPIR for open-set searches, where some probes have no
mate.

Identities as similar to a probe as its mate rank before the mate. A model that gives every face the
same vector therefore finds no one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from faceprep.core.arrays import Floats, Ints
from faceprep.core.errors import SourceError
from faceprep.core.shards import even_bounds
from faceprep.core.slow_step import Progress, ignore_progress
from faceprep.identity.metrics.verification import Rates, count_scores, n_allowed_at

FPIRS = ("1e-1", "1e-2", "1e-3")
RANKS = (1, 5, 10, 20)
_MOST_RANKS, _N_POINTS = 100, 100
_BLOCK = 1 << 24
"""Floats that are at work at once."""
_TIED = 1e-6
"""Likeness nearer than this is a tie: products of the same vectors differ by so much with the
place in a block.
"""


_NOWHERE: Ints = np.empty(0, np.int64)


class Searches(NamedTuple):
    """Results of searches.

    `mates` (m,) is the likeness of each mated probe with its mate, `ranks` (m,) the rank of the
    mate from 1. `strangers` (k,) is the highest likeness of each probe without a mate in the
    gallery, and `closest` (k,) the row of the gallery that has it.
    """

    mates: Floats
    ranks: Ints
    strangers: Floats
    closest: Ints = _NOWHERE


@dataclass(frozen=True)
class Identification:
    """The result of `judge_searches`.

    `probes` have a mate in the `gallery`, `non_mated` have none. `rank` is the share of probes
    whose mate is among the first k, and `cmc` the same for each k from 1. `dir` has fpir, tpir and
    threshold of a few points of the curve of detection and identification rate. `histogram` counts
    the likeness of mates and the highest likeness of strangers. None marks a figure that these
    probes cannot measure.
    """

    gallery: int
    probes: int
    non_mated: int
    rank: Rates
    tpir_at_fpir: Rates
    threshold_at_fpir: Rates
    cmc: Sequence[float]
    dir: Mapping[str, Sequence[float]]
    histogram: Mapping[str, Any]


def search(
    gallery: Floats,
    gallery_ids: Ints,
    probes: Floats,
    probe_ids: Ints,
    progress: Progress = ignore_progress,
) -> Searches:
    """Compare each of the probes (p, d) with the gallery (g, d), which has one vector per identity.

    Identities as similar as the mate rank before it. Memory is bounded: probes come in blocks.
    `progress` receives the number of probes done, and p.
    Raises SourceError for an empty gallery and for a repeated identity.

    >>> rows = np.eye(2, dtype="f4")
    >>> found = search(rows, np.array([7, 8]), rows, np.array([8, 8]))
    >>> found.ranks.tolist(), found.mates.tolist()
    ([2, 1], [0.0, 1.0])
    """
    ids, columns = np.unique(gallery_ids, return_index=True)
    if not len(ids) or len(ids) < len(gallery_ids):
        found = "none" if not len(ids) else f"{len(gallery_ids):,} of {len(ids):,} identities"
        raise SourceError(
            "the gallery", expected="one vector per identity, and at least one", found=found
        )
    places = np.minimum(np.searchsorted(ids, probe_ids), len(ids) - 1)
    mate, is_mated = columns[places], ids[places] == probe_ids
    mated, others = np.flatnonzero(is_mated), np.flatnonzero(~is_mated)
    mates, ranks = np.empty(len(mated), np.float32), np.empty(len(mated), np.int64)
    strangers, closest = np.empty(len(others), np.float32), np.empty(len(others), np.int64)
    for rows, likeness in _likeness_blocks(gallery, probes, mated):
        mates[rows] = likeness[np.arange(len(likeness)), mate[mated[rows]]]
        least = mates[rows] - np.float32(_TIED)
        ranks[rows] = np.count_nonzero(likeness >= least[:, None], axis=1)
        progress(rows.stop, len(probes))
    for rows, likeness in _likeness_blocks(gallery, probes, others):
        closest[rows] = likeness.argmax(axis=1)
        strangers[rows] = likeness[np.arange(len(likeness)), closest[rows]]
        progress(len(mated) + rows.stop, len(probes))
    return Searches(mates, ranks, strangers, closest)


def judge_searches(searches: Searches, n_gallery: int) -> Identification:
    """Compute rank-k over the probes with a mate, and TPIR at FPIR over all.

    FPIR(t) is the share of probes without a mate whose likeness to anybody is at least t. TPIR(t)
    is the share of probes with a mate whose likeness to it is at least t and higher than to anybody
    else. This is 1 - FNIR(N, R = 1, T) of NIST's Face Recognition Vendor Test part 2 (NISTIR 8271),
    the open-set measure of IJB-B and IJB-C (Maze et al., ICB 2018). The result is the largest TPIR
    with an FPIR of at most each of `FPIRS`: where n strangers may be accepted, the threshold lies
    just above the (n+1)-th most similar one.

    >>> mates, non_mates = np.array([0.9, 0.4], "f4"), np.full(10, 0.5, "f4")
    >>> found = judge_searches(Searches(mates, np.array([1, 2]), non_mates), 2)
    >>> found.rank["1"], found.rank["5"], found.tpir_at_fpir
    (0.5, 1.0, {'1e-1': 0.5, '1e-2': None, '1e-3': None})
    """
    n, strangers = len(searches.mates), np.sort(searches.strangers)[::-1]
    tpirs: dict[str, float | None] = dict.fromkeys(FPIRS)
    thresholds: dict[str, float | None] = dict.fromkeys(FPIRS)
    for name in FPIRS:
        n_allowed = n_allowed_at(name, len(strangers))
        if n_allowed and n:
            threshold = _threshold_for(strangers, n_allowed)
            tpirs[name] = _identified(searches, threshold)
            thresholds[name] = float(threshold)
    ranks = {
        str(rank): int(np.count_nonzero(searches.ranks <= rank)) / n if n else None
        for rank in RANKS
    }
    return Identification(
        gallery=n_gallery,
        probes=n,
        non_mated=len(strangers),
        rank=ranks,
        tpir_at_fpir=tpirs,
        threshold_at_fpir=thresholds,
        cmc=_cumulate_ranks(searches.ranks, n_gallery),
        dir=_trace_dir(searches, strangers),
        histogram=count_scores(searches.mates, searches.strangers),
    )


def _threshold_for(strangers: Floats, n_allowed: int) -> np.floating[Any]:
    """Return the threshold just above the next stranger; `strangers` fall."""
    threshold: np.floating[Any] = np.nextafter(strangers[n_allowed], np.float32(np.inf))
    return threshold


def _identified(searches: Searches, threshold: np.floating[Any]) -> float:
    """Return the share of mates that rank first and reach the threshold."""
    is_found = (searches.mates >= threshold) & (searches.ranks == 1)
    return int(np.count_nonzero(is_found)) / len(searches.mates)


def _cumulate_ranks(ranks: Ints, n_gallery: int) -> list[float]:
    """Return the share of probes whose mate is among the first k, for k from 1."""
    if not len(ranks):
        return []
    n = min(n_gallery, _MOST_RANKS)
    counts = np.bincount(ranks, minlength=n + 1)[1 : n + 1]
    shares: list[float] = (np.cumsum(counts) / len(ranks)).tolist()
    return shares


def _trace_dir(searches: Searches, strangers: Floats) -> Mapping[str, Sequence[float]]:
    """Return TPIR at up to 100 numbers of accepted strangers, on a logarithmic scale."""
    curve: dict[str, list[float]] = {"fpir": [], "tpir": [], "threshold": []}
    if not len(strangers) or not len(searches.mates):
        return curve
    allowed = np.unique(np.geomspace(1, len(strangers), _N_POINTS).round().astype(np.int64))
    for n_allowed in allowed[allowed < len(strangers)].tolist():
        threshold = _threshold_for(strangers, n_allowed)
        curve["fpir"].append(int(np.count_nonzero(strangers >= threshold)) / len(strangers))
        curve["tpir"].append(_identified(searches, threshold))
        curve["threshold"].append(float(threshold))
    return curve


def _likeness_blocks(gallery: Floats, probes: Floats, rows: Ints) -> Iterator[tuple[slice, Floats]]:
    """Yield (places in `rows`, likeness of those probes with all of the gallery), in blocks."""
    shorter = (1 - np.einsum("nd,nd->n", gallery, gallery)) / 2
    for start, stop in even_bounds(len(rows), max(1, _BLOCK // len(gallery))):
        block = probes[rows[start:stop]]
        likeness = block @ gallery.T
        likeness += shorter
        likeness += ((1 - np.einsum("nd,nd->n", block, block)) / 2)[:, None]
        yield slice(start, stop), likeness
