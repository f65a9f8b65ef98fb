"""Outcomes of the inputs of a run, grouped by reason, each with a few examples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from faceprep.core.types import OK, SOUND_STATUSES, count_failures, count_name, split_count_name
from faceprep.tables.ledger import Page

Kind = tuple[str, str]
"""A status, and a reason without its numbers and names."""
_N_EXAMPLES, _MOST_KINDS = 3, 10_000
_NUMBER = re.compile(r"\d[\d.,]*\b")
_HIDDEN = re.compile("[#…]")
_OTHERS = "other reasons"


@dataclass
class Reasons:
    """Counts of outcomes by status and kind of reason, with the first examples of each kind.

    `examples` are (key, reason). Memory grows with the kinds, which are at most some thousand.
    """

    counts: Counter[Kind] = field(default_factory=Counter)
    examples: dict[Kind, list[tuple[str, str]]] = field(default_factory=dict)

    def add(self, key: str, status: str, reason: str) -> None:
        """Count one outcome."""
        self.add_kind(status, kind_of_reason(reason, key), (key, reason), 1)

    def add_kind(self, status: str, reason: str, example: tuple[str, str], n: int) -> None:
        """Count `n` outcomes whose kind of reason is known already."""
        kind = (status, reason)
        if kind not in self.counts and len(self.counts) >= _MOST_KINDS:
            kind = (status, _OTHERS)
        self.counts[kind] += n
        examples = self.examples.setdefault(kind, [])
        if len(examples) < _N_EXAMPLES:
            examples.append(example)

    def ranked(self, most: int) -> list[tuple[Kind, int]]:
        """Return at most `most` kinds with their counts, the largest count first."""
        return sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most]

    def wording(self, kind: Kind) -> str:
        """Return a reason as it was given, if need be as an example."""
        reason = self.examples[kind][0][1]
        if self.counts[kind] > 1 and _HIDDEN.search(kind[1]):
            return f"such as {reason}"
        return reason

    def by_status(self) -> dict[str, int]:
        """Return the count of each status, the largest first."""
        counted: Counter[str] = Counter()
        for (status, _), n in self.ranked(len(self.counts)):
            counted[status] += n
        return dict(counted.most_common())


@dataclass
class Outcomes:
    """Counts of all outcomes of a run by status.

    `left_out` are those that are not ok, and `notes` those that are ok with a remark.
    """

    by_status: Counter[str] = field(default_factory=Counter)
    left_out: Reasons = field(default_factory=Reasons)
    notes: Reasons = field(default_factory=Reasons)

    def add(self, page: Page) -> None:
        """Add one page; its outcomes are parsed only where some are not plainly ok."""
        self.by_status.update(page.counts.by_status)
        if page.is_plain:
            return
        for outcome in page.outcomes():
            if outcome.status != OK:
                self.left_out.add(outcome.key, count_name(outcome), outcome.reason)
            elif outcome.reason:
                self.notes.add(outcome.key, OK, outcome.reason)

    @property
    def inputs(self) -> dict[str, int]:
        """Return the counts of the inputs themselves, without those of other units."""
        names = self.by_status.items()
        return {name: n for name, n in names if n and not split_count_name(name)[1]}

    @property
    def n_inputs(self) -> int:
        return sum(self.inputs.values())

    @property
    def n_ok(self) -> int:
        return self.by_status[OK]

    @property
    def n_failed(self) -> int:
        """Count the failures of all units."""
        return count_failures(self.by_status)

    def sound_reasons(self) -> Reasons:
        """Return the reasons of inputs that were left out without a failure."""
        found = Reasons()
        for (status, reason), n in self.left_out.counts.items():
            if not is_failure(status):
                found.counts[status, reason] = n
                found.examples[status, reason] = self.left_out.examples[status, reason]
        return found


def is_failure(count_name: str) -> bool:
    """Return whether a status, with its unit if it has one, is a failure."""
    return split_count_name(count_name)[0] not in SOUND_STATUSES


def is_failed_input(count_name: str) -> bool:
    """Return whether a status is a failure of an input, and not of another unit."""
    return is_failure(count_name) and not split_count_name(count_name)[1]


def count_failed_units(by_status: Mapping[str, int]) -> Counter[str]:
    """Count the failures of each unit, the largest count first; "" stands for the inputs.

    >>> count_failed_units({"ok": 9, "empty": 1, "cut_off of a video": 2})
    Counter({'video': 2, '': 1})
    """
    found: Counter[str] = Counter()
    for name, n in by_status.items():
        if n and is_failure(name):
            found[split_count_name(name)[1]] += n
    return Counter(dict(found.most_common()))


def kind_of_reason(reason: str, key: str) -> str:
    """Replace the numbers and the input's name in a reason, so that similar reasons are equal.

    >>> kind_of_reason("a.jpg: 12 bytes are missing", "a.jpg")
    '…: # bytes are missing'
    """
    if key:
        reason = reason.replace(key, "…")
    return _NUMBER.sub("#", reason)
