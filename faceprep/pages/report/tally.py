"""Totals of a run's pages, added up in one pass: identities, videos, bytes.

Memory grows with identities and videos, not with images.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field

from faceprep.core.io.image_header import IMAGE_SUFFIXES
from faceprep.core.types import OK
from faceprep.pages.report.outcomes import Outcomes
from faceprep.tables.ledger import Page

_ORIGINAL, _VIDEO = "_original", "video"
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
    lost: int | None = None
    """Frames without a crop that have a box in the .face file, where each frame is known."""

    @property
    def difference(self) -> int:
        """Count frames without a crop: of those with a face in the .face file, or of all wanted."""
        if self.lost is not None:
            return self.lost
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
    outcomes: Outcomes = field(default_factory=Outcomes)
    images_of: Counter[str] = field(default_factory=Counter)
    """Images in each folder of the output itself; "" counts those outside of folders."""
    files: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(ending of the sibling folder, suffix) -> files."""
    bytes: Counter[tuple[str, str]] = field(default_factory=Counter)
    inputs_of: Counter[str] = field(default_factory=Counter)
    """Ok inputs by the folder in their key, where the output has no images."""
    videos: dict[str, Video] = field(default_factory=dict)
    """Videos by their path."""
    samples: list[str] = field(default_factory=list)
    """A sample of the images of the output, evenly spread."""
    _stride: int = 1
    _n_images: int = 0

    def add(self, page: Page) -> None:
        """Add one page."""
        self.n_pages += 1
        self.outcomes.add(page)
        beside = Counter(self.add_outputs(page))
        if self.of_videos:
            self._count_frames(page, beside.get(_ORIGINAL))
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

    def _count_frames(self, page: Page, n_original: int | None) -> None:
        """Count the frames of a page of extract-video, which is about one video."""
        video = None
        for key, status, _, unit in page.outcomes():
            if unit == _VIDEO:
                self._video(key).state = status
            elif not unit:
                video = self._video(key.rpartition("#")[0])
                video.wanted += 1
                video.detected += status == OK
        if video and n_original is not None:
            video.original = (video.original or 0) + n_original

    def _video(self, path: str) -> Video:
        return self.videos.setdefault(path, Video(path))
