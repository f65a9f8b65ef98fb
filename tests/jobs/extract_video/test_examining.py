"""Videos are examined for the plan in workers: one that crashes or hangs there costs itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from faceprep import ProcessRunner, Request, SerialRunner, run_job
from faceprep.core.errors import SourceError
from faceprep.core.examination import use_workers
from faceprep.core.types import Runner, Work
from faceprep.run import planning
from faceprep.run.shard_task import Examination
from faceprep.synthetic.video import VideoStyle
from faceprep.video import decoder, index
from tests.command import FACEPREP
from tests.failures import read_failures
from tests.fakes import results, tree
from tests.real import ROOT
from tests.videos import PatchVideo, failures, film

SOUND, BAD = ("a.mp4", "long.mp4", "z.mkv"), ("crash.mp4", "hang.mp4")
LONG = "rr.byr" * 10
"""Two seconds."""


@dataclass(frozen=True)
class PatchThirds(PatchVideo):
    """A video of two seconds is three pieces."""

    piece_s: ClassVar[float] = 0.75


class Pieces(PatchThirds):
    """Its workers have a decoder that acts on names."""

    def warm_up(self) -> None:
        stub_decoder()


def stub_decoder() -> None:
    """Crash or hang at the header of a video of that name, in this process, for good.

    The packets behind the header of a video that is called `packets` come slowly.
    """
    real, packets_of = decoder._open, index.packets_of
    pauses: list[float] = []

    def opened(path: str) -> Any:
        name, folder = os.path.basename(path), os.path.dirname(path)
        with open(f"{folder}/diary", "a") as diary:
            diary.write(f"{name} {os.getpid()}\n")
        if name.startswith("crash") and not os.path.exists(f"{folder}/repaired"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if name.startswith("hang"):
            time.sleep(1000)
        if name.startswith("slow"):
            time.sleep(2)
        pauses.append(0.03 if name.startswith("packets") else 0)
        return real(path)

    def slowly(*video: Any) -> Iterator[Any]:
        for packet in packets_of(*video):
            time.sleep(pauses[-1])
            yield packet

    decoder._open = opened
    index.packets_of = slowly


_STUB = """
from faceprep.jobs.extract_video.options import VideoOptions
from tests.jobs.extract_video.test_examining import stub_decoder
from tests.videos import PatchVideo
VideoOptions.finder = PatchVideo.finder
stub_decoder()
"""


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Three sound videos, the second of three pieces."""
    root = tmp_path / "videos"
    film(root / "a.mp4", "r.r" * 4)
    film(root / "long.mp4", LONG, VideoStyle(b_frames=2))
    film(root / "z.mkv", "yr" * 4)
    return root


@pytest.fixture
def mixed(videos: Path, tmp_path: Path) -> Path:
    """The sound videos, and two whose headers end a worker."""
    root = tmp_path / "mixed"
    root.mkdir()
    for name in SOUND:
        (root / name).hardlink_to(videos / name)
    for name in BAD:
        (root / name).hardlink_to(videos / "a.mp4")
    return root


def crops(output: Path) -> dict[str, bytes | None]:
    """Return the outputs but for the tables, which name the failed videos as well."""
    return {name: data for name, data in results(output).items() if name.endswith(".png")}


def reasons(output: Path) -> dict[str, str]:
    return {row["input"]: row["reason"] for row in read_failures(output)}


# The plan


@contextmanager
def planned(runner: Runner | None, source: Path, scratch: Path) -> Iterator[Work]:
    job, request = PatchThirds(), Request((source,), scratch / "out")
    scratch.mkdir()
    if runner is None:
        yield planning.plan(job, request, scratch).work
        return
    with runner.start(Examination(job, str(scratch))) as carry_out, use_workers(carry_out):
        yield planning.plan(job, request, scratch).work


def test_the_plan_does_not_depend_on_who_examines(videos: Path, tmp_path: Path) -> None:
    (videos / "none.mov").write_text("no video")
    for number in range(4):
        (videos / f"{number}.mp4").hardlink_to(videos / "long.mp4")
    runners = [None, SerialRunner(), *(ProcessRunner(n) for n in (1, 2, 5))]
    plans = []
    for number, runner in enumerate(runners):
        scratch = tmp_path / f"scratch {number}"
        with planned(runner, videos, scratch) as work:
            shards = [(shard, shard.payload) for stage in work.stages for shard in stage.shards]
            plans.append((work, shards, tree(scratch)))
    assert all(plan == plans[0] for plan in plans)
    assert len(plans[0][0].stages[0].shards) == 3 + 5 * 3 and len(plans[0][2]) >= 5


# Bad headers


def test_a_header_that_crashes_or_hangs_costs_its_video(
    videos: Path, mixed: Path, tmp_path: Path
) -> None:
    whole, output = tmp_path / "whole", tmp_path / "out"
    run_job(PatchThirds(), Request((videos,), whole), SerialRunner())
    request = Request((mixed,), output)
    done = run_job(Pieces(), request, ProcessRunner(2, item_timeout=1.5))
    assert crops(output) == crops(whole) and len(crops(output)) > 40
    assert {name for name, _ in failures(output)} == {*BAD}
    assert "was killed by SIGSEGV" in reasons(output)["crash.mp4"]
    assert "took longer than 1.5 s" in reasons(output)["hang.mp4"]
    assert done.others["video"] == {"crashed": 1, "timed_out": 1}
    again = run_job(Pieces(), request, ProcessRunner(1, item_timeout=1.5))
    assert again.by_status == done.by_status, "it is planned as it was"


def test_more_time_is_given_if_asked_for(videos: Path, tmp_path: Path) -> None:
    (videos / "z.mkv").rename(videos / "slow.mkv")
    request = Request((videos,), tmp_path / "out")
    assert run_job(Pieces(), request, ProcessRunner(2, item_timeout=1.2)).failed
    assert failures(request.output) == [("slow.mkv", "timed_out")]
    more = replace(request, item_timeout=60)
    assert not run_job(Pieces(), more, ProcessRunner(2, item_timeout=60)).failed
    whole = Request((videos,), tmp_path / "whole")
    run_job(PatchThirds(), whole, SerialRunner())
    assert results(request.output) == results(whole.output)


def test_a_slow_index_is_no_fault(videos: Path, tmp_path: Path) -> None:
    """Its 60 packets take longer than an item may."""
    for name in ("a.mp4", "z.mkv"):
        (videos / name).unlink()
    (videos / "long.mp4").rename(videos / "packets.mp4")
    output = tmp_path / "out"
    done = run_job(Pieces(), Request((videos,), output), ProcessRunner(1, item_timeout=1.2))
    assert not done.failed and len(crops(output)) > 20


def test_a_repaired_video_is_planned_anew(videos: Path, tmp_path: Path) -> None:
    (videos / "long.mp4").rename(videos / "crash.mp4")
    request = Request((videos,), tmp_path / "out")
    assert run_job(Pieces(), request, ProcessRunner(2)).failed
    (videos / "repaired").touch()
    assert not run_job(Pieces(), request, ProcessRunner(2)).failed
    whole = Request((videos,), tmp_path / "whole")
    run_job(PatchThirds(), whole, SerialRunner())
    assert results(request.output) == results(whole.output)


def test_a_video_that_was_sound_stops_the_resumption(videos: Path, tmp_path: Path) -> None:
    """Its pieces are known to the earlier run, so it is not one piece now."""
    (videos / "long.mp4").rename(videos / "crash.mp4")
    (videos / "repaired").touch()
    request = Request((videos,), tmp_path / "out")
    assert not run_job(Pieces(), request, ProcessRunner(2)).failed
    before = results(request.output)
    (videos / "repaired").unlink()
    with pytest.raises(SourceError, match=r"crash\.mp4: crashed the program that examined it"):
        run_job(Pieces(), request, ProcessRunner(2))
    assert results(request.output) == before


# The command line


@pytest.fixture
def command(mixed: Path, tmp_path: Path) -> Iterator[Any]:
    """Start extract-video with the decoder that crashes and hangs."""
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "sitecustomize.py").write_text(_STUB)
    begun: list[subprocess.Popen[str]] = []

    def begin(*options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*FACEPREP, "extract-video", str(mixed), str(tmp_path / "out"), "--json", *options],
            env=os.environ | {"PYTHONPATH": f"{stub}:{ROOT}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def test_the_command_names_what_ends_its_workers(command: Any, mixed: Path, tmp_path: Path) -> None:
    for name in ("long.mp4", "z.mkv", "hang.mp4"):
        (mixed / name).unlink()
    dry = command("--workers", "1", "--dry-run")
    out, err = dry.communicate(timeout=120)
    assert dry.returncode == 0, err
    assert "crash.mp4: crashed the program that examined it" in err, err
    assert json.loads(out)["shards"] == 4 and not (tmp_path / "out").exists()
    run = command("--workers", "2")
    out, err = run.communicate(timeout=120)
    assert run.returncode == 3 and "Traceback" not in err, err
    assert json.loads(out)["others"]["video"] == {"crashed": 1}
    assert failures(tmp_path / "out") == [("crash.mp4", "crashed")]
    pids = {int(line.split()[1]) for line in (mixed / "diary").read_text().splitlines()}
    assert not pids & {dry.pid, run.pid}, "nothing is opened in the driver"


@pytest.mark.parametrize(
    ("number", "options"),
    [(signal.SIGINT, ()), (signal.SIGTERM, ()), (signal.SIGTERM, ["--dry-run"])],
)
def test_planning_is_stopped_at_once(
    number: signal.Signals, options: Sequence[str], command: Any, mixed: Path, tmp_path: Path
) -> None:
    process = command("--workers", "2", *options)
    pid = wait_for_hang(mixed / "diary")
    process.send_signal(number)
    sent = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "stopped" in json.loads(out)["error"], err
    assert time.monotonic() - sent < 10
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not (tmp_path / "out").exists()


def wait_for_hang(diary: Path) -> int:
    """Return the process that hangs at a header."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = diary.read_text().splitlines() if diary.exists() else []
        for name, pid in map(str.split, lines):
            if name.startswith("hang"):
                return int(pid)
        time.sleep(0.02)
    pytest.fail("no worker has opened the video that hangs")
