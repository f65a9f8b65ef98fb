"""A run from the lock to the summary: one call for a whole run, or for one share of it."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from faceprep.core import locks
from faceprep.core.errors import FaceprepError, Interrupted, OutputError
from faceprep.core.job import Job
from faceprep.core.os_errors import name_faults
from faceprep.core.paths import full_path
from faceprep.core.types import Request, Runner, Summary
from faceprep.core.urls import is_remote
from faceprep.run import preflight
from faceprep.run.drive import Drive, Progress
from faceprep.run.places import Places
from faceprep.run.serial import SerialRunner
from faceprep.run.shard_task import ShardTask
from faceprep.run.store_output import run_in_store
from faceprep.run.store_places import StorePlaces

_GO_ON = "Start the same command again to resume."


def run_job(
    job: Job, request: Request, runner: Runner | None = None, progress: Progress | None = None
) -> Summary:
    """Carry out `job`, or what is left of it, and return the outcome of every input as counts.

    Without a runner, the work is done in this process.

    Raises FaceprepError when the run cannot begin or has to stop. Finished shards stay finished.
    """
    if not isinstance(job, Job):
        raise TypeError(
            f"run_job does not run {type(job).__name__}: call its method look, or resume of Finish "
            "and serve of Review"
        )
    carry_out = partial(_carry_out, job, runner or SerialRunner(), progress or Progress())
    if is_remote(request.output):
        return run_in_store(job, request, carry_out)
    return carry_out(request)


def _carry_out(
    job: Job, runner: Runner, progress: Progress, request: Request, store: StorePlaces | None = None
) -> Summary:
    """Carry out a run on this disk, or one that puts its output into a store."""
    started = time.monotonic()
    job.check_places(request)
    places = places_of(job, request)
    places.store = store
    folders = folders_of(job, request)
    drive: Drive | None = None
    try:
        with name_faults(request.output):
            preflight.refuse_bad_places(request, folders, job.writes_in_place(request))
            preflight.refuse_closed_places([places.root / top for top in places.tops[1:]])
            preflight.refuse_linked_state(places.state_folders())
            preflight.refuse_bad_share(request, job.writes_in_place(request))
            with _lock(places) as token:
                task = ShardTask(job, places, token)
                drive = Drive(task, request, folders, progress)
                drive.run(runner)
    except KeyboardInterrupt:
        state = drive.state_line() if drive else "nothing begun"
        stopped = Interrupted(f"stopped, {state}", path=request.output, remedy=_GO_ON)
        _add_summary(stopped, drive, started)
        raise stopped from None
    except FaceprepError as error:
        _add_summary(error, drive, started)
        raise
    return drive.summary(time.monotonic() - started)


def _add_summary(error: FaceprepError, drive: Drive | None, started: float) -> None:
    if drive and drive.is_prepared:
        error.summary = drive.summary(time.monotonic() - started)


def _lock(places: Places) -> AbstractContextManager[str]:
    """Return the lock that the run needs, for itself or shared with others."""
    if places.is_share:
        return locks.lock_share(places.state, places.private)
    return locks.lock(places.state)


def places_of(job: Job, request: Request) -> Places:
    """Return the places of a run: beside an output file, or inside an output folder."""
    share = request.share.folder if request.share else ""
    if job.writes_file(request.output):
        return Places(request.output.parent, request.output.name, share=share)
    if job.siblings:
        output = request.output
        if output.name in ("", ".."):
            output = Path(full_path(output))
        return Places(output.parent, home=output.name, siblings=job.siblings, share=share)
    name = job.state_of(request)
    if name is None:
        return Places(request.output, share=share)
    return Places(request.output, name, shares_failures=True, share=share)


def folders_of(job: Job, request: Request) -> list[Path]:
    """Return the folders that the run fills; none where the output is one file.

    Raises OutputError for the root of the file system, which has no name to go by.
    """
    if job.writes_file(request.output):
        return []
    output = Path(full_path(request.output))
    if not output.name:
        raise OutputError(
            "the root of the file system cannot be an output",
            path=request.output,
            remedy="Name a folder in it.",
        )
    return [output.with_name(output.name + ending) for ending in ("", *job.siblings)]
