"""Runs of apply: of the first images, in any shards, killed, and from the command line."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from faceprep.cli import main
from faceprep.core.errors import FaceprepError, SourceError
from faceprep.core.types import PLACING_MODES, Decision, Request
from faceprep.jobs.apply import Apply
from faceprep.jobs.convert import Convert
from faceprep.jobs.review import Review
from faceprep.run.engine import run_job
from faceprep.run.processes import ProcessRunner
from faceprep.run.serial import SerialRunner
from faceprep.steps import place_images as application
from faceprep.synthetic import write_insightface_rec
from faceprep.tables.plan import read_plan, write_plan
from tests.applying import DECISIONS, apply, save_plan, source
from tests.fakes import images, results, survives_kills

__all__ = ["source"]


def test_the_first_images_only(source: Path, tmp_path: Path) -> None:
    plan = save_plan(tmp_path / "plan.jsonl", source, DECISIONS)
    assert apply(plan, tmp_path / "out", limit=4).by_status == {"ok": 4}
    assert set(images(tmp_path / "out")) == {
        f"2/inner/{name}" for name in ("0_0.jpg", "0_1.jpg", "0_2.jpg", "1_0.jpg")
    }
    apply(tmp_path / "out" / "undo.jsonl", tmp_path / "back")
    assert set(images(tmp_path / "back")) == {"0/0.jpg", "0/1.jpg", "0/2.jpg", "1/0.jpg"}


@pytest.mark.parametrize("is_shuffled", [False, True])
@pytest.mark.parametrize("suffix", [".rec", ".tar", ".tfrecord", ".parquet"])
def test_undo_gives_the_same_container(
    suffix: str,
    is_shuffled: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The header and the identity records of a .rec and the order of the images are as before."""
    if suffix != ".parquet":  # a shard ends its row group
        monkeypatch.setattr(application, "_SHARD", 16)
    write_insightface_rec(tmp_path / "drawn", 12, 2)
    whole, seed = tmp_path / f"set{suffix}", 1 if is_shuffled else None
    run_job(Convert(seed=seed), Request(tmp_path / "drawn", whole), SerialRunner())
    decisions = [
        *(Decision("drop", f"0/{number}") for number in (1, 2)),
        Decision("merge", "1", "11"),
        Decision("merge", "10", "3"),
        Decision("drop", "5"),
        Decision("move", "9/20", "2"),
    ]
    with (tmp_path / "plan.jsonl").open("wb") as file:
        write_plan(file, {"command": "test", "source": str(whole)}, decisions)
    applied = apply(tmp_path / "plan.jsonl", tmp_path / f"out{suffix}")
    assert applied.by_status == {"ok": 20, "dropped": 4}
    caplog.clear()
    apply(tmp_path / "out.undo.jsonl", tmp_path / f"back{suffix}")
    assert not caplog.text
    assert (tmp_path / f"back{suffix}").read_bytes() == whole.read_bytes()


def test_undo_of_a_plan_that_restores_and_drops(tmp_path: Path) -> None:
    write_insightface_rec(tmp_path / "drawn", 4, 2)
    whole = tmp_path / "set.tar"
    run_job(Convert(), Request(tmp_path / "drawn", whole), SerialRunner())
    judged = {"command": "test", "source": str(whole)}
    with (tmp_path / "plan.jsonl").open("wb") as file:
        write_plan(file, judged, [Decision("drop", name) for name in ("0/1", "1/4", "3/7")])
    apply(tmp_path / "plan.jsonl", tmp_path / "few.tar")
    header, undo = read_plan(tmp_path / "few.undo.jsonl")
    with (tmp_path / "both.jsonl").open("wb") as file:
        write_plan(file, header, [*undo, *(Decision("drop", name) for name in ("0/2", "2/5"))])
    assert apply(tmp_path / "both.jsonl", tmp_path / "other.tar").by_status["dropped"] == 2
    apply(tmp_path / "other.undo.jsonl", tmp_path / "back.tar")
    assert (tmp_path / "back.tar").read_bytes() == (tmp_path / "few.tar").read_bytes()


def test_the_same_whatever_the_shards_the_runner_and_the_order(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    apply(save_plan(tmp_path / "plan.jsonl", source, DECISIONS), output)
    expected = results(output)
    monkeypatch.setattr(application, "_SHARD", 4)
    for number in range(2):
        shutil.rmtree(output)
        plan = save_plan(tmp_path / f"{number}.jsonl", source, DECISIONS[::-1])
        run_job(Apply(), Request((plan,), output), ProcessRunner(2) if number else SerialRunner())
        assert results(output) == expected


@pytest.mark.parametrize("mode", PLACING_MODES)
def test_killed_before_any_change_of_the_disk(
    mode: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "_SHARD", 5)
    shutil.rmtree(source / "5")
    plan = save_plan(tmp_path / "plan.jsonl", source, DECISIONS[:5])
    output = tmp_path / "out"

    assert survives_kills(lambda: apply(plan, output, mode=mode), output, n=8) > 40


def test_command_line(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = save_plan(tmp_path / "plan.jsonl", source, DECISIONS)
    words = [
        "faceprep",
        "apply",
        str(plan),
        str(tmp_path / "out"),
        "--mode",
        "hardlink",
        "--json",
        "--workers",
        "1",
    ]
    monkeypatch.setattr(sys, "argv", words)
    assert main() == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["command"], told["inputs"], told["ok"], told["failed"]) == ("apply", 18, 15, 0)
    plan.write_text(plan.read_text().replace('"2/inner"', '"9"'))
    monkeypatch.setattr(sys, "argv", ["faceprep", "apply", str(plan), str(tmp_path / "other")])
    assert main() == 1
    assert capsys.readouterr().err == (
        f"faceprep: {plan}: merge of '1' into '9': expected an identity of the source, found none "
        "of that name."
        " Change the plan.\n"
    )


def test_all_errors_are_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "plan.jsonl").write_text("not a plan")
    with pytest.raises(
        FaceprepError, match=r"plan.jsonl: not a plan: .*, found not a plan. Plans are .*dedupe"
    ):
        apply(tmp_path / "plan.jsonl", tmp_path / "out")


def test_the_folder_of_a_plan_gets_the_right_command(tmp_path: Path) -> None:
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "plan.jsonl").write_text("")
    expected = f"Run faceprep apply {tmp_path}/plan/plan.jsonl {tmp_path}/merged"
    with pytest.raises(SourceError, match=re.escape(expected)):
        run_job(Apply(), Request((tmp_path / "plan",), tmp_path / "merged"), SerialRunner())
    with pytest.raises(SourceError, match=f"Run faceprep review {tmp_path}/plan/plan.jsonl"):
        Review().serve(tmp_path / "plan", print)
