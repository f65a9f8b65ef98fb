"""Copies of the driver: when they may be made, and what of the driver they have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from faceprep import ProcessRunner, Request, run_job
from faceprep.core.types import Outcome, Shard, Sink
from faceprep.run.fork import Copy
from tests.fakes import Lines, write_lines
from tests.real import ROOT

_TOLD = (
    "from faceprep.run.fork import is_clean; print(is_clean(), file=__import__('sys').__stderr__)"
)


@pytest.mark.parametrize(
    ("before", "options", "told"),
    [
        ("", {}, "True"),
        ("import numpy", {}, "False"),
        (
            "import threading, time; threading.Thread(target=time.sleep, args=[9], "
            "daemon=True).start()",
            {},
            "False",
        ),
        ("", {"preexec_fn": lambda: os.close(1)}, "False"),
    ],
    ids=["clean", "NumPy", "a thread", "no stdout"],
)
def test_when_a_copy_is_clean(
    before: str, options: dict[str, Callable[[], None]], told: str
) -> None:
    command = [sys.executable, "-c", f"{before}\n{_TOLD}"]
    done = subprocess.run(
        command, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False, timeout=60, **options
    )  # type: ignore[call-overload]
    assert done.stderr.split() == [told]


@dataclass(frozen=True)
class Looker(Lines):
    """Writes what it has of the driver."""

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        there = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        told = [
            str("mine" in " ".join(there)),
            str(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL),
            str(hasattr(sys.modules["__main__"], "__file__")),
            os.environ.get("OMP_NUM_THREADS", ""),
        ]
        sink.write(shard.id, " ".join(told).encode())
        yield Outcome(shard.id)


def test_what_a_copy_has_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faceprep.run.worker.is_clean", lambda: True)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    request = Request((write_lines(tmp_path / "source.txt"),), tmp_path / "out")
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with open(tmp_path / "mine", "w"):
            run_job(Looker(), request, ProcessRunner(2))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert {path.read_text() for path in (tmp_path / "out").glob("0*")} == {"False True False 3"}


def test_waiting_for_a_copy() -> None:
    gate, stop = os.pipe()
    copy = Copy(lambda: print(os.read(gate, 1)), gate, {})  # noqa: T201
    os.close(gate)
    with pytest.raises(subprocess.TimeoutExpired):
        copy.wait(0.05)
    copy.kill()
    copy.wait()
    assert copy.returncode == -signal.SIGKILL
    copy.kill()
    copy.wait(0)
    os.close(stop)


def test_a_copy_ends_with_its_own_status(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ValueError("a bug of ours")

    pipe = os.open(os.devnull, os.O_RDONLY)
    for serve, status in (
        (lambda: None, 0),
        (sys.exit, 0),
        (lambda: sys.exit(7), 7),
        (lambda: sys.exit("why"), 1),
        (fail, 1),
    ):
        copy = Copy(serve, pipe, {})  # type: ignore[arg-type]
        copy.wait(20)
        assert copy.returncode == status
    os.close(pipe)
    assert "ValueError: a bug of ours" in capfd.readouterr().err
