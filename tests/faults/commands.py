"""Runs of the command line through the fork server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_ROOT = Path(__file__).parents[2]
_SECONDS = 120.0
_OF_EACH_START = ("seconds", "done_before")
"""What two starts of one command may say differently."""


class Run(NamedTuple):
    """One start of a command: what it said, and its exit status.

    The status is negative after a signal, and None after a hang.
    """

    status: int | None
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """The --json object without the times; the text itself where there is none."""
        try:
            found = json.loads(self.out)
        except ValueError:
            return self.out
        if not isinstance(found, dict):
            return found
        return {name: value for name, value in found.items() if name not in _OF_EACH_START}


class Commands:
    """A fork server for the command line `target`, which runs in the folder `work`."""

    def __init__(
        self, folder: Path, work: Path, environment: Mapping[str, str], target: str
    ) -> None:
        self._folder = folder
        own = {
            "TMPDIR": f"{work}/tmp",
            "XDG_CACHE_HOME": f"{folder}/cache",
            "XDG_STATE_HOME": f"{folder}/state",
            "PYTHONPATH": str(_ROOT),
            "ORT_DISABLE_TELEMETRY": "1",  # it would write to TMPDIR and start threads
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server", target],
            cwd=work,
            env={**os.environ, **environment, **own},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, argv: Sequence[str], learn: bool = False) -> Run:
        """Run one command to its end; `learn`: later runs find the modules of this one imported."""
        out, err, modules = (str(self._folder / name) for name in ("out", "err", "modules"))
        request = {"argv": [*argv], "out": out, "err": err, "seconds": _SECONDS}
        request["modules"] = modules if learn else ""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the fork server is dead")
        texts = (Path(path).read_text(errors="backslashreplace") for path in (out, err))
        return Run(json.loads(answer), *texts)

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
