"""A process that imports a command line once and forks for every run: a fresh interpreter is slow.

    python -m tests.faults.server faceprep.cli:main

It reads one request a line from stdin, a JSON object with `argv, out, err, seconds, modules`. It
answers with one line when every process of the run has ended: the exit status, or `null` when the
run took longer than `seconds`.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.faults.injection import map_settings

_PR_SET_CHILD_SUBREAPER = 36
_PAUSE = 0.002


def serve(target: str) -> None:
    """Carry out the requests on stdin. The child of each run leaves by SystemExit."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    module, _, name = target.partition(":")
    main = getattr(importlib.import_module(module), name)
    _look_like_a_command()
    with os.fdopen(os.dup(1), "w") as answers:
        for line in sys.stdin.buffer:
            request = json.loads(line)
            pid = os.fork()
            if not pid:
                _run(main, request)
            status = _wait(pid, request["seconds"])
            _import_all(request["modules"])
            answers.write(f"{json.dumps(status)}\n")
            answers.flush()


def _look_like_a_command() -> None:
    """Keep what starts a process by name of the main module from starting another server."""
    sys.modules["__main__"].__spec__ = importlib.util.find_spec("faceprep.__main__")


def _run(main: Callable[[], int], request: dict[str, Any]) -> None:
    """Be the command of a request, in a process of its own, and exit."""
    os.setsid()
    settings = map_settings(os.environ["FAULT_SETTINGS"])
    settings.driver = os.getpid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for fd, path in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, fd)
        os.close(opened)
    sys.argv = ["faceprep", *request["argv"]]
    status = main()
    if request["modules"]:
        with open(request["modules"], "w") as file:
            json.dump(list(sys.modules), file)
    sys.exit(status)


def _wait(pid: int, seconds: float) -> int | None:
    """Wait for the run and all that it started; kill it after `seconds`."""
    deadline, status = time.monotonic() + seconds, None
    while True:
        try:
            ended, code = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if ended == pid:
            status = os.waitstatus_to_exitcode(code)
        if not ended and time.monotonic() > deadline:
            status, deadline = None, time.monotonic() + 5
            _kill_session(pid)
        if not ended:
            time.sleep(_PAUSE)


def _kill_session(leader: int) -> None:
    """Kill every process of the run."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if os.getsid(int(name)) == leader:
                os.kill(int(name), signal.SIGKILL)


def _import_all(path: str) -> None:
    """Import here what a run has imported, so that the next ones find it."""
    if not path or not os.path.exists(path):
        return
    with open(path) as file:
        names = json.load(file)
    for name in names:
        if name not in sys.modules:
            with suppress(ImportError):
                importlib.import_module(name)
    gc.freeze()  # no run looks through all of this when it ends


if __name__ == "__main__":
    serve(sys.argv[1])
