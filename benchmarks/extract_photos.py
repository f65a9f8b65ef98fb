"""Compare `extract-photos` on photos of 1 megapixel with decoding and detecting alone.

python benchmarks/extract_photos.py ../shared/data/photos  its photos, brought to 1 megapixel
python benchmarks/extract_photos.py                        drawn faces instead
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from figures import peak_mb, show_table
from timing import side_by_side

from faceprep.core.arrays import Pixels
from faceprep.core.cpu import n_cores, take_share
from faceprep.core.errors import FaceprepError
from faceprep.steps.find_faces import FaceOptions
from faceprep.synthetic import draw_face
from faceprep.vision.codec import decode, encode

_PIXELS = 1_000_000
_BATCH = 8


def load_photos(root: Path | None) -> list[Pixels]:
    """Load photos of about 1 megapixel."""
    photos = []
    for path in sorted(root.rglob("*.*")) if root else []:
        if path.parent.name != "odd":
            try:
                photos.append(decode(path.read_bytes()))
            except FaceprepError:
                continue
    for identity in range(0 if photos else 20):
        scene = np.random.default_rng(identity).integers(0, 256, (27, 36, 3), np.uint8)
        photo = cv2.resize(scene, (1152, 864), interpolation=cv2.INTER_CUBIC)
        photo[200:600, 300:700] = draw_face(identity, 0, 400)[0]
        photos.append(photo)
    return [
        cv2.resize(
            photo,
            None,
            fx=scale,
            fy=scale,
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC,
        )
        for photo in photos
        for scale in [(_PIXELS / (photo.shape[0] * photo.shape[1])) ** 0.5]
    ]


def write_photos(folder: Path, photos: list[Pixels], n: int) -> list[Path]:
    """Write `n` JPEG files, each with different pixels."""
    paths = []
    for i in range(n):
        photo = np.roll(photos[i % len(photos)], i // len(photos), axis=1)
        paths.append(folder / f"{i % 50}" / f"{i}.jpg")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        paths[-1].write_bytes(encode(photo, ".jpg", 92))
    return paths


def decode_and_detect(paths: list[Path], n_threads: int) -> float:
    """Return the seconds, without the start of Python and of the detector."""
    take_share(n_threads)
    finder = FaceOptions().finder()
    started = time.perf_counter()
    for first in range(0, len(paths), _BATCH):
        finder.find([decode(path.read_bytes()) for path in paths[first : first + _BATCH]])
    return time.perf_counter() - started


def alone(paths: list[Path], n_workers: int, with_start: bool) -> float:
    started = time.perf_counter()
    with ProcessPoolExecutor(n_workers, get_context("spawn")) as pool:
        work = partial(decode_and_detect, n_threads=max(1, n_cores() // n_workers))
        inside = max(pool.map(work, [paths[i::n_workers] for i in range(n_workers)]))
    return time.perf_counter() - started if with_start else inside


def command(folder: Path, output: Path, n_workers: int, *options: str) -> None:
    for ending in ("", "_multi", "_none"):
        shutil.rmtree(f"{output}{ending}", ignore_errors=True)
    arguments = ["extract-photos", str(folder), str(output), "--workers", str(n_workers), *options]
    subprocess.run([sys.executable, "-m", "faceprep", *arguments], check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "src", Path(folder) / "out"
        paths = write_photos(source, load_photos(given.photos), given.images)
        command(source, output, 2)
        show_output(output)
        candidates = {
            "decode and detect alone, two processes": partial(alone, paths, 2, False),
            "the same, with the start of Python": partial(alone, paths, 2, True),
            "--workers 1": partial(command, source, output, 1),
            "--workers 2": partial(command, source, output, 2),
        }
        if importlib.util.find_spec("ray"):
            ray = partial(command, source, output, 2, "--runner", "ray")
            candidates["--runner ray --workers 2"] = ray
        side_by_side("extract-photos", len(paths), candidates, given.repeats)


def show_output(output: Path) -> None:
    """Show what the command has left, and its memory."""
    sizes = [path.stat().st_size for path in output.rglob("*.png")]
    rows = {
        "a crop": {"number": len(sizes), "kB": sum(sizes) / max(len(sizes), 1) / 1e3},
        "the largest process": {"MB": peak_mb(resource.RUSAGE_CHILDREN)},
    }
    show_table("output", rows, "112 × 112 as PNG")


if __name__ == "__main__":
    main()
