"""Plans that restore images from elsewhere, and places that another command line fits better."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from faceprep.core.errors import OutputError, SourceError, Unconfirmed
from faceprep.core.types import Decision, Request
from faceprep.jobs.apply import Apply
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.steps.place_images import plan_path
from faceprep.tables.plan import UNDO
from tests.applying import DECISIONS, apply, save_plan, source
from tests.command import FACEPREP, faceprep
from tests.fakes import images, tree

__all__ = ["source"]

RESTORE = Decision("restore", "7/1.jpg", "7/1.jpg")


@pytest.fixture
def strange(source: Path, tmp_path: Path) -> Path:
    """A plan that restores an image from a set that its own was not made from."""
    (tmp_path / "private" / "7").mkdir(parents=True)
    (tmp_path / "private" / "7" / "1.jpg").write_bytes(b"mine")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    origin = str(tmp_path / "private")
    return save_plan(tmp_path / "strange.jsonl", source, [RESTORE], origin=origin)


def run(plan: Path, output: Path, **asked: bool) -> None:
    run_job(Apply(), replace(Request((plan,), output), **asked), SerialRunner())


def test_a_strange_origin_has_to_be_confirmed(strange: Path, tmp_path: Path) -> None:
    before = tree(tmp_path)
    problem = "restores 1 image, such as 7/1.jpg, from a set that .*source was not made from"
    with pytest.raises(Unconfirmed, match=f"{problem}: found .*private. .* add --yes"):
        run(strange, tmp_path / "out")
    assert tree(tmp_path) == before, "nothing is left of a run that was not confirmed"
    run(strange, tmp_path / "out", is_confirmed=True)
    assert images(tmp_path / "out")["7/1.jpg"] == b"mine"


def test_the_source_of_the_set_needs_none(source: Path, tmp_path: Path) -> None:
    """The way back of an apply, of an undo, and of an undo whose plan is not there any more."""
    plan = save_plan(tmp_path / "plan.jsonl", source, DECISIONS)
    apply(plan, tmp_path / "out")
    apply(tmp_path / "out" / "undo.jsonl", tmp_path / "back")
    apply(tmp_path / "back" / "undo.jsonl", tmp_path / "again")
    assert images(tmp_path / "again") == images(tmp_path / "out")
    plan.unlink()
    apply(tmp_path / "out" / "undo.jsonl", tmp_path / "once more")
    key = next(Path(os.environ["XDG_STATE_HOME"]).rglob("key"))
    assert key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("sets", [5, "x", None, [5], ["{private}"]])
@pytest.mark.parametrize("signature", [5, "", "é", "0" * 64])
def test_a_record_that_somebody_made_up_names_no_source(
    sets: object, signature: object, source: Path, strange: Path, tmp_path: Path
) -> None:
    text = json.dumps({"sources": sets, "made_from": sets, "signature": signature})
    state = source / ".faceprep"
    state.mkdir()
    (state / "run.json").write_text(text.replace("{private}", str(tmp_path / "private")))
    with pytest.raises(Unconfirmed, match="was not made from"):
        run(strange, tmp_path / "out")


def test_a_true_record_counts_for_its_user_alone(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(save_plan(tmp_path / "plan.jsonl", source, DECISIONS), tmp_path / "out")
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    undo = tmp_path / "copy" / "undo.jsonl"
    text = undo.read_text().replace(str(tmp_path / "out"), str(tmp_path / "copy"))
    undo.write_text(text)
    apply(undo, tmp_path / "back from a copy")
    (tmp_path / "a file").touch()
    (tmp_path / "pipe" / "faceprep").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe" / "faceprep" / "key")
    for home in (tmp_path / "other user", tmp_path / "a file", tmp_path / "pipe"):
        monkeypatch.setenv("XDG_STATE_HOME", str(home))
        with pytest.raises(Unconfirmed, match="was not made from"):
            apply(tmp_path / "out" / "undo.jsonl", tmp_path / "back")
    run(tmp_path / "out" / "undo.jsonl", tmp_path / "back", is_confirmed=True)


@pytest.mark.parametrize("name", ["out", "out.tar"])
def test_the_undo_plan_in_a_copy_of_its_set_is_refused(
    name: str, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "sets" / name
    apply(save_plan(tmp_path / "plan.jsonl", source, DECISIONS), output)
    undo = plan_path(output, UNDO)
    shutil.copytree(undo.parent, tmp_path / "copy")
    problem = f"lies in a copy of the set that it reverses, which is {output}. For that set, run "
    with pytest.raises(SourceError, match=re.escape(problem + f"faceprep apply {undo} ")):
        run(tmp_path / "copy" / undo.name, tmp_path / "back", is_confirmed=True)
    assert not (tmp_path / "back").exists()


def test_the_undo_plan_in_a_copy_can_be_made_that_of_the_copy(source: Path, tmp_path: Path) -> None:
    """Alone, it is still that of the set."""
    apply(save_plan(tmp_path / "plan.jsonl", source, DECISIONS), tmp_path / "out")
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    undo = tmp_path / "copy" / "undo.jsonl"
    shutil.move(undo, tmp_path / "undo.jsonl")
    text = (tmp_path / "undo.jsonl").read_text()
    undo.write_text(text.replace(str(tmp_path / "out"), str(tmp_path / "copy"), 1))
    apply(tmp_path / "undo.jsonl", tmp_path / "back")
    shutil.rmtree(tmp_path / "out")
    apply(undo, tmp_path / "back from the copy")
    assert images(tmp_path / "back") == images(tmp_path / "back from the copy") == images(source)


@pytest.mark.parametrize("subject", ["../secret.jpg", "{absolute}", "7/../../secret.jpg"])
def test_a_subject_that_leads_out_of_the_origin(
    subject: str, source: Path, strange: Path, tmp_path: Path
) -> None:
    named = subject.format(absolute=tmp_path / "secret.jpg")
    decision = Decision("restore", named, "7/1.jpg")
    save_plan(strange, source, [decision], origin=str(tmp_path / "private"))
    with pytest.raises(SourceError, match=r"below its origin, found one that leads out of it"):
        run(strange, tmp_path / "out", is_confirmed=True)
    assert not (tmp_path / "out").exists()


def test_an_output_over_the_origin(strange: Path, tmp_path: Path) -> None:
    """--overwrite would remove the images before they are restored."""
    origin = tmp_path / "private"
    with pytest.raises(OutputError, match="would overwrite the input"):
        run(strange, origin, is_confirmed=True, overwrite=True)
    assert images(origin) == {"7/1.jpg": b"mine"}


def test_without_a_terminal_it_needs_yes(strange: Path, tmp_path: Path) -> None:
    refused = faceprep("apply", strange, tmp_path / "out")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.endswith("Look at both sets. If you mean this, add --yes.\n")
    assert refused.stderr.count("\n") == 1
    assert faceprep("apply", strange, tmp_path / "out", "--yes").returncode == 0


@pytest.mark.parametrize(("answer", "status"), [(b"y\n", 0), (b"n\n", 1), (b"\n", 1)])
def test_a_terminal_is_asked(strange: Path, tmp_path: Path, answer: bytes, status: int) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*FACEPREP, "apply", str(strange), str(tmp_path / "out")],
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    os.close(theirs)
    shown = b""
    while b"Continue? [y/N]:" not in shown:
        shown += os.read(ours, 1000)
    os.write(ours, answer)
    assert process.wait(60) == status
    os.close(ours)
    assert shown.count(b"restores 1 image") == 1
    assert (tmp_path / "out" / "7" / "1.jpg").exists() is (status == 0)


@pytest.mark.parametrize("typed", ["m .", "m m", "m n"])
def test_a_folder_without_a_plan_is_not_one(
    typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="^m: not a plan: expected a plan.jsonl, found a folder"):
        apply(*map(Path, typed.split()))


@pytest.mark.parametrize(
    ("typed", "problem", "command"),
    [
        ("m/plan.jsonl m", "m: holds the plan", "m/plan.jsonl m-reviewed"),
        ("m m", "m: holds the plan", "m/plan.jsonl m-reviewed"),
        ("m/undo.jsonl m", "m: holds the plan", "m/undo.jsonl m-undone"),
        ("m n", "m: is not a plan, but has one", "m/plan.jsonl n"),
    ],
)
def test_the_right_command_is_suggested(
    typed: str,
    problem: str,
    command: str,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of these is what a person types first; the command that is named works."""
    monkeypatch.chdir(tmp_path)
    apply(save_plan(tmp_path / "first.jsonl", source, DECISIONS), Path("m"))
    save_plan(Path("m/plan.jsonl"), source, DECISIONS)
    with pytest.raises((OutputError, SourceError), match=f"^{problem}") as refused:
        apply(*map(Path, typed.split()))
    assert str(refused.value).endswith(f"Run faceprep apply {command}.")
    assert apply(*map(Path, command.split())).failed == 0
