"""The engine: resumed runs, refused runs, and the summary at the end."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import faceprep
from faceprep import ProcessRunner, Request, SerialRunner, run_job
from faceprep.core.errors import OutputError, ResumeError, TooManyFailures
from faceprep.core.options import option
from faceprep.core.types import Outcome, Runner, Shard, ShardReport, Stage, Work
from faceprep.run.drive import Progress
from faceprep.run.failures import write_failures
from faceprep.run.ledger import Ledger, ShardSink
from faceprep.run.places import Places
from faceprep.tables.ledger import first_failures
from tests.failures import read_failures
from tests.fakes import JoinedLines, Lines, opened, results, tree, write_lines

SERIAL = SerialRunner()


@pytest.mark.parametrize("name", ["Inspect", "ConvertModel", "Finish", "Review"])
def test_a_command_that_writes_no_set_is_refused(name: str, tmp_path: Path) -> None:
    command = getattr(faceprep, name)()
    with pytest.raises(TypeError, match=f"^run_job does not run {name}: call its method look, or"):
        run_job(command, Request("set", tmp_path / "out"))


# The end


@pytest.mark.parametrize("runner", [SERIAL, ProcessRunner(1), ProcessRunner(3)], ids=repr)
def test_summary_ledger_and_failures(runner: Runner, request_: Request) -> None:
    summary = run_job(Lines(poison="bad"), request_, runner)
    told = summary.as_json()
    assert told.pop("seconds") > 0
    assert told == {
        "command": "lines",
        "unit": "line",
        "inputs": 12,
        "ok": 11,
        "failed": 1,
        "by_status": {"ok": 11, "undecodable": 1},
        "others": {},
        "outputs": 11,
        "output": str(request_.output),
        "failures": str(request_.output / "failures.csv"),
        "done_before": 0,
    }
    opened(request_.output)
    ledger = Ledger(Places(request_.output))
    outcomes = [outcome for shard in ("0000", "0004", "0008") for outcome in ledger.outcomes(shard)]
    assert [outcome.key for outcome in outcomes] == [str(i) for i in range(12)], (
        "every input has one Outcome"
    )
    assert read_failures(request_.output) == [
        {"input": "6", "status": "undecodable", "reason": "line 6: expected a face, found text"}
    ]
    state = {name for name in tree(opened(request_.output)) if "/" not in name}
    assert state == {"ledger", "run.json"}, "intermediate files are gone"


def test_same_bytes_whatever_the_number_of_workers(request_: Request) -> None:
    trees = []
    for i, runner in enumerate((SERIAL, ProcessRunner(1), ProcessRunner(5))):
        output = request_.output / str(i)
        run_job(Lines(poison="bad"), replace(request_, output=output), runner)
        trees.append(tree(output))
    assert trees[0] == trees[1] == trees[2]


def test_joined_output(request_: Request, tmp_path: Path) -> None:
    request = replace(request_, output=tmp_path / "new" / "lines.bin")
    assert run_job(JoinedLines(), request, ProcessRunner(2)).outputs == 1
    assert request.output.read_bytes().splitlines()[11] == b"2/11.txt line 11"
    assert (tmp_path / "new" / ".faceprep" / "lines.bin" / "failures.csv").is_file()
    assert sorted(os.listdir(tmp_path / "new")) == [".faceprep", "lines.bin"]


def test_limit(request_: Request) -> None:
    summary = run_job(Lines(), replace(request_, limit=5), SERIAL)
    assert (summary.inputs, summary.outputs, len(results(request_.output))) == (5, 5, 5 + 3)


def test_nothing_to_do_is_a_run(tmp_path: Path) -> None:
    summary = run_job(
        Lines(),
        Request((write_lines(tmp_path / "none.txt", 0),), tmp_path / "out"),
        ProcessRunner(2),
    )
    assert (summary.inputs, summary.failed, summary.by_status) == (0, 0, {})


def test_progress_is_told_of_every_shard(request_: Request) -> None:
    heard: list[object] = []

    def start(stage: Stage, n_done: int, unit: str) -> None:
        heard.append((stage.name, n_done, unit))

    def step(report: ShardReport) -> None:
        heard.append(report.shard_id)

    progress = Progress(start, step, lambda: heard.append("stop"))
    run_job(Lines(poison="raise"), request_, SERIAL, progress)
    assert heard == [("write", 0, "line"), "0000", "0004", "0008", "stop"]
    heard.clear()
    run_job(Lines(poison="raise"), request_, SERIAL, progress)
    assert heard == [("write", 8, "line"), "0004", "stop"]


# Too many failures


def test_max_failures(request_: Request) -> None:
    run_job(Lines(poison="bad"), replace(request_, max_failures=1), SERIAL)
    for _ in range(2):  # the second start has nothing to do, and is over the limit all the same
        with pytest.raises(
            TooManyFailures, match=r"1 input failed, --max-failures allows 0.*failures\.csv"
        ):
            run_job(Lines(poison="bad"), replace(request_, max_failures=0), SERIAL)


def test_max_failures_stops_early_and_can_be_raised(request_: Request) -> None:
    with pytest.raises(TooManyFailures):
        run_job(Lines(poison="bad", at=0), replace(request_, max_failures=0), SERIAL)
    assert len(read_failures(request_.output)) == 1
    assert "1/4.txt" not in results(request_.output), "it stopped after the first shard"
    assert run_job(Lines(poison="bad", at=0), replace(request_, max_failures=1), SERIAL).ok == 11


# Starting again


def test_second_start_does_nothing_again(request_: Request, tmp_path: Path) -> None:
    job = Lines(diary=str(tmp_path / "diary"))
    first = run_job(job, request_, SERIAL)
    before = {path: path.stat().st_ino for path in request_.output.rglob("*.txt")}
    second = run_job(job, request_, ProcessRunner(2))
    assert replace(second, seconds=0.0, details={}) == replace(first, seconds=0.0, details={})
    assert (first.details["done_before"], second.details["done_before"]) == (0, 12)
    assert {path: path.stat().st_ino for path in request_.output.rglob("*.txt")} == before
    assert (tmp_path / "diary").read_text().split() == ["0000", "0004", "0008"]


@pytest.mark.parametrize(
    "harm", ["removed", "emptied", "page removed", "page emptied", "page cut", "page is no JSON"]
)
def test_what_is_missing_or_damaged_is_made_again(
    harm: str, request_: Request, tmp_path: Path
) -> None:
    job = Lines(poison="bad", diary=str(tmp_path / "diary"))
    run_job(job, request_, SERIAL)
    expected = tree(request_.output)
    page, output = opened(request_.output) / "ledger/0004.jsonl", request_.output / "2/5.txt"
    path = page if harm.startswith("page") else output
    if harm.endswith("removed"):
        path.unlink()
    elif harm == "page cut":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        path.write_bytes(b"[]\n{}\n[]\n" if harm == "page is no JSON" else b"")
    assert run_job(job, request_, ProcessRunner(1)).ok == 11
    assert tree(request_.output) == expected
    assert (tmp_path / "diary").read_text().split() == ["0000", "0004", "0008", "0004"]


def test_joined_output_is_made_again(request_: Request, tmp_path: Path) -> None:
    request = replace(request_, output=tmp_path / "lines.bin")
    run_job(JoinedLines(), request, SERIAL)
    expected = request.output.read_bytes()
    request.output.unlink()
    run_job(JoinedLines(), request, SERIAL)
    assert request.output.read_bytes() == expected
    assert not (tmp_path / ".faceprep/lines.bin/parts").exists()


def test_commit_whose_page_was_lost_with_the_power_is_made_again(request_: Request) -> None:
    run_job(Lines(), request_, SERIAL)
    expected = tree(request_.output)
    staging = opened(request_.output) / "staging/0004"
    staging.mkdir(parents=True)
    for name in ("commit", "names", "0"):
        (staging / name).write_bytes(b"\0" * 100)
    (opened(request_.output) / "ledger/0004.jsonl").unlink()
    run_job(Lines(), request_, SERIAL)
    assert tree(request_.output) == expected


def test_notes_that_were_lost_are_named(request_: Request) -> None:
    run_job(Lines(), request_, SERIAL)
    (opened(request_.output) / "run.json").write_bytes(b"")
    with pytest.raises(
        ResumeError, match=r"state of the earlier run is damaged\. Start again with --overwrite"
    ):
        run_job(Lines(), request_, SERIAL)
    assert run_job(Lines(), replace(request_, overwrite=True), SERIAL).ok == 12


# Starting again, refused


def test_other_options_are_refused(request_: Request) -> None:
    run_job(Lines(poison="bad"), request_, SERIAL)
    before = tree(request_.output)
    with pytest.raises(
        ResumeError, match=r"--suffix '.txt' then, '.text' now\)\. Use the same .* --overwrite"
    ):
        run_job(Lines(poison="bad", suffix=".text"), request_, SERIAL)
    with pytest.raises(ResumeError, match=r"--limit not given then, 3 now\)"):
        run_job(Lines(poison="bad"), replace(request_, limit=3), SERIAL)
    with pytest.raises(ResumeError, match=r"command 'lines' then, 'joined-lines' now"):
        run_job(_NotAFile(poison="bad"), request_, SERIAL)
    assert tree(request_.output) == before, "failures.csv and all else stay as they were"


class _NotAFile(JoinedLines):
    has_file_output = False


@dataclass(frozen=True)
class _LinesOfAny(Lines):
    given: Any = option(None, "Whatever an option can be.")


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        (None, 0.9, "not given then, 0.9 now"),
        (False, True, "off then, on now"),
        (True, False, "on then, off now"),
        ((), ("a", "b"), "not given then, 'a', 'b' now"),
        ("", "bgr", "not given then, 'bgr' now"),
        (0, None, "0 then, not given now"),
    ],
)
def test_other_options_are_named_as_they_were_given(
    then: Any, now: Any, told: str, request_: Request
) -> None:
    run_job(_LinesOfAny(given=then), request_, SERIAL)
    with pytest.raises(ResumeError, match=rf"begun differently \(--given {told}\)"):
        run_job(_LinesOfAny(given=now), request_, SERIAL)


def test_other_source_is_refused(request_: Request, tmp_path: Path) -> None:
    run_job(Lines(), request_, SERIAL)
    other = write_lines(tmp_path / "other.txt")
    with pytest.raises(ResumeError, match=r"sources '.*source\.txt' then, '.*other\.txt' now"):
        run_job(Lines(), replace(request_, sources=(other,)), SERIAL)


def test_changed_source_is_refused(request_: Request) -> None:
    run_job(Lines(poison="bad"), request_, SERIAL)
    before = tree(request_.output)
    write_lines(request_.sources[0], 13)
    with pytest.raises(
        ResumeError,
        match="has changed since this run began: expected 12 lines, found 13 lines. Put",
    ):
        run_job(Lines(poison="bad"), request_, SERIAL)
    assert tree(request_.output) == before
    assert run_job(Lines(poison="bad"), replace(request_, overwrite=True), SERIAL).ok == 12


def test_other_shards_are_refused(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    run_job(Lines(), request_, SERIAL)
    monkeypatch.setattr("tests.fakes.SHARD", 5)
    with pytest.raises(ResumeError, match="a version that cuts the work into other shards"):
        run_job(Lines(), request_, SERIAL)


class _StagedLines(Lines):
    """Lines from a version that gives each shard a stage and a payload."""

    def plan(self, request: Request, scratch: Path) -> Work:
        work = super().plan(request, scratch)
        stages = [
            replace(stage, shards=[replace(each, stage="w", payload=[1]) for each in stage.shards])
            for stage in work.stages
        ]
        return replace(work, stages=stages)


def test_stage_and_payload_of_a_shard_may_change_between_runs(request_: Request) -> None:
    """A run is resumed if the work is cut alike, whatever else its shards carry."""
    run_job(Lines(), request_, SERIAL)
    assert run_job(_StagedLines(), request_, SERIAL).details["done_before"] == 12


def test_overwrite_removes_what_the_run_wrote_and_nothing_else(request_: Request) -> None:
    run_job(Lines(), request_, SERIAL)
    mine = request_.output / "0" / "notes.md"
    mine.write_text("mine")
    run_job(Lines(suffix=".text"), replace(request_, overwrite=True, limit=2), SERIAL)
    assert set(results(request_.output)) == {"0", "0/notes.md", "0/0.text", "1", "1/1.text"}


def test_overwrite_takes_no_folder_that_is_not_ours(request_: Request) -> None:
    request_.output.mkdir()
    (request_.output / "thesis.tex").touch()
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"not empty: it has 'thesis\.tex'"):
            run_job(Lines(), replace(request_, overwrite=overwrite), SERIAL)
        assert set(tree(request_.output)) == {"thesis.tex"}, "a refused run leaves nothing"


def test_file_that_exists_is_refused(request_: Request, tmp_path: Path) -> None:
    request = replace(request_, output=tmp_path / "lines.bin")
    request.output.write_text("mine")
    with pytest.raises(
        OutputError, match=r"lines\.bin: exists already\. .* use --overwrite to replace it\."
    ):
        run_job(JoinedLines(), request, SERIAL)
    assert sorted(os.listdir(tmp_path)) == ["lines.bin", "source.txt"]
    assert run_job(JoinedLines(), replace(request, overwrite=True), SERIAL).ok == 12


# Names


@pytest.mark.parametrize("suffix", ["/../../../x", "\0"])
def test_names_that_would_leave_the_output_are_refused(
    suffix: str, request_: Request, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="would leave the output folder"):
        run_job(Lines(suffix=suffix), request_, SERIAL)
    assert sorted(os.listdir(tmp_path)) == ["out", "source.txt"]
    assert not [data for data in results(request_.output).values() if data is not None]


def test_run_json_says_how_it_was_begun(request_: Request) -> None:
    run_job(Lines(), replace(request_, limit=4), SERIAL)
    run = json.loads((opened(request_.output) / "run.json").read_text())
    assert run["command"] == "lines"
    assert run["options"] == {
        "poison": "",
        "at": 6,
        "once": "",
        "cured": "",
        "diary": "",
        "suffix": ".txt",
        "limit": 4,
    }
    assert run["sources"] == [str(request_.sources[0])]
    assert run["fingerprint"] == "12 lines"


def test_shards_without_items_are_carried_out(request_: Request) -> None:
    class Empty(Lines):
        def plan(self, request: Request, scratch: Path):  # type: ignore[no-untyped-def]
            work = super().plan(request, scratch)
            return replace(
                work,
                stages=[
                    *work.stages,
                    Stage("more", [Shard("empty", str(request.sources[0]), 0, 0)]),
                ],
            )

    assert run_job(Empty(), request_, SERIAL).inputs == 12
    assert (opened(request_.output) / "ledger/empty.jsonl").is_file()


def test_a_failing_file_whose_name_holds_a_carriage_return(tmp_path: Path) -> None:
    """Its name comes back from failures.csv, to the command line and the report."""
    outcomes = [Outcome("a\rb.jpg", "undecodable", "x"), Outcome('c"\n', "undecodable", "y")]
    places = Places(tmp_path)
    report = ShardSink(places, "0").commit(outcomes)
    write_failures(places, [report], {})
    first, n = first_failures(str(places.failures), 5)
    assert first == [outcome[:3] for outcome in outcomes] and n == 2
