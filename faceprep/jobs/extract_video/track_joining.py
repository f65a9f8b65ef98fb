"""`--track-embedder`: tracks of one person joined by the similarity of their faces.

Tracks end at scene changes and where a face is lost for some frames. Similar tracks of which no two
share a frame get one number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from faceprep.core.arrays import Bools, Doubles, Floats, Ints, Pixels
from faceprep.core.embeddings import Embeddings
from faceprep.core.types import ACCEPTED, MERGE, Decision
from faceprep.identity.merge import plan_merges
from faceprep.steps.embed_options import EmbedOptions
from faceprep.vision import codec

_BATCH = 64
_SAMPLES = 5
"""Faces of a track that are compared."""
_LEAST = 3
"""Minimum number of sure faces of a track."""


def choose_samples(tracks: Ints, scores: Doubles, are_sure: Bools) -> Ints:
    """Return the rows of the faces to compare, ascending: the best sure ones of each track.

    `tracks`, `scores` and `are_sure` are (n,), one for each face. A track is no evidence if it has
    too few sure faces, or if most of its faces are unsure, because dark, blurred and hidden faces
    look alike.

    >>> tracks, scores = np.array([0, 0, 1, 0, 1]), np.array([0.9, 0.8, 1.0, 0.7, 1.0])
    >>> choose_samples(tracks, scores, np.array([True] * 5)).tolist()
    [0, 1, 3]
    """
    n_sure, n_all = (np.bincount(tracks, weights) for weights in (are_sure, np.ones(len(tracks))))
    is_evidence = (n_sure >= _LEAST) & (2 * n_sure >= n_all)
    order = np.lexsort((-scores, ~are_sure, tracks))
    places = np.arange(len(order)) - np.searchsorted(tracks[order], tracks[order])
    is_chosen = is_evidence[tracks[order]] & are_sure[order] & (places < _SAMPLES)
    return np.sort(order[is_chosen])


def embed_samples(options: EmbedOptions, samples: Iterable[tuple[int, bytes]]) -> Embeddings:
    """Embed encoded crops, each with its track. Crops without a vector are left out."""
    tracks: list[int] = []
    parts: list[Floats] = []
    crops: list[Pixels] = []
    for track, data in samples:
        tracks.append(track)
        crops.append(codec.decode(data))
        if len(crops) == _BATCH:
            parts.append(options.embed(crops))
            crops = []
    parts.append(options.embed(crops))
    vectors = np.concatenate(parts)
    rows = np.flatnonzero(np.isfinite(vectors).all(axis=1) & vectors.any(axis=1))
    names = [_name(tracks[row]) for row in rows.tolist()]
    keys = [f"{name}/{row}" for name, row in zip(names, rows.tolist(), strict=True)]
    return Embeddings(keys, names, vectors[rows], options.model())


def join_tracks(embeddings: Embeddings, tracks: Ints, frames: Ints) -> Ints:
    """Return the new number of each track, in the order in which they begin.

    `tracks` and `frames` are (n,), one for each face. Tracks that share a frame are never joined.
    """
    numbers = np.arange(tracks.max(initial=-1) + 1)
    if len(embeddings):
        merges = [
            each
            for each in plan_merges(embeddings).decisions
            if each.action == MERGE and each.verdict == ACCEPTED
        ]
        _join(merges, numbers, tracks, frames)
    return np.unique(numbers, return_inverse=True)[1]


def _join(merges: Sequence[Decision], numbers: Ints, tracks: Ints, frames: Ints) -> None:
    """Give joined tracks the number of the first of them; the most similar are joined first."""
    for merge in sorted(merges, key=lambda each: (-(each.score or 0), each.subject)):
        one, other = sorted((int(numbers[int(merge.subject)]), int(numbers[int(merge.into)])))
        own, others = (frames[numbers[tracks] == number] for number in (one, other))
        if one != other and not len(np.intersect1d(own, others)):
            numbers[numbers == other] = one


def _name(track: int) -> str:
    return f"{track:09d}"
