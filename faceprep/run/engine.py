"""Which shards are still to do, in which order, and how a run ends."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from faceprep import __version__, storage
from faceprep.errors import FaceprepError, Interrupted, OutputError, ResumeError, SourceError, TooManyFailures
from faceprep.run.ledger import STATE, Ledger, Places, ShardSink
from faceprep.types import OK, Job, Outcome, Request, Runner, Shard, ShardReport, Stage, Summary, Work

log = logging.getLogger("faceprep")
_FINISH = "finish"
_GO_ON = "Start the same command again to go on."


@dataclass(frozen=True)
class Progress:
    """Told of a stage's size, then of every shard; does nothing by default."""

    start: Callable[[Stage, int, str], None] = lambda stage, n_done, unit: None
    step: Callable[[ShardReport], None] = lambda report: None
    stop: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class ShardTask:
    """A job on one shard, from staging to commit. Picklable; calls never raise but for FaceprepError."""

    job: Job
    places: Places

    def __call__(self, shard: Shard) -> ShardReport:
        sink = ShardSink(self.places, shard.id)
        try:
            return sink.commit(list(self.job(shard, sink)))
        except FaceprepError:
            sink.discard()
            raise
        except Exception as bug:
            log.debug("shard %s", shard.id, exc_info=True)
            sink.discard()
            return crashed(shard, f"{type(bug).__name__}: {bug}")
        except BaseException:
            sink.discard()
            raise


def crashed(shard: Shard, reason: str) -> ShardReport:
    """The report of a shard that left nothing: all its inputs failed, and it is tried again next time."""
    n_inputs = max(len(shard), 1)
    return ShardReport(shard.id, n_inputs, {"crashed": n_inputs}, crash=reason)


def run_job(job: Job, request: Request, runner: Runner, progress: Progress | None = None) -> Summary:
    """Carry out `job`, or what is left of it, and say what became of every input.

    Raises FaceprepError when the run cannot be begun or has to stop; what is done by then stays done.
    """
    started = time.monotonic()
    places = Places(request.output, getattr(job, "output_is_file", False))
    _refuse_missing_or_covered_input(request, places)
    with storage.lock(places.state):
        drive = _Drive(job, request, places, progress or Progress())
        try:
            drive.prepare()
            for stage in drive.work.stages:
                drive.carry_out(stage, runner)
            drive.finish()
        except KeyboardInterrupt:
            drive.close()
            raise Interrupted(f"stopped: {drive.state_line()}", path=request.output, remedy=_GO_ON) from None
        except FaceprepError:
            with suppress(OutputError):  # the disk may be full: the error at hand says more
                drive.close()
            raise
        drive.close()
        return drive.summary(time.monotonic() - started)


def _refuse_missing_or_covered_input(request: Request, places: Places) -> None:
    output = request.output.resolve()
    for source in request.sources:
        if not source.exists():
            raise SourceError("no such file or folder", path=source, remedy="Check the path.")
        resolved = source.resolve()
        if output == resolved or (places.root == request.output and output in resolved.parents):
            raise OutputError(
                "the output would lie over the input",
                path=request.output,
                found=f"the input {source}",
                remedy="Name another folder.",
            )


class _Drive:
    """One run from the driver's side."""

    def __init__(self, job: Job, request: Request, places: Places, progress: Progress) -> None:
        self._job, self._request, self._places, self._progress = job, request, places, progress
        self._ledger = Ledger(places)
        self._reports: dict[str, ShardReport] = {}
        self._shards: dict[str, Shard] = {}
        self._finish_report: ShardReport | None = None
        self.work: Work

    # Before

    def prepare(self) -> None:
        """Plan, compare with the run before, take up what is done."""
        before = self._ledger.load_run()
        if before and not self._request.overwrite:
            self._refuse_other_options(before)
        self._ledger.recover()
        storage.make_folder(self._places.scratch)
        self.work = self._job.plan(self._request, self._places.scratch)
        self._shards = {shard.id: shard for stage in self.work.stages for shard in stage.shards}
        self._refuse_foreign_files(before)
        if self._request.overwrite:
            self._ledger.forget()
        elif before and before["fingerprint"] != self.work.fingerprint:
            raise ResumeError(
                "the input has changed since this run began",
                path=self._request.output,
                expected=before["fingerprint"],
                found=self.work.fingerprint,
                remedy="Put it back, choose another output, or start afresh with --overwrite.",
            )
        self._take_up_what_is_done()
        self._refuse_what_cannot_fit()
        files = None if self.work.files is None else list(self.work.files)
        self._ledger.save_run(self._described() | {"fingerprint": self.work.fingerprint, "files": files})

    def _described(self) -> dict[str, Any]:
        options = {field.name: getattr(self._job, field.name) for field in fields(self._job)}  # type: ignore[arg-type]
        return {
            "faceprep": __version__,
            "command": self._job.command,
            "options": {name: _plain(value) for name, value in options.items()} | {"limit": self._request.limit},
            "sources": [os.path.abspath(source) for source in self._request.sources],
        }

    def _refuse_other_options(self, before: Mapping[str, Any]) -> None:
        now = self._described()
        differences = [
            f"{what} {before.get(what)!r} then, {now[what]!r} now"
            for what in ("command", "sources")
            if before.get(what) != now[what]
        ]
        then = before.get("options", {})
        differences += [
            f"--{name.replace('_', '-')} {then.get(name)!r} then, {value!r} now"
            for name, value in now["options"].items()
            if then.get(name) != value
        ]
        if differences:
            raise ResumeError(
                f"this output was begun differently ({'; '.join(differences)})",
                path=self._request.output,
                remedy="Use the same options to go on, another output, or --overwrite to start afresh.",
            )

    def _refuse_foreign_files(self, before: Mapping[str, Any] | None) -> None:
        """Never write over what this run did not make."""
        root = self._places.root
        if self.work.files is None:
            if not before and root.is_dir():
                folders, files = storage.list_folder(root)
                for name in [name for name in sorted(folders + files) if name != STATE][:1]:
                    raise OutputError(
                        f"the output folder is not empty: it has {name!r}",
                        path=root,
                        expected="a new or empty folder, or one that this command began",
                    )
        elif not self._request.overwrite:
            ours = set(before["files"] or ()) if before else set()
            for name in self.work.files:
                if name not in ours and (root / name).exists():
                    raise OutputError(
                        "exists already", path=root / name, remedy="Choose another output, or use --overwrite."
                    )

    def _take_up_what_is_done(self) -> None:
        self._finish_report = self._ledger.load_report(_FINISH)
        for shard_id in self._shards:
            report = self._ledger.load_report(shard_id, with_parts=self._finish_report is None)
            if report:
                self._reports[shard_id] = report
        if len(self._reports) < len(self._shards):
            self._finish_report = None
            for shard_id in self._shards:
                if shard_id in self._reports and not self._ledger.load_report(shard_id):
                    del self._reports[shard_id]
        if self._reports:
            log.info("%s: going on: %s", self._request.output, self.state_line())

    def _refuse_what_cannot_fit(self) -> None:
        left = 1 - len(self._reports) / max(len(self._shards), 1)
        n_files, n_bytes = int(self.work.n_files * left), int(self.work.n_bytes * left)
        free_bytes, free_inodes, block = storage.room(self._places.root)
        needed = n_bytes + n_files * block // 2
        if needed > free_bytes:
            raise OutputError(
                "not enough space",
                path=self._places.root,
                expected=f"{_size(needed)} free ({_size(n_bytes)} of data + {n_files:,} files × half a block"
                f" of {block} bytes)",
                found=_size(free_bytes),
                remedy="Choose another disk, or use --limit.",
            )
        if free_inodes is not None and n_files > free_inodes:
            raise OutputError(
                "the file system cannot hold so many files",
                path=self._places.root,
                expected=f"{n_files:,} free inodes",
                found=f"{free_inodes:,}",
                remedy="Choose another disk, or use --limit.",
            )

    # During

    def carry_out(self, stage: Stage, runner: Runner) -> None:
        todo = [shard for shard in stage.shards if shard.id not in self._reports]
        if not todo or self._finish_report:
            return
        n_done = sum(len(shard) for shard in stage.shards) - sum(len(shard) for shard in todo)
        self._progress.start(stage, n_done, self.work.unit)
        self._stop_at_too_many_failures()
        try:
            with closing(runner(ShardTask(self._job, self._places), todo)) as reports:
                for report in reports:
                    self._reports[report.shard_id] = report
                    self._progress.step(report)
                    self._stop_at_too_many_failures()
        finally:
            self._progress.stop()

    def _stop_at_too_many_failures(self) -> None:
        allowed, n_failed = self._request.max_failures, self._totals()[1]
        if allowed is not None and n_failed > allowed:
            raise TooManyFailures(
                f"{n_failed:,} inputs failed, --max-failures allows {allowed:,}",
                path=self._request.output,
                remedy=f"Each is named in {self._places.state / 'failures.csv'}.",
            )

    def finish(self) -> None:
        """Join the parts; a shard that crashed leaves the output unjoined."""
        if self._finish_report or any(report.crash for report in self._reports.values()):
            return
        sink = ShardSink(self._places, _FINISH)
        try:
            self._job.finish(self.work, sink)
            self._finish_report = sink.commit([])
        except BaseException:
            sink.discard()
            raise
        self._ledger.drop_intermediates()

    # After

    def close(self) -> None:
        """Leave the state in order; no trace of a run that never began."""
        self._ledger.recover()
        if self._ledger.load_run() is None:
            self._ledger.drop_intermediates()
        else:
            self._ledger.write_failures(self._reports.values(), self._shards)

    def state_line(self) -> str:
        return f"{len(self._reports):,} of {len(self._shards):,} shards done"

    def _totals(self) -> tuple[int, int, dict[str, int]]:
        by_status: Counter[str] = Counter()
        for report in self._reports.values():
            by_status.update(report.by_status)
        n_failed = sum(n for status, n in by_status.items() if Outcome("", status).is_failure)
        return by_status.total(), n_failed, dict(sorted(by_status.items()))

    def summary(self, seconds: float) -> Summary:
        n_inputs, n_failed, by_status = self._totals()
        reports = [*self._reports.values(), *([self._finish_report] if self._finish_report else [])]
        return Summary(
            command=self._job.command,
            inputs=n_inputs,
            ok=by_status.get(OK, 0),
            failed=n_failed,
            by_status=by_status,
            outputs=sum(report.n_outputs for report in reports),
            seconds=round(seconds, 3),
            output=str(self._request.output),
            details={"failures": str(self._places.state / "failures.csv")},
        )


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:,.2f} GiB"


def as_json(summary: Summary) -> dict[str, Any]:
    """The summary as the one JSON object that `--json` prints."""
    plain = asdict(summary)
    details: dict[str, Any] = plain.pop("details")
    return plain | details
