"""Outputs in an object store: a run works on the disk of this machine, then its objects are put.

    PREFIX/NAME…                            the output, NAME being what the user named
    PREFIX/.faceprep/NAME/lock              the lease of the run at work
    PREFIX/.faceprep/NAME/ledger/SHARD…     the page of a shard, put once its objects are there
    PREFIX/.faceprep/NAME/run.json          the run; "finished" is true once everything is there

The run itself is an ordinary one below the user's cache folder, where a killed one resumes. A
folder of objects cannot appear as a whole, so run.json is written last.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from faceprep.core import locks, storage, store_writes
from faceprep.core.errors import FaceprepError, Interrupted, OptionError, OutputError
from faceprep.core.job import Job
from faceprep.core.output_tree import refuse_overlap
from faceprep.core.paths import exists, full_path, is_folder
from faceprep.core.prefetch import map_ahead
from faceprep.core.state_file import RUN, STATE, find_state, load_record
from faceprep.core.text import count_noun
from faceprep.core.types import Request, Summary
from faceprep.models.cache import cache_folder
from faceprep.run import preflight
from faceprep.tables.ledger import FAILURES, FINISH, PAGES, Page, page_name, shard_ids

log = logging.getLogger("faceprep")
_N_AT_ONCE = 8
"""Objects of a shard that are put at once."""
RunHere = Callable[[Request], Summary]
"""Carries the request out on the disk of this machine."""


def run_in_store(job: Job, request: Request, run_here: RunHere) -> Summary:
    """Carry out a run whose output lies in a store. Raises FaceprepError."""
    _refuse_unfit(job, request)
    place = _Place(request.output)
    storage.make_folder(place.folder)
    with _as_user_knows(place), locks.lock(place.folder / "at work"):
        with store_writes.Lease(place.lock, place.owner()) as lease:
            is_new = _compare(place, job, request)
            summary = run_here(replace(request, output=place.here))
            _Upload(place, job, lease).put_all(is_new and not request.overwrite)
        storage.remove_tree(place.folder / "out")
    details = {**summary.details, "failures": place.failures(job)}
    return replace(summary, output=place.url, details=details)


class _Place:
    """Where an output lies in the store, and where its run works on this disk."""

    def __init__(self, output: Path) -> None:
        self.url = full_path(output)
        self.prefix, _, self.name = self.url.rpartition("/")
        digest = hashlib.sha256(self.url.encode("utf-8", "surrogateescape")).hexdigest()
        self.folder = cache_folder() / "stores" / digest[:16]
        self.here = self.folder / "out" / self.name
        self.state = f"{self.prefix}/{STATE}/{self.name}"
        self.lock, self.run = f"{self.state}/lock", f"{self.state}/{RUN}"

    def roots(self, job: Job) -> tuple[Path, str]:
        """Return the folder and the prefix that the names of outputs are relative to."""
        if job.writes_file(self.here) or job.siblings:
            return self.here.parent, self.prefix
        return self.here, self.url

    def state_here(self, job: Job) -> Path:
        """Return the folder of the state of the run on this disk."""
        if job.writes_file(self.here):
            return self.here.parent / STATE / self.name
        return self.here / STATE

    def failures_here(self, job: Job) -> Path:
        """Return the list of failures on this disk; a folder has one where something failed."""
        if job.writes_file(self.here):
            return self.state_here(job) / FAILURES
        return self.here / FAILURES

    def failures(self, job: Job) -> str:
        """Return the name of the list of failures in the store."""
        return f"{self.state if job.writes_file(self.here) else self.url}/{FAILURES}"

    def owner(self) -> str:
        """Return the name under which runs of this folder hold the lease."""
        path = self.folder / "owner"
        if storage.size_of(path) is None:
            storage.write_file(path, secrets.token_hex(8).encode())
        return storage.read_bytes(path).decode()

    def known_run(self) -> dict[str, Any] | None:
        """Return the run that has put something here, None without one."""
        data = store_writes.read_if_there(self.run)
        if data is None:
            return None
        run = json.loads(data)
        return run if isinstance(run, dict) else None


def _refuse_unfit(job: Job, request: Request) -> None:
    """Refuse what cannot be written to a store."""
    url = full_path(request.output)
    if not store_writes.can_put(url):
        raise OutputError("outputs are written to s3:// and to disks", path=url)
    if url.count("/") < 3:
        raise OutputError("names a whole bucket", path=url, expected="a name below it")
    if not job.may_write_to_store(request.output):
        raise OutputError(
            "this output is not written to object stores",
            path=url,
            remedy="Write it to a disk, then upload it.",
        )
    if request.share or request.joins:
        raise OptionError("--shard: an output in an object store cannot be shared")
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
        if error.path is None or not error.path.startswith(here):
            raise
        fields = {name: getattr(error, name) for name in ("where", "expected", "found", "remedy")}
        path = place.prefix + error.path.removeprefix(here)
        renamed = type(error)(error.problem, path=path, **fields)
        renamed.summary = error.summary
        raise renamed from error


# Before the run


def _compare(place: _Place, job: Job, request: Request) -> bool:
    """Compare the run with what is in the store; return whether it is the first one there.

    The run of another machine is made known to the engine here, which refuses other options.
    Raises OutputError where something else is in the place.
    """
    known = place.known_run()
    if request.overwrite:
        _remove_known(place, place.roots(job)[1])
        return known is None
    if known is None:
        for ending in ("", *job.siblings):
            _refuse_object(place.url + ending)
        return True
    if find_state(place.here.parent) is None and find_state(place.here) is None:
        known.pop("finished", None)
        storage.write_file(place.state_here(job) / RUN, _as_json(known))
    return False


def _refuse_object(url: str) -> None:
    if exists(url):
        raise OutputError(
            "exists already", path=url, remedy="Choose another output, or use --overwrite."
        )


def _remove_known(place: _Place, root: str) -> None:
    """Remove every object that the ledger in the store lists, and the ledger."""
    if not is_folder(place.state):
        return
    store_writes.remove([place.run])
    pages = f"{place.state}/{PAGES}"
    names = storage.list_folder(pages)[1] if is_folder(pages) else []
    for name in names:
        page = Page(name, storage.read_bytes(f"{pages}/{name}"))
        store_writes.remove([f"{root}/{each}" for each in _final(page)])
        store_writes.remove([f"{pages}/{name}"])
    storage.look_anew()


def _final(page: Page) -> list[str]:
    """Return the names of the outputs on a page without intermediate files."""
    return [name for name in page.outputs if STATE not in name.split("/")]


# After the run


class _Upload:
    """The objects of a finished run, which are put while `lease` is held."""

    def __init__(self, place: _Place, job: Job, lease: store_writes.Lease) -> None:
        self._place, self._job, self._lease = place, job, lease
        self._here, self._url = place.roots(job)
        state, self._inner = find_state(place.here), ""
        if job.writes_file(place.here):
            state, self._inner = find_state(place.here.parent), f"{place.name}/"
        if state is None:
            raise OutputError("the state of the run is gone", path=place.url)
        self._state = state

    def put_all(self, is_new: bool) -> None:
        """Put the objects of each shard, then its page; the record of the run is put last.

        Raises OutputError for an output of several files that is there already, if it `is_new`.
        """
        run, known = load_record(self._state, self._inner + RUN), self._place.known_run()
        if known is not None:
            preflight.refuse_other_run(known, run, Path(self._place.url))
            preflight.refuse_changed_input(known, run, Path(self._place.url))
        if is_new and self._job.writes_file(self._place.here):
            for page, _ in self._pages():
                self._refuse_to_put_over(page)
        store_writes.put_over(self._place.run, _as_record(run, False))
        for page, data in self._pages():
            self._lease.check()
            self._put_shard(page, data)
        self._put_failures()
        self._lease.check()
        store_writes.put_over(self._place.run, _as_record(run, True))

    def _pages(self) -> Iterator[tuple[Page, bytes]]:
        """Yield the pages of the finished run, the one that joins the others last."""
        start = f"{self._inner}{PAGES}/"
        ids = shard_ids(name.removeprefix(start) for name in self._state.names(start))
        for shard_id in sorted(ids, key=lambda shard_id: shard_id == FINISH):
            data = self._state.read(self._inner + page_name(shard_id))
            yield Page(shard_id, data), data

    def _refuse_to_put_over(self, page: Page) -> None:
        for name in _final(page):
            _refuse_object(f"{self._url}/{name}")

    def _put_shard(self, page: Page, data: bytes) -> None:
        """Put the objects of a shard and its page, unless they are all there."""
        url = f"{self._place.state}/{page_name(page.shard_id)}"
        known, names = store_writes.read_if_there(url), _final(page)
        if known == data and self._are_there(page, names):
            return
        if known is not None:
            store_writes.remove([url])
        with closing(map_ahead(self._put, names, _N_AT_ONCE, 4 * _N_AT_ONCE)) as puts:
            n = sum(puts)
        if not store_writes.put_new(url, data):
            raise OutputError("another run has put this shard", path=url)
        log.debug("%s: %s put", self._place.url, count_noun(n, "object"))

    def _are_there(self, page: Page, names: Sequence[str]) -> bool:
        sizes = dict(zip(page.outputs, page.sizes, strict=True))
        return all(storage.size_of(f"{self._url}/{name}") == sizes[name] for name in names)

    def _put(self, name: str) -> int:
        store_writes.put_file(self._here / name, f"{self._url}/{name}")
        return 1

    def _put_failures(self) -> None:
        """Put the list of failures where there is one."""
        here, url = self._place.failures_here(self._job), self._place.failures(self._job)
        if storage.size_of(here) is None:
            store_writes.remove([url])
        else:
            store_writes.put_file(here, url)


def _as_record(run: Mapping[str, Any], is_finished: bool) -> bytes:
    """Return the record of a run for the store, without what depends on the state of its disk."""
    kept = {name: value for name, value in run.items() if name not in ("files", "id")}
    return _as_json(kept | {"finished": is_finished})


def _as_json(run: Mapping[str, Any]) -> bytes:
    return (json.dumps(run, indent=1, sort_keys=True) + "\n").encode()
