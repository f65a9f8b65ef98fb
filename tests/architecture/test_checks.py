"""Lint, format, types and import contracts hold."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.real import ROOT

CHECKS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "import contracts": ["importlinter.cli", "lint"],
}


@pytest.mark.parametrize("check", CHECKS)
def test_check(check: str) -> None:
    module, *arguments = CHECKS[check]
    run = f"from {module} import lint_imports_command; lint_imports_command()"
    command = ["-c", run] if module.startswith("importlinter") else ["-m", module, *arguments]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{check}\n{done.stdout}\n{done.stderr}"
