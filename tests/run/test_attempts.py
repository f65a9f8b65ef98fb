"""One shard carried out by two processes at once: the first commit counts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from faceprep import Request
from faceprep.core import locks
from faceprep.core.job import Job
from faceprep.core.types import Outcome, Shard, Sink
from faceprep.run.places import Places
from faceprep.run.shard_task import ShardTask
from tests.fakes import JoinedLines, Lines, start, status_of, tree, wait_until, write_lines


@dataclass(frozen=True)
class Hurried(Lines):
    """Lines whose two workers begin at the same time, or one while the other has begun."""

    folder: str = ""
    late: bool = False

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        mark = Path(self.folder, str(os.getpid()))
        for outcome in super().run(shard, sink):
            if outcome.key == "2":
                mark.touch()
                wait_until(lambda: len(os.listdir(self.folder)) == 2)
                if self.late and str(os.getpid()) == max(os.listdir(self.folder), key=int):
                    time.sleep(0.1)
            yield outcome


def carry_out_twice(job: Job, places: Places, shard: Shard, folder: Path) -> list[object]:
    """Return the reports of two processes that carry out the same shard."""

    def carry_out(number: int, token: str) -> None:
        report = ShardTask(job, places, token).run(shard)
        told = [report.n_inputs, dict(report.by_status), report.n_outputs, report.crash]
        (folder / f"report {number}").write_text(json.dumps(told))

    with locks.lock(places.state) as token:
        children = [start(lambda n=n: carry_out(n, token)) for n in (0, 1)]
        assert [status_of(child) for child in children] == [0, 0]
    return [json.loads((folder / f"report {number}").read_text()) for number in (0, 1)]


@pytest.mark.parametrize("late", [False, True], ids=["at the same time", "one later"])
@pytest.mark.parametrize("was_there", [False, True], ids=["new folders", "folders there before"])
def test_two_processes_at_one_shard(late: bool, was_there: bool, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "source.txt")
    for i in range(5):
        root, marks = tmp_path / f"out {i}", tmp_path / f"marks {i}"
        marks.mkdir()
        for folder in ("0", "1", "2") if was_there else ():
            (root / folder).mkdir(parents=True)
        places, job = Places(root), Hurried(folder=str(marks), late=late)
        work = job.plan(Request((source,), root), places.scratch)
        reports = carry_out_twice(job, places, work.stages[0].shards[0], tmp_path)
        assert reports == [[4, {"ok": 4}, 4, ""]] * 2
        found = tree(root)
        files = {f"{n % 3}/{n}.txt": f"line {n}".encode() for n in range(4)}
        assert {name: found[name] for name in files} == files
        assert ".faceprep/ledger/0000.jsonl" in found
        left = {name for name in found if name.startswith((".faceprep/staging/", ".faceprep/sc"))}
        assert not left, "nothing of either attempt stays behind"


def test_two_processes_at_one_shard_of_parts(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "source.txt")
    request = Request((source,), tmp_path / "lines.bin")
    places = Places(tmp_path, "lines.bin")
    shard = JoinedLines().plan(request, places.scratch).stages[0].shards[1]
    reports = carry_out_twice(JoinedLines(), places, shard, tmp_path)
    assert reports == [[4, {"ok": 4}, 0, ""]] * 2
    part = tmp_path / places.part_name(shard.id, ".1")
    assert part.read_bytes() == b"".join(
        b"%d/%d.txt line %d\n" % (n % 3, n, n) for n in range(4, 8)
    )
