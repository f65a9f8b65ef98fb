"""The inside of a worker: it takes shards from a pipe and sends back reports and log records.

A worker dies with its driver, and only the driver handles Ctrl-C.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from faceprep.core.cpu import take_share
from faceprep.core.errors import FaceprepError, OptionError
from faceprep.core.items import begin, use_board
from faceprep.core.types import ShardWork

log = logging.getLogger("faceprep")
READY = "ready"
"""What a worker sends when it has loaded the job."""
IN_A_MODULE = "Define the job in a module that can be imported, or use the serial runner."
_SENDING = threading.Lock()
_PR_SET_PDEATHSIG = 1
_GARBAGE = 200_000


def serve(pipe: str, driver: str) -> None:
    """Carry out the shards that come through `pipe` until the process `driver` is gone."""
    _die_with(int(driver))
    os.set_inheritable(int(pipe), False)
    with Connection(int(pipe)) as connection:
        try:
            if (first := _receive(connection)) is None:
                return
            work, level = first
            _log_through(connection, level)
            use_board()
            _warm_up(work)
            _spare_garbage_collection()
            _send(connection, READY)
        except (ImportError, AttributeError) as error:
            _send(
                connection,
                OptionError(f"a worker cannot load the job: {error}", remedy=IN_A_MODULE),
            )
            return
        while (given := _receive(connection)) is not None:
            shard, care, share = given
            take_share(share)
            begin(care)
            try:
                answer = work.run(shard)
            except FaceprepError as error:
                answer = error
            _send(connection, answer)


class _ToDriver(logging.Handler):
    """A log handler that sends records to the driver, which shows them as its own."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args = self.format(record), None
        record.exc_info = record.exc_text = record.stack_info = None
        _send(self._connection, record)


def _log_through(connection: Connection, level: int) -> None:
    log.handlers, log.propagate = [_ToDriver(connection)], False
    log.setLevel(level)


def _warm_up(work: ShardWork) -> None:
    """Load what the shards will need, while the driver still plans.

    Errors are ignored here: they come again with a shard.
    """
    with suppress(FaceprepError):
        work.warm_up()


def _spare_garbage_collection() -> None:
    """Collect garbage less often: a shard makes many small tuples and no cycles.

    The search for cycles took 5 of the 18 µs that `rec2folder` needs per record.
    """
    gc.freeze()
    gc.set_threshold(_GARBAGE)


def _receive(connection: Connection) -> Any:
    """Return the next message; None when the driver is gone."""
    with suppress(EOFError, ConnectionError):
        return connection.recv()
    return None


def _send(connection: Connection, message: object) -> None:
    with suppress(ConnectionError), _SENDING:
        connection.send(message)


def _die_with(driver: int) -> None:
    """Ask Linux to kill this process when its driver ends.

    Elsewhere the closed pipe ends it after its shard.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != driver:
        os._exit(1)
