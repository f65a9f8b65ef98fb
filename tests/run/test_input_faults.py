"""Inputs that cannot be looked at cost only themselves, and are taken once they are repaired."""

from __future__ import annotations

import csv
import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from faceprep import Request, SerialRunner, Summary, run_job
from faceprep.core import paths
from faceprep.core.errors import OptionError, ResumeError, SourceError
from faceprep.core.job import Job
from faceprep.core.types import Work
from faceprep.jobs import convert
from faceprep.jobs.convert import Convert
from faceprep.jobs.dedupe.job import Dedupe
from faceprep.jobs.folder2rec import Folder2Rec
from faceprep.jobs.inspect.job import Inspect
from faceprep.jobs.manifest import Manifest
from faceprep.jobs.score import Score
from faceprep.vision import codec
from tests.fakes import results

JOBS: list[tuple[Job, str]] = [
    (Convert(), "out"),
    (Convert(allow_loss=True), "out.rec"),
    (Convert(), "out.tar"),
    (Folder2Rec(), "out"),
    (Manifest(seed=1), "out.csv"),
    (Score(), "out.parquet"),
    (Dedupe(embedder="none"), "out"),
]
each_job = pytest.mark.parametrize(("job", "name"), JOBS)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four people with three images each, one of them `locked`."""
    random = np.random.default_rng(0)
    for name in ("a", "b", "locked", "z"):
        folder = tmp_path / "set" / name
        folder.mkdir(parents=True)
        for i in range(3):
            pixels = random.integers(0, 256, (112, 112, 3), np.uint8)
            (folder / f"{i}.png").write_bytes(codec.encode(pixels, ".png"))
    return tmp_path / "set"


@contextmanager
def locked(folder: Path, number: int) -> Iterator[None]:
    """Refuse to list a folder."""
    real = os.scandir

    def scandir(path: Any = ".") -> Any:
        if str(path) == str(folder):
            raise OSError(number, os.strerror(number))
        return real(path)

    with mock.patch("os.scandir", scandir):
        yield


def run(job: Job, images: Path, output: Path, **others: Any) -> Summary:
    return run_job(job, Request((images,), output, **others), SerialRunner())


def run_undisturbed(job: Job, images: Path, output: Path) -> dict[str, bytes | None]:
    """Return the output of a run without faults, and leave nothing there."""
    assert run(job, images, output).failed == 0
    found = results(output.parent)
    shutil.rmtree(output.parent)
    return found


def failures(told: Summary) -> list[list[str]]:
    with open(told.details["failures"], newline="") as file:
        return list(csv.reader(file))[1:]


@each_job
def test_a_folder_that_cannot_be_listed_costs_itself(
    job: Job, name: str, images: Path, tmp_path: Path
) -> None:
    output = tmp_path / "place" / name
    whole = run_undisturbed(job, images, output)
    with locked(images / "locked", errno.EACCES):
        told = run(job, images, output)
    assert (told.failed, told.others) == (1, {"folder": {"unreadable": 1}})
    reason = f"{images}/locked: cannot list: Permission denied. Check its permissions."
    assert failures(told) == [[f"{images}/locked", "unreadable", reason]]
    with locked(images / "locked", errno.EIO):
        again = run(job, images, output)
    assert again.failed == 1 and again.details["done_before"] == told.inputs
    assert run(job, images, output).failed == 0
    assert results(output.parent) == whole


@each_job
def test_a_link_is_followed_once_it_leads_somewhere(
    job: Job, name: str, images: Path, tmp_path: Path
) -> None:
    output = tmp_path / "place" / name
    away, kept = tmp_path / "away.png", tmp_path / "kept.png"
    (images / "b" / "1.png").rename(away)
    (images / "b" / "1.png").symlink_to(away)
    whole = run_undisturbed(job, images, output)
    away.rename(kept)
    assert run(job, images, output).by_status["unreadable"] == 1
    kept.rename(away)
    assert run(job, images, output).failed == 0
    assert results(output.parent) == whole
    assert run(job, images, output).details["done_before"] > 0


@contextmanager
def counting_plans(job: Job) -> Iterator[list[Request]]:
    """Yield the requests that are planned."""
    real, requests = type(job).plan, list[Request]()

    def plan(self: Any, request: Request, scratch: Path) -> Work:
        requests.append(request)
        return real(self, request, scratch)

    with mock.patch.object(type(job), "plan", plan):
        yield requests


def test_a_lasting_fault_does_not_make_planning_run_twice(images: Path, tmp_path: Path) -> None:
    (images / "b" / "none.png").symlink_to(tmp_path / "away.png")
    (images / "z" / "none").symlink_to(tmp_path / "away")
    with counting_plans(Convert()) as plans, locked(images / "locked", errno.EACCES):
        told = run(Convert(), images, tmp_path / "out")
    assert (told.ok, told.failed, len(plans)) == (9, 3, 1)


def test_planning_runs_again_once_a_fault_has_passed(images: Path, tmp_path: Path) -> None:
    with counting_plans(Convert()) as plans, unseen(Convert(), images / "b" / "1.png"):
        told = run(Convert(), images, tmp_path / "out")
    assert (told.ok, told.failed, len(plans)) == (12, 0, 2)


def test_a_link_to_a_folder_that_is_away_is_named(images: Path, tmp_path: Path) -> None:
    (images / "b").rename(tmp_path / "b")
    (images / "b").symlink_to(tmp_path / "away")
    output = tmp_path / "place" / "out"
    told = run(Convert(), images, output)
    assert (told.ok, told.failed) == (9, 1)
    assert [row[:2] for row in failures(told)] == [[f"{images}/b", "unreadable"]]
    (tmp_path / "b").rename(tmp_path / "away")
    assert run(Convert(), images, output).ok == 12


def test_only_the_fault_may_be_repaired(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "place" / "out"
    with locked(images / "locked", errno.EACCES):
        run(Convert(), images, output)
    before = results(output)
    (images / "a" / "0.png").unlink()
    with pytest.raises(ResumeError, match="the input has changed"):
        run(Convert(), images, output)
    assert results(output) == before


def test_a_source_that_cannot_be_listed_is_an_error(images: Path, tmp_path: Path) -> None:
    with locked(images, errno.EACCES), pytest.raises(SourceError, match="cannot list: Permission"):
        run(Convert(), images, tmp_path / "out")


def test_an_inspection_names_a_folder_that_cannot_be_listed(images: Path) -> None:
    with locked(images / "locked", errno.EIO):
        found = Inspect().look(images)
    assert found.images == 9 and f"{images}/locked: cannot list" in found.damage[0]


@contextmanager
def unseen(job: Job, path: Path) -> Iterator[None]:
    """Let planning meet a fault of the disk at `path`, which has passed when images are read."""
    real_plan, real, planning = type(job).plan, paths.look_at, list[Job]()

    def look_at(each: Any) -> paths.State:
        if planning and str(each) == str(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(each)

    def plan(self: Any, request: Request, scratch: Path) -> Work:
        planning.append(job)
        try:
            return real_plan(self, request, scratch)
        finally:
            planning.pop()

    with mock.patch.object(type(job), "plan", plan), mock.patch.object(paths, "look_at", look_at):
        yield


@each_job
def test_an_output_stays_whole_where_only_planning_met_a_fault(
    job: Job, name: str, images: Path, tmp_path: Path
) -> None:
    """The parts of a finished output are gone, so it is not joined from them once more."""
    output = tmp_path / "place" / name
    whole = run_undisturbed(job, images, output)
    with unseen(job, images / "b" / "1.png"):
        run(job, images, output)
    for _ in range(2):
        told = run(job, images, output)
        assert (told.ok, told.failed) == (12, 0)
        assert results(output.parent) == whole


def test_a_repaired_input_is_compared_with_the_choices_of_its_plan(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk may be fast at one start and slow at the next."""
    output, job = tmp_path / "place" / "out.tar", Convert(seed=1)
    whole = run_undisturbed(job, images, output)
    monkeypatch.setattr(convert, "usable_memory", lambda: 1)
    monkeypatch.setattr(convert, "reads_fast", lambda images, order: False)
    with locked(images / "locked", errno.EACCES):
        assert run(job, images, output).failed == 1
    monkeypatch.setattr(convert, "reads_fast", lambda images, order: True)
    assert run(job, images, output).failed == 0
    assert results(output.parent) == whole


def test_a_fault_does_not_hide_a_wrong_option(images: Path, tmp_path: Path) -> None:
    with locked(images / "locked", errno.EIO), pytest.raises(OptionError, match="suffix '.foo'"):
        run(Convert(), images, tmp_path / "out.foo")


def test_a_loop_of_links_does_not_hide_another_error(images: Path, tmp_path: Path) -> None:
    (images / "loop").symlink_to("loop")
    with pytest.raises(SourceError, match="rec cannot hold"):
        run(Convert(), images, tmp_path / "out.rec")
    assert run(Convert(), images, tmp_path / "out.tar").ok == 12
