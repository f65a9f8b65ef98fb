"""Drawn videos whose frames are told by a letter each, and a detector that finds what is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq

from faceprep.core.arrays import Doubles, Pixels, Rows
from faceprep.core.boxes import overlaps
from faceprep.core.faces import Faces, no_faces
from faceprep.core.landmarks import ARCFACE_112
from faceprep.core.types import Request, Runner, Summary
from faceprep.jobs.extract_video.job import ExtractVideo
from faceprep.models.detectors.detector import SizedDetector
from faceprep.models.refine.follow import Seen
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.steps.find_faces import FaceFinder
from faceprep.synthetic.video import PLAIN, VideoStyle, draw_frame, encode_video, frame_times
from tests.failures import read_failures

SIZE = (180, 320)
SIDE = 60
CROWD = 3
GROUND, RED, BLUE, YELLOW = (60, 90, 120), (220, 40, 40), (30, 30, 230), (220, 220, 30)
_COLOURS = {"r": RED, "R": RED, "b": BLUE, "y": YELLOW, ".": GROUND}


def patch(colour: tuple[int, int, int]) -> Pixels:
    return np.full((SIDE, SIDE, 3), colour, np.uint8)


def draw(letters: str) -> Iterator[Pixels]:
    """r a sure face, R a smaller one as well, b an unsure one, y one with mirrored landmarks, .
    none.
    """
    for number, letter in enumerate(letters):
        pixels = draw_frame(number, SIZE, patch(_COLOURS[letter]))
        if letter == "R":
            pixels[140:170, 10:40] = RED
        yield pixels


def film(path: Path, letters: str, style: VideoStyle = PLAIN) -> Path:
    """A video with a frame a letter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        encode_video(path.suffix, draw(letters), frame_times(len(letters), style), style)
    )
    return path


class PatchDetector:
    """Finds the patches of `draw`; its landmarks are such that a crop shows the patch and
    nothing else.
    """

    fingerprint, provider = "patches", "CPU"

    def detect(self, images: Sequence[Pixels]) -> list[Faces]:
        return [self._find(image) for image in images]

    def _find(self, image: Pixels) -> Faces:
        far = np.abs(image.astype(np.int16) - GROUND).max(axis=2) > 50
        far[: image.shape[0] // 9] = False
        _, _, stats, _ = cv2.connectedComponentsWithStats(far.astype(np.uint8))
        boxes, points, scores = [], [], []
        for x, y, width, height, area in stats[1:]:
            if area < 400 or not far[y + height // 2, x + width // 2]:  # a border
                continue
            red, green, _ = image[y + height // 2, x + width // 2]
            landmarks = ARCFACE_112 * ((width - 1) / 111, (height - 1) / 111) + (x, y)
            boxes.append((x, y, x + width, y + height))
            points.append(landmarks[[1, 0, 2, 4, 3]] if green > 127 else landmarks)
            scores.append(0.6 if red < 127 else 0.8 + 0.15 * width / SIDE)
        if not boxes:
            return no_faces()
        return Faces(np.array(boxes), np.array(points), np.array(scores)).take(
            np.argsort(scores)[::-1]
        )


class PatchSearch:
    """Searches for the patches of `draw` that overlap the expected boxes; counts its searches."""

    fingerprint = "near patches"

    def __init__(self) -> None:
        self.n_searches = 0

    def is_cheaper(self, size: tuple[int, int], boxes: Doubles) -> bool:
        return len(boxes) < CROWD

    def search(self, images: Sequence[Pixels], places: Rows, boxes: Doubles) -> Seen:
        self.n_searches += len(boxes)
        seen = Seen(np.zeros((len(boxes), 4)), np.zeros((len(boxes), 5, 2)), np.zeros(len(boxes)))
        for row, (place, box) in enumerate(zip(places.tolist(), boxes, strict=True)):
            (found,) = PatchDetector().detect([images[place]])
            shared = overlaps(box, found.boxes.astype(np.float64))
            if shared.max(initial=0) > 0:
                best = int(shared.argmax())
                seen.boxes[row], seen.landmarks[row] = found.boxes[best], found.landmarks[best]
                seen.scores[row] = found.scores[best]
        return seen


@dataclass(frozen=True)
class PatchVideo(ExtractVideo):
    """`extract-video` with the detector of the drawn patches: real geometry without weights."""

    def finder(self, detector: str | None = None) -> FaceFinder:
        return FaceFinder(SizedDetector(PatchDetector()), self.min_score)

    def local_search(self) -> PatchSearch:
        return PatchSearch()


def extract(
    sources: Path | Sequence[Path],
    output: Path,
    runner: Runner | None = None,
    limit: int | None = None,
    **options: Any,
) -> Summary:
    """A run over drawn videos."""
    given = (sources,) if isinstance(sources, Path) else tuple(sources)
    return run_job(
        PatchVideo(**options), Request(given, output, limit=limit), runner or SerialRunner()
    )


def numbers(folder: Path, suffix: str = ".png") -> list[int]:
    """Return the numbers of the frames whose crops lie in `folder`."""
    return sorted(int(path.stem) for path in folder.glob(f"*{suffix}"))


def rows(output: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(output / "faces.parquet").to_pylist()
    return found


def failures(output: Path) -> list[tuple[str, str]]:
    """(input, status) of every failed input."""
    return [(row["input"], row["status"]) for row in read_failures(output)]
