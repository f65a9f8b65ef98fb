"""`extract-video` beside the script that it takes the place of, and beside decoding and detecting
alone.

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
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from video import enlarge

from faceprep.core.cpu import n_cores
from faceprep.core.prefetch import map_ahead
from faceprep.models.detectors.detector import DetectorSpec, open_detector
from faceprep.video.reader import Frame, VideoReader

_SCRIPT = Path(__file__).parent / "peers" / "origin_video.py"
_SCRIPT_FRAMES = {360: 60, 1080: 20}


def detect_only(path: Path, ahead: bool) -> float:
    """Frames a second, the detector open already."""
    detector = open_detector(DetectorSpec(threads=n_cores(), min_score=0.5))
    with VideoReader(path, n_cores()) as video:
        frames = video.frames()

        def detect(frame: Frame) -> None:
            detector.detect([frame.pixels])

        detect(next(frames))
        started = time.perf_counter()
        n = sum(1 for _ in (map_ahead(detect, frames, 1, 8) if ahead else map(detect, frames)))
        return n / (time.perf_counter() - started)


def ours(path: Path, *options: str) -> tuple[float, float, int]:
    """(seconds, MB of the largest process at its peak, frames) of the whole command."""
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
        started = time.perf_counter()
        run = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        peak = 0
        while run.poll() is None:
            peak = max(peak, largest(run.pid))
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        told = json.loads(run.communicate()[0])
        return seconds, peak / 1e6, told["inputs"]


def largest(process: int) -> int:
    """Resident bytes of the largest of a process and its children."""
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


def script(path: Path, n_frames: int) -> float:
    """Frames a second."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(_SCRIPT), str(path), folder, "--frames", str(n_frames)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(done.stdout.split()[-1])


def compare(title: str, path: Path, n_script: int, repeats: int, with_script: bool) -> None:
    """Everything in turn, medians."""
    rates: dict[str, list[float]] = {}
    peaks = []

    def note(name: str, rate: float) -> None:
        rates.setdefault(name, []).append(rate)

    for _ in range(repeats):
        beginning = ours(path, "--end", "0.26")
        seconds, peak, n = ours(path)
        peaks.append(peak)
        note("extract-video, the whole command", n / seconds)
        note("extract-video, in steady state", (n - beginning[2]) / (seconds - beginning[0]))
        looks: dict[str, Callable[[], float]] = {
            "decode and detect only, one after the other": lambda: detect_only(path, ahead=False),
            "decode and detect only, decoding ahead": lambda: detect_only(path, ahead=True),
        }
        for name, look in looks.items():
            note(name, look())
        if with_script:
            note("the script: imageio, TensorFlow MTCNN, skimage", script(path, n_script))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    whole = medians["extract-video, the whole command"]
    print(
        f"\n{title}, {n} frames, median of "
        f"{repeats}\n{'':50s}{'frames a second':>16s}{'whole command is':>18s}   runs"
    )
    for name, median in medians.items():
        runs = " ".join(f"{value:.1f}" for value in rates[name])
        print(f"{name:50s}{median:16.1f}{whole / median:16.2f} ×   {runs}")
    print(f"largest process of extract-video at its peak: {max(peaks):.0f} MB")


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("clip", type=Path)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--without-script", action="store_true")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "1080p.mp4"
        enlarge(given.clip, large)
        for title, path, height in (("640×360", given.clip, 360), ("1920×1080", large, 1080)):
            compare(title, path, _SCRIPT_FRAMES[height], given.repeats, not given.without_script)


if __name__ == "__main__":
    main()
