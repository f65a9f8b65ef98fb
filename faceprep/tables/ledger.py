"""Pages of a run's ledger, and the list of its failures.

STATE/ledger/SHARD.jsonl is the page of a finished shard, three lines of JSON:

    [[name …], [bytes …]]                             its outputs
    {"shard": …, "inputs": …, "by_status": …, "outputs": …}    and "retry": true where a fault of
                                                      the environment has cost it an input,
                                                      "late": true where one took too long
    [[key …], {position: [status, reason, unit]}]     its inputs; an outcome that is plainly ok is
                                                      left out, and so is an empty unit

`run.ledger` writes them. Neither NumPy nor Arrow is needed to read them: workers start quickly.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from operator import attrgetter
from typing import Any, BinaryIO

from faceprep.core import storage
from faceprep.core.io.csv import CsvReader
from faceprep.core.io.json_line import parse_json
from faceprep.core.types import OK, Outcome, ShardReport

_STRAY_BYTE = re.compile(r"\\u(dc[89a-f][0-9a-f])")
PAGES, FAILURES = "ledger", "failures.csv"
FINISH = "finish"
"""Id of the page that only joins the others."""
_SUFFIX = ".jsonl"
_LARGEST = 1 << 63
_KEY, _REASON = attrgetter("key"), attrgetter("reason")


def page_name(shard_id: str) -> str:
    """Return the name of a shard's page below the state of its run."""
    return f"{PAGES}/{shard_id}{_SUFFIX}"


def shard_ids(names: Iterable[str]) -> list[str]:
    """Return the sorted ids of the shards whose pages are among these names.

    >>> shard_ids(["0001.jsonl", "0000.jsonl", "other.txt"])
    ['0000', '0001']
    """
    return sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))


class Page:
    """The page of one finished shard.

    A line is parsed when it is first needed, as a resumed run needs no outcomes. ValueError is
    raised for a page without its three lines, and where a damaged line is needed.
    """

    def __init__(self, shard_id: str, data: bytes) -> None:
        self.shard_id = shard_id
        *self._lines, end = data.split(b"\n")
        if end or len(self._lines) != 3:
            raise self._damaged("three lines")

    def parse(self) -> None:
        """Parse and check every line."""
        (names, sizes), (keys, others) = self._files, self._inputs
        if not (_are(names, str) and _are_counts(sizes) and len(names) == len(sizes)):
            raise self._damaged("the name and the bytes of each output")
        if not _are_counts(self.counts.by_status.values()):
            raise self._damaged("a number of inputs of each status")
        if not (_are(keys, str) and all(map(_is_outcome, others.values()))):
            raise self._damaged("the key and the outcome of each input")

    @property
    def outputs(self) -> Sequence[str]:
        """Return the names of its outputs."""
        return self._files[0]

    @property
    def sizes(self) -> Sequence[int]:
        """Return the bytes of each output."""
        return self._files[1]

    @cached_property
    def counts(self) -> ShardReport:
        """Return the report of the shard."""
        counts = parse_json(self._lines[1])
        try:
            if not isinstance(counts["by_status"], dict):
                raise TypeError
            return ShardReport(
                self.shard_id,
                counts["inputs"],
                counts["by_status"],
                counts["outputs"],
                retry=counts.get("retry", False),
                late=counts.get("late", False),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise self._damaged("counts") from error

    @property
    def is_plain(self) -> bool:
        """Return whether all outcomes are ok without a note; their line is not parsed."""
        return self._lines[2].endswith(b", {}]")

    def outcomes(self) -> Iterator[Outcome]:
        """Yield one Outcome for every input."""
        keys, others = self._inputs
        for position, key in enumerate(keys):
            yield Outcome(key, *others.get(str(position), ()))

    @cached_property
    def _files(self) -> tuple[list[str], list[int]]:
        return self._pair(0, list)

    @cached_property
    def _inputs(self) -> tuple[list[str], dict[str, list[str]]]:
        return self._pair(2, dict)

    def _pair(self, line: int, kind: type) -> tuple[Any, Any]:
        pair = parse_json(self._lines[line])
        if isinstance(pair, list) and [type(value) for value in pair] == [list, kind]:
            return pair[0], pair[1]
        raise self._damaged(f"a list and a {kind.__name__}")

    def _damaged(self, expected: str) -> ValueError:
        return ValueError(f"damaged page of shard {self.shard_id}: expected {expected}")


def _are(values: Iterable[object], kind: type) -> bool:
    return set(map(type, values)) <= {kind}


def _are_counts(values: Collection[int]) -> bool:
    return _are(values, int) and min(values, default=0) >= 0 and max(values, default=0) < _LARGEST


def _is_outcome(value: Any) -> bool:
    """Return whether a value is a status, a reason and maybe a unit."""
    return isinstance(value, list) and len(value) in (2, 3) and _are(value, str)


def as_columns(
    outcomes: Sequence[Outcome], by_status: Mapping[str, int]
) -> tuple[list[str], dict[int, Any]]:
    """Return the keys, and (status, reason) by position for outcomes that are not plainly ok."""
    is_plain = by_status.keys() <= {OK} and not any(map(_REASON, outcomes))
    others: dict[int, list[str]] = {}
    if not is_plain:
        for i, (_, status, reason, unit) in enumerate(outcomes):
            if unit:
                others[i] = [status, reason, unit]
            elif (status, reason) != (OK, ""):
                others[i] = [status, reason]
    return list(map(_KEY, outcomes)), others


def read_failures(
    file: BinaryIO, path: str | os.PathLike[str], errors: str = "surrogateescape"
) -> Iterator[tuple[str, str, str]]:
    """Yield the rows (input, status, reason) of an open failures.csv. Raises SourceError.

    A byte of a name that is not UTF-8 is written as `\\udcff`; here it is as Python has it.
    """
    rows = CsvReader(file, path, errors)
    next(rows, None)
    for row in rows:
        key, status, reason, *_ = [*row, "", "", ""]
        yield _STRAY_BYTE.sub(lambda found: chr(int(found[1], 16)), key), status, reason


def first_failures(path: str, n: int) -> tuple[list[tuple[str, str, str]], int]:
    """Return the first `n` rows (input, status, reason) of a failures.csv, and the number of rows.

    Raises SourceError.
    """
    with storage.open_source(path) as file:
        rows = read_failures(file, path)
        first = list(islice(rows, n))
        return first, len(first) + sum(1 for _ in rows)
