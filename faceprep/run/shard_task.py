"""One shard in a worker, from staging to commit."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from faceprep.core import items, locks, passing_faults
from faceprep.core.errors import BadName, FaceprepError, as_out_of_memory
from faceprep.core.job import Job
from faceprep.core.os_errors import name_faults
from faceprep.core.shards import EXAMINE
from faceprep.core.types import Shard, ShardReport
from faceprep.run import heartbeat
from faceprep.run.ledger import ShardSink, rescue
from faceprep.run.places import Places

log = logging.getLogger("faceprep")


@dataclass(frozen=True)
class ShardTask:
    """A job on one shard, from staging to commit. It is picklable.

    `run` raises nothing but FaceprepError. `token` is the pass of the run, which its workers need.
    """

    job: Job
    places: Places
    token: str

    @property
    def folder(self) -> str:
        return os.path.abspath(self.places.state)

    @property
    def uses_gpu(self) -> bool:
        return self.job.uses_gpu()

    def run(self, shard: Shard) -> ShardReport:
        with name_faults(self.folder), locks.at_work(self.places.private, self.token):
            if shard.stage == EXAMINE:
                return examine(self.job, shard)
            try:
                return rescue(self.places, shard.id) or self._carry_out(shard)
            finally:
                items.begin(items.Care())

    def warm_up(self) -> None:
        """Load what the job needs before its first shard."""
        self.job.warm_up()

    def _carry_out(self, shard: Shard) -> ShardReport:
        """Carry out a shard, if need be again without the items that go wrong."""
        passing_faults.forget()
        while True:
            try:
                report = _report_bugs(partial(self._attempt, shard), shard)
            except BadName as error:
                if not items.blame(error.status, error.problem):
                    raise
            except MemoryError:
                if not items.blame(items.NO_MEMORY, "memory ran out"):
                    return crashed(shard, "memory ran out")
            except OSError as fault:
                passing_faults.note_errno(fault.errno)
                if not items.blame(items.CRASHED, _describe_bug(fault)):
                    raise
            else:
                if not report.crash or not items.blame(items.CRASHED, report.crash):
                    return report

    def _attempt(self, shard: Shard) -> ShardReport:
        sink = ShardSink(self.places, shard.id)
        try:
            outcomes = []
            work, sign = self.job.run(shard, sink), self.places.signs / sink.attempt
            for outcome in heartbeat.report_progress(work, sign):
                items.release(outcome.key)
                outcomes.append(outcome)
            return sink.commit(outcomes)
        except BaseException:
            sink.discard()
            raise


@dataclass(frozen=True)
class Examination:
    """A job that only examines inputs for the plan of a run that is not carried out."""

    job: Job
    folder: str
    uses_gpu: ClassVar[bool] = False

    def run(self, shard: Shard) -> ShardReport:
        with name_faults(self.folder):
            return examine(self.job, shard)

    def warm_up(self) -> None:
        """Load nothing: the first shard may need less than a run."""


def examine(job: Job, shard: Shard) -> ShardReport:
    """Examine one input for the plan. Raises FaceprepError where the whole run has to stop."""
    try:
        return _report_bugs(partial(_examine, job, shard), shard)
    except (MemoryError, OSError) as fault:
        return crashed(shard, _describe_bug(fault))
    finally:
        items.begin(items.Care())


def _examine(job: Job, shard: Shard) -> ShardReport:
    return ShardReport(shard.id, 1, {}, answer=job.examine(shard.payload))


def _report_bugs(work: Callable[[], ShardReport], shard: Shard) -> ShardReport:
    """Return what `work` on a shard returns, or the report of a shard that a bug has ended."""
    try:
        return work()
    except (Exception, SystemExit) as end:  # a model of the user's own may call sys.exit
        if not _is_bug(end):
            raise
        if as_out_of_memory(end):
            raise MemoryError from end
        log.debug("shard %s", shard.id, exc_info=True)
        return crashed(shard, _describe_bug(end))


def crashed(shard: Shard, reason: str) -> ShardReport:
    """Return the report of a shard that left nothing.

    All its inputs failed, and the next run tries again.
    """
    n_inputs = max(len(shard), 1)
    return ShardReport(shard.id, n_inputs, {"crashed": n_inputs}, crash=reason)


def _is_bug(end: BaseException) -> bool:
    """Return whether an exception is a bug of the program."""
    is_fault = isinstance(end, OSError) and bool(end.errno)
    return not (is_fault or isinstance(end, FaceprepError | MemoryError))


def _describe_bug(bug: BaseException) -> str:
    """Describe a bug in one line: what it was, and in which line of the source."""
    place = traceback.extract_tb(bug.__traceback__)[-1]
    return " ".join(
        f"{type(bug).__name__}: {bug} ({os.path.basename(place.filename)}:{place.lineno})".split()
    )
