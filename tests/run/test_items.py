"""One item costs one item: decoders that crash, hang or raise, on their own and in batches."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from faceprep import ProcessRunner, Request, SerialRunner, run_job
from faceprep.core import items
from faceprep.core.io.image_bytes import read_image_bytes
from faceprep.core.job import Job
from faceprep.core.options import option
from faceprep.core.shards import cut_evenly
from faceprep.core.types import Outcome, Shard, Sink, Stage, Work
from faceprep.core.types import Request as Asked
from faceprep.vision import codec
from tests.failures import failure_lines
from tests.fakes import results, wait_until
from tests.real import ROOT

N, BAD = 12, 5


@dataclass(frozen=True)
class Copies(Job):
    """Copies files in batches of four, through a decoder and a model that act on their content."""

    command: ClassVar[str] = "copies"
    diary: str = option("", "A file that names each shard that was begun.")

    def plan(self, request: Asked, scratch: Path) -> Work:
        names = sorted(os.listdir(request.sources[0]))
        return Work([Stage("copy", cut_evenly(len(names), 6, request.sources[0]))], "", files=None)

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        if self.diary:
            with open(self.diary, "a") as file:
                file.write(f"{shard.id}\n")
        batch: list[tuple[str, bytes]] = []
        for name in sorted(os.listdir(shard.source))[shard.start : shard.stop]:
            data = read_image_bytes(f"{shard.source}/{name}", name)
            if isinstance(data, Outcome):
                yield data
                continue
            happen(data.decode().removeprefix("decoder "))
            batch.append((name, data))
            if len(batch) == items.most_at_once(4):
                yield from finish_batch(batch, sink)
                batch = []
        yield from finish_batch(batch, sink)


def finish_batch(batch: Sequence[tuple[str, bytes]], sink: Sink) -> Iterator[Outcome]:
    for _, data in batch:
        happen(data.decode().removeprefix("model "))
    for name, data in batch:
        sink.write(name, data)
        yield Outcome(name)


def happen(what: str) -> None:
    if what == "aborts":
        os.abort()
    if what == "hangs":
        time.sleep(1000)
    if what == "naps":
        time.sleep(1.5)
    if what == "raises":
        raise ValueError("a bug")
    if what == "fills":
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    if what == "exits":
        sys.exit("a bug")


def fill(folder: Path, bad: dict[int, str]) -> Path:
    folder.mkdir()
    for i in range(N):
        (folder / f"{i:02d}").write_text(bad.get(i, "sound"))
    return folder


@pytest.mark.parametrize("where", ["decoder", "model"])
@pytest.mark.parametrize(
    ("what", "status", "reason"),
    [
        ("aborts", "crashed", "05: the worker was killed by SIGABRT"),
        ("hangs", "timed_out", "05: took longer than 0.7 s"),
        ("raises", "crashed", "05: ValueError: a bug (test_items.py:"),
        ("exits", "crashed", "05: SystemExit: a bug (test_items.py:"),
    ],
)
def test_one_item_costs_one_item(
    where: str, what: str, status: str, reason: str, tmp_path: Path
) -> None:
    source = fill(tmp_path / "source", {BAD: f"{where} {what}"})
    request = Request((source,), tmp_path / "out")
    summary = run_job(Copies(), request, ProcessRunner(2, item_timeout=0.7))
    assert summary.by_status == {"ok": N - 1, status: 1}
    ((key, found, why),) = failure_lines(request.output)
    assert (key, found) == ("05", status) and why.startswith(reason)
    names = {f"{i:02d}" for i in range(N)} - {"05"}
    assert set(results(request.output)) == names
    again = run_job(Copies(), request, ProcessRunner(2))
    assert again.details["done_before"] == N, "it is an outcome like others"


def test_memory_that_runs_out_in_a_library_is_no_bug(tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {BAD: "model fills"})
    request = Request((source,), tmp_path / "out")
    assert run_job(Copies(), request, SerialRunner()).by_status == {"no_memory": 1, "ok": N - 1}
    (source / "05").write_text("sound")
    assert run_job(Copies(), request, SerialRunner()).ok == N, "it is tried again"


def test_more_time_is_given_only_if_asked_for(tmp_path: Path) -> None:
    source, diary = fill(tmp_path / "source", {BAD: "decoder naps"}), tmp_path / "diary"
    request, job = Request((source,), tmp_path / "out"), Copies(diary=str(diary))

    def start(asked: float | None, limit: float) -> dict[str, int]:
        before = len(diary.read_text().split()) if diary.exists() else 0
        done = run_job(job, replace(request, item_timeout=asked), ProcessRunner(2, limit))
        counts = dict(done.by_status)
        return counts | {"shards": len(diary.read_text().split()) - before}

    given_up = {"ok": N - 1, "timed_out": 1}
    assert start(0.5, 0.5).items() >= given_up.items()
    assert start(0.5, 0.5) == given_up | {"shards": 0}
    assert start(None, 60) == given_up | {"shards": 0}, "nobody asked"
    assert start(30, 30) == {"ok": N, "shards": 1}
    assert run_job(job, replace(request, item_timeout=90), ProcessRunner(2)).ok == N


def test_several_items_of_one_shard(tmp_path: Path) -> None:
    bad = {0: "decoder aborts", 1: "model raises", 3: "model aborts", 7: "decoder aborts"}
    request = Request((fill(tmp_path / "source", bad),), tmp_path / "out")
    summary = run_job(Copies(), request, ProcessRunner(2))
    assert summary.by_status == {"crashed": 4, "ok": N - 4}
    assert [key for key, *_ in failure_lines(request.output)] == ["00", "01", "03", "07"]


def test_the_only_input_of_a_shard_is_to_blame_at_once(tmp_path: Path) -> None:
    source, diary = fill(tmp_path / "source", {}), tmp_path / "diary"
    (source / "12").write_text("model hangs")
    request = Request((source,), tmp_path / "out")
    summary = run_job(Copies(diary=str(diary)), request, ProcessRunner(1, item_timeout=0.7))
    assert summary.by_status == {"ok": N, "timed_out": 1}
    begun = diary.read_text().split()
    assert begun.count("000002") == 2, "it hangs once, and is left out then"


def test_an_exception_costs_one_item_with_the_serial_runner_too(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    request = Request((fill(tmp_path / "source", {2: "model raises"}),), tmp_path / "out")
    summary = run_job(Copies(diary=str(diary)), request, SerialRunner())
    assert summary.by_status == {"crashed": 1, "ok": N - 1}
    assert diary.read_text().split() == ["000000"] * 3 + ["000001"], "care ends with its shard"


def test_a_slow_batch_of_quick_items_is_no_fault(tmp_path: Path) -> None:
    request = Request((fill(tmp_path / "source", {}),), tmp_path / "out")
    assert run_job(Slow(), request, ProcessRunner(2, item_timeout=0.6)).ok == N


class Slow(Copies):
    """Four items at once take longer than an item may."""

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        for outcome in super().run(shard, sink):
            time.sleep(0.2)
            yield outcome


_STUB = """
import os, time
from faceprep.vision import codec
real = codec.decode_noted
def decode(data):
    if bytes(data).endswith(b"abort"):
        os.abort()
    if bytes(data).endswith(b"hang"):
        time.sleep(1000)
    return real(data)
codec.decode_noted = decode
"""


def test_decoders_that_crash_and_hang_through_the_command_line(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "person"
    folder.mkdir(parents=True)
    image = codec.encode(np.full((112, 112, 3), 99, np.uint8), ".png")
    for name, end in (("a", b""), ("b", b"abort"), ("c", b""), ("d", b"hang"), ("e", b"")):
        (folder / f"{name}.png").write_bytes(image + end)
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "sitecustomize.py").write_text(_STUB)
    words = ["score", str(tmp_path / "set"), str(tmp_path / "out.parquet")]
    words += ["--workers", "2", "--item-timeout", "3", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "faceprep", *words],
        env=os.environ | {"PYTHONPATH": f"{tmp_path / 'stub'}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 3, done.stderr
    told = json.loads(done.stdout)
    assert told["by_status"] == {"crashed": 1, "ok": 3, "timed_out": 1}
    with open(told["failures"], newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert rows == [
        ["person/b.png", "crashed", "person/b.png: the worker was killed by SIGABRT"],
        ["person/d.png", "timed_out", "person/d.png: took longer than 3 s"],
    ]
    assert "Traceback" not in done.stderr


_NAP = """
import time
from faceprep.vision import codec
real = codec.decode_noted
def decode(data):
    open({marker!r}, "w").close()
    for _ in range(10):
        time.sleep(0.1)
    return real(data)
codec.decode_noted = decode
"""


def test_time_in_which_a_run_is_stopped_does_not_count(tmp_path: Path) -> None:
    """Ctrl-Z stops the command and its workers; `fg` continues them."""
    (tmp_path / "set").mkdir()
    image = codec.encode(np.full((112, 112, 3), 99, np.uint8), ".png")
    (tmp_path / "set" / "a.png").write_bytes(image)
    marker = tmp_path / "begun"
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "sitecustomize.py").write_text(_NAP.format(marker=str(marker)))
    words = ["score", str(tmp_path / "set"), str(tmp_path / "out.parquet")]
    command = subprocess.Popen(
        [sys.executable, "-m", "faceprep", *words, "--workers", "1", "--item-timeout", "3"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path / 'stub'}:{ROOT}"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(marker.exists)
    os.killpg(command.pid, signal.SIGSTOP)
    time.sleep(4)
    os.killpg(command.pid, signal.SIGCONT)
    _, stderr = command.communicate(timeout=120)
    assert command.returncode == 0, stderr


def test_a_name_that_is_too_long_for_its_output(tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {})
    (source / ("0" + "x" * 254)).write_text("sound")
    request = Request((source,), tmp_path / "out")
    summary = run_job(Suffixed(), request, SerialRunner())
    assert summary.by_status == {"long_name": 1, "ok": N}
    ((key, status, reason),) = failure_lines(request.output)
    assert (len(key), status) == (255, "long_name") and "File name too long" in reason


def test_a_name_that_the_file_system_does_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def on_exfat(path: Any, flags: int, *rest: Any, **others: Any) -> int:
        if flags & os.O_CREAT and ":" in str(path):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(path, flags, *rest, **others)

    source = fill(tmp_path / "source", {})
    (source / "a:b").write_text("sound")
    monkeypatch.setattr(os, "open", on_exfat)
    request = Request((source,), tmp_path / "out")
    summary = run_job(Suffixed(), request, SerialRunner())
    assert summary.by_status == {"bad_name": 1, "ok": N}
    ((key, status, reason),) = failure_lines(request.output)
    assert (key, status) == ("a:b", "bad_name") and "Invalid argument" in reason


class Suffixed(Copies):
    """Adds a suffix to each name."""

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        for name in sorted(os.listdir(shard.source))[shard.start : shard.stop]:
            data = read_image_bytes(f"{shard.source}/{name}", name)
            if isinstance(data, bytes):
                sink.write(f"{name}.png", data)
            yield data if isinstance(data, Outcome) else Outcome(name)
