"""The course of a run: which shards are left, in which order they run, and how it ends."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, fields, is_dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from faceprep import __version__
from faceprep.core import locks, storage
from faceprep.core.errors import FaceprepError, Interrupted, OutputError, TooManyFailures
from faceprep.core.job import Job
from faceprep.core.state_file import run_id_of
from faceprep.core.text import count_noun
from faceprep.core.types import (
    OK,
    CarryOut,
    Request,
    Runner,
    Shard,
    ShardReport,
    Stage,
    Summary,
    count_failures,
    join_units,
    split_count_name,
)
from faceprep.run import heartbeat, preflight
from faceprep.run.ledger import Ledger, Places, ShardSink, load_report, rescue
from faceprep.run.shard_task import ShardTask
from faceprep.tables.ledger import FINISH

log = logging.getLogger("faceprep")
_SHARD_ID, _RETRY = attrgetter("shard_id"), attrgetter("retry")
_GO_ON = "Start the same command again to resume."


@dataclass(frozen=True)
class Progress:
    """Callbacks for progress: the size of a stage, then every shard. The default does nothing.

    `watch` receives a function that counts the finished inputs of unfinished shards.
    """

    start: Callable[[Stage, int, str], None] = lambda stage, n_done, unit: None
    step: Callable[[ShardReport], None] = lambda report: None
    stop: Callable[[], None] = lambda: None
    watch: Callable[[Callable[[], int]], None] = lambda count: None


def run_job(
    job: Job, request: Request, runner: Runner, progress: Progress | None = None
) -> Summary:
    """Carry out `job`, or what is left of it, and return the outcome of every input as counts.

    Raises FaceprepError when the run cannot begin or has to stop. Finished shards stay finished.
    """
    started = time.monotonic()
    places = _places(job, request)
    preflight.refuse_bad_places(request, _folders(job, request), job.writes_in_place(request))
    preflight.refuse_linked_state(places.state_folders())
    drive: _Drive | None = None
    try:
        with locks.lock(places.state) as token:
            task = ShardTask(job, places, token)
            drive = _Drive(task, request, progress or Progress())
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


def _add_summary(error: FaceprepError, drive: _Drive | None, started: float) -> None:
    if drive and drive.is_prepared:
        error.summary = drive.summary(time.monotonic() - started)


def _places(job: Job, request: Request) -> Places:
    """Return the places of a run: beside an output file, or inside an output folder."""
    if job.writes_file(request.output):
        return Places(request.output.parent, request.output.name)
    if job.siblings:
        output = Path(os.path.abspath(request.output))
        return Places(output.parent, home=output.name, siblings=job.siblings)
    name = job.state_of(request)
    if name is None:
        return Places(request.output)
    return Places(request.output, name, shares_failures=True)


def _folders(job: Job, request: Request) -> list[Path]:
    """Return the folders that the run fills; none where the output is one file."""
    if job.writes_file(request.output):
        return []
    output = Path(os.path.abspath(request.output))
    return [output.with_name(output.name + ending) for ending in ("", *job.siblings)]


class _Drive:
    """The driver of one run."""

    def __init__(self, task: ShardTask, request: Request, progress: Progress) -> None:
        self._task, self._request, self._progress = task, request, progress
        self._job, self._places = task.job, task.places
        self._ledger = Ledger(task.places)
        self._before = self._ledger.load_run()
        self.is_prepared = False
        self._reports: dict[str, ShardReport] = {}
        self._by_status: Counter[str] = Counter()
        self._n_done_before = 0
        self._shards: dict[str, Shard] = {}
        self._finish_report: ShardReport | None = None

    def run(self, runner: Runner) -> None:
        """Carry out what is left, and leave the state in order whatever happens."""
        try:
            with runner.start(self._task) as carry_out:
                self.prepare()
                for stage in self.work.stages:
                    self.carry_out(stage, carry_out)
            self.finish()
            self.close()
            self._ledger.mark_finished(self._run)
        except BaseException:
            with suppress(FaceprepError):  # the disk may be full: the error at hand says more
                self.close()
            raise

    # Before

    def prepare(self) -> None:
        """Plan the work, compare it with the earlier run, and collect what is finished."""
        output, before = self._request.output, None if self._request.overwrite else self._before
        if before is not None:
            preflight.refuse_other_run(before, self._described(), output)
        if self._request.overwrite:  # old state is removed and need not be sound
            self._ledger.wait_for_workers()
        else:
            self._ledger.recover()
        storage.make_folder(self._places.scratch)
        described = self._plan()
        if before is not None:
            preflight.refuse_changed_input(before, described, output)
        if self.work.files is not None:
            preflight.refuse_to_write_over(
                self._request, self._places.root, self.work.files, self._before
            )
        elif self._before is None:
            preflight.refuse_foreign_files(_folders(self._job, self._request))
        if self._request.overwrite:
            self._ledger.forget(keep_outputs=self._job.writes_in_place(self._request))
        if self._load_finished():
            described = self._plan()  # it may depend on what is there of the output
        preflight.refuse_what_cannot_fit(
            self.work, 1 - len(self._reports) / max(len(self._shards), 1), self._places.root
        )
        self._run = described | self._lineage(described)
        self._ledger.save_run(self._run)
        self.is_prepared = True

    def _plan(self) -> dict[str, Any]:
        """Plan the work, and return the description of the run."""
        self.work = self._job.plan(self._request, self._places.scratch)
        self._shards = {shard.id: shard for stage in self.work.stages for shard in stage.shards}
        return self._described() | self._planned()

    def _described(self) -> dict[str, Any]:
        return {
            "faceprep": __version__,
            "command": self._job.command,
            "options": _plain(self._job) | {"limit": self._request.limit},
            "sources": [os.path.abspath(source) for source in self._request.sources],
        }

    def _planned(self) -> dict[str, Any]:
        cuts = "\n".join(
            f"{shard.id} {shard.source} {shard.start} {shard.stop}"
            for shard in self._shards.values()
        )
        return {
            "fingerprint": self.work.fingerprint,
            "n_shards": len(self._shards),
            "shards": hashlib.sha256(cuts.encode("utf-8", "surrogateescape")).hexdigest(),
            "files": None if self.work.files is None else list(self.work.files),
        }

    def _lineage(self, described: Mapping[str, Any]) -> dict[str, Any]:
        """Name this run, and the run that made each of its inputs."""
        text = json.dumps(described, sort_keys=True)
        sources = [Path(os.path.abspath(source)) for source in self._request.sources]
        return {
            "id": hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16],
            "inputs": [{"path": str(source), "run": run_id_of(source)} for source in sources],
        }

    def _load_finished(self) -> bool:
        """Load the reports of finished shards; return whether some are to be tried again.

        Parts must exist only while they are still to be joined.
        """
        is_retried = False
        self._finish_report = load_report(self._places, FINISH)
        for with_parts in (False, True) if self._finish_report else (True,):
            is_retried |= self._load_reports(with_parts)
            if len(self._reports) == len(self._shards):
                break
            self._finish_report = None
        if is_retried:
            self._ledger.undo(FINISH)
        unfinished = self._shards.keys() - self._reports.keys()
        if self._finish_report is None:
            unfinished |= {FINISH}
        self._ledger.drop_pages(unfinished)
        for report in self._reports.values():
            self._by_status.update(report.by_status)
        self._n_done_before = self._by_status.total()
        if self._reports:
            log.info("%s: resuming: %s", self._request.output, self.state_line())
        return is_retried

    def _load_reports(self, with_parts: bool) -> bool:
        """Load the reports, without those of shards to try again and of all stages after them.

        Return whether there are any to try again.
        """
        self._reports = {}
        is_retried = False
        for stage in self.work.stages:
            loaded = (load_report(self._places, shard.id, with_parts) for shard in stage.shards)
            reports = [report for report in loaded if report]
            kept = [report for report in reports if not (is_retried or self._may_retry(report))]
            for shard_id in set(map(_SHARD_ID, reports)) - set(map(_SHARD_ID, kept)):
                self._ledger.undo(shard_id)
            is_retried = is_retried or len(kept) < len(reports)
            self._reports |= {report.shard_id: report for report in kept}
        return is_retried

    def _may_retry(self, report: ShardReport) -> bool:
        """Return whether a finished shard is tried again; one that replaced its input is not."""
        return report.retry and not self._job.writes_in_place(self._request)

    # During

    def carry_out(self, stage: Stage, carry_out: CarryOut) -> None:
        """Carry out the unfinished shards of one stage.

        If a shard of an earlier stage is lost, carry out none.
        """
        todo = [shard for shard in stage.shards if shard.id not in self._reports]
        self._stop_at_too_many_failures()
        if not todo or self._finish_report or self._n_crashed():
            return
        n_done = sum(len(shard) for shard in stage.shards) - sum(len(shard) for shard in todo)
        self._progress.watch(lambda: heartbeat.count_done(self._places.signs))
        self._progress.start(stage, n_done, stage.unit or self.work.unit)
        log.debug(
            "%s: %d shards, %d of them done",
            stage.name,
            len(stage.shards),
            len(stage.shards) - len(todo),
        )
        try:
            with closing(carry_out(todo)) as reports:
                for report in reports:
                    if report.crash:  # in the very commit, perhaps
                        report = rescue(self._places, report.shard_id) or report
                    self._reports[report.shard_id] = report
                    self._by_status.update(report.by_status)
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
        allowed, n_failed = self._request.max_failures, self._n_failed()
        if allowed is not None and n_failed > allowed:
            raise TooManyFailures(
                f"{count_noun(n_failed, 'input')} failed, --max-failures allows {allowed:,}",
                path=self._request.output,
                remedy=f"Each is named in {self._places.failures}.",
            )

    def finish(self) -> None:
        """Join the parts. Raises OutputError when a crashed shard leaves the output unjoined."""
        n_crashed = self._n_crashed()
        if n_crashed and self.work.files is not None:
            raise OutputError(
                f"not made: {n_crashed:,} of {len(self._shards):,} shards crashed",
                path=self._request.output,
                remedy=f"Each is named in {self._places.failures}. Start the same command again "
                "to try them again.",
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
        self._ledger.recover()
        self._ledger.drop_scratch()
        if self.is_prepared:
            self._ledger.write_failures(self._reports.values(), self._shards)
        is_final = self._finish_report and not any(map(_RETRY, self._reports.values()))
        if is_final or (self._before is None and not self.is_prepared):
            self._ledger.drop_parts()

    def state_line(self) -> str:
        if not self._shards:
            return "nothing begun"
        return f"{len(self._reports):,} of {len(self._shards):,} shards done"

    def _n_failed(self) -> int:
        return count_failures(self._by_status)

    def _job_details(self) -> dict[str, Any]:
        """Return the figures that the job gives for its work and its finished output."""
        if self._finish_report:
            return {**self.work.figures, **self._job.details(self._request.output)}
        return {}

    def summary(self, seconds: float) -> Summary:
        reports = list(self._reports.values())
        if self._finish_report:
            reports.append(self._finish_report)
        inputs: dict[str, int] = {}
        others: dict[str, dict[str, int]] = {}
        for name, n in sorted(self._by_status.items()):
            status, unit = split_count_name(name)
            counts = others.setdefault(unit, {}) if unit else inputs
            counts[status] = n
        return Summary(
            command=self._job.command,
            unit=self.work.counted_unit or self.work.unit,
            inputs=sum(inputs.values()),
            ok=inputs.get(OK, 0),
            failed=self._n_failed(),
            by_status=join_units(self._by_status),
            others=others,
            outputs=sum(report.n_outputs for report in reports),
            seconds=round(seconds, 3),
            output=str(self._request.output),
            details={"failures": str(self._places.failures), "done_before": self._n_done_before}
            | self._job_details(),
        )


def _plain(value: Any) -> Any:
    """Convert a value to the form in which JSON gives it back."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return os.path.abspath(value) if isinstance(value, Path) else value
