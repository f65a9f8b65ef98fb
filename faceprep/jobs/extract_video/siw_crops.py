"""Crops of the boxes in a `.face` file, and the faults of its rows.

`notes` yields Outcomes about the file or a row of it, key `FILE` or `FILE#ROW`:

repaired         a value was missing and was filled in; no failure
spare_face_rows  there are more rows than frames; no failure
face_rows        there are fewer rows than frames: the frames after them have no crop
bad_face_row     a row that cannot be read or has no place in the frame: its frame has no crop
bad_face_file    nothing of the file can be read
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from faceprep.core.arrays import Doubles, Pixels
from faceprep.core.errors import SourceError
from faceprep.core.text import count_noun
from faceprep.core.types import REPAIRED, SPARE_FACE_ROWS, Outcome
from faceprep.video.siw_boxes import FaceBoxes, read_face_boxes
from faceprep.vision.align import crop_box

ROW, FACE_FILE = ".face row", ".face file"
BAD_ROW = "bad_face_row"
_LARGEST = 1.25
"""Largest box side, in sides of its frame; a larger box cannot be a face."""


@dataclass(frozen=True)
class OriginalCrops:
    """The boxes of the file `path`, one row per frame, cut with `margin` times their sides.

    `refused` says why there are no boxes; `boxes` is None then. `is_clipped` crops end at the edge
    of the frame; others are padded with black.
    """

    path: str
    margin: float
    boxes: FaceBoxes | None
    refused: str = ""
    is_clipped: bool = False

    def crop(self, number: int, pixels: Pixels) -> Pixels | Outcome | None:
        """Return the crop of frame `number`, an Outcome for an unusable box, or None without a
        box.
        """
        box = self.find_box(number, (pixels.shape[0], pixels.shape[1]))
        if box is None or isinstance(box, Outcome):
            return box
        return crop_box(pixels, box, self.margin, self.is_clipped)

    def find_box(self, number: int, size: tuple[int, int]) -> Doubles | Outcome | None:
        """Return the box (4,) of frame `number` of `size` (height, width), or as `crop` does."""
        if self.boxes is None or number >= len(self.boxes) or not self.boxes.has_face[number]:
            return None
        box = self.boxes.boxes[number]
        frame = np.array(size[::-1])
        sides = box[2:] - box[:2]
        if (box[2:] <= 0).any() or (box[:2] >= frame).any() or (sides > _LARGEST * frame).any():
            numbers = " ".join(f"{value:g}" for value in box)
            found = (
                f"row {number}: the box {numbers} is outside of the frame of {frame[0]} × "
                f"{frame[1]} pixels, or larger"
            )
            return Outcome(f"{self.path}#{number}", BAD_ROW, found, ROW)
        return np.asarray(box, np.float64)

    def refusal(self) -> Outcome | None:
        """Return why there are no boxes; None where there are."""
        if self.boxes is not None:
            return None
        return Outcome(self.path, "bad_face_file", self.refused, FACE_FILE)

    def notes(self, n_frames: int | None = None) -> Iterator[Outcome]:
        """Yield remarks on the file, for a video of `n_frames`.

        None where the number is not known.
        """
        if refusal := self.refusal():
            yield refusal
        if self.boxes is None:
            return
        for repair in self.boxes.repairs:
            yield Outcome(f"{self.path}#{repair.row}", REPAIRED, str(repair), ROW)
        for bad in self.boxes.bad:
            yield Outcome(f"{self.path}#{bad.row}", BAD_ROW, str(bad), ROW)
        n_rows = len(self.boxes)
        if n_frames is not None and n_rows != n_frames:
            status = "face_rows" if n_rows < n_frames else SPARE_FACE_ROWS
            yield Outcome(
                self.path,
                status,
                f"{count_noun(n_rows, 'row')} for {count_noun(n_frames, 'frame')}",
                FACE_FILE,
            )


def open_crops(
    file: str, path: str, margin: float, fill: str, is_clipped: bool = False
) -> OriginalCrops:
    """Open the `.face` file `file`, named `path` in messages; `fill` as in `read_face_boxes`."""
    try:
        return OriginalCrops(path, margin, read_face_boxes(file, fill), is_clipped=is_clipped)
    except SourceError as error:
        return OriginalCrops(path, margin, None, str(error))
