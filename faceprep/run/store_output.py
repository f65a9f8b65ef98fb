"""Outputs in an object store: shards are made on the local disk, then uploaded.

The run is an ordinary one below the user's cache folder, whose places know the store
(`run.store_places`). A shard's objects are put when it is done, then its page, and its files here
are removed. A folder of objects cannot appear as a whole, so the record of a finished run is put
last. What lies in the cache folder may be lost: the store has all that a run needs to resume.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from faceprep.core import locks, storage, store_writes
from faceprep.core.errors import FaceprepError, Interrupted, OutputError
from faceprep.core.job import Job
from faceprep.core.output_tree import refuse_overlap
from faceprep.core.paths import exists, full_path, is_folder
from faceprep.core.state_file import RUN, STATE, load_run
from faceprep.core.types import Request, Share, Summary
from faceprep.models.cache import cache_folder
from faceprep.run import preflight
from faceprep.run.store_places import StorePlaces, load_known_run
from faceprep.tables.ledger import PAGES

RunHere = Callable[[Request, StorePlaces], Summary]
"""Carries the request out on the disk of this machine and puts what it makes."""
_ROOM_FOR_PAGES = "x" * 64
"""A name as long as the longest below the state of a run."""
_NAMED = ("command", "options", "sources", "fingerprint", "shards")
"""What the records of one run have in common."""


def run_in_store(job: Job, request: Request, run_here: RunHere) -> Summary:
    """Carry out a run whose output lies in a store, or a share of it. Raises FaceprepError."""
    _refuse_unfit(job, request)
    place = _Place(request.output, request.share)
    storage.make_folder(place.folder)
    with _as_user_knows(place), locks.lock(place.folder / "at work"):
        with store_writes.Lease(place.lock, place.owner()) as lease:
            store = StorePlaces(place.root(job), place.state, lease.url, lease.name)
            _refuse_others(place, request, store)
            _bring_state(place, job, request, store)
            summary = run_here(replace(request, output=place.here), store)
        storage.remove_tree(place.folder / "out")
    return replace(summary, output=place.url)


class Earlier(NamedTuple):
    """What a store has of a run.

    `request` has the place on this disk. The names of outputs are relative to `root`. `state` is
    the folder of the state, and `record` the record of the run, None without one.
    """

    request: Request
    root: str
    state: str
    record: dict[str, Any] | None


def find_earlier(job: Job, request: Request) -> Earlier:
    """Find an earlier run of this output. Raises FaceprepError where a run would."""
    _refuse_unfit(job, request)
    place = _Place(request.output, request.share)
    here, known = replace(request, output=place.here), load_known_run(place.state)
    if known is None:
        _refuse_foreign(place, job, request)
    return Earlier(here, place.root(job), place.state, known)


def find_run(output: Path) -> dict[str, Any] | None:
    """Return the record of the run that makes an output in a store, None without one."""
    return load_known_run(_Place(output).state)


class _Place:
    """Where an output lies in the store, and where a run or a share of it works on this disk."""

    def __init__(self, output: Path, share: Share | None = None) -> None:
        self.url = full_path(output)
        self.prefix, _, self.name = self.url.rpartition("/")
        digest = hashlib.sha256(self.url.encode("utf-8", "surrogateescape")).hexdigest()
        self.folder = cache_folder() / "stores" / digest[:16]
        self.state = f"{self.prefix}/{STATE}/{self.name}"
        self.lock = self.whole_lock = f"{self.state}/lock"
        if share is not None:
            self.folder /= share.folder
            self.lock = f"{self.state}/shares/{share.folder}/lock"
        self.here = self.folder / "out" / self.name

    def root(self, job: Job) -> str:
        """Return the prefix that the names of outputs are relative to."""
        if job.writes_file(self.here) or job.siblings:
            return self.prefix
        return self.url

    def state_here(self, job: Job) -> Path:
        """Return the folder of the state of the run on this disk."""
        if job.writes_file(self.here):
            return self.here.parent / STATE / self.name
        return self.here / STATE

    def owner(self) -> str:
        """Return the name under which runs of this folder hold the lease."""
        path = self.folder / "owner"
        if storage.size_of(path) is None:
            storage.write_file(path, secrets.token_hex(8).encode())
        return storage.read_bytes(path).decode()


def _refuse_unfit(job: Job, request: Request) -> None:
    """Refuse what cannot be written to a store."""
    url = full_path(request.output)
    if not store_writes.can_put(url):
        raise OutputError("outputs are written to s3://, gs://, az:// and to disks", path=url)
    if url.count("/") < 3:
        raise OutputError("names a whole bucket", path=url, expected="a name below it")
    if not job.may_write_to_store(request.output):
        raise OutputError(
            "this output is not written to object stores",
            path=url,
            remedy="Write it to a disk, then upload it.",
        )
    store_writes.check_name(_Place(request.output).state + "/" + _ROOM_FOR_PAGES)
    preflight.refuse_bad_share(request, job.writes_in_place(request))
    folders = [] if job.writes_file(request.output) else [request.output]
    for source in request.sources:
        refuse_overlap(source, request.output, folders)


@contextmanager
def _as_user_knows(place: _Place) -> Iterator[None]:
    """Name the places of the store in errors of the run on this disk."""
    here = str(place.here.parent)
    try:
        yield
    except KeyboardInterrupt:
        remedy = "Start the same command again to resume."
        raise Interrupted("stopped", path=place.url, remedy=remedy) from None
    except FaceprepError as error:
        if error.summary is not None:
            error.summary = replace(error.summary, output=place.url)
        if error.path is None or not error.path.startswith(here):
            raise
        fields = {name: getattr(error, name) for name in ("where", "expected", "found", "remedy")}
        path = place.prefix + error.path.removeprefix(here)
        renamed = type(error)(error.problem, path=path, **fields)
        renamed.summary = error.summary
        raise renamed from error


def _refuse_others(place: _Place, request: Request, store: StorePlaces) -> None:
    """Refuse to work beside a whole run, or to join or take over while a share is at work.

    Each has put its own lease before it looks for others, so one of two notices the other.
    """
    storage.look_anew()
    store_writes.refuse_live([place.whole_lock] if request.share else store.locks_of_shares())


def _bring_state(place: _Place, job: Job, request: Request, store: StorePlaces) -> None:
    """Make the state on this disk match the run in the store, which the engine then resumes.

    Raises OutputError if the place holds something other than a run.
    """
    known, state = load_known_run(place.state), place.state_here(job)
    is_here = known is not None and is_folder(state) and _are_one(known, load_run(state))
    if not is_here:  # the state of a finished run is a file; the store holds it all
        storage.remove_tree(place.folder / "out")
    if known is not None:
        if not is_here:
            text = json.dumps(known, indent=1, sort_keys=True) + "\n"
            storage.write_file(state / RUN, text.encode())
        store.pull(state / PAGES)
    else:
        _refuse_foreign(place, job, request)


def _refuse_foreign(place: _Place, job: Job, request: Request) -> None:
    """Refuse a place with something that no run has made.

    Only an object may be replaced. --overwrite would mix what is in a prefix with the output.
    """
    remedy = "Choose another output."
    if job.writes_file(place.here):
        if request.overwrite:
            return
        remedy = "Choose another output, or use --overwrite to replace it."
    for ending in ("", *job.siblings):
        if exists(place.url + ending):
            raise OutputError("exists already", path=place.url + ending, remedy=remedy)


def _are_one(known: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    return all(known.get(name) == here.get(name) for name in _NAMED)
