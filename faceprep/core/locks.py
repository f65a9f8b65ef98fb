"""Locks of an output: one run at a time, and no worker of a run that has ended.

    STATE/lock      held by the run from its beginning to its end; shared by the processes that
                    carry out a share of a run each
    STATE/workers   the run's pass; shared by its workers while each carries out a shard
    STATE/shares/I-of-N/lock, workers   the same for one of these processes

Whoever takes the lock opens the state, and whoever releases it packs it: see `state_file`.

A run that is killed releases `lock` at once, and its workers perhaps a moment later. So the next
run waits until no worker shares `workers`, and writes a new pass there, so that a late worker finds
its own pass invalid. Both are locks of the system (flock) and end with the process that held them,
however it ended.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

from faceprep.core.errors import FaceprepError, OutputError
from faceprep.core.os_errors import guard
from faceprep.core.paths import is_folder, is_present
from faceprep.core.state_file import LOCK, WORKERS, hold_folder, home_of, open_state, pack_state
from faceprep.core.storage import make_folder

log = logging.getLogger("faceprep")
_PATIENCE = 20.0
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


@contextmanager
def lock(folder: Path) -> Iterator[str]:
    """Hold `folder` for this run alone; yield the pass for its workers.

    Folders made for it are removed again when nothing was put there. Raises OutputError when
    another run holds it.
    """
    home = home_of(folder)
    made = [parent for parent in (folder, *folder.parents) if not is_present(parent)]
    fd = _open_and_hold(folder, home)
    try:
        yield _new_pass(folder)
    except BaseException:
        with suppress(FaceprepError):  # the original error says more
            _let_go(fd, folder, home, made)
        raise
    _let_go(fd, folder, home, made)


@contextmanager
def lock_share(folder: Path, private: Path) -> Iterator[str]:
    """Hold `private` for this process alone and share `folder` with others of the same run.

    Yield the pass for its workers. Raises OutputError when a whole run holds `folder`, or another
    process `private`.
    """
    home = home_of(folder)
    made = [parent for parent in (folder, *folder.parents) if not is_present(parent)]
    fd = _open_and_hold(folder, home, fcntl.LOCK_SH)
    try:
        make_folder(private)
        own = _hold(private / LOCK)
        try:
            yield _new_pass(private)
        finally:
            with suppress(FaceprepError):
                _tidy(private, [private, private.parent])
            os.close(own)
    finally:
        with suppress(FaceprepError):
            _leave_share(fd, folder, home, made)


def _leave_share(fd: int, folder: Path, home: Path | None, made: Sequence[Path]) -> None:
    """Give up a part in the lock; whoever leaves last tidies up as a whole run does."""
    with hold_folder(home) if home is not None else nullcontext():
        if not _flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, folder / LOCK):
            os.close(fd)
            return
    _let_go(fd, folder, home, made)


def _open_and_hold(folder: Path, home: Path | None, kind: int = fcntl.LOCK_EX) -> int:
    """Open the state in `home`, make `folder` and lock it; return the descriptor of the lock."""
    if home is None:
        make_folder(folder)
        return _hold(folder / LOCK, kind)
    if not is_folder(home):
        make_folder(home)
    with hold_folder(home):
        open_state(home)
        make_folder(folder)
        return _hold(folder / LOCK, kind)


def _new_pass(folder: Path) -> str:
    token = f"{os.getpid()} {time.time_ns()}"
    with without_workers(folder) as workers, guard("write", folder / WORKERS):
        os.ftruncate(workers, 0)
        os.pwrite(workers, token.encode(), 0)
    return token


def _let_go(fd: int, folder: Path, home: Path | None, made: Sequence[Path]) -> None:
    """Give the lock up, and pack the state in `home` if it is finished."""
    try:
        _tidy(folder, made)
    finally:
        os.close(fd)
    if home is not None and is_folder(home):
        with hold_folder(home):
            pack_state(home)


def _tidy(folder: Path, made: Sequence[Path]) -> None:
    """Make the pass worthless, and remove the folder where it holds nothing but the locks."""
    with suppress(OSError):
        if os.path.islink(folder / WORKERS):  # not made by faceprep, so its target stays
            return
        if os.path.exists(folder / WORKERS):
            os.truncate(folder / WORKERS, 0)
        if set(os.listdir(folder)) <= {LOCK, WORKERS}:
            for name in (WORKERS, LOCK):
                with suppress(FileNotFoundError):
                    os.unlink(folder / name)
            for parent in made:
                os.rmdir(parent)


def _hold(path: Path, kind: int = fcntl.LOCK_EX) -> int:
    """Return a descriptor that holds the lock `path`, alone or shared by `kind`.

    The earlier run may have just removed the file, so its identity is checked.
    """
    while True:
        with guard("lock", path):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            if not _flock(fd, kind | fcntl.LOCK_NB, path):
                raise OutputError(
                    "another faceprep run is at work here",
                    path=path.parent,
                    remedy="Wait for it, or stop it; then start again.",
                )
            with guard("lock", path), suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), os.stat(path)):
                    return os.dup(fd)  # the copy keeps the lock
        finally:
            os.close(fd)


@contextmanager
def hold_all(folders: Iterable[Path]) -> Iterator[None]:
    """Hold several folders. Raises OutputError where another run holds one."""
    with ExitStack() as held:
        for folder in folders:
            held.callback(os.close, _hold(folder / LOCK))
        yield


@contextmanager
def without_workers(folder: Path) -> Iterator[int]:
    """Wait until no worker is busy in `folder`, and keep others out.

    Yield a descriptor of `workers`.
    """
    path = folder / WORKERS
    with guard("lock", path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        patience = time.monotonic() + _PATIENCE
        while not _flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, path):
            if time.monotonic() > patience:
                raise OutputError(
                    "a worker of the earlier run is still writing here",
                    path=folder,
                    remedy="Wait for it, or end that process; then start again.",
                )
            time.sleep(0.02)
        yield fd
    finally:
        os.close(fd)


@contextmanager
def at_work(folder: Path, token: str) -> Iterator[None]:
    """Share `folder` with the other workers of the run whose pass is `token`.

    Raises OutputError when that run is over.
    """
    path = folder / WORKERS
    with guard("lock", path):
        fd = os.open(path, os.O_RDONLY)
    try:
        _flock(fd, fcntl.LOCK_SH, path)
        with guard("read", path):
            found = os.pread(fd, 100, 0).decode()
        if found != token:
            raise OutputError("another run has taken over here", path=folder)
        yield
    finally:
        os.close(fd)


def _flock(fd: int, operation: int, path: Path) -> bool:
    """Lock a descriptor; return False if somebody else holds it.

    A file system without locks counts as success, with a warning.
    """
    with guard("lock", path):
        try:
            fcntl.flock(fd, operation)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            if path.name == LOCK:
                log.warning(
                    "%s: this file system has no locks: do not start a second run on this output",
                    path.parent,
                )
    return True
