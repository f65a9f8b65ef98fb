"""Faces with reference landmarks, and scenes that show them at any size and turn."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Doubles, Pixels
from faceprep.core.boxes import overlaps
from faceprep.core.faces import Faces
from faceprep.core.landmarks import ARCFACE_112, apply_transforms, estimate_similarity
from faceprep.models.detectors.detector import DetectorSpec, SizedDetector, open_detector
from faceprep.vision.codec import decode

SIDE, CONTEXT = 800, 2.0
"""Side of a crop in pixels, and in boxes: the face has 400 pixels."""
MIN_FACE = 60
"""Width in pixels of the smallest face whose reference landmarks are used."""
DISAGREE = 0.07
"""Mean distance between the two references, in eye distances, from which a face is left out."""
GREY = 127
PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tiff")


@dataclass(frozen=True)
class Face:
    """A face in a crop of SIDE pixels, with landmarks `truth` (5, 2) and a box of `size` there.

    `width` is that of its box in the original, in pixels.
    """

    crop: Pixels
    size: Doubles
    width: float
    truth: Doubles
    source: str
    is_video: bool


@dataclass(frozen=True)
class Scene:
    """An image with one face, and its landmarks and box (x1 y1 x2 y2) there."""

    image: Pixels
    truth: Doubles
    box: Doubles
    face: int


def gather(data: Path, n_frames: int) -> Iterator[tuple[str, bool, Pixels]]:
    """Yield (name, is it a frame, pixels) of the photos and of frames of the clips below `data`."""
    for path in sorted((data / "photos").rglob("*")):
        is_double = path.parent.name == "odd" and path.name not in ("UPPER.JPG", "rgba_32bit.png")
        if path.suffix.lower() in PHOTOS and not is_double:
            try:
                yield path.name, False, decode(path.read_bytes())
            except ValueError:
                continue
    yield "t1.jpg", False, decode(package_file("insightface", "data/images/t1.jpg"))
    clips = [*(data / "video").glob("*.mp4"), *(data / "siw_like").rglob("*.mov")]
    clips += (data / "cases" / "video" / "two_people").rglob("*.mov")
    for clip in sorted(clips):
        frames = list(read_frames(clip))
        for number in np.linspace(0, len(frames) - 1, min(n_frames, len(frames))).astype(int):
            yield f"{clip.name}#{number}", True, frames[number]


def package_file(package: str, name: str) -> bytes:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"pip install {package}")
    return (Path(spec.origin).parent / name).read_bytes()


def read_frames(path: Path) -> Iterator[Pixels]:
    video = cv2.VideoCapture(str(path))
    while True:
        there, bgr = video.read()
        if not there:
            return
        yield cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def cut_faces(data: Path, n_frames: int) -> list[tuple[str, bool, Doubles, Pixels]]:
    """Crop the faces that the default detector finds, as (name, whether it is a frame, size,
    crop).
    """
    detector = open_detector(DetectorSpec(threads=1, min_score=0.9))
    cut = []
    for name, is_video, image in gather(data, n_frames):
        for box in detector.detect([image])[0].boxes.astype(float):
            side = (box[2:] - box[:2]).max()
            if side >= MIN_FACE:
                scale, middle = SIDE / (CONTEXT * side), (box[:2] + box[2:]) / 2
                shift = SIDE / 2 - scale * middle
                cut.append((name, is_video, box[2:] - box[:2], warp(image, scale, shift, SIDE)))
    return cut


def warp(image: Pixels, scale: float, shift: Doubles, side: int) -> Pixels:
    """Scale, then shift. 0 is the edge of the first pixel."""
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        scale = 1
    shift = shift + (scale - 1) / 2
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return np.asarray(
        cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderValue=(GREY,) * 3)
    )


def load_faces(data: Path, python: str, cache: Path, n_frames: int) -> list[Face]:
    """Return the faces on which both references agree; `python` runs them, `cache` keeps them."""
    crops, truth = cache / "crops.npz", cache / "truth.npz"
    if not truth.exists():
        cut = cut_faces(data, n_frames)
        edge = SIDE / 2 * (1 - 1 / CONTEXT)
        boxes = np.tile([edge, edge, SIDE - edge, SIDE - edge], (len(cut), 1))
        names, are_videos, sizes, pixels = zip(*cut, strict=True)
        np.savez(crops, names=names, are_videos=are_videos, sizes=sizes, crops=pixels, boxes=boxes)
        peer = Path(__file__).parent / "peers" / "landmark_truth.py"
        subprocess.run([python, peer, crops, truth], check=True)
    with np.load(crops) as stored, np.load(truth) as points:
        both = np.stack([points["dlib"], points["mediapipe"]])
        agreed = agree(both)
        means = both.mean(axis=0)
        print(
            f"{len(agreed)} faces; without a truth: {int((~agreed).sum())}, "
            f"{int(np.isnan(both).any(axis=(0, 2, 3)).sum())} of them missed by a reference"
        )
        sizes = stored["sizes"]
        in_crop = sizes / sizes.max(axis=1, keepdims=True) * (SIDE / CONTEXT)
        known = means, stored["names"], stored["are_videos"]
        columns = stored["crops"], in_crop, sizes[:, 0], *known
        faces = [Face(*values) for values in zip(*columns, strict=True)]
    return [face for face, good in zip(faces, agreed, strict=True) if good]


def agree(both: Doubles) -> npt.NDArray[np.bool_]:
    """Return where two sets of landmarks (2, n, 5, 2) agree but for a constant offset."""
    known = ~np.isnan(both).any(axis=(0, 2, 3))
    agreed = known.copy()
    transforms = estimate_similarity(both.mean(axis=0)[known], ARCFACE_112)
    first, second = (apply_transforms(points, transforms) for points in both[:, known])
    apart = first - second
    apart -= np.median(apart, axis=0)
    agreed[known] = np.linalg.norm(apart, axis=2).mean(axis=1) / EYES_112 < DISAGREE
    return agreed


EYES_112 = float(np.linalg.norm(ARCFACE_112[1] - ARCFACE_112[0]))


def show(
    face: Face, number: int, width: float, canvas: tuple[int, int], roll: float, seed: int = 1
) -> Scene:
    """Draw the face with a box of `width` pixels, turned clockwise by `roll` degrees.

    It lies near the middle of a grey `canvas` (height, width); `seed` chooses the fraction of a
    pixel.
    """
    place = np.random.default_rng(number).integers(-8, 8, 2)
    place = place + np.random.default_rng((seed, number)).uniform(0, 1, 2)
    scale = width / face.size[0]
    half = complex(*face.size) * (scale / 2)
    turn = np.exp(1j * np.radians(roll))
    middle = canvas[1] / 2 + 1j * canvas[0] / 2 + place @ (1, 1j)
    crop = face.crop
    while scale < 0.5:
        crop = cv2.resize(crop, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        scale *= 2
    side = crop.shape[0]
    step = turn * scale
    shift = middle - step * (side / 2) * (1 + 1j)
    matrix = np.array([[step.real, -step.imag, shift.real], [step.imag, step.real, shift.imag]])
    drawn = matrix.copy()
    drawn[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    image = cv2.warpAffine(
        crop, drawn, canvas[::-1], flags=cv2.INTER_LINEAR, borderValue=(GREY,) * 3
    )
    truth = apply_transforms(face.truth[None] * (side / SIDE), matrix[None])[0]
    box = np.array(
        [(middle - half).real, (middle - half).imag, (middle + half).real, (middle + half).imag]
    )
    return Scene(np.asarray(image), truth, box, number)


def find_face(detector: SizedDetector, scene: Scene, faces: Faces) -> Faces | None:
    """Return the detected face that lies at the box of the scene."""
    shared = overlaps(scene.box, faces.boxes.astype(float))
    if not len(faces) or shared.max() < 0.3:
        return None
    return faces.take([int(shared.argmax())])
