"""Runs that fill folders beside their output: all of them are theirs, none of another is
touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from faceprep import ProcessRunner, Request, SerialRunner, run_job
from faceprep.core.errors import OutputError, ResumeError
from faceprep.core.types import Outcome, Runner, Shard, Sink, Work
from faceprep.run.ledger import ShardSink
from faceprep.run.places import Places
from tests.fakes import Lines, is_state, tree, write_lines


@dataclass(frozen=True)
class SortedLines(Lines):
    """Even lines to the output, odd ones to the folder beside it; the number of lines to a file
    of its own.
    """

    command: ClassVar[str] = "sorted-lines"
    siblings: ClassVar[tuple[str, ...]] = ("_odd",)

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        for i in range(shard.start, shard.stop):
            sink.write(f"a/{i}{self.suffix}", b"line", beside="_odd" if i % 2 else "")
            yield Outcome(str(i))
        with sink.open_part(".part") as part:
            part.write(b"%d\n" % len(shard))

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """The number of lines."""
        with sink.open("counts") as file:
            for shard in work.stages[0].shards:
                file.write(sink.part_path(shard.id, ".part").read_bytes())


JOB, SERIAL = SortedLines(), SerialRunner()
ODD, EVEN = {f"a/{i}.txt" for i in range(1, 12, 2)}, {f"a/{i}.txt" for i in range(0, 12, 2)}


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    return Request((write_lines(tmp_path / "source.txt"),), tmp_path / "there" / "out")


def files(root: Path) -> set[str]:
    return {name for name, data in tree(root).items() if data is not None and not is_state(name)}


@pytest.mark.parametrize("runner", [SERIAL, ProcessRunner(2)], ids=repr)
def test_files_lie_in_the_output_and_beside_it(runner: Runner, request_: Request) -> None:
    summary = run_job(JOB, request_, runner)
    there = request_.output.parent
    assert (summary.ok, summary.outputs, summary.output) == (12, 13, str(request_.output))
    assert files(there / "out") == EVEN | {"counts"} and files(there / "out_odd") == ODD
    assert (there / "out" / "counts").read_text() == "4\n4\n4\n"
    assert sorted(os.listdir(there)) == ["out", "out_odd"], "the notes are in the output alone"
    assert run_job(JOB, request_, runner).details["done_before"] == 12


def test_the_failures_are_named_as_the_output_is(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    summary = run_job(JOB, replace(request_, output=Path("there/out")), ProcessRunner(2))
    assert summary.details["failures"] == "there/out/failures.csv"
    assert files(tmp_path / "there" / "out") == EVEN | {"counts"}


def test_the_output_may_be_named_in_any_way(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_.output.mkdir(parents=True)
    monkeypatch.chdir(request_.output)
    run_job(JOB, replace(request_, output=Path()), SERIAL)
    run_job(JOB, replace(request_, output=Path("../other/")), SERIAL)
    assert files(tmp_path / "there") == {
        *(f"{name}/{file}" for name in ("out", "other") for file in EVEN | {"counts"}),
        *(f"{name}_odd/{file}" for name in ("out", "other") for file in ODD),
    }


def test_what_is_missing_beside_is_made_again(request_: Request) -> None:
    run_job(JOB, request_, SERIAL)
    expected = tree(request_.output.parent)
    (request_.output.with_name("out_odd") / "a" / "3.txt").unlink()
    run_job(JOB, request_, SERIAL)
    assert tree(request_.output.parent) == expected


def test_overwrite_takes_its_own_files_only(request_: Request) -> None:
    run_job(JOB, request_, SERIAL)
    mine = request_.output.with_name("out_odd") / "a" / "mine"
    mine.write_text("mine")
    other = request_.output.with_name("out_oddity")
    other.mkdir()
    run_job(replace(JOB, suffix=".md"), replace(request_, overwrite=True, limit=3), SERIAL)
    assert files(request_.output) == {"a/0.md", "a/2.md", "counts"}
    assert files(mine.parents[1]) == {"a/1.md", "a/mine"} and other.is_dir()


def test_a_folder_beside_that_is_not_empty_is_refused(request_: Request) -> None:
    beside = request_.output.with_name("out_odd")
    (beside / "a").mkdir(parents=True)
    with pytest.raises(OutputError, match="out_odd: the output folder is not empty: it has 'a'"):
        run_job(JOB, request_, SERIAL)
    (beside / "a").rmdir()
    assert run_job(JOB, request_, SERIAL).ok == 12, "an empty one is taken"


@pytest.mark.parametrize("place", ["out_odd", "out_odd/in", "out/in", "out"])
def test_a_source_in_one_of_the_folders_is_refused(place: str, tmp_path: Path) -> None:
    source = tmp_path / place / "source.txt"
    source.parent.mkdir(parents=True)
    write_lines(source)
    with pytest.raises(OutputError, match="the output would overwrite the input"):
        run_job(JOB, Request((source,), tmp_path / "out"), SERIAL)
    assert source.is_file()


def test_other_options_are_refused(request_: Request) -> None:
    run_job(JOB, request_, SERIAL)
    with pytest.raises(ResumeError, match="begun differently"):
        run_job(replace(JOB, suffix=".md"), request_, SERIAL)


@pytest.mark.parametrize(
    ("name", "beside"), [("../x", ""), ("../x", "_odd"), ("a/../../x", ""), ("a", "_odd/../..")]
)
def test_names_cannot_leave_the_folders(name: str, beside: str, request_: Request) -> None:
    @dataclass(frozen=True)
    class Escaping(SortedLines):
        def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
            sink.write(name, b"x", beside=beside)
            yield Outcome("x")

    with pytest.raises(OutputError, match="would leave the output folder"):
        run_job(Escaping(), request_, SERIAL)


def test_many_files_at_home(tmp_path: Path) -> None:
    places = Places(tmp_path, home="out")
    sink = ShardSink(places, "0")
    sink.write_many(["a/1", "b"], [b"1", b"2"])
    assert sink.commit([]).n_outputs == 2
    assert (tmp_path / "out" / "a" / "1").read_bytes() == b"1" and (
        tmp_path / "out" / "b"
    ).read_bytes() == b"2"


def test_places_with_a_home() -> None:
    places = Places(Path("/root"), home="out")
    assert places.state == Path("/root/out/.faceprep")
    name = places.part_name("0000", ".part")
    assert name == "out/.faceprep/parts/0000.part" and places.is_part(name)
    assert not places.is_part("out/0000.part")


def test_a_folder_beside_that_cannot_be_made_is_refused_at_the_start(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_.output.mkdir(parents=True)
    parent = request_.output.parent
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != parent)
    with pytest.raises(OutputError, match="Permission denied: no file or folder can be made"):
        run_job(JOB, request_, SERIAL)
    assert not any(request_.output.iterdir())
