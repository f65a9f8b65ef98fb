"""The driver of one run, or of one share of it: what is left, in which order, how it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

from faceprep.core import storage
from faceprep.core.errors import FaceprepError, OutputError, RefusedByData, TooManyFailures
from faceprep.core.items import TIMED_OUT
from faceprep.core.text import count_noun
from faceprep.core.types import (
    ITEM_TIMEOUT_S,
    OK,
    CarryOut,
    Request,
    Runner,
    Shard,
    ShardReport,
    Stage,
    Summary,
    join_units,
)
from faceprep.run import heartbeat, planning, preflight
from faceprep.run.failures import write_failures
from faceprep.run.ledger import Ledger, ShardSink, load_report, rescue
from faceprep.run.shard_task import ShardTask
from faceprep.run.tally import Tally
from faceprep.tables.ledger import FINISH

log = logging.getLogger("faceprep")
_AGAIN = "only what failed is tried again", "the run starts again"
_SHARD_ID, _RETRY = attrgetter("shard_id"), attrgetter("retry")


@dataclass(frozen=True)
class Progress:
    """Callbacks for progress: the size of a stage, then every shard. The default does nothing.

    `watch` receives a function that counts the finished inputs of unfinished shards.
    """

    start: Callable[[Stage, int, str], None] = lambda stage, n_done, unit: None
    step: Callable[[ShardReport], None] = lambda report: None
    stop: Callable[[], None] = lambda: None
    watch: Callable[[Callable[[], int]], None] = lambda count: None


class Drive:
    """The driver of one run, or of one share of it; `folders` are those that the run fills."""

    def __init__(
        self, task: ShardTask, request: Request, folders: Sequence[Path], progress: Progress
    ) -> None:
        self._task, self._request, self._progress = task, request, progress
        self._job, self._places, self._folders = task.job, task.places, folders
        self._share = request.share
        self._ledger = Ledger(task.places)
        self._before = self._ledger.load_run()
        is_finished = self._share is None and bool((self._before or {}).get("finished"))
        self._is_void = is_finished and self._ledger_before().is_deleted()
        self.is_prepared = False
        self._reports: dict[str, ShardReport] = {}
        self._tally = Tally()
        self._shards: dict[str, Shard] = {}
        self._finish_report: ShardReport | None = None
        self._is_repaired = self._starts_again = self._is_retried = False
        self._stale: Sequence[str] = ()

    def run(self, runner: Runner) -> None:
        """Carry out what is left, and leave the state in order whatever happens."""
        try:
            with runner.start(self._task) as carry_out:
                while not self.is_prepared:
                    self.is_prepared = self.prepare()
                for stage in self.work.stages:
                    if not self._may_begin(stage):
                        break
                    self.carry_out(stage, carry_out)
            if self._share is None:
                self.finish()
            self.close()
            if self._share is None:
                self._ledger.mark_finished(self._run)
        except BaseException as error:
            with suppress(FaceprepError):  # the disk may be full: the original error says more
                self.close()
                if isinstance(error, RefusedByData) and self._share is None:
                    self._ledger.erase()
            raise

    # Before

    def prepare(self) -> bool:
        """Plan the work, compare it with the earlier run, and collect what is finished.

        Return False where another process has begun the run meanwhile: then prepare once more.
        """
        before = None if self._request.overwrite else self._before
        self._refuse_other_run(before)
        if self._request.overwrite:  # old state is removed and need not be sound
            self._ledger.wait_for_workers()
        elif self._share is None:
            self._ledger.recover()
        storage.make_folder(self._places.scratch)
        self._plan()
        with self._ledger.begin():
            if self._share:  # another process may have begun the run meanwhile
                before = self._before = self._ledger.load_run()
                self._refuse_other_run(before)
                if before and planning.choices_of(before) != self.work.choices:
                    self._plan()
                self._ledger.recover(self._shards)
            self._find_repair(before)
            self._compare(before)
            is_fresh = self._request.overwrite or self._is_void or self._starts_again
            if is_fresh:
                keep = self._job.writes_in_place(self._request)
                with self._ledger.alone():
                    self._ledger_before().forget(keep_outputs=keep)
            elif self._stale:
                with self._ledger.alone():
                    for shard_id in self._stale:
                        self._ledger.undo(shard_id)
            has_lost_files = is_fresh and self._before is not None and self.work.files is not None
            self._load_finished()
            if self._is_retried or self._is_repaired or has_lost_files:
                self._plan()  # the plan may depend on what the output holds
            if not is_fresh:
                planning.keep_files(self._described, before)
            n_all = max(sum(len(stage.shards) for stage in self.work.stages), 1)
            left = (len(self._shards) - len(self._reports)) / n_all
            if self._places.store:  # a shard leaves this disk when it is done
                left = min(left, 1 / n_all)
            preflight.refuse_what_cannot_fit(self.work, left, self._places.root)
            self._run = planning.add_lineage(self._described, self._request)
            self._run["item_timeout"] = self._request.item_timeout or self._earlier_timeout
            return self._save(before)

    def _ledger_before(self) -> Ledger:
        """Return the ledger of the earlier run, with the names of its outputs as it has them."""
        return Ledger(planning.places_before(self._places, self._before, self._job.command))

    def _refuse_other_run(self, before: Mapping[str, Any] | None) -> None:
        if before is not None and not self._is_void:
            now = planning.describe(self._job, self._request)
            preflight.refuse_other_run(before, now, self._request.output)
            preflight.refuse_other_share(before, self._request)

    def _compare(self, before: Mapping[str, Any] | None) -> None:
        """Refuse a changed input, and files in the output that the run did not make."""
        if before is not None and not (self._is_void or self._is_repaired):
            preflight.refuse_changed_input(before, self._described, self._request.output)
        if self.work.files is not None:
            root, files, has = self._places.root, self.work.files, self._ledger.has_foreign
            preflight.refuse_to_write_over(self._request, root, files, self._before, has)
        elif self._before is None:
            preflight.refuse_foreign_files(self._folders)
        if self._request.joins:
            preflight.refuse_missing_shares(
                before or {}, self.work.stages[0], self._ledger.is_done, self._request.output
            )

    def _save(self, before: Mapping[str, Any] | None) -> bool:
        """Save the description of the run; return whether it is still the one to carry out."""
        if self._share is None:
            return self._ledger.save_run(self._run)
        is_changed = self._is_repaired or self._is_retried
        if not is_changed and (before or {}).get("finished"):
            return True
        return self._ledger.save_run(self._run | {"shares": self._share.n}, is_changed)

    def _own(self, stage: Stage) -> Sequence[Shard]:
        """Return the shards of a stage that this process carries out."""
        return self._share.take(stage.shards) if self._share else stage.shards

    def _may_begin(self, stage: Stage) -> bool:
        """Return whether all stages before are done, by other processes too."""
        stages = list(self.work.stages)
        number = stages.index(stage)
        if self._share is None or not number or self._ledger.is_done(stages[number - 1].shards):
            return True
        log.warning(
            "%s: the stage %r waits for the other processes: start this one again after them, or "
            "leave the rest to faceprep finish",
            self._request.output,
            stage.name,
        )
        return False

    def _plan(self) -> None:
        """Plan the work, and note the folders that are lost."""
        self.work, self._described, self._lost = planning.plan(
            self._job, self._with_choices(), self._places.scratch
        )
        self._shards = {shard.id: shard for stage in self.work.stages for shard in self._own(stage)}

    def _with_choices(self) -> Request:
        """Return the request with the choices of the earlier run, unless that is given up."""
        if self._request.overwrite or self._is_void:
            return self._request
        return replace(self._request, choices=planning.choices_of(self._before or {}))

    def _find_repair(self, before: Mapping[str, Any] | None) -> None:
        """Note whether inputs that the earlier run could not look at have been repaired.

        Shards that are now cut in another way are carried out again. The whole run starts again
        where any shard may have other inputs.
        """
        if not before or self._job.writes_in_place(self._request):
            return
        now = planning.Planned(self.work, self._described, self._lost)
        request, scratch = self._with_choices(), self._places.scratch
        then = planning.replay(self._job, request, scratch, before, now)
        if then is not None:
            stale = planning.stale_shards(then, now)
            self._is_repaired, self._starts_again, self._stale = True, stale is None, stale or ()
            line = "%s: inputs that could not be read are readable now: %s"
            log.warning(line, self._request.output, _AGAIN[self._starts_again])

    def _load_finished(self) -> None:
        """Load the reports of finished shards, and note whether some are to be tried again.

        Parts must exist only while they are still to be joined.
        """
        if not self._is_repaired:  # a plan holds the fingerprint of the input
            self._finish_report = load_report(self._places, FINISH)
        for with_parts in (False, True) if self._finish_report else (True,):
            self._is_retried |= self._load_reports(with_parts)
            if len(self._reports) == len(self._shards):
                break
            self._finish_report = None
        if self._is_retried or self._is_repaired:
            self._finish_report = None
            self._ledger.undo(FINISH)
        unfinished = self._shards.keys() - self._reports.keys()
        if self._finish_report is None and self._share is None:
            unfinished |= {FINISH}
        self._ledger.drop_pages(unfinished)
        self._tally = Tally(self._reports.values(), self._lost)
        if self._reports:
            log.info("%s: resuming: %s", self._request.output, self.state_line())

    def _load_reports(self, with_parts: bool) -> bool:
        """Load the reports, without those of shards to try again and of all stages after them.

        Return whether there are any to try again.
        """
        self._reports = {}
        is_retried = False
        for stage in self.work.stages:
            loaded = (load_report(self._places, shard.id, with_parts) for shard in self._own(stage))
            reports = [report for report in loaded if report]
            kept = [report for report in reports if not (is_retried or self._may_retry(report))]
            for shard_id in set(map(_SHARD_ID, reports)) - set(map(_SHARD_ID, kept)):
                self._ledger.undo(shard_id)
            is_retried = is_retried or len(kept) < len(reports)
            self._reports |= {report.shard_id: report for report in kept}
        return is_retried

    def _may_retry(self, report: ShardReport) -> bool:
        """Return whether a finished shard is tried again, as the environment or a limit may differ.

        One that replaced its input is not. Where other processes may have built on it, it is left
        to the one that joins the run.
        """
        is_built_on = self._share is not None and len(self.work.stages) > 1
        if is_built_on or self._job.writes_in_place(self._request):
            return False
        has_more_time = (self._request.item_timeout or 0) > self._earlier_timeout
        return report.retry or (has_more_time and TIMED_OUT in join_units(report.by_status))

    @property
    def _earlier_timeout(self) -> float:
        """Return the limit of an item in seconds that the last start with one asked for."""
        return cast(float, (self._before or {}).get("item_timeout", ITEM_TIMEOUT_S))

    # During

    def carry_out(self, stage: Stage, carry_out: CarryOut) -> None:
        """Carry out the unfinished shards of one stage.

        If a shard of an earlier stage is lost, carry out none.
        """
        own = self._own(stage)
        todo = [shard for shard in own if shard.id not in self._reports]
        self._stop_at_too_many_failures()
        if not todo or self._finish_report or self._n_crashed():
            return
        n_done = sum(len(shard) for shard in own) - sum(len(shard) for shard in todo)
        self._progress.watch(lambda: heartbeat.count_done(self._places.signs))
        self._progress.start(stage, n_done, stage.unit or self.work.unit)
        log.debug("%s: %d shards, %d of them done", stage.name, len(own), len(own) - len(todo))
        try:
            with closing(carry_out(todo)) as reports:
                for report in reports:
                    if report.crash:  # it may have crashed while committing
                        report = rescue(self._places, report.shard_id) or report
                    self._reports[report.shard_id] = report
                    self._tally.add(report)
                    log.debug(
                        "shard %s: %d files, %s",
                        report.shard_id,
                        report.n_outputs,
                        dict(report.by_status),
                    )
                    self._progress.step(report)
                    self._stop_at_too_many_failures()
        finally:
            self._progress.stop()

    def _n_crashed(self) -> int:
        return sum(bool(report.crash) for report in self._reports.values())

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
        if n_crashed and self.work.files is not None:
            raise OutputError(
                f"not made: {n_crashed:,} of {len(self._shards):,} shards crashed",
                path=self._request.output,
                remedy=f"Each is named in {self._places.shown_failures}. Start the same command "
                "again to try them again.",
            )
        if not n_crashed and not self._finish_report:
            sink = ShardSink(self._places, FINISH)
            try:
                self._job.finish(self.work, self._request, sink)
                self._finish_report = sink.commit([])
            except BaseException:
                sink.discard()
                raise

    # After

    def close(self) -> None:
        """Leave the state in order, and no trace of a run that never began."""
        self._ledger.recover(self._shards if self._share else None)
        self._ledger.drop_scratch()
        if self.is_prepared:
            write_failures(self._places, self._reports.values(), self._shards, self._lost)
        if self._share:
            return
        is_final = self._finish_report and not any(map(_RETRY, self._reports.values()))
        if is_final or (self._before is None and not self.is_prepared):
            self._ledger.drop_parts()

    def state_line(self) -> str:
        if not self._shards:
            return "nothing begun"
        return f"{len(self._reports):,} of {len(self._shards):,} shards done"

    def _job_details(self) -> dict[str, Any]:
        """Return the figures that the job gives for its work and its finished output."""
        if self._finish_report:
            return {**self.work.figures, **self._job.details(self._request.output)}
        return {}

    def summary(self, seconds: float) -> Summary:
        reports = list(self._reports.values())
        if self._finish_report:
            reports.append(self._finish_report)
        inputs, others = self._tally.by_unit()
        return Summary(
            command=self._job.command,
            unit=self.work.counted_unit or self.work.unit,
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
