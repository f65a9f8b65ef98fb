"""A Python that has loaded TensorFlow, which takes longer than what most tests do with it.

    python -m tests.warm_python

It runs the programs that it is sent, one JSON object a line, and answers in the same way. Its
stdout is for the answers alone, so whatever a program prints past `sys.stdout` goes to stderr.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from tests.real import ROOT

_STDOUT, _STDERR = 1, 2


class WarmPython:
    """The process, as a test sees it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.warm_python"],
            cwd=ROOT,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, program: Path | str, *arguments: object, environment: Mapping[str, str] | None = None
    ) -> str:
        """Run a file, or a text, as a program of its own; return what it prints."""
        is_file = isinstance(program, Path)
        given = {
            "name": str(program) if is_file else "<program>",
            "code": program.read_text() if is_file else program,
            "arguments": list(map(str, arguments)),
            "environment": dict(environment or {}),
        }
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{json.dumps(given)}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert not answer["error"], answer["error"]
        return str(answer["stdout"])

    def close(self) -> None:
        with self._process as process:
            process.kill()


def _carry_out(given: Mapping[str, Any]) -> dict[str, str]:
    """Run one program and put the environment back."""
    before = dict(os.environ)
    os.environ.update(given["environment"])
    tempfile.tempdir = None  # it is looked up once
    sys.argv = [given["name"], *given["arguments"]]
    stdout, stderr, error = io.StringIO(), io.StringIO(), ""
    try:
        with redirect_stdout(stdout), redirect_stderr(stderr):
            code = compile(given["code"], given["name"], "exec")
            exec(code, {"__name__": "__main__", "__file__": given["name"]})
    except BaseException:
        error = stderr.getvalue() + traceback.format_exc()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return {"stdout": stdout.getvalue(), "error": error}


def serve() -> None:
    """Run programs until nobody sends any."""
    answers = os.fdopen(os.dup(_STDOUT), "w", buffering=1)
    os.dup2(_STDERR, _STDOUT)
    import tensorflow  # noqa: F401

    for line in sys.stdin:
        answers.write(f"{json.dumps(_carry_out(json.loads(line)))}\n")


if __name__ == "__main__":
    serve()
