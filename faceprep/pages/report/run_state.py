"""The state of finished runs: what was run, and the outcome of every input, page by page.

The layout is that of `run.ledger`: STATE/run.json, and STATE/ledger/SHARD.jsonl with three lines
per page. STATE is OUT/.faceprep, OUT/.faceprep/NAME, or .faceprep/NAME beside an output of one
file. It is a folder, or packed in one file.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from faceprep.core import storage
from faceprep.core.errors import FaceprepError
from faceprep.core.io.csv import CsvReader
from faceprep.core.state_file import RUN, StateReader, find_state
from faceprep.core.types import OK

_PAGES, _FAILURES = "ledger/", "failures.csv"
_FINISH = "finish"


class Page(NamedTuple):
    """A finished shard: its outputs with their sizes in bytes, its counts, keys and outcomes."""

    shard_id: str
    outputs: Sequence[str]
    sizes: Sequence[int]
    by_status: Mapping[str, int]
    keys: Sequence[str]
    others: Mapping[str, Sequence[str]]
    """Position of the key -> (status, reason), for keys that are not simply ok."""

    def outcomes(self) -> Iterator[tuple[str, str, str]]:
        """Yield (key, status, reason) of every input."""
        for position, key in enumerate(self.keys):
            status, reason, *_ = self.others.get(str(position), (OK, ""))
            yield key, status, reason


@dataclass(frozen=True)
class Run:
    """One run: its state lies in `state` below `prefix`; `record` is its run.json.

    `beside` is the list of failures of an output that is a folder.
    """

    state: StateReader
    prefix: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    beside: Path | None = None

    @property
    def command(self) -> str:
        return str(self.record.get("command", ""))

    def shard_ids(self) -> list[str]:
        """Return the ids of the shards that are done, sorted."""
        folder = f"{self.prefix}{_PAGES}"
        pages = (name.removeprefix(folder) for name in self.state.names(folder))
        return sorted(name.removesuffix(".jsonl") for name in pages if name.endswith(".jsonl"))

    def pages(self) -> Iterator[Page]:
        """Yield the finished shards in order.

        A damaged page is skipped: a resumed run repeats that shard.
        """
        for shard_id in self.shard_ids():
            name = f"{self.prefix}{_PAGES}{shard_id}.jsonl"
            page = _page(shard_id, self.state.read(name))
            if page is not None:
                yield page

    def failures(self) -> Iterator[tuple[str, str, str]]:
        """Yield (input, status, reason) of every input that failed."""
        inside = f"{self.prefix}{_FAILURES}"
        if self.beside is not None and self.beside.is_file():
            data = storage.read_bytes(self.beside)
        elif inside in self.state.names(inside):
            data = self.state.read(inside)
        else:
            return
        rows = CsvReader(io.BytesIO(data), self.beside or inside, errors="replace")
        next(rows, None)
        for row in rows:
            key, status, reason = [*row, "", "", ""][:3]
            yield key, status, reason


def is_work_page(page: Page) -> bool:
    """Return whether the page is a shard's; the last page of a run only joins the others."""
    return page.shard_id != _FINISH


def find_runs(output: Path) -> list[Run]:
    """Return the runs that wrote this output; none where faceprep did not write it."""
    folder = output if output.is_dir() else output.parent
    state = find_state(folder)
    if state is None:
        return []
    run_files = [name for name in state.names() if name.rpartition("/")[2] == RUN]
    prefixes = [name.removesuffix(RUN) for name in run_files if name.count("/") <= 1]
    if not output.is_dir():
        prefixes = [prefix for prefix in prefixes if prefix == f"{output.name}/"]
    runs = []
    for prefix in sorted(prefixes):
        beside = None if prefix else output / _FAILURES
        runs.append(Run(state, prefix, _load(state, f"{prefix}{RUN}"), beside))
    return runs


def _load(state: StateReader, name: str) -> Mapping[str, Any]:
    try:
        record = json.loads(state.read(name))
    except (ValueError, FaceprepError):
        return {}
    return record if isinstance(record, dict) else {}


def _page(shard_id: str, data: bytes) -> Page | None:
    try:
        outputs, counts, outcomes, _ = data.split(b"\n")
        (names, sizes), (keys, others) = json.loads(outputs), json.loads(outcomes)
        return Page(shard_id, names, sizes, json.loads(counts)["by_status"], keys, others)
    except (ValueError, KeyError, TypeError):
        return None
