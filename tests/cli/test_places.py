"""Paths on the command line: the home folder, empty texts, and a working directory that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from faceprep.cli import main
from faceprep.cli.build import command_for
from faceprep.cli.parameters import PATH
from faceprep.core import registry
from faceprep.core.errors import FaceprepError, OptionError
from faceprep.core.os_errors import refuse_foreign_name
from faceprep.core.types import Request
from faceprep.jobs.convert import Convert
from faceprep.models.weights import find_model
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from tests.command import FACEPREP
from tests.real import ROOT


def test_a_tilde_is_the_home_folder(
    rec_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "argv", ["faceprep", "rec2folder", str(rec_set), "~/x"])
    assert main() == 0
    assert len(list((tmp_path / "home" / "x").glob("*/*.jpg"))) == 30
    assert os.listdir(tmp_path) == ["home"]


def test_a_source_that_may_not_be_read_is_for_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing and forbidden sources then end alike, with 1."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with command_for("inspect").make_context("inspect", [str(ROOT)]) as context:
        assert context.params["path"] == ROOT


def test_a_working_directory_that_was_removed(rec_set: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    program = f"cd {gone} && rmdir {gone} && {' '.join(FACEPREP)} rec2folder {rec_set} out"
    done = subprocess.run(
        ["bash", "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        "faceprep: the current folder was removed. Change to another folder."
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", registry.COMMANDS)
def test_a_url_is_no_path_of_any_command(command: str) -> None:
    """Neither as an argument nor as an option: it would be read as a folder called `https:`."""
    built = command_for(command)
    with click.Context(built) as context:
        for each in built.params:
            if each.type is PATH:
                with pytest.raises(click.BadParameter, match=r"expected a path, or .*s3://, gs://"):
                    each.type.convert("https://example.com/a.rec", each, context)
                assert each.type.convert("s3://b/a.rec", each, context) == Path("s3://b/a.rec")


@pytest.mark.parametrize(
    ("typed", "named", "remedy"),
    [
        ("https://a.org/x", "https://a.org/x", "Check how it begins, or copy it to a disk"),
        ("hf://a/x", "hf://a/x", "Check how it begins"),
        ("s4://b/x", "s4://b/x", "Check how it begins"),
        ("S3://b/x", "S3://b/x", "Did you mean s3://b/x?"),
        ("s3:b/x", "s3:b/x", "Did you mean s3://b/x?"),
        ("s3://", "s3://", "Name the bucket: s3://BUCKET/NAME."),
        ("file:///b/x", "file://b/x", "Did you mean /b/x?"),
    ],
)
def test_a_url_is_named_with_what_to_do(typed: str, named: str, remedy: str) -> None:
    with pytest.raises(OptionError) as caught:
        refuse_foreign_name(Path(typed))
    assert str(caught.value).startswith(f"{named}: cannot be read or written: expected a path")
    assert remedy in str(caught.value)


def test_no_folder_is_made_of_the_parts_of_a_url(
    rec_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library refuses it as the command line does."""
    monkeypatch.chdir(tmp_path)
    request = Request((rec_set,), Path("https://a.org/out"))
    with pytest.raises(OptionError, match=r"^https://a.org/out: cannot be read or written"):
        run_job(Convert(), request, SerialRunner())
    with pytest.raises(OptionError, match=r"^hf://a: cannot be read or written"):
        run_job(Convert(), Request((Path("hf://a"),), tmp_path / "out"), SerialRunner())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("https://b/a.onnx", "cannot be read or written"),
        ("s3://b/a.onnx", "models are not read from object stores"),
        ("s3://b/r50-symbol.json", "models are not read from object stores"),
    ],
)
def test_a_model_is_read_from_a_disk(model: str, problem: str) -> None:
    with pytest.raises(FaceprepError, match=f"^{model}: {problem}"):
        find_model(model, "a model")
