"""Points: a fault at the k-th operation, named in one word such as `ENOSPC@12`."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.faults.injection import Kind, Operation, Strike

_STRIKES = {
    "kill": Strike(Kind.KILL),
    "kill-all": Strike(Kind.KILL_ALL),
    "half-write": Strike(Kind.KILL_HALF),
    "short-write": Strike(Kind.SHORT, error=errno.ENOSPC),
    "short-read": Strike(Kind.SHORT),
    "EIO": Strike(Kind.FAIL_ONCE, error=errno.EIO),
    "EACCES": Strike(Kind.FAIL_ONCE, error=errno.EACCES),
    "EINTR": Strike(Kind.FAIL_ONCE, error=errno.EINTR),
    "ENOSPC": Strike(Kind.FAIL_FROM, error=errno.ENOSPC),
    "SIGINT": Strike(Kind.SIGNAL, signal=signal.SIGINT),
    "SIGTERM": Strike(Kind.SIGNAL, signal=signal.SIGTERM),
}
_ASKS_PERMISSION = {
    "create",
    "open",
    "fopen",
    "mkdir",
    "rmdir",
    "link",
    "symlink",
    "rename",
    "unlink",
}
READ_FAULTS = {
    "open": ("EIO", "EACCES", "EINTR"),
    "fopen": ("EIO", "EACCES"),
    "read": ("EIO", "EINTR", "short-read"),
    "pread": ("EIO", "EINTR", "short-read"),
    "list": ("EIO", "EACCES"),
    "stat": ("EIO", "EACCES"),
}


@dataclass(frozen=True)
class Point:
    """A fault, by name, at the operation `at`, counted from 1."""

    fault: str
    at: int

    @classmethod
    def parse(cls, text: str) -> Point:
        """Read `FAULT@NUMBER`. Raises ValueError.

        >>> str(Point.parse("ENOSPC@12"))
        'ENOSPC@12'
        """
        fault, _, at = text.partition("@")
        if fault not in _STRIKES or not at.isdecimal():
            raise ValueError(
                f"invalid point: expected one of {', '.join(_STRIKES)} with @NUMBER, got {text!r}"
            )
        return cls(fault, int(at))

    def __str__(self) -> str:
        return f"{self.fault}@{self.at}"

    @property
    def strike(self) -> Strike:
        """The settings of the injector."""
        return _STRIKES[self.fault]._replace(at=self.at)

    @property
    def kills(self) -> bool:
        """Return whether the process is killed."""
        return self.strike.kind in (Kind.KILL, Kind.KILL_ALL, Kind.KILL_HALF)

    @property
    def is_invisible(self) -> bool:
        """Return whether no program may notice it: the call is simply made again."""
        return self.fault in ("EINTR", "short-read")


def plan_read_points(operations: Sequence[Operation]) -> list[Point]:
    """List every read fault that makes sense at each of the operations."""
    numbered = enumerate(operations, 1)
    return [Point(fault, at) for at, each in numbered for fault in READ_FAULTS[each.name]]


def plan_points(operations: Sequence[Operation], runner: str) -> list[Point]:
    """List every fault that makes sense at each of the operations."""
    faults = _faults_in_one_process if runner == "serial" else _faults_in_several
    numbered = enumerate(operations, 1)
    return [Point(fault, at) for at, operation in numbered for fault in faults(at, operation)]


def _faults_in_one_process(at: int, operation: Operation) -> Iterator[str]:
    yield from ("kill", "EIO", "SIGINT")
    if operation.name == "write":
        yield from ("half-write", "short-write")
    if operation.takes_space:
        yield "ENOSPC"
    if operation.name in _ASKS_PERMISSION:
        yield "EACCES"
    if at % 4 == 0:
        yield "SIGTERM"


def _faults_in_several(at: int, operation: Operation) -> Iterator[str]:
    yield from ("kill", "kill-all")
    if operation.takes_space:
        yield "ENOSPC"
    if at % 2 == 0:
        yield "EIO"
    if at % 3 == 0:
        yield "SIGINT"
