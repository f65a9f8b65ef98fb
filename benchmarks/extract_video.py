"""Compare `extract-video` with the usual script, and with decoding and detecting alone.

python benchmarks/extract_video.py ../shared/data/video/short_hamilton_clip.mp4
python benchmarks/extract_video.py CLIP --repeats 3 --without-script

The clip as it is and enlarged to 1080p. Ours is the whole command in a process of its own, imports,
model and table included; "in steady state" leaves out what a clip of 8 frames takes. The script's
rate is that of its loop alone, on the first frames. To only decode and detect is done in two ways,
of which the faster counts: one frame after the other with all cores for each step, as a loop would;
and that with decoding ahead in a thread.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil
from figures import RUNS, Cell, show_table
from timing import describe_runs, processor_seconds
from video import enlarge

from faceprep.core.cpu import n_cores
from faceprep.core.prefetch import map_ahead
from faceprep.models.detectors.detector import DetectorSpec, open_detector
from faceprep.video.reader import Frame, VideoReader

_SCRIPT = Path(__file__).parent / "peers" / "origin_video.py"
_SCRIPT_NEEDS = ("mtcnn", "tensorflow", "skimage")
Rates = tuple[float, float]
"""Frames a second of the clock, and of the processors."""


class Run(NamedTuple):
    """Seconds of the clock and of the processors, MB of the largest process, and frames."""

    wall: float
    cpu: float
    peak: float
    n: int


def detect_only(path: Path, ahead: bool) -> Rates:
    """Measure frames a second, the detector open already."""
    detector = open_detector(DetectorSpec(threads=n_cores(), min_score=0.5))
    with VideoReader(path, n_cores()) as video:
        frames = video.frames()

        def detect(frame: Frame) -> None:
            detector.detect([frame.pixels])

        detect(next(frames))
        started, used = time.perf_counter(), time.process_time()
        n = sum(1 for _ in (map_ahead(detect, frames, 1, 8) if ahead else map(detect, frames)))
        return n / (time.perf_counter() - started), n / (time.process_time() - used)


def ours(path: Path, *options: str) -> Run:
    """Run the whole command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "faceprep",
            "extract-video",
            str(path),
            f"{folder}/out",
            "--json",
            *options,
        ]
        started, used = time.perf_counter(), processor_seconds()
        run = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        peak = 0
        while run.poll() is None:
            peak = max(peak, largest(run.pid))
            time.sleep(0.02)
        seconds, cpu = time.perf_counter() - started, processor_seconds() - used
        return Run(seconds, cpu, peak / 1e6, json.loads(run.communicate()[0])["inputs"])


def largest(process: int) -> int:
    """Return the resident bytes of the largest process among a process and its children."""
    sizes = [0]
    try:
        parent = psutil.Process(process)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            sizes.append(member.memory_info().rss)
        except psutil.NoSuchProcess:
            continue
    return max(sizes)


def script(path: Path, n_frames: int) -> Rates:
    """Run the script, which prints both rates of its loop."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(_SCRIPT), str(path), folder, "--frames", str(n_frames)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        clock, cpu = map(float, done.stdout.split()[-2:])
        return clock, cpu


def compare(title: str, path: Path, n_script: int, repeats: int, with_script: bool) -> None:
    """Run all candidates in turn, and show medians."""
    rates: dict[str, list[Rates]] = {}
    peaks = []

    def note(name: str, rate: Rates) -> None:
        rates.setdefault(name, []).append(rate)

    for _ in range(repeats):
        beginning = ours(path, "--end", "0.26")
        whole = ours(path)
        peaks.append(whole.peak)
        n = whole.n - beginning.n
        steady = (n / (whole.wall - beginning.wall), n / (whole.cpu - beginning.cpu))
        note("extract-video, the whole command", (whole.n / whole.wall, whole.n / whole.cpu))
        note("extract-video, in steady state", steady)
        looks: dict[str, Callable[[], Rates]] = {
            "decode and detect only, one after the other": lambda: detect_only(path, ahead=False),
            "decode and detect only, decoding ahead": lambda: detect_only(path, ahead=True),
        }
        for name, look in looks.items():
            note(name, look())
        if with_script:
            note("the script: imageio, TensorFlow MTCNN, skimage", script(path, n_script))
    note_text = f"{whole.n} frames, {describe_runs(repeats)}"
    show_table(title, {name: row_of(values) for name, values in rates.items()}, note_text)
    show_table(f"memory, {title}", {"the largest process of extract-video": {"MB": max(peaks)}})


def row_of(runs: list[Rates]) -> dict[str, Cell]:
    """Return the medians of both rates."""
    clock, cpu = (statistics.median(column) for column in zip(*runs, strict=True))
    return {"a second": clock, "a CPU second": cpu, RUNS: " ".join(f"{run[0]:.1f}" for run in runs)}


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("clip", type=Path)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--without-script", action="store_true")
    options.add_argument("--quick", action="store_true", help="the clip as it is, once")
    given = options.parse_args()
    with_script = not given.without_script and all(map(importlib.util.find_spec, _SCRIPT_NEEDS))
    with tempfile.TemporaryDirectory() as folder:
        repeats = 1 if given.quick else given.repeats
        compare("640×360", given.clip, 60, repeats, with_script)
        if not given.quick:
            large = Path(folder) / "1080p.mp4"
            enlarge(given.clip, large)
            compare("1920×1080", large, 20, repeats, with_script)


if __name__ == "__main__":
    main()
