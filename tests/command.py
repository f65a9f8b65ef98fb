"""The command line, run as a user runs it, and the modules that a program imports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Set
from pathlib import Path

from tests.real import ROOT

FACEPREP = (sys.executable, "-m", "faceprep")


def faceprep(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; `environment` are further variables."""
    return subprocess.run(
        [*FACEPREP, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def imported(program: str, modules: Set[str], cwd: Path = ROOT) -> tuple[str, list[str]]:
    """Run a program in a Python of its own, in the folder `cwd`.

    Return what it prints, and those of `modules` that are imported at its end.
    """
    ending = f"import sys\nprint(*sorted({set(modules)} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{ending}"],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    *printed, last = done.stdout.splitlines()
    return "\n".join(printed), last.split()
