"""Time detectors on single images and batches, and mtcnn's package; measure recall by size.

python benchmarks/detectors.py --video clip.mp4 --photo faces.jpg
python benchmarks/detectors.py --video clip.mp4 --only recall
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from figures import show_table
from timing import side_by_side

from faceprep.core.arrays import Pixels
from faceprep.core.boxes import overlaps
from faceprep.core.faces import Detector, Faces
from faceprep.models.detectors.detector import DetectorSpec, SizedDetector, open_detector
from faceprep.vision.codec import decode

NAMES = ("retinaface", "mtcnn", "centerface")
PARTS = ("package", "batch", "time", "recall")
SHARES = (0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Height of the face by the height of the frame."""
FRAME = (720, 1280)


def opened(name: str, threads: int, **options: bool) -> SizedDetector:
    return open_detector(DetectorSpec(name, "cpu", threads=threads, **options))


def frames_of(video: str, n: int) -> list[Pixels]:
    """Return `n` frames spread over the video."""
    capture = cv2.VideoCapture(video)
    frames = []
    while True:
        there, bgr = capture.read()
        if not there:
            return [frames[i] for i in np.linspace(0, len(frames) - 1, n).astype(int)]
        frames.append(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def people() -> Pixels:
    """Return the photo t1 of insightface, which shows six people."""
    spec = importlib.util.find_spec("insightface")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install insightface, or name a --photo")
    return decode((Path(spec.origin).parent / "data" / "images" / "t1.jpg").read_bytes())


def beside_the_package(frames: list[Pixels], threads: int, repeats: int) -> None:
    """Time the same settings: whole frames, faces of 20 pixels and more.

    The package runs in TensorFlow on all cores.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from mtcnn import MTCNN

    theirs, ours = MTCNN(), opened("mtcnn", threads)
    detect = ours._detector.detect  # without the second look, which the package does not have

    def package() -> None:
        for frame in frames:
            theirs.detect_faces(frame)

    def loop() -> None:
        for frame in frames:
            detect([frame])

    package()
    height, width = frames[0].shape[:2]
    candidates = {"package mtcnn (TensorFlow)": package, "faceprep mtcnn, one by one": loop}
    candidates["faceprep mtcnn, a batch"] = lambda: None if detect(frames) else None
    side_by_side(
        f"mtcnn at {width} × {height}, {threads or 'all'} threads", len(frames), candidates, repeats
    )


def batch_beside_loop(frames: list[Pixels], threads: int, repeats: int) -> None:
    """Time all frames in one call, and a call for each."""
    square = [cv2.resize(frame, (640, 640)) for frame in frames]
    for images in (frames, square):
        height, width = images[0].shape[:2]
        candidates = {}
        for name in NAMES:
            detector = opened(name, threads)._detector
            candidates[f"{name}, one by one"] = partial(_each, detector, images)
            candidates[f"{name}, a batch of {len(images)}"] = partial(_all, detector, images)
        for pair in zip(list(candidates)[::2], list(candidates)[1::2], strict=True):
            both = {label: candidates[label] for label in pair}
            for candidate in both.values():
                candidate()
            side_by_side(
                f"{width} × {height}, {threads or 'all'} threads", len(images), both, repeats
            )


def _each(detector: Detector, images: list[Pixels]) -> None:
    for image in images:
        detector.detect([image])


def _all(detector: Detector, images: list[Pixels]) -> None:
    detector.detect(images)


def time_an_image(frames: list[Pixels], threads: int) -> None:
    """Show median milliseconds, shrinking and second looks included."""
    rows = {}
    for size in ((640, 360), (1280, 720), (1920, 1080)):
        images = [cv2.resize(frame, size) for frame in frames]
        row = {}
        for name in NAMES:
            detector = opened(name, threads)
            times = []
            for image in images:
                started = time.perf_counter()
                detector.detect([image])
                times.append(time.perf_counter() - started)
            row[name] = statistics.median(times) * 1000
        rows[f"{size[0]} × {size[1]}"] = row
    show_table("ms an image", rows, f"{threads or 'all'} threads, median of {len(frames)} frames")


def framed(
    photo: Pixels, box: Sequence[float], share: float, among_others: bool
) -> tuple[Pixels, Faces]:
    """Scale the photo so that the face at `box` has `share` of the frame's height, in the
    middle of a grey frame. Everything further from the face than its own size is grey as well,
    unless it stays `among_others`.
    """
    if not among_others:
        photo = only_around(photo, box)
    height, width = FRAME
    scale = share * height / (box[3] - box[1])
    middle = (box[0] + box[2]) / 2 * scale, (box[1] + box[3]) / 2 * scale
    shift = (width / 2 - middle[0], height / 2 - middle[1])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=how)
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
    frame = cv2.warpAffine(scaled, move, (width, height), borderValue=(127, 127, 127))
    at = np.array(box, np.float32) * scale + np.tile(shift, 2)
    return frame, Faces(at[None], np.zeros((1, 5, 2)), np.ones(1))


def only_around(photo: Pixels, box: Sequence[float]) -> Pixels:
    """Return the photo with everything beyond twice the box in grey."""
    x1, y1, x2, y2 = box
    left, right = (max(0, round(float(x))) for x in (x1 - (x2 - x1) / 2, x2 + (x2 - x1) / 2))
    top, bottom = (max(0, round(float(y))) for y in (y1 - (y2 - y1) / 2, y2 + (y2 - y1) / 2))
    grey = np.full_like(photo, 127)
    grey[top:bottom, left:right] = photo[top:bottom, left:right]
    return grey


def alone(photo: Pixels, box: Sequence[float]) -> tuple[Pixels, Faces]:
    """Return the face alone, 1080 pixels high."""
    x1, y1, x2, y2 = (max(0, round(float(side))) for side in box)
    scale = 1080 / (y2 - y1)
    face = cv2.resize(photo[y1:y2, x1:x2], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    whole = np.array([[0, 0, face.shape[1], face.shape[0]]], np.float32)
    return face, Faces(whole, np.zeros((1, 5, 2)), np.ones(1))


def recall(photos: list[Pixels], threads: int, min_iou: float = 0.5) -> None:
    """Show the shares of the same faces that are found at each size, and on a second look."""
    truth = [
        (photo, box)
        for photo in photos
        for box in opened("retinaface", threads).detect([photo])[0].boxes
    ]
    heads = [*(f"{share:.0%}" for share in SHARES), "alone"]
    shares: dict[str, dict[str, float]] = {}
    seconds: dict[str, dict[str, float]] = {}
    note = f"{len(truth)} faces in {FRAME[1]} × {FRAME[0]}, by height of the face in the frame"
    for name in NAMES:
        for ending, small, among_others in (
            ("", False, False),
            (", among others", False, True),
            (", small faces", True, True),
        ):
            detector = opened(name, threads, small_faces=small)
            by_size = [
                *([framed(*face, share, among_others) for face in truth] for share in SHARES),
                [alone(*f) for f in truth],
            ]
            row = name + ending
            shares[row], seconds[row] = {}, {}
            for head, pictures in zip(heads, by_size, strict=True):
                found = [_found(detector, *picture, min_iou) for picture in pictures]
                shares[row][head] = sum(there for there, _ in found) / len(found)
                seconds[row][head] = sum(second for there, second in found if there) / len(found)
    show_table("recall", shares, note)
    show_table("recall by a second look", seconds, note)


def _found(
    detector: SizedDetector, frame: Pixels, truth: Faces, min_iou: float
) -> tuple[bool, bool]:
    detection = detector.detect_noted([frame])[0]
    there = (
        len(detection.faces) and overlaps(truth.boxes[0], detection.faces.boxes).max() >= min_iou
    )
    return bool(there), detection.is_bordered or detection.is_doubled


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--video", required=True)
    options.add_argument("--photo", help="a photo with faces; insightface's t1 without it")
    options.add_argument("--frames", type=int, default=8)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    given = options.parse_args()
    frames = frames_of(given.video, given.frames)
    if "package" in given.only and importlib.util.find_spec("mtcnn"):
        beside_the_package(frames, given.threads, given.repeats)
    if "batch" in given.only:
        batch_beside_loop(frames, given.threads, given.repeats)
    if "time" in given.only:
        time_an_image(frames, given.threads)
    if "recall" in given.only:
        recall([decode(Path(given.photo).read_bytes()) if given.photo else people()], given.threads)


if __name__ == "__main__":
    main()
