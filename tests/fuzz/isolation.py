"""A trial in a process of its own, so that a death or a hang of the parser is a fault like others.

The child takes numbers of mutations and answers with what is wrong. It may use 4 GiB of memory and
20 seconds for each input.
"""

from __future__ import annotations

import logging
import multiprocessing
import resource
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

from tests.fuzz.mutations import mutate
from tests.fuzz.targets import Trial

_MEMORY, _SECONDS = 4 << 30, 20
_CONTEXT = multiprocessing.get_context("spawn")


class Isolated:
    """A target whose mutations are tried in a child, which is replaced when it dies."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._folder = name, folder
        self._n_children = 0

    def __enter__(self) -> Isolated:
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def try_mutation(self, number: int) -> str:
        """Return what is wrong after a mutation, or how the process ended."""
        try:
            self._pipe.send(number)
            found: str = self._pipe.recv()
        except (EOFError, OSError):
            self._child.join()
            found = f"the process ended: {self._child.exitcode}"
            self._start()
        return found

    def _start(self) -> None:
        folder = self._folder / str(self._n_children)
        folder.mkdir()
        self._n_children += 1
        self._pipe, theirs = _CONTEXT.Pipe()
        self._child = _CONTEXT.Process(target=_serve, args=(theirs, self._name, folder))
        self._child.start()
        theirs.close()

    def _end(self) -> None:
        self._pipe.close()
        self._child.join()


def _serve(pipe: Connection, name: str, folder: Path) -> None:
    logging.disable()
    trial = Trial(name, folder)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            number = pipe.recv()
        except EOFError:
            return
        signal.alarm(_SECONDS)
        found = trial.try_input(mutate(trial.seeds, number))
        signal.alarm(0)
        pipe.send(found)
