"""Runs whose output lies in a store: in flight, shared by machines, and taken over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from faceprep import Request, SerialRunner, run_job
from faceprep.core import registry
from faceprep.core.errors import FaceprepError, OutputError, ResumeError
from faceprep.core.registry import Entry
from faceprep.core.shards import cut_evenly
from faceprep.core.types import Outcome, Shard, Share, Sink, Summary, Work
from tests.command import FACEPREP
from tests.fakes import JoinedLines, Lines, write_lines
from tests.object_store import Store
from tests.run.test_siblings import SortedLines

OUT = "s3://faces/out/lines"
ODD = " +%20%2F ü=&#.txt"


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    return Request((write_lines(tmp_path / "lines.txt"),), Path(OUT))


@dataclass(frozen=True)
class Stored(Lines):
    """Lines of a store."""

    def may_write_to_store(self, output: Path) -> bool:
        return True


@dataclass(frozen=True)
class StoredJoined(JoinedLines):
    """Lines of a store in one object, by way of parts."""

    def may_write_to_store(self, output: Path) -> bool:
        return True


@dataclass(frozen=True)
class StoredSorted(SortedLines):
    """Lines of a store below two prefixes."""

    def may_write_to_store(self, output: Path) -> bool:
        return True


def carry_out(job: Lines, request: Request, n: int = 0) -> Summary:
    """Carry out share `n` of 3 as a machine of its own does, 0 for the whole run."""
    share = Share(n, 3) if n else None
    return run_job(job, replace(request, share=share), SerialRunner())


def on_machine(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache{number}"))


def test_only_shards_in_flight_need_room(store: Store, request_: Request, tmp_path: Path) -> None:
    seen: list[int] = []

    class Watched(Stored):
        def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
            for outcome in super().run(shard, sink):
                yield outcome
                seen.append(len(list((tmp_path / "cache").rglob("*.txt"))))

    assert carry_out(Watched(), request_).ok == 12
    assert seen == [1, 2, 3, 4] * 3
    assert len([key for key in store.objects() if key.startswith("out/lines/")]) == 12


def test_names_with_odd_characters(store: Store, request_: Request) -> None:
    assert carry_out(Stored(suffix=ODD), request_).ok == 12
    assert f"out/lines/0/0{ODD}" in store.objects()
    store.requests.clear()
    assert carry_out(Stored(suffix=ODD), request_).details["done_before"] == 12
    assert not [path for method, path in store.requests if "/lines/0/" in path and method == "PUT"]


def test_names_that_are_too_long(store: Store, request_: Request) -> None:
    long = "/".join(["x" * 199] * 5)  # of 999 bytes
    with pytest.raises(OutputError, match="bytes, at most 1,024"):
        carry_out(Stored(), replace(request_, output=Path(f"s3://faces/{long}/out")))
    assert not store.objects()
    request = replace(request_, output=Path(f"s3://faces/{long[:799]}/a"))
    with pytest.raises(OutputError, match="bytes, at most 1,024"):
        carry_out(Stored(suffix="y" * 230), request)
    assert not [key for key in store.objects() if "/a/0/" in key]
    request = replace(request_, output=Path(f"s3://faces/{long[:799]}/b"))
    assert carry_out(Stored(suffix="y" * 215), request).ok == 12
    assert max(map(len, store.objects())) > 1000


@pytest.mark.parametrize("kind", [Stored, StoredJoined])
def test_another_machine_resumes_what_is_in_the_store(
    kind: type[Lines],
    store: Store,
    request_: Request,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cured = tmp_path / "cured"
    job = kind(poison="source", at=9, cured=str(cured))
    with pytest.raises(FaceprepError, match="gone"):
        carry_out(job, request_)
    cured.touch()
    on_machine(2, tmp_path, monkeypatch)
    assert carry_out(job, request_).details["done_before"] == 8
    resumed = store.objects()
    carry_out(job, replace(request_, overwrite=True))
    assert store.objects() == resumed


@pytest.mark.parametrize("jobs", [(Stored(), StoredSorted()), (StoredSorted(), Stored())])
def test_the_output_of_another_command(
    jobs: tuple[Lines, Lines], store: Store, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never taken for one that was deleted, and --overwrite removes all of it."""
    for each in (Stored, StoredSorted):
        entry = Entry(f"{each.__module__}:{each.__name__}")
        monkeypatch.setitem(registry.COMMANDS, each.command, entry)
    first, second = jobs
    carry_out(second, request_)
    wanted = store.objects()
    store.clear()
    carry_out(first, request_)
    made = store.objects()
    with pytest.raises(ResumeError, match=f"begun differently .command '{first.command}' then"):
        carry_out(second, request_)
    assert store.objects() == made
    carry_out(second, replace(request_, overwrite=True))
    assert store.objects() == wanted


@pytest.mark.parametrize("kind", [Stored, StoredJoined])
def test_shares_of_several_machines(
    kind: type[Lines],
    store: Store,
    request_: Request,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job, joining = kind(), replace(request_, joins=True)
    carry_out(job, request_)
    whole = store.objects()
    store.clear()
    for number in (1, 3):
        on_machine(number, tmp_path, monkeypatch)
        carry_out(job, request_, number)
    on_machine(4, tmp_path, monkeypatch)
    with pytest.raises(ResumeError, match="--shard 2/3 is not done"):
        carry_out(job, joining)
    with pytest.raises(ResumeError, match=r"expected --shard 2/3, found --shard 2/4"):
        run_job(job, replace(request_, share=Share(2, 4)), SerialRunner())
    numbers = (2, 1, 2, 3) if kind is StoredJoined else (2,)  # the second stage needs all
    for number in numbers:
        on_machine(number, tmp_path, monkeypatch)
        carry_out(job, request_, number)
    on_machine(4, tmp_path, monkeypatch)
    assert carry_out(job, joining).details["done_before"] == 12
    assert store.objects() == whole


@dataclass(frozen=True)
class Choosing(Stored):
    """Shards of as many lines as a machine chooses, unless another one has chosen."""

    def plan(self, request: Request, scratch: Path) -> Work:
        work = super().plan(request, scratch)
        n = int(request.choices.get("lines", os.environ["LINES_OF_A_SHARD"]))
        stage = work.stages[0]
        shards = cut_evenly(12, n, stage.shards[0].source, id_format="{start:04d}")
        before_it_begins()
        return replace(work, stages=[replace(stage, shards=shards)], choices={"lines": n})


def before_it_begins() -> None:
    """Let another machine be quicker."""


def test_the_first_of_several_machines_chooses(
    store: Store, request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def be_quicker() -> None:
        monkeypatch.setattr(sys.modules[__name__], "before_it_begins", lambda: None)
        with monkeypatch.context() as other:
            other.setenv("LINES_OF_A_SHARD", "2")
            on_machine(1, tmp_path, other)
            assert carry_out(Choosing(), request_, 1).ok == 4

    monkeypatch.setenv("LINES_OF_A_SHARD", "4")
    monkeypatch.setattr(sys.modules[__name__], "before_it_begins", be_quicker)
    on_machine(2, tmp_path, monkeypatch)
    assert carry_out(Choosing(), request_, 2).ok == 4
    on_machine(3, tmp_path, monkeypatch)
    assert carry_out(Choosing(), request_, 3).ok == 4
    done = carry_out(Choosing(), replace(request_, joins=True))
    assert (done.ok, done.details["done_before"]) == (12, 12)
    assert len([key for key in store.objects() if "/ledger/0" in key]) == 6


def test_a_run_that_has_lost_its_lease_puts_no_page(store: Store, request_: Request) -> None:
    class Robbed(Stored):
        def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
            store.ask("PUT", "/out/.faceprep/lines/lock", b"somebody else 1 1")
            return super().run(shard, sink)

    with pytest.raises(OutputError, match="another run has taken over here"):
        carry_out(Robbed(), request_)
    assert not [key for key in store.objects() if "ledger" in key or key.endswith(".txt")]


def test_four_processes_of_which_one_is_killed(store: Store, rec_set: Path, tmp_path: Path) -> None:
    out = "s3://faces/out/train.tar"
    words = ["convert", str(rec_set / "train.rec"), out, "--shards", "8"]
    assert store.run(*words).returncode == 0
    whole = store.objects()
    store.clear()

    def start(number: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*FACEPREP, *words, "--shard", f"{number}/4", "--runner", "serial"],
            env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / f"machine{number}")},
            stderr=subprocess.PIPE,
            text=True,
        )

    processes = {number: start(number) for number in (1, 2, 3, 4)}

    def kill(method: str, path: str, number: int) -> str:
        if method == "PUT" and "train-00005-of" in path and processes[2].poll() is None:
            processes[2].send_signal(signal.SIGKILL)
            processes[2].wait()
        return ""

    store.fault = kill
    ended = {number: process.communicate() for number, process in processes.items()}
    assert [processes[number].returncode for number in (1, 2, 3, 4)] == [0, -9, 0, 0], ended
    store.fault = lambda *_: ""
    early = store.run("finish", out, "--dry-run")
    assert early.returncode == 1 and "--shard 2/4 is not done" in early.stderr
    again = start(2)
    assert again.communicate()[1] is not None and again.returncode == 0
    before = store.objects()
    previewed = store.run("finish", out, "--dry-run")
    assert previewed.returncode == 0 and store.objects() == before, previewed.stderr
    done = store.run("finish", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done_before"] == json.loads(done.stdout)["inputs"]
    assert store.objects() == whole
