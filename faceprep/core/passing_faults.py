"""Faults of the environment that this process has met, such as a refused permission.

They may be gone at the next start, so a shard that lost an input while one was met is tried again.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LASTING = (errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL)
_met: set[int] = set()
_losses: list[str] = []
_timeouts: list[str] = []
_is_apart: ContextVar[bool] = ContextVar("is_apart", default=False)


def note_errno(number: int | None) -> None:
    """Note an error of the operating system, unless it lies in the input itself."""
    if number not in _LASTING and not _is_apart.get():
        _met.add(number or 0)


@contextmanager
def ignored() -> Iterator[None]:
    """Note no error of the operating system that this thread meets in the block.

    Use it for work that is not part of a shard, such as a display in the same process.
    """
    token = _is_apart.set(True)
    try:
        yield
    finally:
        _is_apart.reset(token)


def note_memory() -> None:
    """Note that memory ran out."""
    _met.add(errno.ENOMEM)


def forget() -> None:
    """Forget what was met; a shard begins."""
    for noted in (_met, _losses, _timeouts):
        noted.clear()


def note_loss(name: str) -> None:
    """Note that an input was lost, although a later stage reports it."""
    _losses.append(name)


def has_losses() -> bool:
    """Return whether an input was lost that a later stage reports."""
    return bool(_losses)


def note_timeout(name: str) -> None:
    """Note that an input was given up after too long; with more time it may be sound."""
    _timeouts.append(name)


def has_timeouts() -> bool:
    """Return whether an input was given up after too long."""
    return bool(_timeouts)


def are_met() -> bool:
    """Return whether a fault was met since `forget`.

    >>> forget()
    >>> note_errno(errno.EISDIR)
    >>> are_met()
    False
    """
    return bool(_met)
