"""The plan of a run and its description, which a resumed run is compared with."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from faceprep import __version__
from faceprep.core import input_faults, registry, storage
from faceprep.core.errors import FaceprepError, OptionError
from faceprep.core.job import Job
from faceprep.core.os_errors import is_fault
from faceprep.core.paths import full_path
from faceprep.core.signatures import sign
from faceprep.core.state_file import MADE_FROM, SIGNATURE, STATE, run_id_of
from faceprep.core.types import Outcome, Request, Shard, Work
from faceprep.core.urls import url_of
from faceprep.run.places import Places

log = logging.getLogger("faceprep")
_N_NAMED = 3
UNREAD = "unread"
"""Key of the description: the inputs that planning could not look at, path to errno."""
CHOICES = "choices"
"""Key of the description: the choices of the plan, see `Work.choices`."""


class Planned(NamedTuple):
    """The work of a run, its description, and the folders that could not be listed."""

    work: Work
    described: dict[str, Any]
    lost: list[Outcome]


class RepeatedLines(logging.Filter):
    """A filter that drops each line that was logged before. Use it as a context while planning.

    A run may be planned twice, and each plan names the files that it skips.
    """

    def __init__(self) -> None:
        super().__init__()
        self._logged: set[str] = set()

    def __enter__(self) -> None:
        log.addFilter(self)

    def __exit__(self, *_: object) -> None:
        log.removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        line = record.getMessage()
        is_new = line not in self._logged
        self._logged.add(line)
        return is_new


def describe(job: Job, request: Request) -> dict[str, Any]:
    """Return the description of a run that is not planned yet."""
    return {
        "faceprep": __version__,
        "command": job.command,
        "options": _plain(job) | {"limit": request.limit},
        "sources": [full_path(source) for source in request.sources],
    }


def plan(
    job: Job, request: Request, scratch: Path, replayed: Mapping[str, int] | None = None
) -> Planned:
    """Plan a run, with the faults `replayed` of an earlier one. Raises FaceprepError.

    Where a fault was met that has passed since, plan once more.
    """
    planned = _plan_once(job, request, scratch, replayed)
    if replayed is None and input_faults.have_passed(planned.described.get(UNREAD, {})):
        return _plan_once(job, request, scratch, None)
    return planned


def _plan_once(
    job: Job, request: Request, scratch: Path, replayed: Mapping[str, int] | None
) -> Planned:
    """Plan a run. Raises FaceprepError."""
    with input_faults.watch(replayed) as faults:
        try:
            work = job.plan(request, scratch)
        except FaceprepError as error:
            for outcome in islice(faults.lost.values(), _N_NAMED):
                log.warning("%s", outcome.reason)
            met = [input_faults.error_of(path, number) for path, number in faults.met.items()]
            for fault in filter(is_fault, met):
                is_consequence = not (is_fault(error) or isinstance(error, OptionError))
                if is_consequence:
                    raise fault from error
            raise
    described = describe(job, request) | _describe_work(work)
    described[MADE_FROM] = [full_path(path) for path in work.made_from or request.sources]
    if faults.met:
        described[UNREAD] = dict(faults.met)
    return Planned(work, described, list(faults.lost.values()))


def replay(
    job: Job, request: Request, scratch: Path, before: Mapping[str, Any], now: Planned
) -> Planned | None:
    """Return the plan of the run `before` if it differs from `now` only where inputs were repaired.

    It is planned once more, with the faults of that time. None stands for no difference as well.
    """
    replayed, names = before.get(UNREAD), ("fingerprint", "shards")
    if not isinstance(replayed, dict) or _are_equal(before, now.described, names):
        return None
    here = scratch / "before the repair"
    storage.make_folder(here)
    then = plan(job, request, here, replayed)
    storage.remove_tree(here)
    return then if _are_equal(before, then.described, names) else None


def _are_equal(a: Mapping[str, Any], b: Mapping[str, Any], names: Sequence[str]) -> bool:
    return all(a.get(name) == b[name] for name in names)


def stale_shards(then: Planned, now: Planned) -> list[str] | None:
    """Return the ids of the shards that `now` cuts in another way, and of all stages after them.

    Shards of the same cut are the same only if the inputs are. None: all shards may have others.
    """
    if not _are_equal(then.described, now.described, ["fingerprint"]):
        is_same_cut = _are_equal(then.described, now.described, ["shards"])
        return [] if is_same_cut else None
    cuts = set(map(_describe_cut, _shards_of(now.work)))
    stale: list[str] = []
    for stage in then.work.stages:
        follows = bool(stale)
        stale += [shard.id for shard in stage.shards if follows or _describe_cut(shard) not in cuts]
    return stale


def places_before(places: Places, before: Mapping[str, Any] | None, command: str) -> Places:
    """Return the places of the run `before` in the same output, maybe of another than `command`.

    The names of a run with folders beside its output start one folder higher than those of others.
    """
    other = str((before or {}).get("command"))
    is_other = other != command and other in registry.COMMANDS
    if not is_other or places.state.name != STATE:
        return places
    output = Path(full_path(places.state.parent))
    siblings = registry.load(registry.COMMANDS, other).siblings
    found = Places(output)
    if siblings:
        found = Places(output.parent, home=output.name, siblings=siblings)
    found.store = places.store and places.store.rooted(is_beside=bool(siblings))
    return found


def choices_of(before: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the choices of the plan of the run `before`, whose record may be damaged."""
    choices = before.get(CHOICES)
    return choices if isinstance(choices, dict) else {}


def keep_earlier(described: dict[str, Any], before: Mapping[str, Any] | None) -> None:
    """Keep the version that began the run, and add the files of the run so far.

    A file that is there already may not be planned again.
    """
    if before:
        described["faceprep"] = before.get("faceprep")
    if before and described["files"] is not None:
        described["files"] = list(
            dict.fromkeys([*(before.get("files") or ()), *described["files"]])
        )


def add_lineage(described: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """Add the name of this run to its description, and the run that made each of its inputs.

    A signature shows that the output was made from these sets by this user.
    """
    text = json.dumps(described, sort_keys=True)
    sources = [Path(full_path(source)) for source in request.sources]
    run_id = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return {
        **described,
        "id": run_id,
        "inputs": [{"path": url_of(source), "run": run_id_of(source)} for source in sources],
        SIGNATURE: sign([run_id, *described[MADE_FROM]]),
    }


def _describe_work(work: Work) -> dict[str, Any]:
    shards = list(_shards_of(work))
    cuts = "\n".join(map(_describe_cut, shards))
    return {
        "fingerprint": work.fingerprint,
        "n_shards": len(shards),
        "shards": hashlib.sha256(cuts.encode("utf-8", "surrogateescape")).hexdigest(),
        "files": None if work.files is None else list(work.files),
        **({CHOICES: dict(work.choices)} if work.choices else {}),
    }


def _plain(value: Any) -> Any:
    """Convert a value to the form in which JSON gives it back."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return full_path(value) if isinstance(value, Path) else value


def _shards_of(work: Work) -> Iterator[Shard]:
    return (shard for stage in work.stages for shard in stage.shards)


def _describe_cut(shard: Shard) -> str:
    """Name a shard, its source and its range; a relative path is the same source as its absolute
    one.
    """
    source = shard.source
    if source:
        source = full_path(source)
    return f"{shard.id} {source} {shard.start} {shard.stop}"
