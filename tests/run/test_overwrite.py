"""--overwrite removes what a run wrote and nothing else, whatever the state of that run says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faceprep import Request, SerialRunner, run_job
from faceprep.core import registry
from faceprep.core.errors import FaceprepError, OutputError, ResumeError
from faceprep.core.registry import Entry
from faceprep.jobs.convert import Convert
from faceprep.jobs.dedupe.job import Dedupe
from faceprep.run.preview import preview_job
from faceprep.synthetic import write_folder
from tests.color_people import paint
from tests.fakes import Lines, opened, results, write_lines
from tests.run.test_siblings import SortedLines

SERIAL = SerialRunner()
MINE = "mine"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "a.txt").write_text(MINE)
    return tmp_path / "victim" / "a.txt"


def add_to_page(page: Path, name: str) -> None:
    (names, sizes), *rest = map(json.loads, page.read_text().splitlines())
    lines = [[[*names, name], [*sizes, 4]], *rest]
    page.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("name", ["../victim/a.txt", "{absolute}", "a/../../victim/a.txt"])
@pytest.mark.parametrize("job", [Lines(), SortedLines()], ids=lambda job: job.command)
def test_a_page_that_names_what_lies_outside(
    job: Any, name: str, request_: Request, victim: Path
) -> None:
    run_job(job, request_, SERIAL)
    page = min((opened(request_.output) / "ledger").iterdir())
    add_to_page(page, name.format(absolute=victim))
    assert run_job(job, replace(request_, overwrite=True), SERIAL).ok == 12
    assert victim.read_text() == MINE


def test_a_page_that_names_a_folder_beside_the_output(request_: Request, victim: Path) -> None:
    """The names of a run with siblings are relative to the folder that they all lie in."""
    run_job(SortedLines(), request_, SERIAL)
    page = min((opened(request_.output) / "ledger").iterdir())
    add_to_page(page, "victim/a.txt")
    run_job(SortedLines(), replace(request_, overwrite=True), SERIAL)
    assert victim.read_text() == MINE


@pytest.mark.parametrize("jobs", [(Lines(), SortedLines()), (SortedLines(), Lines())])
def test_the_output_of_another_command(
    jobs: tuple[Lines, Lines], request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of one start a folder higher than those of the other, and lead to the same files.

    The output is never taken for one that was deleted, and --overwrite removes all of it.
    """
    for each in (Lines, SortedLines):
        entry = Entry(f"{each.__module__}:{each.__name__}")
        monkeypatch.setitem(registry.COMMANDS, each.command, entry)
    first, second = jobs
    run_job(first, request_, SERIAL)
    made = results(request_.output)
    with pytest.raises(ResumeError, match=f"begun differently .command '{first.command}' then"):
        run_job(second, request_, SERIAL)
    assert results(request_.output) == made
    run_job(second, replace(request_, overwrite=True), SERIAL)
    run_job(second, replace(request_, output=tmp_path / "new"), SERIAL)
    assert results(request_.output) == results(tmp_path / "new")


def test_a_link_in_the_output_is_not_followed(request_: Request, victim: Path) -> None:
    run_job(Lines(), request_, SERIAL)
    (request_.output / "link").symlink_to(victim.parent)
    add_to_page(min((opened(request_.output) / "ledger").iterdir()), "link/a.txt")
    run_job(Lines(), replace(request_, overwrite=True), SERIAL)
    assert victim.read_text() == MINE


def test_nothing_is_written_through_a_link(request_: Request, victim: Path) -> None:
    run_job(SortedLines(), request_, SERIAL)
    for path in (request_.output / "a").iterdir():
        path.unlink()
    (request_.output / "a").rmdir()
    (request_.output / "a").symlink_to(victim.parent)
    with pytest.raises(OutputError, match="'a' is a link"):
        run_job(SortedLines(), replace(request_, overwrite=True), SERIAL)
    assert [path.name for path in victim.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("name", ["", "ledger", "staging", "scratch", "parts"])
def test_state_that_is_a_link(name: str, request_: Request, victim: Path) -> None:
    state = opened(request_.output) / name
    state.parent.mkdir(parents=True, exist_ok=True)
    state.symlink_to(victim.parent)
    with pytest.raises(OutputError, match="is a link"):
        run_job(Lines(), replace(request_, overwrite=True), SERIAL)
    assert victim.read_text() == MINE


@pytest.mark.parametrize("name", ["lock", "workers"])
def test_locks_that_are_links(name: str, request_: Request, victim: Path) -> None:
    state = opened(request_.output)
    state.mkdir(parents=True)
    (state / name).symlink_to(victim)
    with pytest.raises(OutputError, match="cannot lock"):
        run_job(Lines(), replace(request_, overwrite=True), SERIAL)
    assert victim.read_text() == MINE


def _page(text: str) -> Callable[[Path], None]:
    def damage(state: Path) -> None:
        (state / "staging" / "0000").mkdir(parents=True)
        (state / "staging" / "0000" / "commit").write_text(text)

    return damage


def _ledger(state: Path) -> None:
    min((state / "ledger").iterdir()).write_text('{"not": "a page"}\n\n\n')


def _run(state: Path) -> None:
    (state / "run.json").unlink()
    (state / "run.json").mkdir()


def _record(**fields: object) -> Callable[[Path], None]:
    def damage(state: Path) -> None:
        run = json.loads((state / "run.json").read_text())
        (state / "run.json").write_text(json.dumps(run | fields))

    return damage


BROKEN = {
    "a command that is a list": _record(command=["lines"], finished=True),
    "choices that are a number": _record(choices=5, command="x"),
    "a name outside": _page('[["../victim/a.txt"], [4]]\n'),
    "not a page": _page("3\n"),
    "not names": _page("[[3], [4]]\n"),
    "a ledger page": _ledger,
    "run.json": _run,
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN)
def test_broken_state_does_not_stand_in_its_way(
    damage: Callable[[Path], None], request_: Request, victim: Path
) -> None:
    run_job(Lines(), request_, SERIAL)
    before = results(request_.output)
    damage(opened(request_.output))
    if damage is not _ledger:
        with pytest.raises(FaceprepError):
            run_job(Lines(), request_, SERIAL)
    run_job(Lines(), replace(request_, overwrite=True), SERIAL)
    assert results(request_.output) == before and victim.read_text() == MINE


def test_what_is_skipped_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The run is planned twice: the plan may depend on files of the output that are removed."""
    write_folder(tmp_path / "set", 2, 2)
    (tmp_path / "set" / "notes.txt").write_text(MINE)
    (tmp_path / "set" / "papers").mkdir()
    (tmp_path / "set" / "papers" / "a.pdf").write_text(MINE)
    request = Request((tmp_path / "set",), tmp_path / "out.tar")
    run_job(Convert(), request, SERIAL)
    caplog.clear()
    caplog.set_level("INFO", "faceprep")
    run_job(Convert(), replace(request, overwrite=True), SERIAL)
    assert caplog.text.count("2 files skipped") == 1
    assert caplog.text.count("1 folder has files but no images: papers") == 1
    caplog.clear()
    run_job(Convert(), replace(request, output=tmp_path / "other.tar"), SERIAL)
    assert caplog.text.count("2 files skipped") == 1


def test_the_state_of_a_deleted_output_binds_no_other_source(request_: Request) -> None:
    run_job(Lines(), request_, SERIAL)
    files = [path for path in request_.output.rglob("*") if path.is_file()]
    outputs = [path for path in files if not path.name.startswith(".")]
    other = replace(request_, sources=(write_lines(request_.output.with_name("other.txt")),))
    for path in outputs[1:]:
        path.unlink()
    with pytest.raises(FaceprepError, match="begun differently"):
        run_job(Lines(), other, SERIAL)
    outputs[0].unlink()
    assert run_job(Lines(), other, SERIAL).failed == 0


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("call", [run_job, preview_job], ids=["run", "preview"])
def test_the_plan_of_another_output_of_the_same_stem(
    call: Callable[..., Any], overwrite: bool, tmp_path: Path
) -> None:
    """Both are set.plan.jsonl; its own run may replace it."""
    for n in range(2):
        paint(tmp_path / "in" / str(n) / "1.png", (n, 0, 0))
    job = Dedupe(embedder="none", exact_only=True, plan_only=True)
    run_job(job, Request(tmp_path / "in", tmp_path / "set.rec"))
    plan = (tmp_path / "set.plan.jsonl").read_bytes()
    request = Request(tmp_path / "in", tmp_path / "set.tar", overwrite=overwrite)
    with pytest.raises(OutputError, match=r"set.plan.jsonl: belongs to set.rec, .*another name"):
        call(job, request)
    assert (tmp_path / "set.plan.jsonl").read_bytes() == plan
    call(job, replace(request, output=tmp_path / "set.rec"))
