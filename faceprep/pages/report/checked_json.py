"""JSON that a report draws: what verify printed, and the figures in a plan and beside it.

A person may have edited it, so every value that is drawn is checked against a rule.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.io.json_line import parse_json_line
from faceprep.core.text import list_words, shorten
from faceprep.pages.report.section_similarity import LIKENESS_KEYS

_LARGEST = 1e9
"""Beyond this, a similarity cannot be drawn; that of real vectors is never near it."""
_MOST_COUNT = 1 << 53
_N_BINS = 400
_MOST_SHOWN = 60


class _Rule(NamedTuple):
    """A phrase for what is expected, and whether a value is that."""

    expected: str
    is_right: Callable[[Any], bool]


_Rules = Mapping[str, "_Rule | _Rules"]
"""The rule of each member of an object. A member that is missing is not drawn."""


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= _LARGEST


def _is_rate(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST_COUNT


def _is_list(value: Any, is_right: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(is_right, value))


def _is_histogram(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    for kind in ("positive", "negative"):
        counts: Any = value.get(kind)
        if not _is_list(counts, _is_count) or len(counts) != _N_BINS:
            return False
    first: Any = value.get("from")
    last: Any = value.get("to")
    return _is_number(first) and _is_number(last) and first < last


def _is_object(value: Any, is_right: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(is_right, value.values()))


_TEXT = _Rule("a string", lambda value: isinstance(value, str))
_NAME = _Rule("a name", lambda value: isinstance(value, str) and value != "")
_COUNT = _Rule("a whole number of 0 or more", _is_count)
_RATE = _Rule("0 to 1, or null", lambda value: value is None or _is_rate(value))
_RATES = _Rule("an object of rates from 0 to 1", lambda value: _is_object(value, _RATE.is_right))
_CURVE = _Rule("a list of rates from 0 to 1", lambda value: _is_list(value, _is_rate))
_SIMILARITY = _Rule("a similarity, or null", lambda value: value is None or _is_number(value))
_HISTOGRAM = _Rule(f"from, to, and positive and negative with {_N_BINS} counts each", _is_histogram)
_RESULT: _Rules = {
    "embedder": _TEXT,
    "pairs": _COUNT,
    "probes": _COUNT,
    "accuracy": _RATE,
    "std": _RATE,
    "eer": _RATE,
    "threshold": _SIMILARITY,
    "best_threshold": _SIMILARITY,
    "tar_at_far": _RATES,
    "rank": _RATES,
    "tpir_at_fpir": _RATES,
    "roc": {"far": _CURVE, "tar": _CURVE},
    "dir": {"fpir": _CURVE, "tpir": _CURVE},
    "cmc": _CURVE,
    "histogram": _HISTOGRAM,
}
"""A result of `verify`."""
_PAIRS: _Rules = dict.fromkeys(LIKENESS_KEYS, _SIMILARITY) | {"pairs": _COUNT}
"""The number of pairs of one kind, and the quantiles of their similarity."""
_LIKENESS: _Rules = {
    "images": _COUNT,
    "of_images": _COUNT,
    "identities": _COUNT,
    "identities_of_two": _COUNT,
    "separable": _COUNT,
    "positive": _PAIRS,
    "negative": _PAIRS,
    "histogram": _HISTOGRAM,
}
"""What `identity.distributions.measure` returns."""
_SUMMARY: _Rules = {
    "threshold": _SIMILARITY,
    "moved_from": _SIMILARITY,
    "angle": _SIMILARITY,
    "likeness": _LIKENESS,
}
"""The figures in the header of a plan, as far as they are drawn."""


class _File(NamedTuple):
    """A file whose JSON is checked: its path, and the problem and the remedy that errors state."""

    path: Path
    problem: str
    remedy: str

    def refuse(self, where: str, expected: str, found: str) -> NoReturn:
        """Raise SourceError for the value at `where`."""
        raise SourceError(
            self.problem,
            path=self.path,
            where=where,
            expected=expected,
            found=found,
            remedy=self.remedy,
        )

    def load(self) -> dict[str, Any]:
        """Return the object that the file holds. Raises SourceError."""
        try:
            found = parse_json_line(storage.read_bytes(self.path))
        except ValueError as error:
            raise SourceError(f"not JSON ({error})", path=self.path, remedy=self.remedy) from error
        if not isinstance(found, dict):
            self.refuse("", "a JSON object", _show(found))
        return found

    def check(self, where: str, rule: _Rule | _Rules, value: Any) -> None:
        """Raise SourceError if a value is against its rule, or one of its members is."""
        if isinstance(rule, _Rule):
            if not rule.is_right(value):
                self.refuse(where, rule.expected, _show(value))
            return
        if not isinstance(value, dict):
            self.refuse(where, "an object", _show(value))
        if rule is _LIKENESS and value:
            missing = [name for name in rule if name not in value]
            if missing:
                self.refuse(where, list_words(rule), f"no {missing[0]}")
        for name in rule:
            if name in value:
                self.check(f"{where}.{name}".lstrip("."), rule[name], value[name])


def load_verified(path: Path) -> Mapping[str, Any]:
    """Load what `verify --json` printed. Raises SourceError, which names the wrong value."""
    file = _File(path, "not what verify --json prints", "Save its output again.")
    printed = file.load()
    file.check("embedder", _TEXT, printed.get("embedder", ""))
    results = printed.get("results")
    if not isinstance(results, list):
        file.refuse("results", "a list", _show(results))
    for number, result in enumerate(results):
        file.check(f"results[{number}]", _RESULT, result)
        file.check(f"results[{number}].name", _NAME, result.get("name"))
    return printed


def load_likeness(path: Path) -> Mapping[str, Any]:
    """Load the similarity beside a plan. Raises SourceError, which names the wrong value."""
    file = _File(path, "not the similarity of a set", "Make the plan again, or remove this file.")
    likeness = file.load()
    file.check("", _LIKENESS, likeness)
    return likeness


def summary_of(plan: Path, header: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the figures in the header of a plan. Raises SourceError, which names a wrong one."""
    file = _File(plan, "not the header of a plan", "Make the plan again.")
    summary: Mapping[str, Any] = header.get("summary") or {}
    file.check("summary", _SUMMARY, summary)
    return summary


def _show(value: Any) -> str:
    return "nothing" if value is None else shorten(json.dumps(value), _MOST_SHOWN)
