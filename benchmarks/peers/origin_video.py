"""The script that `extract-video` takes the place of, as it is usually written: one frame after the
other.

imageio reads, the TensorFlow MTCNN of the package `mtcnn` detects, scikit-image fits and warps,
imageio writes a PNG.

python benchmarks/peers/origin_video.py VIDEO OUT --frames 60

Prints frames a second of the loop alone, of the clock and of the processors. Imports, the model and
two frames to warm up are left out.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import imageio.v3 as imageio
import numpy as np
from mtcnn import MTCNN
from skimage.transform import SimilarityTransform, warp

_POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
_TEMPLATE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)
_WARM_UP = 2


def extract(detector: MTCNN, pixels: np.ndarray, target: Path) -> bool:  # type: ignore[type-arg]
    faces = detector.detect_faces(pixels)
    if not faces:
        return False
    surest = max(faces, key=lambda face: float(face["confidence"]))
    fit = SimilarityTransform.from_estimate(
        [surest["keypoints"][name] for name in _POINTS], _TEMPLATE
    )
    crop = warp(pixels, fit.inverse, output_shape=(112, 112))
    imageio.imwrite(target, (crop * 255).astype(np.uint8))
    return True


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("video")
    options.add_argument("out", type=Path)
    options.add_argument("--frames", type=int, default=60)
    given = options.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    detector = MTCNN()
    started, used, n_found = 0.0, 0.0, 0
    for number, pixels in enumerate(
        itertools.islice(imageio.imiter(given.video, plugin="pyav"), given.frames)
    ):
        if number == _WARM_UP:
            started, used = time.perf_counter(), time.process_time()
        n_found += extract(detector, pixels, given.out / f"{number}.png")
    n = given.frames - _WARM_UP
    clock, cpu = time.perf_counter() - started, time.process_time() - used
    print(f"{n_found} faces, frames a second: {n / clock:.3f} {n / cpu:.3f}")


if __name__ == "__main__":
    main()
