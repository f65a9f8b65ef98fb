"""The crops of an output, for pictures and measures: files of a folder, or images in a set."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from faceprep.core.arrays import Pixels
from faceprep.core.errors import FaceprepError, MissingExtra
from faceprep.core.spread import spread_places
from faceprep.core.types import Outcome
from faceprep.pages.left_out import note_left_out
from faceprep.pages.report.run_state import Run
from faceprep.sets.containers import SET, index_set, kind_of
from faceprep.sets.distinct_keys import strip_suffix
from faceprep.sets.folder import FolderSet
from faceprep.sets.image_set import ImageSet
from faceprep.sets.name_lookup import NameLookup
from faceprep.steps.list_options import folder_of_names
from faceprep.tables.embeddings import is_embeddings, load_place
from faceprep.tables.faces import split_output
from faceprep.vision import codec
from faceprep.vision.load_image import load_image, load_image_bytes

log = logging.getLogger("faceprep")
_SIDE = 80
_MOST_LOOKED_UP = 1000
"""Names of a table that are looked up in the output."""


class Crops(ABC):
    """Crops by the path or key that a table has for each.

    `counts` are the images of each identity and `n` their number, where the output is a set that
    holds images itself; else None.
    """

    counts: Mapping[str, int] | None = None
    n: int | None = None

    @abstractmethod
    def load(self, path: str) -> Pixels | Outcome:
        """Load the pixels of a crop."""

    def has(self, path: str) -> bool:
        """Return whether there is a crop of this name, sound or not."""
        return True

    def sample(self, most: int) -> list[str]:
        """Return the paths of at most `most` crops, evenly spaced."""
        return []

    def read(self, path: str) -> Pixels | None:
        """Read the pixels of a crop; None if it is unreadable or would lie outside the output."""
        try:
            pixels = self.load(path)
        except MissingExtra:  # without OpenCV, the page has no pictures
            return None
        if isinstance(pixels, Outcome):
            note_left_out(pixels)
            return None
        return pixels

    def encode(self, path: str) -> bytes | None:
        """Encode a thumbnail of a crop; None if it cannot be read."""
        pixels = self.read(path)
        if pixels is None:
            return None
        return codec.encode_small(pixels, _SIDE)


def warn_of_other_names(
    table: Path, names: Sequence[str] | pa.ChunkedArray, crops: Crops, runs: Sequence[Run]
) -> None:
    """Warn if most names of a table are neither those of `crops`, the output, nor of its sources.

    A sample is looked up. Only sources that are folders are known.
    """
    sources = [images_of(source) for run in runs for source in run.sources]
    known = [crops, *(FolderCrops(source) for source in sources if source.is_dir())]
    if sources and len(known) == 1 and isinstance(crops, FolderCrops):
        return  # the output may be a plan without images
    sample = [str(names[place]) for place in spread_places(len(names), _MOST_LOOKED_UP).tolist()]
    missing = [name for name in sample if not any(each.has(name) for each in known)]
    if 2 * len(missing) > len(sample):
        log.warning(
            "%s: most of its names are not in the set: %s of %s, such as %r",
            table,
            f"{len(missing):,}",
            f"{len(sample):,}",
            missing[0],
        )


class FolderCrops(Crops):
    """Files below a folder, or in a folder beside it that its command writes too."""

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.abspath(root))

    def load(self, path: str) -> Pixels | Outcome:
        file = self._file_of(path)
        if file is None:
            return Outcome(path, "outside", f"{path!r} would lie outside the output")
        return load_image(file, path)

    def has(self, path: str) -> bool:
        file = self._file_of(path)
        return file is not None and os.path.lexists(file)

    def _file_of(self, path: str) -> Path | None:
        """Return the file of a crop; None if it would lie outside the output."""
        name, beside = split_output(path)
        if os.path.isabs(name) or ".." in Path(name).parts or "\0" in name:
            return None
        return self._root.with_name(self._root.name + beside) / name


class SetCrops(Crops):
    """Images in a set that is not a folder; `is_output` says that it is the output itself."""

    def __init__(self, images: ImageSet, is_output: bool) -> None:
        self._images = images
        self._lookup = NameLookup(images.keys, len(images))
        if is_output:
            self.n, self.counts = len(images), _count(images)

    def load(self, path: str) -> Pixels | Outcome:
        places = self._lookup.find(path)
        if not places:
            return Outcome(path, "missing", f"{path!r} is not in {self._images.path}")
        sample = next(self._images.read(places[:1]))
        if isinstance(sample, Outcome):
            return sample
        return load_image_bytes(sample.data, path, sample.place)

    def has(self, path: str) -> bool:
        return bool(self._stems.find(path))

    @cached_property
    def _stems(self) -> NameLookup:
        """The names without suffixes, which some containers do not keep."""
        return NameLookup(self._images.keys, len(self._images), strip_suffix)

    def sample(self, most: int) -> list[str]:
        places = spread_places(len(self._images), most)
        return [self._images.key(place) for place in places.tolist()]


def _count(images: ImageSet) -> dict[str, int]:
    names = images.index.identities
    numbers = images.index.identity_of
    counts = np.bincount(numbers[numbers >= 0], minlength=len(names)).tolist()
    return dict(zip(names[:], counts, strict=True))


@contextmanager
def open_crops(out: Path, runs: Sequence[Run], scratch: Path) -> Iterator[Crops]:
    """Open the crops of an output: its own, or those of the set that a table is about.

    A set that is not a folder is indexed in `scratch`.
    """
    for place in _places(out, runs):
        images = open_set(place.path, scratch, SET, place.relative_to)
        if images is not None:
            with images:
                yield SetCrops(images, place.is_output)
            return
        if place.path.is_dir():
            yield FolderCrops(place.path)
            return
    yield FolderCrops(out.parent)


class SideCrops(Crops):
    """The crops of several sets; a path is the name of a set, a space, and the path in it."""

    def __init__(self, sides: Mapping[str, Crops]) -> None:
        self._sides = sides

    def load(self, path: str) -> Pixels | Outcome:
        name, _, own = path.partition(" ")
        if name not in self._sides:
            return Outcome(path, "missing", f"{path!r}: its set is not known")
        return self._sides[name].load(own)


@contextmanager
def open_side_crops(runs: Sequence[Run], names: Sequence[str], scratch: Path) -> Iterator[Crops]:
    """Open the sets that a run compared under these names, in the order of its sources.

    For a file of embeddings, it is the set that they were made from.
    """
    with ExitStack() as stack:
        sides: dict[str, Crops] = {}
        for run in runs[:1]:
            base = folder_of_names(run.record)
            for name, source in zip(names, run.sources, strict=False):
                path = images_of(source)
                images = open_set(path, scratch, name, base)
                if images is None:
                    sides[name] = FolderCrops(path)
                else:
                    sides[name] = SetCrops(stack.enter_context(images), False)
        yield SideCrops(sides)


def images_of(source: Path) -> Path:
    """Return the set that embeddings were made from, or the set itself."""
    try:
        if is_embeddings(source) and (root := load_place(source).root):
            return Path(root)
    except FaceprepError as error:
        log.debug("no crops from %s: %s", source, error)
    return source


class _Place(NamedTuple):
    """A path where crops may be, and the `relative_to` of its run."""

    path: Path
    is_output: bool = True
    relative_to: Path | None = None


def _places(out: Path, runs: Sequence[Run]) -> Iterator[_Place]:
    """Yield the places where crops may be: the output itself, its shards, its sources."""
    yield _Place(out)
    for run in runs:
        if not out.exists():
            files = (name for page in run.pages() for name in page.outputs)
            yield from (_Place(out.with_name(name)) for name in files if name.endswith(out.suffix))
        base = folder_of_names(run.record)
        yield from (_Place(source, False, base) for source in run.sources)


def open_set(
    path: Path, scratch: Path, name: str, relative_to: Path | None = None
) -> ImageSet | None:
    """Open a set, indexed in `scratch` under `name`; None for a folder and what is not a set."""
    try:
        if not path.exists() or kind_of(path) == FolderSet.kind:
            return None
        return index_set(path, scratch, name, relative_to)
    except FaceprepError as error:
        log.debug("no crops from %s: %s", path, error)
        return None
