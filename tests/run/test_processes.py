"""Workers that die, workers that cannot start, and the programs that they are started from."""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import pytest

from faceprep import ProcessRunner, Request, SerialRunner, run_job
from faceprep.core.cpu import worker_number
from faceprep.core.errors import FaceprepError, OptionError, OutputError, SourceError
from faceprep.core.types import CarryOut, Outcome, Runner, Shard, ShardReport, ShardWork, Sink
from faceprep.run import staging
from faceprep.run.shard_task import crashed
from tests.failures import failure_lines
from tests.fakes import JoinedLines, Lines, results, start, status_of
from tests.real import ROOT

SERIAL, TWO = SerialRunner(), ProcessRunner(2)


@pytest.fixture(params=["new", "copy"], autouse=True)
def worker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Start a worker: this process, which has NumPy, would otherwise start only new ones."""
    monkeypatch.setattr("faceprep.run.worker.is_clean", lambda: request.param == "copy")
    return str(request.param)


# Numbers of workers


@dataclass(frozen=True)
class Numbered(Lines):
    """Logs the number of the worker, with each shard."""

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        logging.getLogger("faceprep").warning("worker %d", worker_number())
        yield from super().run(shard, sink)


def test_workers_have_numbers_from_0(request_: Request, caplog: pytest.LogCaptureFixture) -> None:
    run_job(Numbered(), request_, TWO)
    numbers = {text for text in caplog.messages if text.startswith("worker ")}
    assert numbers <= {"worker 0", "worker 1"} and len(numbers) == 2
    assert worker_number() == 0, "in the driver"


# What workers log


def test_what_a_worker_logs_is_shown_as_the_drivers_own(
    request_: Request, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG", "faceprep")
    run_job(Lines(poison="raise"), request_, TWO)
    assert any(
        message.startswith("shard 0004\nTraceback") and "poisoned" in message
        for message in caplog.messages
    )
    caplog.clear()
    caplog.set_level("WARNING", "faceprep")
    run_job(Lines(poison="raise"), request_, TWO)
    assert not caplog.messages and "poisoned" not in capfd.readouterr().err


# A poisoned shard


@pytest.mark.parametrize(
    ("poison", "runner", "reason"),
    [
        ("raise", SERIAL, r"ValueError: poisoned by line 6 \(fakes\.py:\d+\)"),
        ("raise", TWO, r"ValueError: poisoned by line 6 \(fakes\.py:\d+\)"),
        ("exit", TWO, "the worker ended with status 7"),
        ("kill", TWO, "the worker was killed by SIGKILL"),
        ("segfault", TWO, "the worker was killed by SIGSEGV"),
    ],
)
def test_poisoned_shard_is_named_and_tried_again(
    poison: str, runner: Runner, reason: str, request_: Request, tmp_path: Path
) -> None:
    diary, cured = tmp_path / "diary", tmp_path / "cured"
    job = Lines(poison=poison, diary=str(diary), cured=str(cured))
    summary = run_job(job, request_, runner)
    assert (summary.inputs, summary.ok, summary.by_status) == (12, 8, {"crashed": 4, "ok": 8})
    ((where, status, why),) = failure_lines(request_.output)
    assert (where, status) == (f"{request_.sources[0]} [4:8]", "crashed")
    assert re.fullmatch(reason, why)
    begun = diary.read_text().split()
    assert sorted(set(begun)) == ["0000", "0004", "0008"]
    assert begun.count("0004") == (1 if poison == "raise" else 2), (
        "the death of a worker is tried once more"
    )
    visible = {name for name, data in results(request_.output).items() if data is not None}
    assert visible == {f"{i % 3}/{i}.txt" for i in (0, 1, 2, 3, 8, 9, 10, 11)}, (
        "nothing of the lost shard"
    )

    diary.unlink()
    cured.touch()
    assert run_job(job, request_, runner).ok == 12
    assert diary.read_text().split() == ["0004"], "only the lost shard is tried again"
    assert failure_lines(request_.output) == []
    run_job(job, replace(request_, output=tmp_path / "whole"), SERIAL)
    assert results(request_.output) == results(tmp_path / "whole")


@pytest.mark.parametrize("n_workers", [1, 2])
def test_shard_whose_worker_dies_once_is_done(
    n_workers: int, request_: Request, tmp_path: Path
) -> None:
    run_job(Lines(), replace(request_, output=tmp_path / "whole"), SERIAL)
    job = Lines(poison="kill", once=str(tmp_path / "killed"))
    summary = run_job(job, request_, ProcessRunner(n_workers))
    assert (tmp_path / "killed").exists()
    assert (summary.ok, summary.failed, failure_lines(request_.output)) == (12, 0, [])
    assert results(request_.output) == results(tmp_path / "whole")


def test_commit_in_which_the_worker_dies_is_finished(request_: Request, tmp_path: Path) -> None:
    """A shard with a page is done: the next worker that tries finishes the commit."""
    diary = tmp_path / "diary"
    assert (
        run_job(DiesInCommit(mark=str(tmp_path / "mark"), diary=str(diary)), request_, TWO).ok == 12
    )
    assert (tmp_path / "mark").exists()
    assert sorted(diary.read_text().split()) == ["0000", "0004", "0008"], "it was not done again"
    assert failure_lines(request_.output) == []


def test_commit_in_which_the_last_worker_dies_is_finished(
    request_: Request, tmp_path: Path
) -> None:
    """The driver finishes the commit when no worker is left. This also holds for a lost report."""

    job = DiesInCommit(mark=str(tmp_path / "mark"))
    assert run_job(job, request_, SilentRunner()).ok == 12
    assert failure_lines(request_.output) == []


class SilentRunner:
    """A runner that reports every shard as crashed, whatever became of it."""

    @contextmanager
    def start(self, work: ShardWork) -> Iterator[CarryOut]:
        def carry_out(shards: Iterable[Shard]) -> Generator[ShardReport, None, None]:
            for shard in shards:
                expected = -9 if shard.id == "0004" else 0
                assert status_of(start(lambda shard=shard: work.run(shard))) == expected
                yield crashed(shard, "killed")

        yield carry_out


@dataclass(frozen=True)
class DiesInCommit(Lines):
    """Its worker is killed once, when a shard's page has its place and its files do not."""

    mark: str = ""

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        def put(*place: object) -> None:
            if shard.id == "0004" and not os.path.exists(self.mark):
                Path(self.mark).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            real(*place)

        real = staging._put  # type: ignore[attr-defined]
        mock.patch.object(staging, "_put", put).start()  # this process has no other use
        return super().run(shard, sink)


def test_joined_output_is_not_made_without_all_its_parts(request_: Request, tmp_path: Path) -> None:
    request = replace(request_, output=tmp_path / "lines.bin")
    job = JoinedLines(poison="raise", cured=str(tmp_path / "cured"))
    for _ in range(2):
        with pytest.raises(
            OutputError, match=r"not made: 1 of 6 shards crashed\. .*failures\.csv\. Start the same"
        ):
            run_job(job, request, TWO)
        assert not request.output.exists()
    (tmp_path / "cured").touch()
    assert run_job(job, request, TWO).ok == 12
    assert len(request.output.read_bytes().splitlines()) == 12


def test_error_of_a_worker_ends_the_run(request_: Request, tmp_path: Path) -> None:
    job = Lines(poison="source", cured=str(tmp_path / "cured"))
    with pytest.raises(
        SourceError, match=r"somewhere: gone at record 6: expected a face, found nothing\. Look"
    ):
        run_job(job, request_, TWO)
    (tmp_path / "cured").touch()
    assert run_job(job, request_, TWO).ok == 12


# Workers that cannot start


def test_job_that_cannot_be_sent(request_: Request) -> None:
    class Local(Lines):
        pass

    with pytest.raises(
        OptionError, match=r"cannot be sent to workers: .*Local.*Define the job in a module"
    ):
        run_job(Local(), request_, TWO)
    assert run_job(Local(), request_, SERIAL).ok == 12


def test_worker_that_cannot_be_started(
    request_: Request, monkeypatch: pytest.MonkeyPatch, worker: str
) -> None:
    with monkeypatch.context() as patch:
        reason = os.strerror(errno.EAGAIN)
        refused = mock.Mock(side_effect=BlockingIOError(errno.EAGAIN, "x"))
        start = "os.fork" if worker == "copy" else "subprocess.Popen"
        patch.setattr(start, refused)
        with pytest.raises(
            FaceprepError, match=rf"start a worker: {reason}\. Use fewer --workers, .*ulimit -u"
        ):
            run_job(Lines(), request_, TWO)
    if worker != "copy":
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/no/such/python")
            with pytest.raises(
                FaceprepError, match=r"^/no/such/python: cannot start .*\. Check the path\."
            ):
                run_job(Lines(), request_, TWO)
    with monkeypatch.context() as patch:
        patch.setattr("faceprep.run.worker.serve", end_at_once)
        patch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(
            FaceprepError, match=r"cannot start a worker: the worker ended with status 1\. Use"
        ):
            run_job(Lines(), request_, TWO)
    assert run_job(Lines(), request_, TWO).ok == 12


def end_at_once(pipe: str, driver: str) -> None:
    sys.exit(1)


def test_caller_that_stops_listening_leaves_no_worker() -> None:
    with ProcessRunner(2).start(SlowWork()) as carry_out:
        reports = carry_out([Shard(str(i), "", i, i + 1) for i in range(9)])
        assert next(reports).n_inputs == 1
    # the fixture of all tests looks for what is left


class SlowWork:
    folder, uses_gpu = "", False

    def run(self, shard: Shard) -> ShardReport:
        time.sleep(0.05)
        return ShardReport(shard.id, 1, {"ok": 1})

    def warm_up(self) -> None:
        pass


def test_more_workers_than_shards(request_: Request) -> None:
    assert run_job(Lines(), request_, ProcessRunner(64)).ok == 12


def test_what_workers_print_does_not_reach_stdout(
    request_: Request, capfd: pytest.CaptureFixture[str]
) -> None:
    run_job(Talker(), request_, TWO)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.count("hello") == 3


class Talker(Lines):
    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        print("hello")  # noqa: T201
        return super().run(shard, sink)


# Programs

_PROGRAM = """
from pathlib import Path
from faceprep import ProcessRunner, Request, run_job
from tests.fakes import Lines
print(run_job(Lines(), Request((Path({source!r}),), Path({output!r})), ProcessRunner(2)).ok)
"""
_OWN_JOB = _PROGRAM.replace("Lines\nprint", "Lines\nclass Lines(Lines): pass\nprint")


def run_program(how: str, text: str, folder: Path, worker: str) -> subprocess.CompletedProcess[str]:
    text = f"import faceprep.run.worker as p\np.is_clean = lambda: {worker == 'copy'}\n{text}"
    command = [sys.executable, "-"] if how == "stdin" else [sys.executable, "-c", text]
    if how == "script":
        (folder / "script.py").write_text(text)
        command = [sys.executable, str(folder / "script.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    text_in = text if how == "stdin" else ""
    return subprocess.run(
        command,
        input=text_in,
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("how", ["script", "stdin", "command"])
def test_programs_need_no_main_guard(
    how: str, request_: Request, tmp_path: Path, worker: str
) -> None:
    text = _PROGRAM.format(source=str(request_.sources[0]), output=str(request_.output))
    done = run_program(how, text, tmp_path, worker)
    assert (done.stdout, done.stderr, done.returncode) == ("12\n", "", 0)


def test_job_of_the_program_itself_is_one_clear_error(
    request_: Request, tmp_path: Path, worker: str
) -> None:
    text = _OWN_JOB.format(source=str(request_.sources[0]), output=str(request_.output))
    done = run_program("script", text, tmp_path, worker)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "faceprep.core.errors.OptionError: a worker cannot load the job"
    )
    assert done.stderr.splitlines()[-1].endswith(
        "Define the job in a module that can be imported, or use the serial runner."
    )
    assert done.stderr.count("Traceback") == 1, "the caller's own, none of a worker"
