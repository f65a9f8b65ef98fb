"""A preview of a run: it is planned and checked as a run is, and nothing is written."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from faceprep.core import input_faults, storage
from faceprep.core.examination import use_workers
from faceprep.core.job import Job
from faceprep.core.names import is_class_map
from faceprep.core.os_errors import name_faults
from faceprep.core.paths import exists
from faceprep.core.scratch import scratch_folder
from faceprep.core.state_file import RUN, STATE, find_state, load_record
from faceprep.core.types import Request, Runner, Shard, ShardReport, Summary, Work
from faceprep.core.urls import is_remote, url_of
from faceprep.run import planning, preflight
from faceprep.run.drive import PLANNING, Progress
from faceprep.run.engine import folders_of, places_of
from faceprep.run.foreign_outputs import OutputPlace, refuse_foreign_outputs
from faceprep.run.places import Places
from faceprep.run.serial import SerialRunner
from faceprep.run.shard_task import Examination
from faceprep.run.store_output import find_earlier
from faceprep.run.tally import Tally
from faceprep.tables.ledger import PAGES, shard_ids

log = logging.getLogger("faceprep")


def preview_job(
    job: Job, request: Request, runner: Runner | None = None, progress: Progress | None = None
) -> Summary:
    """Plan the run that `run_job` would carry out, and check that it may begin.

    The summary counts the planned inputs, none of them ok. Its details have the planned number of
    shards, files and bytes; files and bytes are estimates. They also count the inputs that the plan
    leaves out. `runner` examines the inputs.

    Raises FaceprepError where the run itself would be refused before its first shard.
    """
    started = time.monotonic()
    job.check_places(request)
    before: Mapping[str, Any] | None
    with name_faults(request.output), scratch_folder() as scratch:
        if is_remote(request.output):
            here, root, state, before = find_earlier(job, request)
            places = places_of(job, here)
        else:
            here, places = request, places_of(job, request)
            root, state, before = str(places.root), str(places.state), _find_earlier(places)
        folders = folders_of(job, here)
        preflight.refuse_bad_places(here, folders, job.writes_in_place(here))
        preflight.refuse_closed_places([places.root / top for top in places.tops or ("",)])
        preflight.refuse_linked_state(places.state_folders())
        preflight.refuse_bad_share(here, job.writes_in_place(here))
        is_fresh = request.overwrite or _is_void(before, root)
        wait = (progress or Progress()).wait
        with _examiners(runner or SerialRunner(), job, scratch), wait(PLANNING):
            planned = _plan(job, here, scratch, None if is_fresh else before)
        place = OutputPlace(Path(root), Path(root, STATE), lambda name: exists(f"{root}/{name}"))
        refuse_foreign_outputs(here, planned.work, folders, place, before)
        is_finished = (before or {}).get("finished") is True and not is_fresh
        if request.joins and not is_finished:
            find_unfinished = partial(_find_unfinished, state)
            stage = planned.work.stages[0]
            preflight.refuse_missing_shares(before or {}, stage, find_unfinished, request.output)
        preflight.refuse_what_cannot_fit(planned.work, 1, places.root)
    _name_faults(planned)
    summary = _summarize(job, planned)
    return replace(
        summary, seconds=round(time.monotonic() - started, 3), output=url_of(request.output)
    )


def _summarize(job: Job, planned: planning.Planned) -> Summary:
    """Return the summary of a plan, without its time and its place."""
    tally, work = Tally(lost=planned.lost), planned.work
    figures: dict[str, Any] = {
        "failures": None,
        "done_before": 0,
        "dry_run": True,
        "shards": sum(len(stage.shards) for stage in work.stages),
        "planned_files": max(work.n_files, len(work.files or ())),
        "planned_bytes": work.n_bytes,
    }
    if work.left_out:
        figures["left_out"] = dict(work.left_out)
    return Summary(
        command=job.command,
        unit=work.counted_unit or work.unit,
        inputs=_count_inputs(work),
        failed=tally.n_failed,
        by_status=tally.by_status,
        details=figures | work.figures,
    )


def _name_faults(planned: planning.Planned) -> None:
    """Log the inputs that could not be listed, opened or examined, which a run reports later."""
    for outcome in planned.lost:
        log.warning("%s", outcome.reason)
    folders = {outcome.key for outcome in planned.lost}
    for fault, number in planned.described.get(planning.UNREAD, {}).items():
        if fault not in folders:
            log.warning("%s", input_faults.error_of(fault, number))


@contextmanager
def _examiners(runner: Runner, job: Job, scratch: Path) -> Iterator[None]:
    """Let workers of `runner` examine the inputs. They start only if the job has a question."""
    with ExitStack() as stack:

        def carry_out(shards: Iterable[Shard]) -> Generator[ShardReport, None, None]:
            start = runner.start(Examination(job, str(scratch)))
            return stack.enter_context(start)(shards)

        with use_workers(carry_out):
            yield


def _find_earlier(places: Places) -> Mapping[str, Any] | None:
    """Return the record of the earlier run in these places, None without one."""
    home = places.root / places.home
    state = find_state(home)
    if state is None:
        return None
    inner = places.state.relative_to(home / STATE) / RUN
    return load_record(state, inner.as_posix()) or None


def _find_unfinished(state: str, shards: Sequence[Shard]) -> set[str]:
    """Return the ids of the shards that have no page in the ledger of the folder `state`."""
    done = shard_ids(storage.list_folder(f"{state}/{PAGES}")[1])
    return {shard.id for shard in shards}.difference(done)


def _is_void(before: Mapping[str, Any] | None, root: str) -> bool:
    """Return whether the output of a finished run was deleted, so that the run starts again."""
    files = (before or {}).get("files")
    if not files or not (before or {}).get("finished"):
        return False
    return not any(exists(f"{root}/{name}") for name in files if not is_class_map(name))


def _plan(
    job: Job, request: Request, scratch: Path, before: Mapping[str, Any] | None
) -> planning.Planned:
    """Plan the run in a temporary folder, and refuse a resumption that does not fit."""
    if before is None:
        return planning.plan(job, request, scratch)
    preflight.refuse_other_run(before, planning.describe(job, request), request)
    preflight.refuse_unfinished(before, request)
    request = replace(request, choices=planning.choices_of(before))
    planned = planning.plan(job, request, scratch)
    if planning.replay(job, request, scratch, before, planned) is None:
        preflight.refuse_changed_input(before, planned.described, request.output)
    return planned


def _count_inputs(work: Work) -> int:
    """Return the planned number of the inputs that the summary of the run will count."""
    unit = work.counted_unit or work.unit
    sizes = [
        sum(len(shard) for shard in stage.shards)
        for stage in work.stages
        if (stage.unit or work.unit) == unit
    ]
    return max(sizes, default=0) - work.n_aside
