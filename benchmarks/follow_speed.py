"""The speed of `extract-video --detect-every`: one video by threads, two videos by two workers."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from figures import RUNS, show_table
from timing import describe_runs
from video import enlarge

from faceprep.video.reader import read_frames

N_FRAMES = 900
"""Half a minute: the runs of fewer frames differ too much."""

Rates = dict[str, list[tuple[float, float]]]
"""Frames a second of each run: of time on the clock, and of time of the processors."""


class Run(NamedTuple):
    """Seconds on the clock and of the processors, and the number of frames."""

    wall: float
    cpu: float
    n: int


def extract(path: Path, *options: str) -> Run:
    """Run the whole command in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "faceprep", "extract-video", str(path), f"{folder}/out"]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run([*command, "--json", *options], capture_output=True, check=True)
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Run(wall, cpu, json.loads(done.stdout)["inputs"])


def decode(path: Path) -> Run:
    """Decode to RGB only, on all cores."""
    started, cpu = time.perf_counter(), time.process_time()
    n = sum(1 for _ in read_frames(path))
    return Run(time.perf_counter() - started, time.process_time() - cpu, n)


def repeat(source: Path, target: Path, n_frames: int) -> None:
    """Write a clip forwards and backwards until it has so many frames."""
    pictures = [frame.pixels for frame in read_frames(source)]
    loop = [*pictures, *pictures[::-1]]
    with av.open(str(target), "w") as video:
        stream = video.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "20"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for number in range(n_frames):
            picture = av.VideoFrame.from_ndarray(loop[number % len(loop)], "rgb24")
            video.mux(stream.encode(picture))
        video.mux(stream.encode())


def compare_speed(
    person: Path, several: Path, every: str, repeats: int, folder: Path, n_cases: int | None
) -> None:
    """Compare clips of one person and of several, at most `n_cases` of each kind of run."""
    single, crowd, large = (folder / f"{name}.mp4" for name in ("single", "crowd", "1080p"))
    repeat(person, single, N_FRAMES)
    repeat(several, crowd, N_FRAMES)
    enlarge(several, large)
    named = (("640x360, one person", single), ("640x360, several", crowd), ("1080p", large))
    kinds = (("one face a frame", ()), ("all faces", ("--all-faces",)))
    for title, path in named[:n_cases]:
        ways = {
            "one video": (path, ("--runner", "serial")),
            "two videos": (twice(path, folder), ("--workers", "2")),
        }
        for way, (source, runner) in list(ways.items())[:n_cases]:
            for kind, options in kinds[:n_cases]:
                rates = time_in_turn(source, [*runner, *options], every, repeats)
                show_rates(f"{title}, {kind}, {way}", rates, describe_runs(repeats))


def twice(path: Path, folder: Path) -> Path:
    """Make a folder in `folder` with two copies of a video."""
    pair = Path(tempfile.mkdtemp(dir=folder))
    for name in ("a", "b"):
        shutil.copy(path, pair / f"{name}{path.suffix}")
    return pair


def time_in_turn(source: Path, options: Sequence[str], every: str, repeats: int) -> Rates:
    """Return the rates of full detection and of tracking; of one video, those of decoding too."""
    rates: Rates = {}
    for _ in range(repeats):
        for name, more in (("full", ()), (every, ("--detect-every", every))):
            begin = extract(source, *options, *more, "--end", "0.26")
            whole = extract(source, *options, *more)
            n, wall, cpu = (whole[i] - begin[i] for i in (2, 0, 1))
            rates.setdefault(name, []).append((n / wall, n / cpu))
        if source.is_file():
            alone = decode(source)
            rates.setdefault("decode", []).append((alone.n / alone.wall, alone.n / alone.cpu))
    return rates


def show_rates(title: str, rates: Rates, note: str) -> None:
    """Show the median rates, and how many times as fast as the first they are."""
    full = np.median(next(iter(rates.values())), axis=0)
    rows = {}
    for name, runs in rates.items():
        clock, cpu = np.median(runs, axis=0)
        rows[name] = {"a second": clock, "a CPU second": cpu, "times as fast": clock / full[0]}
        rows[name] |= {"times as fast, CPU": cpu / full[1]}
        rows[name] |= {RUNS: " ".join(f"{clock:.0f}/{own:.0f}" for clock, own in runs)}
    show_table(title, rows, note)
