"""Files that extract-video writes for one frame: encoded crops, and the crop of the `.face` box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from faceprep.core.arrays import Doubles, Pixels
from faceprep.core.types import Outcome
from faceprep.jobs.extract_video.options import VideoOptions
from faceprep.jobs.extract_video.siw_crops import OriginalCrops, open_crops
from faceprep.jobs.extract_video.videos import Video
from faceprep.video.reader import Frame

ORIGINAL = "_original"
File = tuple[str, bytes, str]
"""Name, data, and the ending of the sibling folder that it goes to."""


class Original(NamedTuple):
    """The crop of a frame's `.face` box: its file, or a `note` on a box that cannot be used.

    `has_box` is None without a `.face` file.
    """

    files: Sequence[File] = ()
    note: Outcome | None = None
    has_box: bool | None = None


class FrameCutter:
    """A cutter of the frames of one video."""

    def __init__(self, options: VideoOptions, root: str, video: Video) -> None:
        self._options, self._video, self.path = options, video, video.path
        self.originals: OriginalCrops | None = None
        if video.face:
            self.originals = open_crops(
                f"{root}/{video.face}",
                video.face,
                options.margin,
                options.face_fill,
                options.original_clip,
            )

    def outputs(self, number: int, faces: Sequence[int]) -> list[str]:
        """Name the crops of `faces`, by their places among the faces of frame `number`."""
        stem = self._stem(number)
        stems = [f"{stem}_{face}" if self._options.all_faces else stem for face in faces]
        return [stem + self._options.suffix for stem in stems]

    def in_track(self, number: int, track: int) -> str:
        """Name the crop of a track in frame `number`."""
        return f"{self._video.folder}/{track}/{number}{self._options.suffix}"

    def files(self, outputs: Sequence[str], crops: Sequence[Pixels]) -> list[File]:
        """Encode crops under their names."""
        return [(name, self.encode(crop), "") for name, crop in zip(outputs, crops, strict=True)]

    def original(self, frame: Frame) -> Original:
        """Cut the box of the `.face` file."""
        if self.originals is None or self.originals.boxes is None:
            return Original()
        cut = self.originals.crop(frame.number, frame.pixels)
        if isinstance(cut, Outcome):
            return Original(note=cut, has_box=False)
        if cut is None:
            return Original(has_box=False)
        name = self._stem(frame.number) + self._options.suffix
        return Original([(name, self.encode(cut), ORIGINAL)], has_box=True)

    def given_box(self, number: int, size: tuple[int, int]) -> Doubles | None:
        """Return the box (4,) in the `.face` file of a frame of `size` (height, width); None if it
        has none in the frame.
        """
        box = self.originals.find_box(number, size) if self.originals else None
        return None if isinstance(box, Outcome) else box

    def has_box(self, number: int) -> bool | None:
        """Return whether the `.face` file has a box for a frame; None without such a file."""
        if self.originals is None or self.originals.boxes is None:
            return None
        boxes = self.originals.boxes
        return number < len(boxes) and bool(boxes.has_face[number])

    def encode(self, pixels: Pixels) -> bytes:
        """Encode a crop in the format of the options."""
        return self._options.encode(pixels)

    def _stem(self, number: int) -> str:
        return f"{self._video.folder}/{number}"
