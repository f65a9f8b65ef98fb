"""Photos and videos that a table of faces is about: files below a folder, or images in a set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Ints, Pixels
from faceprep.core.errors import SourceError
from faceprep.core.io.image_bytes import UNDECODABLE, UNREADABLE
from faceprep.core.paths import full_path, is_file, is_folder
from faceprep.core.types import Outcome, Shard
from faceprep.core.urls import url_of
from faceprep.sets import kinds
from faceprep.sets.containers import index_set, open_set
from faceprep.sets.folder import FolderSet
from faceprep.sets.image_set import ImageSet, Sample
from faceprep.sets.name_lookup import ImageFinder, NameLookup
from faceprep.tables.faces import FaceRow
from faceprep.video.reader import open_video
from faceprep.video.sampling import frames_at
from faceprep.vision.load_image import load_image, load_image_bytes


class Run(NamedTuple):
    """A run of `n` consecutive rows of the table, from `start`, with the same photo or video."""

    source: str
    is_video: bool
    start: int
    n: int
    n_wanted: int


class Problem(NamedTuple):
    """The reason why an image has no pixels."""

    status: str
    reason: str


Read = Callable[[], Pixels | Problem]
"""Returns the pixels of an image. May be called in a thread; those of a frame are there already."""

RowsOfImages = Iterator[tuple[list[FaceRow], Read]]
"""The rows of each image with what reads its pixels; each row once."""


def plan_photos(
    source: Path, scratch: Path, first: str, relative_to: Path | None = None
) -> Files | SetPhotos:
    """Open the photos of a source in the driver; a set is indexed. Raises SourceError.

    A folder that holds the `first` photo or video of the table is not taken for a container.
    """
    if is_folder(source) and is_file(source / first):
        return Files(source)
    kind = kinds.find_container(source)
    if kind not in ("", FolderSet.kind):
        return SetPhotos(index_set(source, scratch, relative_to=relative_to))
    if not kind and kinds.sniff(source).kind not in (kinds.IMAGE, kinds.VIDEO):
        raise kinds.not_a_set(source)
    return Files(source)


@contextmanager
def open_photos(shard: Shard, scratch: Path) -> Iterator[Files | SetPhotos]:
    """Open the photos of a shard in a worker."""
    if shard.payload is None:
        yield Files(Path(shard.source))
        return
    with open_set(scratch) as images:
        yield SetPhotos(images, np.frombuffer(shard.payload, "<i8"))


class Files:
    """Photos and videos below a folder, or a single one."""

    fingerprint = ""
    is_set = False

    def __init__(self, path: Path) -> None:
        self.path = Path(full_path(path))
        self._is_single = is_file(path)
        self._n_found = 0

    def has(self, source: str) -> bool:
        """Return whether a photo or video of the table is meant by the source."""
        return not self._is_single or os.fspath(self.path).endswith(f"/{source}")

    def size_of(self, run: Run) -> int | None:
        """Return the size of a file as `storage.file_size` does."""
        size = storage.file_size(self._path_of(run.source))
        self._n_found += size >= 0
        return size

    def places_of(self, group: Sequence[Run]) -> bytes | None:
        """Return None: files are found by their names."""
        return None

    def refuse_others(self, table: Path, first: str) -> None:
        """Raise SourceError if none of the files is there; each missing one else is a failure.

        `first` is the first photo or video of the table.
        """
        if not self._n_found:
            raise _other_photos(table, self.path, first)

    def images(self, source: str, rows: list[FaceRow]) -> RowsOfImages:
        """Yield the images of the rows."""
        if not rows:
            return
        path = self._path_of(source)
        if rows[0].frame is not None:
            yield from _frames(path, rows)
            return
        yield rows, partial(_load_file, path, source)

    def _path_of(self, source: str) -> Path:
        return self.path if self._is_single else self.path / source


class SetPhotos:
    """Photos in a set. A worker gets the `places` of its sources, -1 for a missing photo."""

    is_set = True

    def __init__(self, images: ImageSet, places: Ints | None = None) -> None:
        self._set, self.path = images, Path(images.path)
        self.fingerprint = images.index.fingerprint
        self._places: Iterator[int] = iter(())
        self._n_found = 0
        self._ends: dict[int, NameLookup] = {}
        if places is None:
            self._finder = ImageFinder(self.path, images.keys, len(images))
        else:
            self._places = iter(places.tolist())

    def has(self, source: str) -> bool:
        """Return True: a photo that the set has not is a failure."""
        return True

    def size_of(self, run: Run) -> int | None:
        """Return None: the fingerprint of the set stands for its images. Raises SourceError."""
        if run.is_video:
            raise SourceError(
                "faces of videos, which a set of images does not hold",
                path=self.path,
                found=run.source,
                remedy="Name the folder of the videos.",
            )
        return None

    def places_of(self, group: Sequence[Run]) -> bytes:
        """Return the places of the photos of a shard as int64, -1 for a missing photo."""
        places = [self._find(run.source) for run in group]
        self._n_found += len(places) - places.count(-1)
        return np.array(places, "<i8").tobytes()

    def _find(self, source: str) -> int:
        try:
            return self._finder.find(source)
        except SourceError:
            if self._set.root is None:
                return -1
        return self._find_end(source)

    def _find_end(self, source: str) -> int:
        """Return the place of the only file of a list whose path ends so, -1 for none."""
        n_parts = source.count("/") + 1
        if n_parts not in self._ends:
            names = partial(self._last_parts, n_parts)
            self._ends[n_parts] = NameLookup(names, len(self._set))
        places = self._ends[n_parts].find(source)
        if len({self._set.key(place) for place in places}) != 1:
            return -1
        return places[0]

    def _last_parts(self, n: int, start: int, stop: int) -> list[str]:
        names = map(os.path.normpath, self._set.keys(start, stop))
        return ["/".join(name.split("/")[-n:]) for name in names]

    def refuse_others(self, table: Path, first: str) -> None:
        """Raise SourceError if the set has none of the photos; `first` is one of them."""
        if not self._n_found:
            raise _other_photos(table, self.path, first)

    def images(self, source: str, rows: list[FaceRow]) -> RowsOfImages:
        """Yield the image of the rows; call it for each source in the order of the shard."""
        place = next(self._places)
        if not rows:
            return
        if place < 0:
            yield rows, _known(Problem(UNREADABLE, f"{source}: not in {url_of(self.path)}"))
            return
        sample = next(self._set.read([place]))
        if isinstance(sample, Outcome):
            yield rows, _known(_pixels(sample))
        else:
            yield rows, partial(_load_sample, sample, source)


def _other_photos(table: Path, source: Path, first: str) -> SourceError:
    return SourceError(
        "is about other images",
        path=table,
        expected=f"the images or videos of {url_of(source)}",
        found=f"faces of {first!r}",
        remedy="Name the photos or videos that the faces were extracted from.",
    )


def _load_file(path: Path, source: str) -> Pixels | Problem:
    return _pixels(load_image(path, source))


def _load_sample(sample: Sample, source: str) -> Pixels | Problem:
    return _pixels(load_image_bytes(sample.data, source, sample.place))


def _pixels(loaded: Pixels | Outcome) -> Pixels | Problem:
    if isinstance(loaded, Outcome):
        return Problem(loaded.status, loaded.reason)
    return loaded


def _known(pixels: Pixels | Problem) -> Read:
    """Return what gives pixels that have been read."""
    return lambda: pixels


def _frames(path: Path, rows: list[FaceRow]) -> RowsOfImages:
    waiting: dict[int, list[FaceRow]] = {}
    for row in rows:
        waiting.setdefault(row.frame or 0, []).append(row)
    try:
        with open_video(path) as video:
            for frame in video.frames(frames_at(waiting)):
                yield waiting.pop(frame.number), _known(frame.pixels)
            problem = Problem(UNDECODABLE, video.damage or f"it has {len(video):,} frames")
    except SourceError as error:
        problem = Problem(UNREADABLE, str(error))
    for number, of_frame in waiting.items():
        reason = f"{of_frame[0].source}: frame {number}: {problem.reason}"
        yield of_frame, _known(problem._replace(reason=reason))
