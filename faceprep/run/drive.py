"""The driver of one run, or of one share of it: what is left, in which order, how it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from faceprep.core.errors import (
    FaceprepError,
    MadeMeanwhile,
    OutputError,
    RefusedByData,
    TooManyFailures,
)
from faceprep.core.examination import use_workers
from faceprep.core.text import count_noun
from faceprep.core.types import OK, CarryOut, Request, Runner, ShardReport, Stage, Summary
from faceprep.run import heartbeat
from faceprep.run.failures import write_failures
from faceprep.run.ledger import Ledger, ShardSink, rescue
from faceprep.run.preparation import Preparation
from faceprep.run.shard_task import ShardTask
from faceprep.run.tally import Tally
from faceprep.tables.ledger import FINISH

log = logging.getLogger("faceprep")
_RETRY = attrgetter("retry")
PLANNING, _FINISHING = "planning", "finishing"


@dataclass(frozen=True)
class Progress:
    """Callbacks for progress: the size of a stage, then every shard. The default does nothing.

    `watch` receives a function that counts the finished inputs of unfinished shards. `wait` is
    entered for a step without a count, with the word for it.
    """

    start: Callable[[Stage, int, str], None] = lambda stage, n_done, unit: None
    step: Callable[[ShardReport], None] = lambda report: None
    stop: Callable[[], None] = lambda: None
    watch: Callable[[Callable[[], int]], None] = lambda count: None
    wait: Callable[[str], AbstractContextManager[None]] = lambda doing: nullcontext()


class Drive:
    """The driver of one run, or of one share of it; `folders` are those that the run fills."""

    def __init__(
        self, task: ShardTask, request: Request, folders: Sequence[Path], progress: Progress
    ) -> None:
        self._task, self._request, self._progress = task, request, progress
        self._job, self._places, self._share = task.job, task.places, request.share
        self._ledger = Ledger(task.places)
        self._preparation = Preparation(task, request, folders, self._ledger)
        self._state = self._preparation.state
        self.is_prepared = False
        self._tally = Tally()

    def run(self, runner: Runner) -> None:
        """Carry out what is left, and leave the state in order whatever happens."""
        try:
            with runner.start(self._task) as carry_out:
                with use_workers(carry_out), self._progress.wait(PLANNING):
                    self._prepare()
                for stage in self._state.work.stages:
                    if not self._may_begin(stage):
                        break
                    self.carry_out(stage, carry_out)
            with self._progress.wait(_FINISHING):
                self._conclude()
        except BaseException as error:
            with suppress(FaceprepError):  # the disk may be full: the original error says more
                self.close()
                if isinstance(error, RefusedByData) and self._share is None:
                    self._ledger.erase()
            raise

    def _conclude(self) -> None:
        """Leave the output and the state as those of a run that is over."""
        if self._share is None:
            self.finish()
        self.close()
        if self._share is None:
            self._ledger.mark_finished(self._state.record)

    def _prepare(self) -> None:
        """Make the run ready, and count what is finished of it."""
        while not self.is_prepared:
            self.is_prepared = self._preparation.prepare()
        self._tally = Tally(self._state.reports.values(), self._state.lost)

    # During

    def _may_begin(self, stage: Stage) -> bool:
        """Return whether all stages before are done, by other processes too."""
        stages = list(self._state.work.stages)
        number = stages.index(stage)
        if self._share is None or not number:
            return True
        if not self._ledger.find_unfinished(stages[number - 1].shards):
            return True
        log.warning(
            "%s: the stage %r waits for the other processes: start this one again after them, or "
            "leave the rest to faceprep finish",
            self._request.output,
            stage.name,
        )
        return False

    def carry_out(self, stage: Stage, carry_out: CarryOut) -> None:
        """Carry out the unfinished shards of one stage.

        If a shard of an earlier stage is lost, carry out none.
        """
        own = self._state.own(stage)
        todo = [shard for shard in own if shard.id not in self._state.reports]
        self._stop_at_too_many_failures()
        if not todo or self._state.finish_report or self._n_crashed():
            return
        n_done = sum(len(shard) for shard in own) - sum(len(shard) for shard in todo)
        self._progress.watch(lambda: heartbeat.count_done(self._places.signs))
        self._progress.start(stage, n_done, stage.unit or self._state.work.unit)
        n_shards = count_noun(len(own), "shard")
        log.debug("%s: %s, %d of them done", stage.name, n_shards, len(own) - len(todo))
        try:
            with closing(carry_out(todo)) as reports:
                for report in reports:
                    self._note(report)
        finally:
            self._progress.stop()

    def _note(self, report: ShardReport) -> None:
        """Count the inputs of a shard that has ended. Raises TooManyFailures."""
        if report.crash:  # it may have crashed while committing
            report = rescue(self._places, report.shard_id) or report
        self._state.reports[report.shard_id] = report
        self._tally.add(report)
        counts = [f"{n:,} {status}" for status, n in report.by_status.items()]
        line = ", ".join([count_noun(report.n_outputs, "file"), *counts])
        log.debug("shard %s: %s", report.shard_id, line)
        self._progress.step(report)
        self._stop_at_too_many_failures()

    def _n_crashed(self) -> int:
        return sum(bool(report.crash) for report in self._state.reports.values())

    def _stop_at_too_many_failures(self) -> None:
        allowed, n_failed = self._request.max_failures, self._tally.n_failed
        if allowed is not None and n_failed > allowed:
            raise TooManyFailures(
                f"{count_noun(n_failed, 'input')} failed, --max-failures allows {allowed:,}",
                path=self._request.output,
                remedy=f"Each is named in {self._places.shown_failures}.",
            )

    def finish(self) -> None:
        """Join the parts. Raises OutputError when a crashed shard leaves the output unjoined."""
        n_crashed = self._n_crashed()
        if n_crashed and self._state.work.files is not None:
            raise OutputError(
                f"not made: {n_crashed:,} of {len(self._state.shards):,} shards crashed",
                path=self._request.output,
                remedy=f"Each is named in {self._places.shown_failures}. Start the same command "
                "again to try them again.",
            )
        if not n_crashed and not self._state.finish_report:
            try:
                self._state.finish_report = self._join()
            except MadeMeanwhile:  # the job decides again, now that the file is there
                self._state.finish_report = self._join()

    def _join(self) -> ShardReport:
        sink = ShardSink(self._places, FINISH)
        try:
            self._job.finish(self._state.work, self._request, sink)
            return sink.commit([])
        except BaseException:
            sink.discard()
            raise

    # After

    def close(self) -> None:
        """Leave the state in order, and no trace of a run that never began."""
        self._ledger.recover(self._state.shards if self._share else None)
        self._ledger.drop_scratch()
        if self.is_prepared:
            write_failures(
                self._places, self._state.reports.values(), self._state.shards, self._state.lost
            )
        if self._share:
            return
        is_final = self._state.finish_report and not any(map(_RETRY, self._state.reports.values()))
        if is_final or (self._state.before is None and not self.is_prepared):
            self._ledger.drop_parts()

    def state_line(self) -> str:
        """Say how many shards are done."""
        return self._state.describe()

    def _job_details(self) -> dict[str, Any]:
        """Return the figures that the job gives for its work and its finished output."""
        if self._state.finish_report:
            return {**self._state.work.figures, **self._job.details(self._request.output)}
        return {}

    def summary(self, seconds: float) -> Summary:
        reports = list(self._state.reports.values())
        if self._state.finish_report:
            reports.append(self._state.finish_report)
        inputs, others = self._tally.by_unit()
        return Summary(
            command=self._job.command,
            unit=self._state.work.counted_unit or self._state.work.unit,
            inputs=sum(inputs.values()),
            ok=inputs.get(OK, 0),
            failed=self._tally.n_failed,
            by_status=self._tally.by_status,
            others=others,
            outputs=sum(report.n_outputs for report in reports),
            seconds=round(seconds, 3),
            output=str(self._request.output),
            details={"failures": self._places.shown_failures, "done_before": self._tally.n_before}
            | self._job_details(),
        )
