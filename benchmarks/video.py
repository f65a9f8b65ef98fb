"""Compare video to RGB frames with imageio and OpenCV, as the clip is and enlarged to 1080p.

python benchmarks/video.py ../shared/data/video/short_hamilton_clip.mp4
python benchmarks/video.py CLIP --repeats 3 --threads 1        one thread each, as in a worker
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import imageio.v3 as imageio
from figures import peak_mb, show_table
from timing import Candidate, side_by_side

from faceprep.video.reader import read_frames


def enlarge(source: Path, target: Path) -> None:
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for number, frame in enumerate(old.decode(video=0)):
            larger = frame.reformat(1920, 1080, "yuv420p")
            larger.pts, larger.time_base = number, Fraction(1, 30)
            new.mux(stream.encode(larger))
        new.mux(stream.encode())


def ours(path: Path, n_threads: int) -> None:
    for frame in read_frames(path, n_threads=n_threads):
        assert frame.pixels.shape[2] == 3


def pyav_alone(path: Path, n_threads: int) -> None:
    """Decode without any conversion: the limit of the cores."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = n_threads
        for _ in container.decode(stream):
            pass


def by_imageio(path: Path, plugin: str) -> None:
    for pixels in imageio.imiter(path, plugin=plugin):
        assert pixels.shape[2] == 3


def by_opencv(path: Path, n_threads: int) -> None:
    video = cv2.VideoCapture(
        str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, n_threads] if n_threads else []
    )
    while True:
        there, bgr = video.read()
        if not there:
            return
        cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("clip", type=Path)
    options.add_argument("--threads", type=int, default=0, help="0: as many as the cores")
    options.add_argument("--repeats", type=int, default=5)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "1080p.mp4"
        enlarge(given.clip, large)
        for path in (given.clip, large):
            candidates: dict[str, Candidate] = {
                "imageio, PyAV plug-in": partial(by_imageio, path, "pyav"),
                "cv2.VideoCapture and cvtColor": partial(by_opencv, path, given.threads),
                "faceprep read_frames": partial(ours, path, given.threads),
                "PyAV, decoding alone": partial(pyav_alone, path, given.threads),
            }
            if importlib.util.find_spec("imageio_ffmpeg"):
                candidates = {
                    "imageio, FFmpeg plug-in": partial(by_imageio, path, "FFMPEG"),
                    **candidates,
                }
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                title, n = f"{stream.width}x{stream.height}", stream.frames
            side_by_side(title, n, candidates, given.repeats)
    show_table("memory", {"this process": {"MB": peak_mb()}})


if __name__ == "__main__":
    main()
