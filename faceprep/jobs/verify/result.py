"""Results that all kinds of sets share, and the embedding of their images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats, Ints, Reals
from faceprep.core.types import Outcome
from faceprep.identity.metrics.identification import Identification
from faceprep.identity.metrics.pooling import pair_likeness
from faceprep.identity.metrics.verification import Judgement
from faceprep.steps.embed_crops import Load, embed_each
from faceprep.steps.embed_options import EmbedOptions

log = logging.getLogger("faceprep")
Progress = Callable[[int, int], None]
"""Receives (images done, total)."""
_PAIRS_AT_ONCE = 1 << 14


class Judged(NamedTuple):
    """The results of one set; `left_out` has an Outcome for each input that could not be used."""

    results: list[dict[str, Any]]
    n_inputs: int
    left_out: list[Outcome]
    n_embedded: int = 0


def embed_all(
    options: EmbedOptions, loads: Iterable[Load], n: int, progress: Progress, path: Path
) -> tuple[Floats, dict[int, Outcome]]:
    """Return vectors (n, d), NaN for images without one, and their faults by number.

    Each of the `n` loads reads one image.
    """
    vectors = np.full((n, options.open().dim), np.nan, np.float32)
    problems: dict[int, Outcome] = {}
    notes: list[str] = []
    for number, each in enumerate(embed_each(options, loads)):
        if isinstance(each, Outcome):
            problems[number] = each
        else:
            crop, vectors[number] = each
            notes += [f"{crop.key}: {crop.note}"] if crop.note else []
        progress(number + 1, n)
    if notes:
        log.warning(
            "%s: %s of %s images do not fit, such as %s",
            path,
            f"{len(notes):,}",
            f"{n:,}",
            notes[0],
        )
    return vectors, problems


def is_sound(n: int, problems: Mapping[int, Outcome]) -> npt.NDArray[np.bool_]:
    """Return the mask of the images that have a vector."""
    sound = np.ones(n, np.bool_)
    sound[list(problems)] = False
    return sound


def compare_rows(vectors: Reals, first: Ints, second: Ints) -> Reals:
    """Compare rows `first` with rows `second` of the vectors, in blocks."""
    scores = np.empty(len(first), vectors.dtype)
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        some = slice(start, start + _PAIRS_AT_ONCE)
        scores[some] = pair_likeness(vectors[first[some]], vectors[second[some]])
    return scores


def named(name: str, path: Path, found: Judgement | Identification) -> dict[str, Any]:
    """Return the result as `--json` prints it."""
    return {"name": name, "path": str(path)} | asdict(found)
