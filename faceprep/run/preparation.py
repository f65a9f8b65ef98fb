"""The beginning of a run, or of one share of it: what there is to do, and what is finished."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from faceprep.core import storage
from faceprep.core.types import (
    ITEM_TIMEOUT_S,
    Outcome,
    Request,
    Shard,
    ShardReport,
    Share,
    Stage,
    Work,
)
from faceprep.run import planning, preflight
from faceprep.run.foreign_outputs import (
    OutputPlace,
    refuse_foreign_outputs,
    refuse_to_remove_images,
)
from faceprep.run.ledger import Ledger, load_report
from faceprep.run.shard_task import ShardTask
from faceprep.tables.ledger import FINISH

log = logging.getLogger("faceprep")
_AGAIN = "only what failed is tried again", "the run starts again"


@dataclass
class RunState:
    """The work of a run, or of one share of it, and what is finished of it."""

    share: Share | None
    before: Mapping[str, Any] | None
    """The record of the earlier run in the same output."""
    work: Work = field(init=False)
    record: dict[str, Any] = field(default_factory=dict)
    """The description of the run, which a later start is compared with."""
    shards: dict[str, Shard] = field(default_factory=dict)
    reports: dict[str, ShardReport] = field(default_factory=dict)
    """The reports of the finished shards."""
    finish_report: ShardReport | None = None
    lost: list[Outcome] = field(default_factory=list)
    """The folders that could not be listed."""

    def own(self, stage: Stage) -> Sequence[Shard]:
        """Return the shards of a stage that this process carries out."""
        return self.share.take(stage.shards) if self.share else stage.shards

    def describe(self) -> str:
        """Say how many shards are done."""
        if not self.shards:
            return "nothing begun"
        return f"{len(self.reports):,} of {len(self.shards):,} shards done"


class Preparation:
    """The steps that make a run ready. `state` holds what they find.

    An earlier run in the same output is resumed. The run starts afresh with --overwrite, if the
    output of a finished run was deleted, or if repaired inputs change how the work is cut.
    """

    def __init__(
        self, task: ShardTask, request: Request, folders: Sequence[Path], ledger: Ledger
    ) -> None:
        self._job, self._places, self._ledger = task.job, task.places, ledger
        self._request, self._folders, self._share = request, folders, request.share
        self.state = RunState(request.share, ledger.load_run())
        is_finished = self._share is None and bool((self.state.before or {}).get("finished"))
        self._is_void = is_finished and self._ledger_before().is_deleted()
        self._is_repaired = self._starts_again = self._is_retried = False
        self._stale: Sequence[str] = ()
        self._repeated_lines = planning.RepeatedLines()

    def prepare(self) -> bool:
        """Plan the work, compare it with the earlier run, and collect what is finished.

        Return False where another process has begun the run meanwhile: then prepare once more.
        """
        self._refuse_other_run()
        self._recover()
        storage.make_folder(self._places.scratch)
        self._plan()
        with self._ledger.begin():
            if self._share:
                self._join_others()
            self._note_repair()
            self._refuse_conflicts()
            self._forget_what_is_stale()
            self._load_finished()
            if self._depends_on_the_output():
                self._plan()
            self._refuse_what_cannot_fit()
            self._write_record()
            return self._save()

    @property
    def _earlier(self) -> Mapping[str, Any] | None:
        """Return the record of the run to resume, unless it is given up from the start."""
        return None if self._request.overwrite else self.state.before

    @property
    def _is_fresh(self) -> bool:
        """Return whether nothing of the earlier run is kept."""
        return self._request.overwrite or self._is_void or self._starts_again

    def _recover(self) -> None:
        """Put the state of the earlier run in order."""
        if self._request.overwrite:  # old state is removed and need not be sound
            self._ledger.wait_for_workers()
        elif self._share is None:
            self._ledger.recover()

    def _plan(self) -> None:
        """Plan the work, and note the folders that are lost."""
        state, request = self.state, self._with_choices()
        with self._repeated_lines:
            planned = planning.plan(self._job, request, self._places.scratch)
        state.work, self._described, state.lost = planned
        state.shards = {
            shard.id: shard for stage in state.work.stages for shard in state.own(stage)
        }

    def _with_choices(self) -> Request:
        """Return the request with the choices of the earlier run, unless that is given up."""
        if self._request.overwrite or self._is_void:
            return self._request
        return replace(self._request, choices=planning.choices_of(self.state.before or {}))

    def _join_others(self) -> None:
        """Follow the process that has begun the shared run meanwhile, if there is one."""
        before = self.state.before = self._ledger.load_run()
        self._refuse_other_run()
        if before and planning.choices_of(before) != self.state.work.choices:
            self._plan()
        self._ledger.recover(self.state.shards)

    def _note_repair(self) -> None:
        """Note whether inputs that the earlier run could not look at have been repaired.

        Shards that are now cut in another way are carried out again. The whole run starts again
        where any shard may have other inputs.
        """
        before = self._earlier
        if not before or self._job.writes_in_place(self._request):
            return
        now = planning.Planned(self.state.work, self._described, self.state.lost)
        request, scratch = self._with_choices(), self._places.scratch
        with self._repeated_lines:
            then = planning.replay(self._job, request, scratch, before, now)
        if then is not None:
            stale = planning.stale_shards(then, now)
            self._is_repaired, self._starts_again, self._stale = True, stale is None, stale or ()
            line = "%s: inputs that could not be read are readable now: %s"
            log.warning(line, self._request.output, _AGAIN[self._starts_again])

    # Refusals

    def _refuse_other_run(self) -> None:
        """Refuse to resume a run of other sources, options or shares."""
        before = self._earlier
        if before is not None and not self._is_void:
            now = planning.describe(self._job, self._request)
            preflight.refuse_other_run(before, now, self._request)
            preflight.refuse_unfinished(before, self._request)

    def _refuse_other_version(self) -> None:
        """Refuse to carry out the rest of a run that another version began."""
        if self.state.before is not None and not self._is_fresh:
            preflight.refuse_other_version(self.state.before, self._request)

    def _refuse_conflicts(self) -> None:
        """Refuse a changed input, and files in the output that the run did not make."""
        before, work, output = self._earlier, self.state.work, self._request.output
        if before is not None and not (self._is_void or self._is_repaired):
            preflight.refuse_changed_input(before, self._described, output)
        place = OutputPlace(self._places.root, self._places.all_states, self._ledger.has_foreign)
        refuse_foreign_outputs(self._request, work, self._folders, place, self.state.before)
        if self._request.joins:
            preflight.refuse_missing_shares(
                before or {}, work.stages[0], self._ledger.find_unfinished, output
            )

    def _refuse_what_cannot_fit(self) -> None:
        """Refuse work whose output is larger than the free space."""
        state = self.state
        n_all = max(sum(len(stage.shards) for stage in state.work.stages), 1)
        left = (len(state.shards) - len(state.reports)) / n_all
        if self._places.store:  # a shard leaves this disk when it is done
            left = min(left, 1 / n_all)
        preflight.refuse_what_cannot_fit(state.work, left, self._places.root)

    # The earlier run

    def _ledger_before(self) -> Ledger:
        """Return the ledger of the earlier run, with the names of its outputs as it has them."""
        return Ledger(planning.places_before(self._places, self.state.before, self._job.command))

    def _forget_what_is_stale(self) -> None:
        """Remove what the run cannot keep: all of the earlier one, or the shards cut anew.

        An output that has replaced its input is kept.
        """
        if self._is_fresh:
            if self.state.before is not None:
                scratch, output = self._places.scratch, self._request.output
                refuse_to_remove_images(scratch, self._folders, output)
            with self._ledger.alone():
                keep = self._job.writes_in_place(self._request)
                self._ledger_before().forget(keep_outputs=keep)
        elif self._stale:
            self._refuse_other_version()
            with self._ledger.alone():
                for shard_id in self._stale:
                    self._ledger.undo(shard_id)

    def _load_finished(self) -> None:
        """Load the reports of finished shards, and note whether some are to be tried again.

        Parts must exist only while they are still to be joined.
        """
        state = self.state
        if not self._is_repaired:  # a plan holds the fingerprint of the input
            state.finish_report = load_report(self._places, FINISH)
        for with_parts in (False, True) if state.finish_report else (True,):
            self._is_retried |= self._load_reports(with_parts)
            if len(state.reports) == len(state.shards):
                break
            state.finish_report = None
        is_joined_again = self._is_retried or self._is_repaired
        if is_joined_again:
            state.finish_report = None
        unfinished = state.shards.keys() - state.reports.keys()
        if state.finish_report is None and self._share is None:
            unfinished |= {FINISH}
        if unfinished:
            self._refuse_other_version()
        if is_joined_again:
            self._ledger.undo(FINISH)
        self._ledger.drop_pages(unfinished)
        if state.reports:
            output = self._places.shown_output(self._request.output)
            doing = f"resuming: {state.describe()}"
            if state.finish_report:
                doing = "already complete"
            elif self._share and not unfinished:
                doing = "this part is already complete"
            log.info("%s: %s", output, doing)

    def _load_reports(self, with_parts: bool) -> bool:
        """Load the reports, without those of shards to try again and of all stages after them.

        Return whether there are any to try again.
        """
        state, is_retried = self.state, False
        state.reports = {}
        for stage in state.work.stages:
            loaded = (load_report(self._places, each.id, with_parts) for each in state.own(stage))
            reports = {report.shard_id: report for report in loaded if report}
            for shard_id, report in reports.items():
                if is_retried or self._may_retry(report):
                    self._refuse_other_version()
                    self._ledger.undo(shard_id)
                else:
                    state.reports[shard_id] = report
            is_retried = is_retried or not reports.keys() <= state.reports.keys()
        return is_retried

    def _may_retry(self, report: ShardReport) -> bool:
        """Return whether a finished shard is tried again, as the environment or a limit may differ.

        One that replaced its input is not. Where other processes may have built on it, it is left
        to the one that joins the run.
        """
        is_built_on = self._share is not None and len(self.state.work.stages) > 1
        if is_built_on or self._job.writes_in_place(self._request):
            return False
        has_more_time = (self._request.item_timeout or 0) > self._earlier_timeout
        return report.retry or (has_more_time and report.late)

    def _depends_on_the_output(self) -> bool:
        """Return whether the plan may depend on outputs that were removed just now."""
        has_lost_files = (
            self._is_fresh and self.state.before is not None and self.state.work.files is not None
        )
        return self._is_retried or self._is_repaired or has_lost_files

    # The record

    @property
    def _earlier_timeout(self) -> float:
        """Return the limit of an item in seconds that the last start with one asked for."""
        return cast(float, (self.state.before or {}).get("item_timeout", ITEM_TIMEOUT_S))

    def _write_record(self) -> None:
        if not self._is_fresh:
            planning.keep_earlier(self._described, self._earlier)
        record = planning.add_lineage(self._described, self._request)
        record["item_timeout"] = self._request.item_timeout or self._earlier_timeout
        self.state.record = record

    def _save(self) -> bool:
        """Save the record of the run; return whether it is still the one to carry out."""
        if self._share is None:
            return self._ledger.save_run(self.state.record)
        is_changed = self._is_repaired or self._is_retried
        if not is_changed and (self._earlier or {}).get("finished"):
            return True
        return self._ledger.save_run(self.state.record | {"shares": self._share.n}, is_changed)
