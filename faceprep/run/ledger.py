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
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO

from faceprep.core import locks, output_tree, passing_faults, storage, store_writes
from faceprep.core.names import is_class_map
from faceprep.core.os_errors import SuppressDamage
from faceprep.core.paths import is_folder
from faceprep.core.state_file import RUN, STATE, load_run
from faceprep.core.types import Buffer, Outcome, Shard, ShardReport, count_failures, count_name
from faceprep.run.places import PARTS, Places, names_in
from faceprep.run.staging import (
    BESIDE,
    Staging,
    finish_attempt,
    new_attempt,
    remove_attempt,
    shard_of,
)
from faceprep.run.store_places import StorePlaces
from faceprep.tables.ledger import Page, as_columns, shard_ids

_STATUS, _UNIT = attrgetter("status"), attrgetter("unit")


class ShardSink:
    """The Sink of one attempt at a shard. It stages files and commits them with the ledger page.

    `attempt` is the name of the attempt, which no other has.
    """

    def __init__(self, places: Places, shard_id: str) -> None:
        self._places, self._id = places, shard_id
        self.attempt = new_attempt(shard_id)
        here = places.staging(self.attempt)
        self._staging = Staging(places.root, here, places.tops, places.check_names)
        self._n_parts = 0
        # the hot path: without a home, no call lies in between
        self.write = self._write_beside if places.home else self._staging.write
        self.write_many = self._write_many_at_home if places.home else self._staging.write_many
        self.place = self._place_at_home if places.home else self._staging.place

    write: Any
    write_many: Any
    place: Any

    def _write_beside(self, name: str, data: Buffer, beside: str = "") -> None:
        self._staging.write(f"{self._places.home}{beside}/{name}", data)

    def write_new(self, name: str, data: Buffer) -> None:
        self.write(name, data)
        self._staging.claim_last()

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
        name = self._places.part_name(shard_id, suffix)
        path = self._places.root / name
        if self._places.store and storage.size_of(path) is None:
            store_writes.get_file(self._places.place_of(name), path)
        return path

    def commit(self, outcomes: Sequence[Outcome]) -> ShardReport:
        """Make the shard a part of the output and return its report.

        If another attempt at it was first, this one leaves nothing, and the report is that of the
        first.
        """
        name_of = count_name if any(map(_UNIT, outcomes)) else _STATUS
        by_status = dict(sorted(Counter(map(name_of, outcomes)).items()))
        n_outputs = len(self._staging.names) - self._n_parts
        has_lost = count_failures(by_status) > 0 or passing_faults.has_losses()
        retry = passing_faults.are_met() and has_lost
        late = passing_faults.has_timeouts()
        report = ShardReport(self._id, len(outcomes), by_status, n_outputs, retry=retry, late=late)
        counts = {
            "shard": self._id,
            "inputs": report.n_inputs,
            "by_status": by_status,
            "outputs": n_outputs,
        } | {name: True for name in ("retry", "late") if getattr(report, name)}
        lines = [counts, as_columns(outcomes, by_status)]
        is_first = self._staging.commit(lines, self._places.page(self._id))
        if self._places.store:
            put_shard(self._places, self._places.store, self._id)
        return report if is_first else rescue(self._places, self._id) or report

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


def put_shard(places: Places, store: StorePlaces, shard_id: str) -> None:
    """Put the objects of a finished shard and its page, then remove its local files.

    Keep the parts, because this process is likely to join them. Raises OutputError.
    """
    data = storage.read_bytes(places.page(shard_id))
    page = Page(shard_id, data)
    store.put_shard(
        page, data, {places.place_of(name): places.root / name for name in page.outputs}
    )
    for name in page.outputs:
        if not places.is_part(name):
            storage.remove_file(places.root / name)


def load_report(places: Places, shard_id: str, with_parts: bool = True) -> ShardReport | None:
    """Load the report of a finished shard; None unless all outputs exist with their sizes.

    In a store, its page must be there too.
    """
    page = _load_page(places, shard_id)
    if page is None:
        return None
    if places.store and not places.store.has_page(shard_id, places.page(shard_id)):
        return None
    for name, n_bytes in zip(page.outputs, page.sizes, strict=True):
        wanted = with_parts or not places.is_part(name)
        if wanted and storage.size_of(places.place_of(name)) != n_bytes:
            return None
    return page.counts


def _load_page(places: Places, shard_id: str) -> Page | None:
    """Read a page; None where it is missing, or damaged because the power went.

    Raises SourceError for one that cannot be read: it may be sound.
    """
    with SuppressDamage(), suppress(ValueError):
        page = _read_page(places, shard_id)
        if page.counts and len(page.outputs) == len(page.sizes):
            return page
    return None


def _read_page(places: Places, shard_id: str) -> Page:
    """Read a page. Raises SourceError, or ValueError where it is damaged."""
    return Page(shard_id, storage.read_bytes(places.page(shard_id)))


class Ledger:
    """The state of a run on disk. Only the driver holds one, under its lock."""

    def __init__(self, places: Places) -> None:
        self._places, self._store = places, places.store
        self._run = places.state / RUN

    def load_run(self) -> dict[str, Any] | None:
        """Load the description of the earlier run.

        Returns None if there was none, and an empty one if it is damaged.
        """
        if storage.size_of(self._run) is None:
            return None
        return load_run(self._places.state)

    def save_run(self, run: Mapping[str, Any], is_changed: bool = True) -> bool:
        """Record what the run is. Return False where another process has begun it meanwhile.

        In a store, which has no lock for that, the first record stays unless it `is_changed`.
        """
        earlier, kept = self.load_run(), dict(run)
        if self._store:
            run = {"finished": False} | kept
            kept = self._store.save_run(run, is_changed)
        storage.write_file(self._run, (json.dumps(kept, indent=1, sort_keys=True) + "\n").encode())
        return kept in (run, earlier)

    def has_foreign(self, name: str) -> bool:
        """Return whether an output of this name is there that the run has not made.

        In a store, another process may have begun the run meanwhile: its record came first.
        """
        if not self._places.has(name):
            return False
        is_begun = self._store and self.load_run() is None and self._store.has_run()
        return not is_begun

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
        for shard_id in shard_ids(names_in(self._places.page("").parent)):
            if shard_id in unfinished:
                self._drop_page(shard_id)

    def undo(self, shard_id: str) -> None:
        """Remove the outputs and the page of a finished shard, so that it is carried out again."""
        self._remove(_outputs(self._places, shard_id))
        self._drop_page(shard_id)

    def _drop_page(self, shard_id: str) -> None:
        if self._store:
            self._store.drop_page(shard_id)
        storage.remove_tree(self._places.page(shard_id))

    def _remove(self, names: Sequence[Any]) -> None:
        """Remove outputs, wherever they are."""
        if self._store:
            inside = filter(output_tree.is_inside, names)
            store_writes.remove([self._places.place_of(name) for name in inside])
        output_tree.remove_outputs(self._places.root, names, self._places.tops)

    def _folders_of_workers(self) -> list[Path]:
        """Return the folders that workers share a lock in: those of all shares for a whole run."""
        if self._places.is_share:
            return [self._places.private]
        shares = self._places.shares
        return [self._places.state, *(shares / name for name in names_in(shares))]

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
        if self._store:
            return self._store.alone()
        others = [self._places.shares / name for name in names_in(self._places.shares)]
        return locks.hold_all(folder for folder in others if folder != self._places.private)

    def find_unfinished(self, shards: Sequence[Shard]) -> set[str]:
        """Return the ids of the shards that have no page, or one that is still being committed."""
        if self._store:
            self._store.pull(self._places.page("").parent)
        pages = set(shard_ids(names_in(self._places.page("").parent)))
        begun = {shard_of(attempt) for attempt in self._places.attempts()}
        return {shard.id for shard in shards} - (pages - begun)

    def outcomes(self, shard_id: str) -> Iterator[Outcome]:
        """Yield one Outcome for every input of a finished shard."""
        return _read_page(self._places, shard_id).outcomes()

    def is_deleted(self) -> bool:
        """Return whether somebody has removed every output of the earlier run.

        A class map that was left behind does not count.
        """
        n_listed = 0
        for shard_id in shard_ids(names_in(self._places.page("").parent)):
            for name in map(str, _outputs(self._places, shard_id)):
                if self._places.is_part(name):
                    continue
                if self._places.has(name) and not is_class_map(name):
                    return False
                n_listed += 1
        return n_listed > 0

    def forget(self, keep_outputs: bool = False) -> None:
        """Remove every output that the ledger lists, and the ledger, but nothing else.

        `keep_outputs` spares outputs that replaced an input.
        """
        places = self._places
        if self._store:
            self._store.open_run()
        for attempt in places.attempts():
            remove_attempt(places.root, places.staging(attempt), places.tops)
        folder = places.page("").parent
        for shard_id in shard_ids(names_in(folder)):
            names = _outputs(places, shard_id)
            if keep_outputs:
                names = [name for name in names if places.is_part(str(name))]
            self._remove(names)
            self._drop_page(shard_id)
        if self._store:
            self._store.drop_run()
        for path in (places.staging(""), folder, places.failures):
            storage.remove_tree(path)
        if is_folder(self._run):
            storage.remove_tree(self._run)

    def erase(self) -> None:
        """Remove the outputs and the whole state of a run that cannot be resumed."""
        self.forget()
        self.drop_parts()
        storage.remove_tree(self._run)

    def drop_scratch(self) -> None:
        storage.remove_tree(self._places.scratch)
        if not self._places.is_share:
            storage.remove_tree(self._places.shares)
            if self._store:
                self._store.drop_shares()

    def drop_parts(self) -> None:
        if self._store:
            self._store.drop_parts()
        for folder in (self._places.state / PARTS, self._places.staging("")):
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
