"""The command line on a terminal that is none, and what it shows there."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from faceprep.core.types import Outcome, Request, Shard, Sink, Work
from faceprep.jobs.rec2folder import Rec2Folder
from tests.real import ROOT

SLOW = (
    "from faceprep.core import registry; from faceprep.core.registry import Entry;"
    "from faceprep.cli import progress; from faceprep.run import heartbeat;"
    "registry.COMMANDS['rec2folder'] = Entry('tests.fakes:SlowRec2Folder', '', 'SRC DST');"
)
ONE_LONG_SHARD = SLOW.replace("fakes:SlowRec2Folder", "terminal:OneLongShard")
SLOW_PLAN = SLOW.replace("fakes:SlowRec2Folder", "terminal:SlowPlan")
RUN = "from faceprep.__main__ import main; main()"


@dataclass(frozen=True)
class OneLongShard(Rec2Folder):
    """rec2folder that takes its time over each image."""

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        for outcome in super().run(shard, sink):
            time.sleep(0.05)
            yield outcome


@dataclass(frozen=True)
class SlowPlan(Rec2Folder):
    """rec2folder that takes its time to plan and to finish."""

    def plan(self, request: Request, scratch: Path) -> Work:
        time.sleep(0.3)
        return super().plan(request, scratch)

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        time.sleep(0.3)
        super().finish(work, request, sink)


def on_a_terminal(
    program: str, arguments: Sequence[object], environment: Mapping[str, str], width: int = 100
) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of `program` in Python, with a terminal of `width` columns
    as its stderr.
    """
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, width))
    command = [sys.executable, "-c", program, *map(str, arguments)]
    told = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    process = subprocess.Popen(command, stderr=theirs, stdout=subprocess.PIPE, env=told)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 1000)
        except OSError:  # the other end is closed
            break
    stdout, _ = process.communicate()
    os.close(ours)
    return process.returncode, stdout.decode(), shown.decode()
