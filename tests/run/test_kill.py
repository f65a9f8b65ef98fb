"""A run that was killed anywhere and is started again ends with the bytes of one that was not."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from faceprep import ProcessRunner, Request, SerialRunner, run_job
from faceprep.core.errors import Interrupted
from tests.fakes import (
    PAUSE,
    JoinedLines,
    Lines,
    SlowRec2Folder,
    before_changes,
    killed_before,
    moments,
    start,
    status_of,
    tree,
    wait_for,
    wait_until,
    write_lines,
)
from tests.turns import points_of_the_day

_PAUSE = 0.002


@pytest.mark.parametrize("kind", ["files", "one joined file"])
def test_killed_before_any_change_of_the_disk(kind: str, tmp_path: Path) -> None:
    job, name = (
        (JoinedLines(poison="bad"), "lines.bin")
        if kind == "one joined file"
        else (Lines(poison="bad"), "out")
    )
    source = write_lines(tmp_path / "source.txt", 7)

    def run(output: Path, act: Callable[[str, int], None] = lambda name, number: None) -> list[str]:
        with before_changes(act) as made:
            run_job(job, Request((source,), output), SerialRunner())
        return made

    n_changes = len(run(tmp_path / "whole" / name))
    expected = tree(tmp_path / "whole")
    assert n_changes > 50
    chance = random.Random(1)
    for change in points_of_the_day(range(1, n_changes + 1), 20):
        root = tmp_path / f"killed {change}"
        for at in (
            change,
            chance.randint(1, n_changes),
        ):  # the second start is killed as well, if it comes so far
            status_of(start(lambda output=root / name, at=at: run(output, killed_before(at))))
        run(root / name)
        assert tree(root) == expected, f"killed before change {change}, then {at}"


@pytest.mark.parametrize("kind", ["files", "one joined file"])
def test_ctrl_c_before_any_change_of_the_disk(kind: str, tmp_path: Path) -> None:
    """While it plans, works, commits, joins or tidies up; once, and then again a little later."""
    job, name = (
        (JoinedLines(poison="bad"), "lines.bin")
        if kind == "one joined file"
        else (Lines(poison="bad"), "out")
    )
    source = write_lines(tmp_path / "source.txt", 7)

    def run(output: Path, stops: tuple[int, ...] = ()) -> list[str]:
        with before_changes(
            lambda name, number: signal.raise_signal(signal.SIGINT) if number in stops else None
        ) as made:
            run_job(job, Request((source,), output), SerialRunner())
        return made

    n_changes = len(run(tmp_path / "whole" / name))
    expected = tree(tmp_path / "whole")
    n_told, changes = 0, points_of_the_day(range(1, n_changes + 1), 25)
    for change in changes:
        for stops in ((change,), (change, change + 1 + change % 5)):
            root = tmp_path / f"stopped {stops}"
            try:
                run(root / name, stops)
            except Interrupted as error:
                n_told += 1
                assert str(error).startswith(f"{root / name}: stopped, ")
                assert str(error).endswith(". Start the same command again to resume.")
            except (
                KeyboardInterrupt
            ):  # before there was anything to go on with, or for the second time
                assert change < 10 or change > n_changes - 10 or len(stops) == 2
            run(root / name)
            assert tree(root) == expected, f"Ctrl-C before change {stops}"
    assert n_told > len(changes)


def drive(source: Path, output: Path, n_workers: int, pause: float = _PAUSE) -> int:
    """Start a slow run in a process of its own."""

    def run() -> None:
        os.environ[PAUSE] = str(pause)
        run_job(SlowRec2Folder(), Request((source,), output), ProcessRunner(n_workers))

    return start(run)


def family(driver: int) -> list[psutil.Process]:
    try:
        return psutil.Process(driver).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def wait_for_the_end(workers: list[psutil.Process]) -> None:
    """Until none of them can write any more; a zombie cannot."""

    def writes(worker: psutil.Process) -> bool:
        with suppress(psutil.NoSuchProcess):
            return worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE
        return False

    wait_until(lambda: not any(writes(worker) for worker in workers))


@pytest.fixture(scope="module")
def whole(rec_set: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes | None]:
    """Return the files of an uninterrupted run."""
    output = tmp_path_factory.mktemp("whole") / "out"
    assert status_of(drive(rec_set, output, 1)) == 0
    return tree(output)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_driver_killed_at_many_moments(
    n_workers: int, rec_set: Path, whole: dict[str, bytes | None], tmp_path: Path
) -> None:
    """At 13 moments, and at as many more as it takes to hit the work itself on a machine that
    looks too late.
    """
    n_unfinished, pause = 0, _PAUSE
    rounds = (moments(13, len(whole) - 10, n_workers + 10 * i) for i in range(5))
    for i, (n_files, seconds) in enumerate(itertools.chain.from_iterable(rounds)):
        if i >= 13 and n_unfinished > 5:
            break
        if i >= 4 and n_unfinished <= i // 4:
            pause = 10 * _PAUSE
        output = tmp_path / str(i)
        driver = drive(rec_set, output, n_workers, pause)
        wait_for(output, n_files, seconds)
        workers = family(driver)
        os.kill(driver, signal.SIGKILL)
        status_of(driver)
        wait_for_the_end(workers)
        left = tree(output)
        time.sleep(0.02)
        assert tree(output) == left, "somebody went on writing after the driver's death"
        n_unfinished += any(name.startswith(".faceprep/staging/0") for name in left)
        run_job(
            SlowRec2Folder(), Request((rec_set,), output), SerialRunner()
        )  # quick: this process has no PAUSE
        assert tree(output) == whole, f"killed {seconds:.4f} s after file {n_files}"
    assert n_unfinished > 5, "the moments missed the work"


def test_workers_killed_at_many_moments(
    rec_set: Path, whole: dict[str, bytes | None], tmp_path: Path
) -> None:
    n_hits = 0
    rounds = (moments(8, len(whole) - 10, 7 + i) for i in range(5))
    for i, (n_files, seconds) in enumerate(itertools.chain.from_iterable(rounds)):
        if i >= 8 and n_hits > 4:
            break
        output = tmp_path / str(i)
        driver = drive(rec_set, output, 2)
        wait_for(output, n_files, seconds)
        for worker in family(driver)[:1]:
            worker.kill()
            n_hits += 1
        assert status_of(driver) == 0
        assert tree(output) == whole, f"a worker killed {seconds:.4f} s after file {n_files}"
    assert n_hits > 4, "the moments missed the work"
