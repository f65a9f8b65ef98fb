"""What runs left in a folder, read back: who ran, and page by page what became of every input.

The layout is that of `run.ledger`: STATE/run.json, STATE/ledger/SHARD.jsonl with three lines a
page, and STATE/failures.csv, where STATE is OUT/.faceprep, OUT/.faceprep/NAME, or .faceprep/NAME
beside an output of one file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from faceprep.core import storage
from faceprep.core.errors import FaceprepError
from faceprep.core.io.csv import CsvReader
from faceprep.core.types import OK

_STATE, _RUN, _PAGES, _FAILURES = ".faceprep", "run.json", "ledger", "failures.csv"
_FINISH = "finish"


class Page(NamedTuple):
    """A finished shard: its outputs with their sizes in bytes, counts, keys, and what is to be
    told of some of them.
    """

    shard_id: str
    outputs: Sequence[str]
    sizes: Sequence[int]
    by_status: Mapping[str, int]
    keys: Sequence[str]
    others: Mapping[str, Sequence[str]]
    """Position of the key -> (status, reason), of those that are not plainly ok."""

    def outcomes(self) -> Iterator[tuple[str, str, str]]:
        """(key, status, reason) of every input."""
        for position, key in enumerate(self.keys):
            status, reason = self.others.get(str(position), (OK, ""))
            yield key, status, reason


@dataclass(frozen=True)
class Run:
    """One run: its notes lie in `state`; `told` is its run.json."""

    state: Path
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def command(self) -> str:
        return str(self.told.get("command", ""))

    def shard_ids(self) -> list[str]:
        """The shards that are done."""
        names = (
            storage.list_folder(self.state / _PAGES)[1] if (self.state / _PAGES).is_dir() else []
        )
        return sorted(name.removesuffix(".jsonl") for name in names if name.endswith(".jsonl"))

    def pages(self) -> Iterator[Page]:
        """The finished shards in order; a damaged page is passed over, as a run that goes on
        would do it again.
        """
        for shard_id in self.shard_ids():
            page = _page(shard_id, storage.read_bytes(self.state / _PAGES / f"{shard_id}.jsonl"))
            if page is not None:
                yield page

    def failures(self) -> Iterator[tuple[str, str, str]]:
        """(input, status, reason) of every input that failed."""
        path = self.state / _FAILURES
        if not path.is_file():
            return
        with storage.open_source(path) as file:
            rows = CsvReader(file, path, errors="replace")
            next(rows, None)
            for row in rows:
                yield (*row[:3], *("",) * (3 - len(row)))  # type: ignore[misc]


def is_part_of_the_work(page: Page) -> bool:
    """Whether it is a shard's: the last page of a run only joins the others."""
    return page.shard_id != _FINISH


def find_runs(output: Path) -> list[Run]:
    """The runs whose output this is; none where there is none."""
    if not output.is_dir():
        places = [output.parent / _STATE / output.name]
    else:
        home = output / _STATE
        places = (
            [home, *(home / name for name in sorted(storage.list_folder(home)[0]))]
            if home.is_dir()
            else []
        )
    return [Run(place, _load(place / _RUN)) for place in places if (place / _RUN).is_file()]


def _load(path: Path) -> Mapping[str, Any]:
    try:
        told = json.loads(storage.read_bytes(path))
    except (ValueError, FaceprepError):
        return {}
    return told if isinstance(told, dict) else {}


def _page(shard_id: str, data: bytes) -> Page | None:
    try:
        outputs, counts, outcomes, _ = data.split(b"\n")
        (names, sizes), (keys, others) = json.loads(outputs), json.loads(outcomes)
        return Page(shard_id, names, sizes, json.loads(counts)["by_status"], keys, others)
    except (ValueError, KeyError, TypeError):
        return None
