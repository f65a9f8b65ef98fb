"""The current item of a worker, so that a bad item costs only itself.

A decoder may crash or hang in C, where Python cannot step in. So whatever reads or decodes an item
takes it first: its key goes to a board that the driver can read after the worker's death. `Care` is
what one attempt at a shard teaches the next. The first time a shard goes wrong it is
carried out again one item at a time, so that the current item is the one to blame. From then on,
each item that goes wrong gets its outcome and is left out.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from faceprep.core.passing_faults import note_memory, note_timeout
from faceprep.core.scratch import map_shared, share_memory
from faceprep.core.types import Outcome

CRASHED, TIMED_OUT, NO_MEMORY = "crashed", "timed_out", "no_memory"
_MOST_FAULTS = 64
"""Items that a shard may lose in this way: beyond them, something else must be wrong."""
_BOARD = "FACEPREP_BOARD"
_SIZE = 1 << 14
_HEAD, _SINCE = struct.Struct("<dI"), struct.Struct("<d")


class Care(NamedTuple):
    """The care to take with a shard after attempts that went wrong.

    `is_careful` says that it is carried out one item at a time. `faults` are the outcomes of the
    items to leave out, by key.
    """

    is_careful: bool = False
    faults: Mapping[str, Outcome] = {}

    def after(self, item: str, status: str, reason: str) -> Care | None:
        """Return the care for the next attempt, after one went wrong at `item`.

        None says that no item is to blame.

        >>> care = Care().after("b.jpg", CRASHED, "killed").after("a.jpg", CRASHED, "killed")
        >>> care.faults
        {'a.jpg': Outcome(key='a.jpg', status='crashed', reason='a.jpg: killed', unit='')}
        """
        if not item or item in self.faults or len(self.faults) == _MOST_FAULTS:
            return None
        if not self.is_careful:
            return Care(True, self.faults)
        return Care(True, {**self.faults, item: Outcome(item, status, f"{item}: {reason}")})


class Board:
    """A page of memory where a worker writes its current item, for its driver to read."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    def write(self, item: str) -> None:
        """Write the current item, which begins now; empty for none."""
        text = item.encode("utf-8", "surrogateescape")[: _SIZE - _HEAD.size]
        self._memory[_HEAD.size : _HEAD.size + len(text)] = text
        _HEAD.pack_into(self._memory, 0, time.monotonic(), len(text))

    def renew(self) -> None:
        """Start the time of the current item again."""
        _SINCE.pack_into(self._memory, 0, time.monotonic())

    def read(self) -> tuple[str, float]:
        """Return the current item, and the seconds since it began."""
        since, length = _HEAD.unpack_from(self._memory)
        text = self._memory[_HEAD.size : _HEAD.size + length]
        return text.decode("utf-8", "surrogateescape"), time.monotonic() - since


class _Hand:
    """The state of this process: the current item, the care to take, and the board."""

    def __init__(self) -> None:
        self.item, self.care = "", Care()
        self.board: Board | None = None

    def hold(self, item: str) -> None:
        self.item = item
        if self.board:
            self.board.write(item)


_hand = _Hand()


@contextmanager
def share_board() -> Iterator[tuple[Board | None, dict[str, str]]]:
    """Yield a board for one worker, and the environment variables that lead the worker there.

    Yields None as the board where the system cannot share memory.
    """
    with share_memory(_SIZE) as shared:
        if shared is None:
            yield None, {}
        else:
            memory, path = shared
            yield Board(memory), {_BOARD: path}


def use_board() -> None:
    """Write to the board that the environment of this worker names, if it names one."""
    path = os.environ.pop(_BOARD, "")
    _hand.board = Board(map_shared(path, _SIZE)) if path else None


def begin(care: Care) -> None:
    """Start an attempt with this care, and without a current item."""
    _hand.care = care
    _hand.hold("")


def take(key: str) -> Outcome | None:
    """Make `key` the current item; return its outcome instead if it is to be left out."""
    fault = _hand.care.faults.get(key)
    if fault is None:
        _hand.hold(key)
    elif fault.status == NO_MEMORY:
        note_memory()
    elif fault.status == TIMED_OUT:
        note_timeout(key)
    return fault


def note_progress() -> None:
    """Note that the current item makes progress."""
    if _hand.board and _hand.item:
        _hand.board.renew()


def release(key: str) -> None:
    """Note that the item `key` has its outcome."""
    if key == _hand.item:
        _hand.hold("")


def is_careful() -> bool:
    """Return whether the shard at work is carried out one item at a time."""
    return _hand.care.is_careful


def most_at_once(n: int) -> int:
    """Return how many items of a shard may be in work at once, where it is usually `n`."""
    return 1 if _hand.care.is_careful else n


def blame(status: str, reason: str) -> bool:
    """Take more care with the shard at work, which went wrong; False if no item is to blame."""
    care = _hand.care.after(_hand.item, status, reason)
    if care is None:
        return False
    begin(care)
    return True
