"""Verification bins: pairs in folds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from faceprep.core.arrays import Ints
from faceprep.core.slow_step import Progress
from faceprep.core.types import Outcome
from faceprep.core.urls import url_of
from faceprep.identity.metrics.pooling import scaled
from faceprep.identity.metrics.verification import judge_pairs
from faceprep.jobs.verify.result import (
    Judged,
    PairScores,
    compare_rows,
    embed_all,
    is_sound,
    named,
    naming_left_out,
)
from faceprep.sets.pairs_bin.container import load_pairs
from faceprep.steps.embed_crops import fit_encoded
from faceprep.steps.embed_options import EmbedOptions


def judge_bin(options: EmbedOptions, path: Path, name: str, progress: Progress) -> Judged:
    """Judge pairs in folds. Byte-identical images are embedded once. Raises SourceError."""
    pairs = load_pairs(path)
    first_of: dict[bytes, int] = {}
    digests = [hashlib.blake2b(image, digest_size=16).digest() for image in pairs.images]
    places = np.array(
        [first_of.setdefault(digest, number) for number, digest in enumerate(digests)]
    )
    numbers, row_of = np.unique(places, return_inverse=True)
    fitter = options.fitter()
    keys = [f"{url_of(path)}: image {number} of pair {number // 2}" for number in numbers.tolist()]
    loads = [
        partial(fit_encoded, fitter, key, pairs.images[number])
        for key, number in zip(keys, numbers.tolist(), strict=True)
    ]
    vectors, problems = embed_all(options, loads, len(loads), progress, path)
    vectors = scaled(vectors.astype(np.float64), options.model().metric)
    rows = row_of.reshape(-1, 2)
    sound = is_sound(len(vectors), problems)[rows].all(axis=1)
    left_out = [
        _left_out(path, number, rows[number], problems)
        for number in np.flatnonzero(~sound).tolist()
    ]
    same = np.asarray(pairs.same, np.bool_)[sound]
    scores = compare_rows(vectors, *rows[sound].T)
    with naming_left_out(left_out):
        result = named(name, path, judge_pairs(scores, same)) | {"left_out": len(left_out)}
    judged = np.flatnonzero(sound).tolist()
    sides = [[f"{number}_{side}" for number in judged] for side in (0, 1)]
    listed = PairScores(sides[0], sides[1], same, scores)
    return Judged([result], len(pairs), left_out, len(vectors), {name: listed})


def _left_out(path: Path, pair: int, rows: Ints, problems: Mapping[int, Outcome]) -> Outcome:
    wrong = [problems[row] for row in dict.fromkeys(rows.tolist()) if row in problems]
    reasons = "; ".join(outcome.reason for outcome in wrong)
    return Outcome(f"pair {pair}", wrong[0].status, f"{reasons}; pair {pair} is left out")
