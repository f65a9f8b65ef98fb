"""Results that all kinds of sets share, and the embedding of their images."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats, Ints, Reals
from faceprep.core.errors import SourceError
from faceprep.core.slow_step import Progress
from faceprep.core.types import Outcome
from faceprep.core.urls import url_of
from faceprep.identity.metrics.identification import Identification
from faceprep.identity.metrics.pooling import pair_likeness
from faceprep.identity.metrics.verification import Judgement, Rates, n_needed_for
from faceprep.identity.sound_vectors import REASONS
from faceprep.steps.embed_crops import Load, embed_each
from faceprep.steps.embed_options import EmbedOptions

log = logging.getLogger("faceprep")
_PAIRS_AT_ONCE = 1 << 14
_ONE_CLASS = "one class only"
SEARCHING = "searching the gallery"


class PairScores(NamedTuple):
    """The score of each of n pairs: names or numbers of both sides, and if they are `same`."""

    first: Sequence[str] | Ints
    second: Sequence[str] | Ints
    same: Sequence[bool] | npt.NDArray[np.bool_]
    similarity: Reals


class Judged(NamedTuple):
    """The results of one set; `left_out` has an Outcome for each input that could not be used.

    `scores` are those of its pairs, or of its probes with their mates, by the name of a result.
    """

    results: list[dict[str, Any]]
    n_inputs: int
    left_out: list[Outcome]
    n_embedded: int = 0
    scores: Mapping[str, PairScores] = MappingProxyType({})


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


@contextmanager
def naming_left_out(left_out: Sequence[Outcome]) -> Iterator[None]:
    """Add the inputs that are left out to a SourceError that is raised in the block.

    >>> with naming_left_out([Outcome("a/1.png", "zero_vector", "a/1.png: its vector is zero")]):
    ...     raise SourceError("too few pairs")
    Traceback (most recent call last):
    faceprep.core.errors.SourceError: too few pairs. 1 left out: a/1.png: its vector is zero.
    """
    try:
        yield
    except SourceError as error:
        if left_out:
            such_as = ", such as" if len(left_out) > 1 else ":"
            error.add_remedy(f"{len(left_out):,} left out{such_as} {left_out[0].reason}.")
        raise


def name_faulty_row(key: str, status: str, path: Path) -> Outcome:
    """Return the outcome of an image whose row in the embeddings at `path` cannot be compared."""
    return Outcome(key, status, f"{key}: {REASONS[status]}, in {url_of(path)}")


def compare_rows(vectors: Reals, first: Ints, second: Ints) -> Reals:
    """Compare rows `first` with rows `second` of the vectors, in blocks."""
    scores = np.empty(len(first), vectors.dtype)
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        some = slice(start, start + _PAIRS_AT_ONCE)
        scores[some] = pair_likeness(vectors[first[some]], vectors[second[some]])
    return scores


def named(name: str, path: Path, found: Judgement | Identification) -> dict[str, Any]:
    """Return the result as `--json` prints it, with notes on what it cannot say."""
    notes = _note_pairs(found) if isinstance(found, Judgement) else _note_searches(found)
    return {"name": name, "path": url_of(path)} | asdict(found) | {"notes": notes}


def log_notes(results: Iterable[Mapping[str, Any]], logged: set[str]) -> None:
    """Log what results cannot say, without the lines that are `logged` for another embedder."""
    for result in results:
        for note in result.get("notes", ()):
            line = f"{result['name']}: {note}"
            if line not in logged:
                logged.add(line)
                log.log(logging.WARNING if note.startswith(_ONE_CLASS) else logging.INFO, line)


def _note_pairs(found: Judgement) -> list[str]:
    counts = {kind: sum(found.histogram[kind]) for kind in ("positive", "negative")}
    if not counts["negative"]:
        return [f"{_ONE_CLASS}: every pair shows one person, so no false accept is possible"]
    if not counts["positive"]:
        return [f"{_ONE_CLASS}: no pair shows one person, so no true accept is possible"]
    notes = _note_few("TAR at FAR", found.tar_at_far, counts["negative"], "pairs of two people")
    if found.separable:
        notes.append("one threshold judges every pair right: the middle of the gap")
    return notes


def _note_searches(found: Identification) -> list[str]:
    if found.gallery == 1 and not found.non_mated:
        return [f"{_ONE_CLASS}: one identity is enrolled and searched for, so it is always found"]
    if not found.non_mated:
        return ["every probe has a mate, so TPIR at FPIR is not known; --strangers holds some out"]
    if not found.probes:
        return ["no probe has a mate, so nothing can be found"]
    return _note_few("TPIR at FPIR", found.tpir_at_fpir, found.non_mated, "probes without a mate")


def _note_few(measure: str, rates: Rates, n: int, counted: str) -> list[str]:
    """Return the note that `n` of what is `counted` are too few for the first of the rates."""
    if any(rate is not None for rate in rates.values()):
        return []
    n_needed = n_needed_for(next(iter(rates)))
    return [f"{measure} is not known: expected at least {n_needed} {counted}, found {n}"]
