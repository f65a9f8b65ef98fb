"""Totals of a run's pages, added up in one pass: identities, videos, bytes.

Memory grows with identities and videos, not with images.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field

from faceprep.core.io.image_header import IMAGE_SUFFIXES
from faceprep.core.types import OK, REPAIRED, SPARE_FACE_ROWS
from faceprep.tables.ledger import Page

_NO_FRAMES = (REPAIRED, SPARE_FACE_ROWS)
_ORIGINAL = "_original"
_MOST_SAMPLES = 1024


@dataclass
class Video:
    """A video: `detected` of its `wanted` frames have a crop.

    `original` counts the crops from a .face file; it is None without such a file.
    """

    path: str
    wanted: int = 0
    detected: int = 0
    original: int | None = None
    state: str = ""
    """Status of the video as a whole where it failed, or empty."""

    @property
    def difference(self) -> int:
        """Count frames without a crop: of those with a face in the .face file, or of all wanted."""
        expected = self.wanted if self.original is None else self.original
        return expected - self.detected


@dataclass
class Tally:
    """Totals of a run's inputs and outputs.

    `home` is the name of the output if folders beside it belong to the run as well.
    """

    home: str = ""
    of_videos: bool = False
    n_pages: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    images_of: Counter[str] = field(default_factory=Counter)
    """Images in each folder of the output itself; "" counts those outside of folders."""
    files: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(ending of the sibling folder, suffix) -> files."""
    bytes: Counter[tuple[str, str]] = field(default_factory=Counter)
    inputs_of: Counter[str] = field(default_factory=Counter)
    """Ok inputs by the folder in their key, where the output has no images."""
    videos: list[Video] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)
    """A sample of the images of the output, evenly spread."""
    _stride: int = 1
    _n_images: int = 0

    def add(self, page: Page) -> None:
        """Add one page."""
        self.n_pages += 1
        self.by_status.update(page.counts.by_status)
        beside = Counter(self.add_outputs(page))
        if self.of_videos and page.keys:
            self.videos.append(_count_frames(page, beside.get(_ORIGINAL)))
        elif not self.images_of:
            ok_keys = (key for key, status, *_ in page.outcomes() if status == OK)
            self.inputs_of.update(key.rpartition("/")[0] for key in ok_keys if "/" in key)

    def add_outputs(self, page: Page) -> list[str]:
        """Add only the files of a page.

        Returns the ending of the sibling folder for each image; it is "" for the output itself.
        """
        places = []
        for name, n_bytes in zip(page.outputs, page.sizes, strict=True):
            if name.startswith(".faceprep/") or "/.faceprep/" in name:
                continue
            ending, path = self._split(name)
            suffix = os.path.splitext(path)[1].lower()
            self.files[ending, suffix] += 1
            self.bytes[ending, suffix] += n_bytes
            if suffix in IMAGE_SUFFIXES:
                places.append(ending)
                self._add_image(ending, path)
        return places

    def _add_image(self, ending: str, path: str) -> None:
        if not ending:
            self.images_of[path.rpartition("/")[0]] += 1
            self._add_sample(path)

    def _add_sample(self, path: str) -> None:
        """Keep every n-th image; n doubles whenever the sample becomes too large."""
        if self._n_images % self._stride == 0:
            self.samples.append(path)
            if len(self.samples) == _MOST_SAMPLES:
                self.samples = self.samples[::2]
                self._stride *= 2
        self._n_images += 1

    def _split(self, name: str) -> tuple[str, str]:
        """Split a name into the ending of its sibling folder and the path in it."""
        if not self.home:
            return "", name
        folder, _, path = name.partition("/")
        return folder.removeprefix(self.home), path


def _count_frames(page: Page, n_original: int | None) -> Video:
    """Count the frames of one video, which is one page of extract-video."""
    path = page.keys[0]
    head, mark, number = path.rpartition("#")
    if mark and number.isdigit():
        path = head
    video = Video(path, original=n_original)
    start = video.path + "#"
    seen = set()
    for key, status, *_ in page.outcomes():
        if key == video.path:
            video.state = status
        elif key.startswith(start) and key not in seen and status not in _NO_FRAMES:
            seen.add(key)
            video.detected += status == OK
    video.wanted = len(seen)
    return video
