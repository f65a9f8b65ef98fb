"""The record of a run on disk: the finished shards with their outputs and outcomes.

    STATE/run.json            command, options, version, fingerprint of the source
    STATE/ledger/SHARD.jsonl  a finished shard: its outputs, counts and outcomes (`tables.ledger`)
    STATE/staging/ATTEMPT/    a shard at work, or left by a worker that died (`run.staging`)
    STATE/parts/              intermediate files of finished shards
    STATE/shares/I-of-N/      what a process with --shard I/N keeps for itself
    STATE/failures.csv        every failed input with its reason, of an output that is one file
    OUT/failures.csv          the same of an output that is a folder, where something failed

STATE is `OUT/.faceprep`, or `.faceprep/NAME` beside an output that is one file. After the run, the
state of a folder is one file (`core.state_file`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO

from faceprep.core import locks, output_tree, passing_faults, storage
from faceprep.core.errors import SourceError
from faceprep.core.os_errors import is_fault
from faceprep.core.paths import is_folder, is_present
from faceprep.core.state_file import RUN, STATE, load_run
from faceprep.core.types import Buffer, Outcome, Shard, ShardReport, count_failures, count_name
from faceprep.run.staging import (
    BESIDE,
    Staging,
    finish_attempt,
    new_attempt,
    remove_attempt,
    shard_of,
)
from faceprep.tables.ledger import FAILURES, PAGES, Page, as_columns, page_name, shard_ids

_PARTS = "parts"
_STATUS, _UNIT = attrgetter("status"), attrgetter("unit")


class Places:
    """Paths of a run. They are small and picklable: workers get a copy.

    `root` is the folder that output names are relative to. `state_name` names the folder of the
    state where several runs have the same root; `all_failures` is then the list that they share, if
    they do. A process that carries out a `share` of the run keeps what is its own in a folder of
    that name: its lock, its scratch and its failures. With `home`, the output is the folder of that
    name in `root`. The folders beside it have one of the endings `siblings`.
    """

    def __init__(
        self,
        root: Path,
        state_name: str = "",
        shares_failures: bool = False,
        home: str = "",
        siblings: Sequence[str] = (),
        share: str = "",
    ) -> None:
        self.root, self.home = root, home
        self.tops = tuple(home + ending for ending in ("", *siblings)) if home else ()
        state = root / home / STATE
        self.state = state / state_name
        self.all_failures = state / FAILURES if shares_failures and state_name else None
        self.is_share = bool(share)
        self.shares = self.state / "shares"
        self.private = self.shares / share if share else self.state
        self.scratch = self.private / "scratch"
        self.signs = self.scratch / "signs of life"
        self.is_alone = not state_name
        folder = root / home if self.is_alone else self.state
        if share:
            folder, self.is_alone, self.all_failures = self.private, False, None
        self.failures = folder / FAILURES
        self._state_name = self.state.relative_to(self.root).as_posix()

    def page(self, shard_id: str) -> Path:
        return self.state / page_name(shard_id)

    def staging(self, attempt: str) -> Path:
        return self.state / "staging" / attempt

    def attempts(self) -> list[str]:
        """Return the names of all attempts that have left something."""
        return _names(self.staging(""))

    def state_folders(self) -> list[Path]:
        """Return every folder that holds state of the run, outermost first."""
        inner = [self.state / name for name in (PAGES, _PARTS, "scratch", "staging", "shares")]
        inner += [self.private, self.scratch] * self.is_share
        beside = [self.root / top for top in self.tops[1:]]
        outer = [self.root / self.home / STATE, self.state, self.signs]
        return [*outer, *inner, *(top / STATE for top in beside), *(top / BESIDE for top in beside)]

    def part_name(self, shard_id: str, suffix: str) -> str:
        return f"{self._state_name}/{_PARTS}/{shard_id}{suffix}"

    def is_part(self, name: str) -> bool:
        return name.startswith(f"{self._state_name}/{_PARTS}/")


class ShardSink:
    """The Sink of one attempt at a shard. It stages files and commits them with the ledger page.

    `attempt` is the name of the attempt, which no other has.
    """

    def __init__(self, places: Places, shard_id: str) -> None:
        self._places, self._id = places, shard_id
        self.attempt = new_attempt(shard_id)
        self._staging = Staging(places.root, places.staging(self.attempt), places.tops)
        self._n_parts = 0
        # without a home: the hot path, no call in between
        self.write = self._write_beside if places.home else self._staging.write
        self.write_many = self._write_many_at_home if places.home else self._staging.write_many
        self.place = self._place_at_home if places.home else self._staging.place

    write: Any
    write_many: Any
    place: Any

    def _write_beside(self, name: str, data: Buffer, beside: str = "") -> None:
        self._staging.write(f"{self._places.home}{beside}/{name}", data)

    def _write_many_at_home(self, names: Sequence[str], contents: Sequence[Buffer]) -> None:
        self._staging.write_many([f"{self._places.home}/{name}" for name in names], contents)

    def _place_at_home(self, name: str, path: str, mode: str) -> None:
        self._staging.place(f"{self._places.home}/{name}", path, mode)

    @property
    def scratch(self) -> Path:
        return self._places.scratch

    def open(self, name: str) -> BinaryIO:
        return self._staging.open(f"{self._places.home}/{name}" if self._places.home else name)

    def open_part(self, suffix: str) -> BinaryIO:
        self._n_parts += 1
        return self._staging.open(self._places.part_name(self._id, suffix), durable=False)

    def part_path(self, shard_id: str, suffix: str) -> Path:
        return self._places.root / self._places.part_name(shard_id, suffix)

    def commit(self, outcomes: Sequence[Outcome]) -> ShardReport:
        """Make the shard a part of the output and return its report.

        If another attempt at it was first, this one leaves nothing, and the report is that of the
        first.
        """
        name_of = count_name if any(map(_UNIT, outcomes)) else _STATUS
        by_status = dict(sorted(Counter(map(name_of, outcomes)).items()))
        n_outputs = len(self._staging.names) - self._n_parts
        retry = passing_faults.are_met() and count_failures(by_status) > 0
        report = ShardReport(self._id, len(outcomes), by_status, n_outputs, retry=retry)
        counts = {
            "shard": self._id,
            "inputs": report.n_inputs,
            "by_status": by_status,
            "outputs": n_outputs,
        } | ({"retry": True} if retry else {})
        lines = [counts, as_columns(outcomes, by_status)]
        if self._staging.commit(lines, self._places.page(self._id)):
            return report
        return rescue(self._places, self._id) or report

    def discard(self) -> None:
        self._staging.discard()


def rescue(places: Places, shard_id: str) -> ShardReport | None:
    """Finish what attempts at a shard have begun to commit; return its report if it is done.

    An attempt that is still at work is left alone.
    """
    for attempt in places.attempts():
        if shard_of(attempt) == shard_id:
            page = places.page(shard_id)
            finish_attempt(places.root, places.staging(attempt), page, places.tops)
    return load_report(places, shard_id)


def load_report(places: Places, shard_id: str, with_parts: bool = True) -> ShardReport | None:
    """Load the report of a finished shard; None unless all outputs exist in their sizes."""
    page = _load_page(places, shard_id)
    if page is None:
        return None
    for name, n_bytes in zip(page.outputs, page.sizes, strict=True):
        wanted = with_parts or not places.is_part(name)
        if wanted and storage.size_of(f"{places.root}/{name}") != n_bytes:
            return None
    return page.counts


def _load_page(places: Places, shard_id: str) -> Page | None:
    """Read a page; None where it is missing, or damaged because the power went.

    Raises SourceError for one that cannot be read: it may be sound.
    """
    try:
        page = _read_page(places, shard_id)
        is_sound = bool(page.counts) and len(page.outputs) == len(page.sizes)
    except SourceError as error:
        if is_fault(error):
            raise
        return None
    except ValueError:
        return None
    return page if is_sound else None


def _read_page(places: Places, shard_id: str) -> Page:
    """Read a page. Raises SourceError, or ValueError where it is damaged."""
    return Page(shard_id, storage.read_bytes(places.page(shard_id)))


class Ledger:
    """The state of a run on disk. Only the driver holds one, under its lock."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._run = places.state / RUN

    def load_run(self) -> dict[str, Any] | None:
        """Load the description of the earlier run.

        Returns None if there was none, and an empty one if it is damaged.
        """
        if storage.size_of(self._run) is None:
            return None
        return load_run(self._places.state)

    def save_run(self, run: Mapping[str, Any]) -> None:
        storage.write_file(self._run, (json.dumps(run, indent=1, sort_keys=True) + "\n").encode())

    def mark_finished(self, run: Mapping[str, Any]) -> None:
        """Record that the run is complete, so that its state may become one file."""
        self.save_run(dict(run) | {"finished": True})

    def recover(self, mine: Container[str] | None = None) -> None:
        """Finish or undo the shards of workers that were stopped or killed.

        `mine` are the shards of this process, where it carries out a share of the run.
        """
        places = self._places
        with ExitStack() as kept_out:
            for folder in self._folders_of_workers():
                kept_out.enter_context(locks.without_workers(folder))
            for attempt in places.attempts():
                if mine is not None and shard_of(attempt) not in mine:
                    continue
                here, page = places.staging(attempt), places.page(shard_of(attempt))
                if not finish_attempt(places.root, here, page, places.tops):
                    remove_attempt(places.root, here, places.tops)

    def drop_pages(self, unfinished: Container[str]) -> None:
        """Remove the pages of shards that are `unfinished`, such as those with lost outputs."""
        for shard_id in shard_ids(_names(self._places.page("").parent)):
            if shard_id in unfinished:
                storage.remove_file(self._places.page(shard_id))

    def undo(self, shard_id: str) -> None:
        """Remove the outputs and the page of a finished shard, so that it is carried out again."""
        output_tree.remove_outputs(
            self._places.root, _outputs(self._places, shard_id), self._places.tops
        )
        storage.remove_file(self._places.page(shard_id))

    def _folders_of_workers(self) -> list[Path]:
        """Return the folders that workers share a lock in: those of all shares for a whole run."""
        if self._places.is_share:
            return [self._places.private]
        shares = self._places.shares
        return [self._places.state, *(shares / name for name in _names(shares))]

    def wait_for_workers(self) -> None:
        """Wait until no worker of the earlier run is busy; leave its staging alone."""
        for folder in self._folders_of_workers():
            with locks.without_workers(folder):
                pass

    def begin(self) -> AbstractContextManager[object]:
        """Hold the record of the run, which the processes that share the run write in turn."""
        if self._places.is_share:
            return locks.without_workers(self._places.state)
        return nullcontext()

    def alone(self) -> AbstractContextManager[object]:
        """Keep out the processes that share the run. Raises OutputError where one is at work."""
        others = [self._places.shares / name for name in _names(self._places.shares)]
        return locks.hold_all(folder for folder in others if folder != self._places.private)

    def is_done(self, shards: Sequence[Shard]) -> bool:
        """Return whether the pages of these shards are there and none is still being committed."""
        pages = set(shard_ids(_names(self._places.page("").parent)))
        begun = {shard_of(attempt) for attempt in self._places.attempts()}
        return all(shard.id in pages and shard.id not in begun for shard in shards)

    def outcomes(self, shard_id: str) -> Iterator[Outcome]:
        """Yield one Outcome for every input of a finished shard."""
        return _read_page(self._places, shard_id).outcomes()

    def is_deleted(self) -> bool:
        """Return whether somebody has removed every output of the earlier run."""
        n_listed = 0
        for shard_id in shard_ids(_names(self._places.page("").parent)):
            for name in map(str, _outputs(self._places, shard_id)):
                if not self._places.is_part(name) and is_present(self._places.root / name):
                    return False
                n_listed += not self._places.is_part(name)
        return n_listed > 0

    def forget(self, keep_outputs: bool = False) -> None:
        """Remove every output that the ledger lists, and the ledger, but nothing else.

        `keep_outputs` spares outputs that replaced an input.
        """
        places = self._places
        for attempt in places.attempts():
            remove_attempt(places.root, places.staging(attempt), places.tops)
        folder = places.page("").parent
        for shard_id in shard_ids(_names(folder)):
            names = _outputs(places, shard_id)
            if keep_outputs:
                names = [name for name in names if places.is_part(str(name))]
            output_tree.remove_outputs(places.root, names, places.tops)
            storage.remove_tree(places.page(shard_id))
        for path in (places.staging(""), folder, places.failures):
            storage.remove_tree(path)
        if is_folder(self._run):
            storage.remove_tree(self._run)

    def drop_scratch(self) -> None:
        storage.remove_tree(self._places.scratch)
        if not self._places.is_share:
            storage.remove_tree(self._places.shares)

    def drop_parts(self) -> None:
        for folder in (self._places.state / _PARTS, self._places.staging("")):
            storage.remove_tree(folder)
        for top in self._places.tops[1:]:
            self._drop_beside(self._places.root / top)

    def _drop_beside(self, top: Path) -> None:
        """Remove the state in a folder beside the output, and the folder where it is empty."""
        if not is_folder(top / STATE):  # an empty one is left by a kill after the next line
            return
        storage.remove_tree(top / BESIDE)
        output_tree.remove_empty(top / STATE, top)


def _outputs(places: Places, shard_id: str) -> Sequence[Any]:
    """Return the names on a page, which may be damaged or come from somebody else."""
    page = _load_page(places, shard_id)
    return page.outputs if page else []


def _names(folder: Path) -> list[str]:
    """Return the names in `folder`, or an empty list if it does not exist."""
    if not is_folder(folder):
        return []
    folders, files = storage.list_folder(folder)
    return sorted(folders + files)
