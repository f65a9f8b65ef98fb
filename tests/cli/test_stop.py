"""Ctrl-C and SIGTERM through the real command line, at many moments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from faceprep import Request, SerialRunner, run_job
from faceprep.cli import main
from faceprep.core import registry
from tests.fakes import PAUSE, SlowRec2Folder, moments, tree, wait_for, wait_until
from tests.real import ROOT
from tests.reviews import small_plan

_PROGRAM = """
from faceprep.core import registry
from faceprep.core.registry import Entry
registry.COMMANDS["rec2folder"] = Entry("tests.fakes:SlowRec2Folder", "", "SRC DST")
from faceprep.__main__ import main
main()
"""


def start(source: Path, output: Path) -> subprocess.Popen[str]:
    """The command line with a slow rec2folder, in a session of its own, as a shell would start
    it.
    """
    command = [
        sys.executable,
        "-c",
        _PROGRAM,
        "rec2folder",
        str(source),
        str(output),
        "--workers",
        "2",
    ]
    environment = os.environ | {PAUSE: "0.002", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


@pytest.mark.parametrize("is_ignored", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_when_all_is_done_leaves_no_traceback(
    number: signal.Signals, is_ignored: bool
) -> None:
    program = f"""
import atexit, os, signal, sys
from faceprep.__main__ import main
if {is_ignored}:
    signal.signal({number.value}, signal.SIG_IGN)
atexit.register(os.kill, os.getpid(), {number.value})
sys.argv = ["faceprep", "--version"]
main()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0 if is_ignored else -number, "")
    assert ended.stdout.startswith("faceprep")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_during_a_finalizer(number: signal.Signals, rec_set: Path, tmp_path: Path) -> None:
    """Python prints what a finalizer raises and drops it, so the command would go on."""
    program = f"""
import os, signal, sys, time
from faceprep.__main__ import main
from faceprep.jobs.rec2folder import Rec2Folder

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), {number.value})
        time.sleep(0)

def plan(self, request, scratch):
    Finalized()
    time.sleep(30)

Rec2Folder.plan = plan
if {number.value} == signal.SIGTERM:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.argv = ["faceprep", "rec2folder", "{rec_set}", "{tmp_path}/out"]
main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=25
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert line.endswith("stopped, nothing begun. Start the same command again to resume.")


def test_what_else_a_finalizer_raises_is_printed() -> None:
    program = """
import sys
from faceprep.__main__ import main

class Finalized:
    def __del__(self):
        raise ValueError("a bug")

sys.modules["finalized"] = Finalized()
sys.argv = ["faceprep", "--version"]
main()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 0 and "ValueError: a bug" in ended.stderr


def left_of(session: int) -> list[psutil.Process]:
    left = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                left.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return left


@pytest.fixture(scope="module")
def whole(rec_set: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes | None]:
    output = tmp_path_factory.mktemp("whole") / "out"
    run_job(SlowRec2Folder(), Request((rec_set,), output), SerialRunner())
    return tree(output)


def stop(run: subprocess.Popen[str], how: str) -> None:
    if how == "Ctrl-C":  # a terminal sends it to the whole group
        os.killpg(run.pid, signal.SIGINT)
    elif how == "Ctrl-C twice":
        os.killpg(run.pid, signal.SIGINT)
        time.sleep(0.01)
        os.killpg(run.pid, signal.SIGINT)
    elif how == "SIGTERM to the group":
        os.killpg(run.pid, signal.SIGTERM)
    else:
        run.terminate()


@pytest.mark.parametrize(
    ("how", "n"), [("Ctrl-C", 6), ("Ctrl-C twice", 3), ("SIGTERM", 3), ("SIGTERM to the group", 2)]
)
def test_stopped_and_started_again(
    how: str, n: int, rec_set: Path, whole: dict[str, bytes | None], tmp_path: Path
) -> None:
    n_stopped = 0
    for i, (n_files, seconds) in enumerate(moments(n, len(whole) - 10, n)):
        output = tmp_path / str(i)
        run = start(rec_set, output)
        wait_for(output, max(n_files, 4), seconds)
        stop(run, how)
        stdout, stderr = run.communicate(timeout=60)
        wait_until(
            lambda run=run: left_of(run.pid) == []
        )  # a killed worker takes a moment to be gone
        if run.returncode:
            n_stopped += 1
            assert (run.returncode, stdout) == (1, "")
            (line,) = [
                line for line in stderr.splitlines() if line
            ]  # an empty one after the terminal's ^C
            assert line.startswith("faceprep: ") and "stopped" in line
            assert line.endswith("Start the same command again to resume.")
        run_job(SlowRec2Folder(), Request((rec_set,), output), SerialRunner())
        assert tree(output) == whole, f"stopped {seconds:.4f} s after file {n_files}"
    assert n_stopped > n // 2


def test_stopped_while_it_starts(rec_set: Path, tmp_path: Path) -> None:
    """Stop it at any time after it takes the lock; before that there is nothing to resume."""
    for i in range(4):
        output = tmp_path / str(i)
        run = start(rec_set, output)
        wait_for(output, 1, i * 0.05)
        stop(run, "Ctrl-C")
        stdout, stderr = run.communicate(timeout=60)
        assert (run.returncode, stdout) == (1, "")
        assert (
            len([line for line in stderr.splitlines() if line]) == 1 and "Traceback" not in stderr
        )
        wait_until(lambda run=run: left_of(run.pid) == [])


@pytest.mark.parametrize(
    ("words", "within", "told"),
    [
        (
            ["inspect", "SET"],
            "faceprep.jobs.inspect.inspection.check_image_bytes",
            "stopped; nothing was written",
        ),
        (["doctor"], "faceprep.jobs.doctor.free_space", "stopped; nothing was written"),
        (["models"], "faceprep.core.dependencies.version_of", "stopped; nothing was written"),
        (
            ["verify", "SET"],
            "faceprep.jobs.verify.job.Verify.announce",
            "stopped; nothing was written",
        ),
        (
            ["report", "SET"],
            "faceprep.jobs.report.find_runs",
            "stopped; the report was not finished",
        ),
        (
            ["review", "PLAN", "--no-browser"],
            "faceprep.pages.review.session.read_plan",
            "stopped; no verdict is lost",
        ),
        (
            ["review", "PLAN", "--static", "PAGE"],
            "faceprep.pages.review.static_site.page_files",
            "stopped; no verdict is lost, and no page is half written",
        ),
        (
            ["rec2folder", "SET", "OUT"],
            "faceprep.cli.build.run_job",
            "stopped. Start the same command again to resume.",
        ),
        (
            ["rec2folder", "SET", "OUT", "--dry-run"],
            "faceprep.cli.build.preview_job",
            "stopped; nothing was written",
        ),
    ],
)
def test_what_each_kind_of_command_says_when_it_is_stopped(
    words: list[str],
    within: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"PLAN": small_plan(tmp_path), "SET": tmp_path / "faces", "PAGE": tmp_path / "page"}
    before = tree(tmp_path / "faces")
    monkeypatch.setattr(within, lambda *_, **__: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(sys, "argv", ["faceprep", *(str(places.get(word, word)) for word in words)])
    assert main() == 1
    assert capsys.readouterr() == ("", f"faceprep: {told}\n")
    assert tree(tmp_path / "faces") == before and sorted(os.listdir(tmp_path)) == ["faces", "out"]


def test_stopped_before_the_command_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "load", lambda *_: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(sys, "argv", ["faceprep", "models"])
    assert main() == 1
    assert capsys.readouterr().err.strip() == "faceprep: stopped"
