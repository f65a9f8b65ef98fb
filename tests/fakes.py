"""Jobs that go wrong in a chosen way, a slow rec2folder, and faults of the disk on demand."""

from __future__ import annotations

import errno
import functools
import os
import random
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar
from unittest import mock

import pytest

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.job import Job
from faceprep.core.options import option
from faceprep.core.shards import cut_evenly
from faceprep.core.state_file import open_state
from faceprep.core.types import Outcome, Request, Shard, Sink, Stage, Work
from faceprep.jobs.rec2folder import Rec2Folder
from tests.turns import points_of_the_day

SHARD = 4


def write_lines(path: Path, n: int = 12) -> Path:
    """A source for `Lines`."""
    path.write_text("".join(f"line {i}\n" for i in range(n)))
    return path


@dataclass(frozen=True)
class Lines(Job):
    """Writes each line of a text file to a file of its own.

    `poison` happens in place of line `at`, unless the file `cured` exists.
    """

    command: ClassVar[str] = "lines"

    poison: str = option("", "raise, exit, kill, segfault, bad, source.")
    at: int = option(6, "The line where it happens.")
    once: str = option("", "A file that is made when it happens; it does not happen again.")
    cured: str = option("", "A file that keeps it from happening.")
    diary: str = option("", "A file that names each shard that was begun.")
    suffix: str = option(".txt", "Of the files.")

    def plan(self, request: Request, scratch: Path) -> Work:
        source = request.sources[0]
        lines = source.read_text().splitlines()
        n = min(len(lines), request.limit or len(lines))
        shards = cut_evenly(n, SHARD, source, id_format="{start:04d}")
        return Work(
            [Stage("write", shards)], f"{len(lines)} lines", unit="line", n_files=n, n_bytes=n * 8
        )

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        if self.diary:
            with open(self.diary, "a") as file:
                file.write(f"{shard.id}\n")
        lines = Path(shard.source).read_text().splitlines()
        for i in range(shard.start, shard.stop):
            if (
                i == self.at
                and self.poison
                and not (os.path.exists(self.once) or os.path.exists(self.cured))
            ):
                if self.once:
                    Path(self.once).touch()
                if self.poison == "bad":
                    yield Outcome(str(i), "undecodable", f"line {i}: expected a face, found text")
                    continue
                _happen(self.poison)
            sink.write(f"{i % 3}/{i}{self.suffix}", lines[i].encode())
            yield Outcome(str(i))

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """Nothing to join."""


@dataclass(frozen=True)
class JoinedLines(Lines):
    """Writes all lines to one file, in two stages with parts."""

    command: ClassVar[str] = "joined-lines"
    has_file_output: ClassVar[bool] = True

    def plan(self, request: Request, scratch: Path) -> Work:
        work = super().plan(request, scratch)
        shards = work.stages[0].shards
        second = [
            replace(shard, id=f"copy-{shard.id}", stage="copy", payload=shard.id)
            for shard in shards
        ]
        stages = [Stage("pack", shards), Stage("copy", second)]
        return Work(stages, work.fingerprint, "line", files=[request.output.name])

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        if shard.stage == "copy":
            with sink.open_part(".2") as part:
                part.write(sink.part_path(shard.payload, ".1").read_bytes())
            return
        with sink.open_part(".1") as part:
            yield from super().run(shard, _ToPart(sink, part))

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        with sink.open(work.files[0]) as file:
            for shard in work.stages[1].shards:
                file.write(sink.part_path(shard.id, ".2").read_bytes())


class _ToPart:
    def __init__(self, sink: Sink, part: Any) -> None:
        self.scratch, self._part = sink.scratch, part

    def write(self, name: str, data: bytes) -> None:
        self._part.write(name.encode() + b" " + data + b"\n")

    def write_many(self, names: list[str], contents: list[bytes]) -> None:
        for name, data in zip(names, contents, strict=True):
            self.write(name, data)


def _happen(poison: str) -> None:
    if poison == "raise":
        raise ValueError("poisoned\nby line 6")
    if poison == "source":
        raise SourceError(
            "gone",
            path="somewhere",
            where="record 6",
            expected="a face",
            found="nothing",
            remedy="Look elsewhere.",
        )
    if poison == "exit":
        os._exit(7)
    os.kill(os.getpid(), signal.SIGKILL if poison == "kill" else signal.SIGSEGV)


@dataclass(frozen=True)
class SlowRec2Folder(Rec2Folder):
    """rec2folder in shards of 5; with PAUSE set, it waits so many seconds before every change
    of the disk.
    """

    def plan(self, request: Request, scratch: Path) -> Work:
        slow_down()
        with mock.patch("faceprep.jobs.rec2folder._SHARD", 5):
            return super().plan(request, scratch)

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        slow_down()
        return super().run(shard, sink)


PAUSE = "PAUSE_OF_TESTS"
_FOR_GOOD = ExitStack()


def slow_down() -> None:
    """Make this process slow at the disk, for good."""
    pause = float(os.environ.get(PAUSE, "0"))
    if pause and not isinstance(os.rename, FunctionType):
        _FOR_GOOD.enter_context(before_changes(lambda name, number: time.sleep(pause)))


CHANGES = (
    "open",
    "write",
    "pwrite",
    "rename",
    "link",
    "symlink",
    "unlink",
    "mkdir",
    "rmdir",
    "fsync",
    "truncate",
    "ftruncate",
)
_OPENS_TO_WRITE = os.O_WRONLY | os.O_RDWR


@contextmanager
def before_changes(act: Callable[[str, int], None]) -> Iterator[list[str]]:
    """Call `act(name, number)` before every system call that changes the disk; yields the names
    of those made.
    """
    made: list[str] = []

    def wrapped(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if name != "open" or args[1] & _OPENS_TO_WRITE:
                made.append(name)
                act(name, len(made))
            return real(*args, **kwargs)

        return call

    with mock.patch.multiple(os, **{name: wrapped(name) for name in CHANGES}):
        yield made


def failing(error: int, at: int, for_good: bool = False) -> Callable[[str, int], None]:
    """Return a hook for `before_changes` that fails at one call, or from it on where the call needs
    space.
    """
    needs_room = ("open", "write", "pwrite", "mkdir", "link", "rename")

    def act(name: str, number: int) -> None:
        if number == at or (for_good and number > at and name in needs_room):
            raise OSError(error, os.strerror(error))

    return act


def killed_before(change: int) -> Callable[[str, int], None]:
    """Return a hook for `before_changes` that kills the process before that change; 0 kills at
    none.
    """

    def act(name: str, number: int) -> None:
        if number == change:
            os.kill(os.getpid(), signal.SIGKILL)

    return act


def survives_kills(run: Callable[[], object], output: Path, n: int) -> int:
    """Kill a run before `n` changes of the disk, and run it again to the same tree.

    Return the number of changes.
    """

    def run_until(change: int) -> int:
        with before_changes(killed_before(change)) as made:
            run()
        return len(made)

    n_changes = run_until(0)
    expected = tree(output)
    for change in points_of_the_day(range(1, n_changes + 1), n):
        shutil.rmtree(output)
        assert status_of(start(lambda change=change: run_until(change))) == -signal.SIGKILL
        run()
        assert tree(output) == expected, f"killed before change {change}"
    return n_changes


def start(act: Callable[[], object]) -> int:
    """Run `act` in a fork of this process; its number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    status = 1
    try:
        act()
        status = 0
    finally:
        os._exit(status)


def status_of(child: int, seconds: float = 60) -> int:
    """Wait for the child; return its status, or minus the signal that killed it.

    A fork of a process with threads may find a lock held that nobody will release. A child that
    hangs is killed, so that one hang does not stop the whole suite.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def expect_same_after_kills(run: Callable[[Path], object], root: Path, n: int) -> None:
    """Kill `run`, which fills a folder, before `n` of its changes; resumed, it must give the same
    bytes.

    Signs of life come with time, so a run may end before it makes so many changes as the first.
    """

    def drive(output: Path, act: Callable[[str, int], None]) -> list[str]:
        with before_changes(act) as made:
            run(output)
        return made

    n_changes = len(drive(root / "whole" / "out", killed_before(0)))
    n_killed = 0
    for change in points_of_the_day(range(1, n_changes + 1), n):
        killed = root / f"killed {change}" / "out"
        status = status_of(start(functools.partial(drive, killed, killed_before(change))))
        assert status in (-signal.SIGKILL, 0)
        n_killed += status != 0
        run(killed)
        assert tree(killed.parent) == tree(root / "whole"), f"killed before change {change}"
    assert n_killed


def wait_until(is_so: Callable[[], bool]) -> None:
    patience = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < patience
        time.sleep(0.002)


def wait_for(output: Path, n_files: int, seconds: float) -> None:
    """Until the run has made so many files and worked for so long after that."""
    wait_until(lambda: sum(len(files) for _, _, files in os.walk(output)) >= n_files)
    time.sleep(seconds)


def moments(n: int, n_files: int, seed: int) -> Iterator[tuple[int, float]]:
    """`n` moments spread over a run: after how many files, and how many seconds after that."""
    chance = random.Random(seed)
    for i in range(n):
        yield int((i + chance.random()) * n_files / n), chance.random() * 0.01


def tree(root: Path) -> dict[str, bytes | None]:
    """Everything below `root`: name -> bytes, None for a folder."""
    return {
        path.relative_to(root).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in sorted(root.rglob("*"))
    }


def results(root: Path) -> dict[str, bytes | None]:
    """Return the files that a user sees: the tree without the run's state."""
    return {name: data for name, data in tree(root).items() if not is_state(name)}


def is_state(name: str) -> bool:
    """Return whether a file or folder belongs to the state of a run and not to its output."""
    return ".faceprep" in name or name.rpartition("/")[2] == "failures.csv"


def opened(output: Path) -> Path:
    """Turn the state of a finished output into a folder, as a run does that begins."""
    open_state(output)
    return output / ".faceprep"


def images(root: Path) -> dict[str, bytes]:
    """Return all files except plans and empty folders."""
    return {
        name: data
        for name, data in results(root).items()
        if data is not None and not name.endswith(".jsonl")
    }


FULL, BROKEN = errno.ENOSPC, errno.EIO


def break_file(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let a file fail when it is opened, as on a disk with a bad sector."""
    real = storage.open_regular

    def open_others(opened: str) -> int:
        if Path(opened) == path:
            raise OSError(BROKEN, os.strerror(BROKEN))
        return real(opened)

    monkeypatch.setattr(storage, "open_regular", open_others)
