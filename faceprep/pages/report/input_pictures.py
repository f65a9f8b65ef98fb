"""Pictures of the inputs of runs: photos, images of a set, frames of videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from faceprep.core import storage
from faceprep.core.arrays import Pixels
from faceprep.core.errors import FaceprepError
from faceprep.core.io.image_bytes import UNREADABLE
from faceprep.core.text import count_noun
from faceprep.core.types import Outcome
from faceprep.pages.left_out import note_left_out
from faceprep.pages.report.crops import Crops, FolderCrops, SetCrops, images_of, open_set
from faceprep.pages.report.run_state import Run
from faceprep.pages.report.sections import Picture
from faceprep.steps.list_options import folder_of_names
from faceprep.video.reader import is_video_name, open_video
from faceprep.video.sampling import FrameChoice
from faceprep.vision import codec
from faceprep.vision.marks import draw_faces

_SMALL, _LARGE = 96, 320
_MOST_FRAMES = 8
_MOST_VIDEO_BYTES = 512 << 20
"""A larger video is not searched for a frame, as all its packets would be read."""


class InputPictures:
    """The inputs of a run by their keys; its sources are opened when the first is asked for.

    Sets that are not folders are indexed in `scratch`. Use it as a context.
    """

    def __init__(self, run: Run, scratch: Path) -> None:
        self._run, self._scratch = run, scratch
        self._stack = ExitStack()
        self._places: list[Crops] | None = None
        self._n_frames = 0

    def __enter__(self) -> InputPictures:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def picture(self, key: str) -> Picture | None:
        """Return a small picture of an input; None where it cannot be shown."""
        pixels = self.load(key)
        if pixels is None:
            return None
        return Picture(key, codec.encode_small(pixels, _SMALL), "", f"{key}, as it was given")

    def marked(self, key: str, label: str, faces: Sequence[Sequence[float]]) -> Picture | None:
        """Return a picture with the boxes and landmarks of `faces`, 14 numbers each."""
        pixels = self.load(key)
        if pixels is None:
            return None
        data = codec.encode_small(draw_faces(pixels, faces, _LARGE), _LARGE)
        return Picture(key, data, label, f"{key}, with {count_noun(len(faces), 'face')} marked")

    def load(self, key: str) -> Pixels | None:
        """Return the pixels of an input, or of a frame named VIDEO#NUMBER."""
        name, _, number = key.rpartition("#")
        try:
            if is_video_name(name) and number.isdecimal():
                return self._frame(name, int(number))
            if not self._run.is_of_videos:
                return self._image(key)
        except FaceprepError as error:  # an extra is missing, or the source has changed
            note_left_out(error)
        return None  # a whole video and a row of a .face file have no picture

    def _image(self, key: str) -> Pixels | None:
        for place in self._open():
            pixels = place.load(key)
            if not isinstance(pixels, Outcome):
                return pixels
            if pixels.status == UNREADABLE:  # other damage is an outcome of the run itself
                note_left_out(pixels)
        return None

    def _open(self) -> Sequence[Crops]:
        if self._places is None:
            self._places = list(self._find_places())
        return self._places

    def _find_places(self) -> Iterator[Crops]:
        base = folder_of_names(self._run.record)
        for number, source in enumerate(self._run.sources):
            images = open_set(images_of(source), self._scratch, f"input-{number}", base)
            if images is not None:
                yield SetCrops(self._stack.enter_context(images), False)
            elif source.is_dir():
                yield FolderCrops(source)
            elif source.is_file():
                yield FolderCrops(source.parent)

    def _frame(self, name: str, number: int) -> Pixels | None:
        path = self._find_video(name)
        self._n_frames += 1
        if path is None or self._n_frames > _MOST_FRAMES:
            return None
        with open_video(path) as video:
            frames = video.frames(FrameChoice("at", at=(number,)))
            return next((frame.pixels for frame in frames), None)

    def _find_video(self, name: str) -> Path | None:
        """Return the video of this name, unless it is too large to be searched."""
        if ".." in Path(name).parts:
            return None
        for source in self._run.sources:
            for path in (source, source / name):
                is_named = path == source / name or path.name == name
                if is_named and path.is_file() and storage.file_size(path) <= _MOST_VIDEO_BYTES:
                    return path
        return None
