"""The fault injector seen from Python: `fault.c` compiled, and the settings it shares with us."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("fault.c")
N_LOGGED = 4096


class Kind(IntEnum):
    """The ways to strike, numbered as `enum kind` in fault.c."""

    COUNT = 0
    KILL = 1
    KILL_ALL = 2
    KILL_HALF = 3
    FAIL_ONCE = 4
    FAIL_FROM = 5
    SHORT = 6
    SIGNAL = 7


class Domain(IntEnum):
    """What is counted and struck, numbered as `enum domain` in fault.c."""

    CHANGES = 0
    READS = 1


class Strike(NamedTuple):
    """A fault: its kind, the number of the operation it hits from 1, its errno, its signal."""

    kind: Kind
    at: int = 0
    error: int = 0
    signal: int = 0


class Operation(NamedTuple):
    """One access: the call, the path below the folder, and whether it takes space."""

    name: str
    path: str
    takes_space: bool


class _Operation(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char * 16),
        ("takes_space", ctypes.c_int32),
        ("path", ctypes.c_char * 204),
    ]


class Settings(ctypes.Structure):
    """The memory shared with all preloaded processes, laid out as `struct settings` in fault.c."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("armed", "kind", "error", "signal")),
        *((name, ctypes.c_int32) for name in ("driver", "domain")),
        *((name, ctypes.c_int64) for name in ("at", "count", "hit")),
        ("folder", ctypes.c_char * 512),
        ("log", _Operation * N_LOGGED),
    ]


def compiler() -> str | None:
    """Find a C compiler."""
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


def compile_library(folder: Path) -> Path:
    """Compile fault.c into `folder`. Raises CalledProcessError."""
    library = folder / "fault.so"
    command = [compiler() or "cc", "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"]
    subprocess.run(command, check=True)
    return library


def map_settings(path: str | os.PathLike[str]) -> Settings:
    """Map the shared settings, in a file that is made when missing."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.ftruncate(fd, ctypes.sizeof(Settings))
        return Settings.from_buffer(mmap.mmap(fd, ctypes.sizeof(Settings)))
    finally:
        os.close(fd)


class Injector:
    """The library and its settings in `folder`; faults hit what lies below `target`."""

    def __init__(self, folder: Path, target: Path) -> None:
        self._settings = map_settings(folder / "settings")
        self._settings.folder = os.fsencode(target) + b"/"
        self.environment = {
            "LD_PRELOAD": str(compile_library(folder)),
            "FAULT_SETTINGS": str(folder / "settings"),
        }

    def arm(self, strike: Strike, domain: Domain = Domain.CHANGES) -> None:
        """Set what happens from now on."""
        settings = self._settings
        settings.armed = 0
        settings.domain = domain
        settings.kind, settings.at = strike.kind, strike.at
        settings.error, settings.signal = strike.error, strike.signal
        settings.count = settings.hit = 0
        settings.armed = 1

    def disarm(self) -> None:
        """Let everything pass, uncounted."""
        self._settings.armed = 0

    @property
    def hit(self) -> Operation | None:
        """The operation that was struck."""
        number = self._settings.hit
        return self._operation(number) if 0 < number <= N_LOGGED else None

    def operations(self) -> list[Operation]:
        """List the operations since `arm`, in order. Raises RuntimeError when they are too many."""
        n = self._settings.count
        if n > N_LOGGED:
            raise RuntimeError(f"too many operations: expected up to {N_LOGGED}, got {n}")
        return [self._operation(number) for number in range(1, n + 1)]

    def _operation(self, number: int) -> Operation:
        entry = self._settings.log[number - 1]
        path = os.fsdecode(entry.path)
        return Operation(entry.name.decode(), path, bool(entry.takes_space))
