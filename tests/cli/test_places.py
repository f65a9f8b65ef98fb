"""Paths on the command line: the home folder, empty texts, and a working directory that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from faceprep.cli import main
from faceprep.cli.build import command_for
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
