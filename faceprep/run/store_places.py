"""A run's place in an object store: its outputs there, and its ledger.

    ROOT/NAME…                     the outputs, under the names that the ledger's pages list
    STATE/lock                     the lease of the run at work
    STATE/ledger/SHARD.jsonl       the page of a shard, put once its objects are there
    STATE/parts/…                  intermediate files of shards, until they are joined
    STATE/shares/I-of-N/lock       the lease of a process with --shard I/N
    STATE/run.json                 the run; "finished" is true once everything is there

STATE is `.faceprep/NAME` beside the output NAME. The page of a shard is its commit: it is put only
if there is none yet, and by a run that still holds its lease.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from faceprep.core import storage, store_writes
from faceprep.core.errors import FaceprepError, OutputError
from faceprep.core.io.json_line import parse_json
from faceprep.core.paths import is_folder
from faceprep.core.prefetch import map_ahead
from faceprep.core.state_file import RUN, STATE
from faceprep.core.text import count_noun
from faceprep.tables.ledger import PAGES, Page, page_name

log = logging.getLogger("faceprep")
_N_AT_ONCE = 8
"""Objects of a shard that are put at once."""
_PARTS, _SHARES = "parts", "shares"


def load_known_run(state: str) -> dict[str, Any] | None:
    """Return the record of the run that has its state here, None without one.

    It is empty where the record is damaged. Raises OutputError.
    """
    data = store_writes.read_if_there(f"{state}/{RUN}")
    if data is None:
        return None
    with suppress(ValueError):
        run = parse_json(data)
        if isinstance(run, dict):
            return run
    return {}


@dataclass(frozen=True)
class StorePlaces:
    """The prefixes of a run in a store. They are small and picklable, as workers put objects.

    The run holds the lease at `lock` under the name `holder`.
    """

    root: str
    state: str
    lock: str = ""
    holder: str = ""

    def page(self, shard_id: str) -> str:
        return f"{self.state}/{page_name(shard_id)}"

    # The ledger

    def has_page(self, shard_id: str, path: Path) -> bool:
        """Return whether the page of a shard is there that lies at `path` on this disk."""
        return storage.size_of(self.page(shard_id)) == storage.size_of(path)

    def pull(self, ledger: Path) -> None:
        """Copy the pages that other machines have put into the folder `ledger`."""
        storage.look_anew()
        url = f"{self.state}/{PAGES}"
        for name in _names(url):
            if storage.size_of(ledger / name) != storage.size_of(f"{url}/{name}"):
                storage.write_file(ledger / name, storage.read_bytes(f"{url}/{name}"))

    def has_run(self) -> bool:
        """Return whether the record of a run is there. Raises OutputError."""
        return load_known_run(self.state) is not None

    def save_run(self, run: Mapping[str, Any], is_changed: bool) -> dict[str, Any]:
        """Put the record of a run that `is_changed`, or of one that has none yet.

        Return the record that is there now. Raises OutputError.
        """
        data = (json.dumps(run, indent=1, sort_keys=True) + "\n").encode()
        url = f"{self.state}/{RUN}"
        self._check_lease()
        if is_changed:
            store_writes.put_over(url, data)
        elif not store_writes.put_new(url, data):
            return load_known_run(self.state) or {}
        return dict(run)

    def put_failures(self, path: Path, url: str) -> None:
        """Put the list of failures, or remove the one in the store if there is none here."""
        if storage.size_of(path) is None:
            store_writes.remove([url])
        else:
            store_writes.put_file(path, url)

    # Shards

    def put_shard(self, page: Page, data: bytes, files: Mapping[str, Path]) -> None:
        """Put the objects of a shard, then its page; `files` are its files by their objects.

        Raises OutputError where another run has taken over.
        """
        try:
            self._check_lease()
            with closing(map_ahead(_put, files.items(), _N_AT_ONCE, 4 * _N_AT_ONCE)) as puts:
                n = sum(puts)
            self._check_lease()
        except FaceprepError:  # another attempt may have been faster and removed its files
            if store_writes.read_if_there(self.page(page.shard_id)) == data:
                return
            raise
        if not store_writes.put_new(self.page(page.shard_id), data):
            raise OutputError("another run has put this shard", path=self.page(page.shard_id))
        log.debug("%s: %s put", self.page(page.shard_id), count_noun(n, "object"))

    def _check_lease(self) -> None:
        store_writes.check_lease(self.lock, self.holder)

    def drop_page(self, shard_id: str) -> None:
        store_writes.remove([self.page(shard_id)])

    # The end

    def open_run(self) -> None:
        """Record that the run is not finished, before anything that it lists is removed.

        The record stays, so that a start after a kill finds the rest.
        """
        if run := load_known_run(self.state):
            self.save_run(run | {"finished": False}, is_changed=True)

    def drop_run(self) -> None:
        """Remove the record of the run, after all that it lists."""
        store_writes.remove([f"{self.state}/{RUN}"])

    def drop_parts(self) -> None:
        """Remove the intermediate files of the run."""
        self._drop(_PARTS)

    def drop_shares(self) -> None:
        """Remove what processes that shared the run have left."""
        for folder in _folders(f"{self.state}/{_SHARES}"):
            self._drop(f"{_SHARES}/{folder}")

    def _drop(self, folder: str) -> None:
        storage.look_anew()
        url = f"{self.state}/{folder}"
        store_writes.remove([f"{url}/{name}" for name in _names(url)])

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep out the processes that share the run. Raises OutputError where one is at work.

        A share takes the lease of a whole run for that.
        """
        whole = f"{self.state}/lock"
        if self.lock == whole:  # it looked for others when it began
            yield
            return
        with store_writes.Lease(whole, self.holder):
            storage.look_anew()
            store_writes.refuse_live([url for url in self.locks_of_shares() if url != self.lock])
            yield

    def rooted(self, is_beside: bool) -> StorePlaces:
        """Return the places of a run whose names start at the output, or one prefix higher."""
        above, _, name = self.state.rpartition("/")
        root = above.removesuffix(f"/{STATE}")
        return replace(self, root=root if is_beside else f"{root}/{name}")

    def locks_of_shares(self) -> list[str]:
        """Return where processes that share the run have their leases."""
        url = f"{self.state}/{_SHARES}"
        return [f"{url}/{folder}/lock" for folder in _folders(url)]


def _put(file: tuple[str, Path]) -> int:
    url, path = file
    store_writes.put_file(path, url)
    return 1


def _names(url: str) -> Sequence[str]:
    """Return the names of the objects directly below a prefix; none where there is no prefix."""
    return storage.list_folder(url)[1] if is_folder(url) else []


def _folders(url: str) -> Sequence[str]:
    return storage.list_folder(url)[0] if is_folder(url) else []
