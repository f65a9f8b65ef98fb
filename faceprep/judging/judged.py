"""What the results of all kinds of sets have in common; images to vectors, as many as there are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.ahead import map_ahead
from faceprep.cores import my_cores
from faceprep.embedding import EmbedOptions, FittedCrop
from faceprep.faces import Floats, Pixels
from faceprep.types import Outcome
from faceprep.verification.pairs import Ints, Judgement
from faceprep.verification.searches import Identification
from faceprep.verification.vectors import Reals, pair_likeness

log = logging.getLogger("faceprep")
Progress = Callable[[int, int], None]
"""Is told (images done, of how many)."""
Load = Callable[[], FittedCrop | Outcome]
"""Reads one image. Called in threads."""
_BATCH = 64
_PAIRS_AT_ONCE = 1 << 14
_NO_VECTOR = "no_vector"


class Judged(NamedTuple):
    """The results of one set; `left_out` has an Outcome for each of its inputs that could not be used."""

    results: list[dict[str, Any]]
    n_inputs: int
    left_out: list[Outcome]
    n_embedded: int = 0


def embed_all(
    options: EmbedOptions, loads: Iterable[Load], tell: Progress, path: Path
) -> tuple[Floats, dict[int, Outcome]]:
    """(vectors (n, d), what is wrong by number). Images are read and fitted in threads, ahead of the model."""
    loads = list(loads)
    vectors = np.full((len(loads), options.open().dim), np.nan, np.float32)
    problems: dict[int, Outcome] = {}
    notes: list[str] = []
    keys = [""] * len(loads)
    rows: list[int] = []
    crops: list[Pixels] = []
    for number, loaded in enumerate(map_ahead(lambda load: load(), loads, my_cores(), 2 * _BATCH)):
        if isinstance(loaded, Outcome):
            problems[number] = loaded
        else:
            keys[number] = loaded.key
            rows.append(number)
            crops.append(loaded.pixels)
            notes += [f"{loaded.key}: {loaded.note}"] if loaded.note else []
        if len(rows) == _BATCH or (rows and number == len(loads) - 1):
            vectors[rows] = options.embed_fitted(np.stack(crops))
            rows, crops = [], []
        tell(number + 1, len(loads))
    if notes:
        log.warning("%s: %s of %s images do not fit, such as %s", path, f"{len(notes):,}", f"{len(loads):,}", notes[0])
    for number in np.flatnonzero(~(np.isfinite(vectors).all(axis=1) & vectors.any(axis=1))).tolist():
        reason = f"{keys[number]}: the embedder gives zeros or what is no number"
        problems.setdefault(number, Outcome(keys[number], _NO_VECTOR, reason))
    return vectors, dict(sorted(problems.items()))


def is_sound(n: int, problems: Mapping[int, Outcome]) -> npt.NDArray[np.bool_]:
    """Which of n images have a vector."""
    sound = np.ones(n, np.bool_)
    sound[list(problems)] = False
    return sound


def likeness_of(vectors: Reals, first: Ints, second: Ints) -> Reals:
    """Of rows `first` and `second` of the vectors, some pairs at a time."""
    scores = np.empty(len(first), vectors.dtype)
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        some = slice(start, start + _PAIRS_AT_ONCE)
        scores[some] = pair_likeness(vectors[first[some]], vectors[second[some]])
    return scores


def named(name: str, path: Path, found: Judgement | Identification) -> dict[str, Any]:
    """The result as `--json` has it."""
    return {"name": name, "path": str(path)} | asdict(found)
