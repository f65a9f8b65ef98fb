"""The counts of a run's outcomes, by status and unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from faceprep.core.types import (
    Outcome,
    ShardReport,
    count_failures,
    count_name,
    join_units,
    split_count_name,
)


class Tally:
    """The counts of the outcomes so far; `n_before` of the inputs come from earlier starts."""

    def __init__(self, reports: Iterable[ShardReport] = (), lost: Iterable[Outcome] = ()) -> None:
        self._by_name: Counter[str] = Counter()
        for report in reports:
            self.add(report)
        self.n_before = sum(self.by_unit()[0].values())
        self._by_name.update(map(count_name, lost))

    def add(self, report: ShardReport) -> None:
        """Count the outcomes of one more shard."""
        self._by_name.update(report.by_status)

    @property
    def n_failed(self) -> int:
        """Return how many outcomes are failures, of all units."""
        return count_failures(self._by_name)

    @property
    def by_status(self) -> dict[str, int]:
        """Return the counts by status, of all units."""
        return join_units(self._by_name)

    def by_unit(self) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
        """Return the counts of the inputs by status, and those of each other unit."""
        inputs: dict[str, int] = {}
        others: dict[str, dict[str, int]] = {}
        for name, n in sorted(self._by_name.items()):
            status, unit = split_count_name(name)
            counts = others.setdefault(unit, {}) if unit else inputs
            counts[status] = n
        return inputs, others
