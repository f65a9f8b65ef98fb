"""A run's pages, added up in one pass: identities, videos, bytes. What is held grows with
those, not with images.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from faceprep.core.io.image_header import IMAGE_SUFFIXES
from faceprep.core.types import OK, REPAIRED, SPARE_FACE_ROWS
from faceprep.pages.report.run_state import Page

_NO_FRAMES = (REPAIRED, SPARE_FACE_ROWS)
_ORIGINAL = "_original"
_MOST_SAMPLES = 1024


@dataclass
class Video:
    """`detected` of the `wanted` frames have a crop; `original` counts crops of a .face file,
    None without one.
    """

    path: str
    wanted: int = 0
    detected: int = 0
    original: int | None = None
    state: str = ""
    """What is wrong with it as a whole."""

    @property
    def difference(self) -> int:
        """Frames that the .face file has a face in, or all that were wanted, less those
        detected.
        """
        return (self.wanted if self.original is None else self.original) - self.detected


@dataclass
class Tally:
    """What a run wrote, and of what. `home` is the output's own name where folders beside it
    belong to it as well.
    """

    home: str = ""
    of_videos: bool = False
    n_pages: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    images_of: Counter[str] = field(default_factory=Counter)
    """Images in each folder of the output proper; in "" those that lie in none."""
    files: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(ending of the folder beside, suffix) -> files."""
    bytes: Counter[tuple[str, str]] = field(default_factory=Counter)
    inputs_of: Counter[str] = field(default_factory=Counter)
    """Inputs that are ok by the folder in their key, where the output has no images."""
    videos: list[Video] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)
    """Some images of the output, evenly spread."""
    _stride: int = 1
    _n_images: int = 0

    def add_all(self, pages: Iterable[Page]) -> Tally:
        """Take up pages in their order."""
        for page in pages:
            self.add(page)
        return self

    def add(self, page: Page) -> None:
        """Take up one page."""
        self.n_pages += 1
        self.by_status.update(page.by_status)
        beside = Counter(self.add_outputs(page))
        if self.of_videos and page.keys:
            self.videos.append(_video(page, beside.get(_ORIGINAL)))
        elif not self.images_of:
            self.inputs_of.update(
                key.rpartition("/")[0]
                for position, key in enumerate(page.keys)
                if "/" in key and page.others.get(str(position), (OK,))[0] == OK
            )

    def add_outputs(self, page: Page) -> list[str]:
        """Take up the page's files only: the endings of the folders that its images lie in, ""
        for the output.
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
                if not ending:
                    self.images_of[path.rpartition("/")[0]] += 1
                    self._add_sample(path)
        return places

    def _add_sample(self, path: str) -> None:
        """Every so many; twice as many apart when they have become too many."""
        if self._n_images % self._stride == 0:
            self.samples.append(path)
            if len(self.samples) == _MOST_SAMPLES:
                self.samples = self.samples[::2]
                self._stride *= 2
        self._n_images += 1

    def _split(self, name: str) -> tuple[str, str]:
        """(ending of the folder, path in it)."""
        if not self.home:
            return "", name
        folder, _, path = name.partition("/")
        return folder.removeprefix(self.home), path


def _video(page: Page, n_original: int | None) -> Video:
    """A page of extract-video is one video."""
    path = page.keys[0]
    head, mark, number = path.rpartition("#")
    video = Video(head if mark and number.isdigit() else path, original=n_original)
    start = video.path + "#"
    seen = set()
    for key, status, _ in page.outcomes():
        if key == video.path:
            video.state = status
        elif key.startswith(start) and key not in seen and status not in _NO_FRAMES:
            seen.add(key)
            video.detected += status == OK
    video.wanted = len(seen)
    return video
