"""The state of finished runs: what was run, and the outcome of every input, page by page.

The layout is that of `run.ledger`: STATE/run.json and the pages of `tables.ledger`. STATE is
OUT/.faceprep, OUT/.faceprep/NAME, or .faceprep/NAME beside an output of one file. It is a folder,
or packed in one file.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faceprep.core import storage
from faceprep.core.state_file import RUN, StateReader, find_state, load_record
from faceprep.tables.ledger import (
    FAILURES,
    FINISH,
    PAGES,
    Page,
    page_name,
    read_failures,
    shard_ids,
)


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

    @property
    def is_of_videos(self) -> bool:
        """Return whether the inputs are frames of videos."""
        return self.command == "extract-video"

    @property
    def noun(self) -> str:
        """Return the noun for one input."""
        return "frame" if self.is_of_videos else "input"

    def shard_ids(self) -> list[str]:
        """Return the ids of the shards that are done, sorted."""
        folder = f"{self.prefix}{PAGES}/"
        return shard_ids(name.removeprefix(folder) for name in self.state.names(folder))

    def pages(self) -> Iterator[Page]:
        """Yield the finished shards in order.

        A damaged page is skipped: a resumed run repeats that shard.
        """
        for shard_id in self.shard_ids():
            data = self.state.read(f"{self.prefix}{page_name(shard_id)}")
            if page := _parse_page(shard_id, data):
                yield page

    @property
    def sources(self) -> list[Path]:
        """Return the paths that the command was given."""
        found = self.record.get("sources") or ()
        return [Path(source) for source in found if isinstance(source, str)]

    @property
    def is_finished(self) -> bool:
        """Return whether the run finished."""
        return self.record.get("finished") is True

    def failures(self) -> Iterator[tuple[str, str, str]]:
        """Yield (input, status, reason) of every input that failed.

        A run that was killed has no list of them yet, so the outcomes on its pages are read.
        """
        inside = f"{self.prefix}{FAILURES}"
        if self.record and not self.is_finished:
            outcomes = (each for page in self.pages() for each in page.outcomes())
            yield from (each[:3] for each in outcomes if each.is_failure)
            return
        if self.beside is not None and self.beside.is_file():
            data = storage.read_bytes(self.beside)
        elif inside in self.state.names(inside):
            data = self.state.read(inside)
        else:
            return
        yield from read_failures(io.BytesIO(data), self.beside or inside, errors="replace")


def is_work_page(page: Page) -> bool:
    """Return whether the page is a shard's; the last page of a run only joins the others."""
    return page.shard_id != FINISH


def find_runs(output: Path) -> list[Run]:
    """Return the runs that wrote this output; none where faceprep did not write it."""
    folder = output if output.is_dir() else output.parent
    state = find_state(folder) if folder.is_dir() else None
    if state is None:
        return []
    run_files = [name for name in state.names() if name.rpartition("/")[2] == RUN]
    prefixes = [name.removesuffix(RUN) for name in run_files if name.count("/") <= 1]
    if not output.is_dir():
        prefixes = [prefix for prefix in prefixes if prefix == f"{output.name}/"]
    runs = []
    for prefix in sorted(prefixes):
        beside = None if prefix else output / FAILURES
        runs.append(Run(state, prefix, load_record(state, f"{prefix}{RUN}"), beside))
    return runs


def _parse_page(shard_id: str, data: bytes) -> Page | None:
    try:
        page = Page(shard_id, data)
        page.parse()
    except ValueError:
        return None
    return page
