"""Runs that another version began: what is finished stays, and nothing is added to it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from faceprep import Request, SerialRunner, run_job
from faceprep.core import storage
from faceprep.core.errors import ResumeError, TooManyFailures
from faceprep.run.preview import preview_job
from tests.fakes import JoinedLines, Lines, opened, tree
from tests.run.test_items import Copies, N, fill

_FINISHED = "failed inputs or lost files of this finished run are to be made again, but it was "
_REFUSED = r"begun by another version: expected faceprep .*, found faceprep 9\.0\. Resume with"


def upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the running version another one."""
    for module in ("planning", "preflight"):
        monkeypatch.setattr(f"faceprep.run.{module}.__version__", "9.0")


def refuse(job: Lines | Copies, request: Request, why: str = "this run was ") -> None:
    before = tree(request.output.parent)
    with pytest.raises(ResumeError, match=why + _REFUSED):
        run_job(job, request, SerialRunner())
    assert tree(request.output.parent) == before


def test_an_interrupted_run_is_not_resumed(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Lines(poison="bad")
    with pytest.raises(TooManyFailures):
        run_job(job, replace(request_, max_failures=0), SerialRunner())
    upgrade(monkeypatch)
    refuse(job, request_)
    with pytest.raises(ResumeError, match=_REFUSED):
        preview_job(job, request_)
    assert run_job(job, replace(request_, overwrite=True), SerialRunner()).ok == 11


def test_a_finished_run_stays(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps the version that made it."""
    run_job(Lines(), request_, SerialRunner())
    before = json.loads((opened(request_.output) / "run.json").read_bytes())
    upgrade(monkeypatch)
    assert preview_job(Lines(), request_).inputs == 12
    assert run_job(Lines(), request_, SerialRunner()).details["done_before"] == 12
    assert json.loads((opened(request_.output) / "run.json").read_bytes()) == before


def test_a_lost_output_is_not_made_again(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_job(Lines(), request_, SerialRunner())
    (request_.output / "2/5.txt").unlink()
    upgrade(monkeypatch)
    refuse(Lines(), request_, _FINISHED)


def test_an_output_that_was_deleted_begins_anew(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = replace(request_, output=tmp_path / "lines.bin")
    run_job(JoinedLines(), request, SerialRunner())
    request.output.unlink()
    upgrade(monkeypatch)
    assert run_job(JoinedLines(), request, SerialRunner()).ok == 12


def test_what_failed_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request((fill(tmp_path / "source", {}),), tmp_path / "out" / "set")
    real = storage.open_regular

    def open_regular(path: str) -> int:
        if str(path).endswith("07"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "open_regular", open_regular)
        assert run_job(Copies(), request, SerialRunner()).ok == N - 1
    upgrade(monkeypatch)
    refuse(Copies(), request, _FINISHED)
