"""Compare aligned crops from decoded images with scikit-image's estimate and OpenCV's warp.

python benchmarks/align.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context

import cv2
import numpy as np
from skimage.transform import SimilarityTransform
from timing import side_by_side

from faceprep.core.arrays import Floats, Pixels
from faceprep.core.faces import Faces
from faceprep.core.landmarks import ARCFACE_112, check_landmarks, estimate_similarity
from faceprep.steps.crop_faces import open_cropper
from faceprep.synthetic import draw_face
from faceprep.vision.align import crop
from faceprep.vision.quality import MEASURES, measure_crop

Photo = tuple[Pixels, Floats]


def draw_photos(n: int, n_faces: int, height: int, width: int) -> list[Photo]:
    """Draw noise with landmarks of faces of 60 to 400 pixels, rotated and perturbed.

    The content of a crop does not matter here.
    """
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(8)]
    photos = []
    for i in range(n):
        size, angle = rng.uniform(60, 400, (n_faces, 1)) / 112, rng.normal(0, 0.3, (n_faces, 1))
        turned = (
            ((ARCFACE_112 + rng.normal(0, 2, (n_faces, 5, 2)) - 56) @ (1, 1j))
            * size
            * np.exp(1j * angle)
        )
        centres = rng.uniform(0.1, 0.9, (n_faces, 2)) * (width, height)
        points = np.stack([turned.real, turned.imag], axis=-1) + centres[:, None]
        photos.append((images[i % len(images)], points.astype(np.float32)))
    return photos


def loop(photos: list[Photo]) -> None:
    """Align each face with scikit-image, and crop each with OpenCV."""
    for image, landmarks in photos:
        for points in landmarks:
            matrix = SimilarityTransform.from_estimate(points, ARCFACE_112).params[:2]
            cv2.warpAffine(image, matrix, (112, 112), borderValue=0.0)


def ours(photos: list[Photo]) -> None:
    """Estimate, check and crop all faces of an image at once."""
    for image, landmarks in photos:
        transforms = estimate_similarity(landmarks, ARCFACE_112)
        sound = [not fault for fault in check_landmarks(landmarks)]
        for transform in transforms[sound]:
            crop(image, transform, (112, 112))


def ours_at_once(photos: list[Photo]) -> None:
    """Align as `align` does, with all landmarks in a table before the first photo is opened."""
    landmarks, cropper = (
        np.concatenate([points for _, points in photos]),
        open_cropper("arcface-112"),
    )
    n = len(landmarks)
    transforms, faults = cropper.fit(Faces(np.zeros((n, 4)), landmarks, np.ones(n)))
    fitted = zip(transforms, faults, strict=True)
    for image, points in photos:
        for transform, fault in islice(fitted, len(points)):
            if not fault:
                cropper.cut(image, transform)


def seconds_of(shape: tuple[int, int, int, int], repeats: int) -> float:
    """Return the median seconds of `ours_at_once` on photos drawn here: n photos, n faces,
    height, width.
    """
    cv2.setNumThreads(1)
    photos, seconds = draw_photos(*shape), []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        ours_at_once(photos)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def in_processes(shape: tuple[int, int, int, int], repeats: int) -> float:
    """Give half of the photos to each of two workers."""
    half = (shape[0] // 2, *shape[1:])
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        return max(pool.map(partial(seconds_of, repeats=repeats), [half, half]))


def warp_alone(photos: list[Photo]) -> None:
    """Time the part that every aligner needs."""
    for image, landmarks in photos:
        for transform in estimate_similarity(landmarks, ARCFACE_112):
            cv2.warpAffine(image, transform, (112, 112), borderValue=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for height, width, n_faces in ((480, 640, 1), (1080, 1920, 1), (1080, 1920, 6)):
        photos = draw_photos(arguments.images, n_faces, height, width)
        candidates = {
            "skimage estimate + cv2 warp, a loop": lambda photos=photos: loop(photos),
            "estimate, check and crop, photo by photo": lambda photos=photos: ours(photos),
            "all estimates, then crops": lambda photos=photos: ours_at_once(photos),
            "the same in two processes": partial(
                in_processes, (arguments.images, n_faces, height, width), 3
            ),
            "cv2 warp alone": lambda photos=photos: warp_alone(photos),
        }
        title = f"crops of 112 x 112 from {width} x {height}, {n_faces} a photo"
        side_by_side(title, arguments.images * n_faces, candidates, arguments.repeats)
    crops = np.stack([draw_face(i, 0)[0] for i in range(200)])
    side_by_side(
        f"all {len(MEASURES)} measures of quality, crops of 112 x 112, one thread",
        len(crops),
        {
            "cv2 Laplacian variance alone": lambda: laplacians(crops),
            "measure_crops": lambda: measure_all(crops),
        },
        arguments.repeats,
    )


def laplacians(crops: Pixels) -> None:
    for image in crops:
        cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var()


def measure_all(crops: Pixels) -> None:
    for image in crops:
        measure_crop(image)


if __name__ == "__main__":
    main()
