"""Lists that refer to image files, as sets: .npz .csv .parquet .lst .txt.

A key is the name of an image as the list has it. Relative names lie below the list's folder, or
below a given one. A name that leads outside that folder is refused, unless all names are absolute.
The identity is the list's own, else the name of the class in a class map beside the list, else the
number of the class; the class -1 is none. Without classes it is the folder of the image.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import math
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.errors import SourceError
from faceprep.core.io.image_bytes import BAD_LABEL, UNREADABLE, check_file_size, read_image_bytes
from faceprep.core.io.image_header import is_image_name
from faceprep.core.io.npz import CLASSES, NAMES, NpzFile
from faceprep.core.io.parquet import open_parquet
from faceprep.core.names import identity_of
from faceprep.core.paths import full_path
from faceprep.core.prefetch import map_reads
from faceprep.core.text import name_all
from faceprep.core.types import Outcome
from faceprep.core.urls import is_remote, url_of
from faceprep.sets import kinds
from faceprep.sets.distinct_keys import find_repeats
from faceprep.sets.exact_labels import LabelReader, LabelWriter
from faceprep.sets.image_set import LABELS_ARE_IDENTITIES, MAX_LABELS, UNREAD, ImageSet, Sample
from faceprep.sets.lists import ListedImage, parse_label, read_csv_columns, split_label
from faceprep.sets.manifests.class_names import ClassNames, ClassSurvey
from faceprep.sets.manifests.reader import IDENTITIES, find_columns, read_rows
from faceprep.sets.set_index import RELATIVE_TO, IndexWriter, SetIndex

log = logging.getLogger("faceprep")
OUTSIDE, REPEATED = "outside", "repeated"
"""Statuses: the name leads outside the set; the list has the name already."""
_REPEATS, _SIZES = "repeats", "sizes"
_ROWS = 1 << 13
_ROOT, _ABSOLUTE, _BELOW = "root", "absolute", "below"


class NamesPlace(NamedTuple):
    """The folder of relative names, and whether every name may lead anywhere."""

    root: str
    is_absolute: bool

    def find(self, name: str) -> str:
        """Return the full path of an image; empty where it lies outside the folder, as objects do.

        >>> [NamesPlace(root, False).find("b/../1.jpg") for root in ("/a", "s3://a")]
        ['/a/1.jpg', 's3://a/1.jpg']
        """
        if "://" in name and is_remote(name):
            return ""
        if not name.startswith("/") and ".." not in name:
            return f"{self.root.rstrip('/')}/{name}"
        path = url_of(os.path.normpath(os.path.join(self.root, name)))
        if self.is_absolute or path.startswith(f"{self.root.rstrip('/')}/"):
            return path
        return ""

    def refuse(self, name: str) -> Outcome | None:
        """Return the outcome of an image that lies outside the folder."""
        if self.find(name):
            return None
        return Outcome(name, OUTSIDE, f"{name}: leads outside the folder {self.root}")


class _Survey(NamedTuple):
    """What must be known of the whole list before its images can be placed and named."""

    place: NamesPlace
    common: str
    """The folder that the absolute names share; empty for relative names."""
    classes: ClassNames

    def identity_of(self, row: ListedImage) -> str:
        """Return the identity of an image, empty where it has none."""
        if row.identity:
            return row.identity
        if row.label is not None:
            return self.classes.name(row.label)
        path = self.place.find(row.name)
        name = os.path.relpath(path, self.common or self.place.root) if path else "."
        folder = identity_of(name)
        return "" if folder == "." else folder


class ListSet(ImageSet):
    """The images that a list names. Its places are (start, number) of the labels of an image."""

    def __init__(self, path: str, index: SetIndex) -> None:
        super().__init__(path, index)
        self._place = NamesPlace(index.facts[_ROOT], index.facts[_ABSOLUTE])
        self._labels = LabelReader(index)
        self._repeats: npt.NDArray[np.int64] = index.column(_REPEATS, "<i8")

    @classmethod
    def is_kind(cls, path: Path) -> bool:
        return kinds.sniff(path).kind == cls.kind

    @classmethod
    def build_index(cls, path: Path, index: IndexWriter) -> None:
        """Write the columns, in the order of the list, which is read twice. Raises SourceError."""
        survey = _survey(path, index.facts.get(RELATIVE_TO) or full_path(path.parent))
        labels, file_sizes = LabelWriter(index), index.add_column(_SIZES)
        hashes, ends = array("q"), list[str]()
        digest, n_outside, n_missing, most = hashlib.sha256(), 0, 0, 1
        rows = read_rows(path)
        while block := list(islice(rows, _ROWS)):
            names = [row.name for row in block]
            hashes.extend(map(hash, names))
            found = [survey.place.find(name) for name in names]
            n_outside += found.count("")
            places = labels.add(list(map(_labels_of, block)))
            most = max(most, int(places[:, 1].max()))
            identities = index.number_identities(map(survey.identity_of, block))
            _refuse_no_text(path, names, len(index))
            index.add(names, identities, places)
            ends += (min(names), max(names))
            sizes = [_size_of(path) for path in found]
            n_missing += sizes.count(-errno.ENOENT)
            cls.check_names(path, names, sizes, survey.place)
            file_sizes.write(np.array(sizes, "<i8").tobytes())
            states = "".join(map("{}\0{}\n".format, names, sizes))
            digest.update(states.encode("utf-8", "surrogateescape"))
        if n_outside and n_outside == len(index):
            raise all_outside(path, survey.place.root)
        if n_missing and n_missing == len(index) and not survey.place.is_absolute:
            _warn_of_missing(path, survey.place.root)
        repeats = find_repeats(np.frombuffer(hashes, np.int64))
        index.add_column(_REPEATS).write(repeats.tobytes())
        index.facts |= {_ROOT: survey.place.root, _ABSOLUTE: survey.place.is_absolute, _BELOW: ""}
        index.facts |= {MAX_LABELS: most, UNREAD: cls.find_others(path)}
        index.facts[LABELS_ARE_IDENTITIES] = not survey.classes.names
        if survey.place.is_absolute and ends:
            index.facts[_BELOW] = _common_folder(ends)
        state = storage.fingerprint_of(path)
        index.fingerprint = f"{state}, {len(index):,} images {digest.hexdigest()[:16]}"

    @classmethod
    def find_others(cls, path: Path) -> str:
        """Name what the list holds besides names, classes and identities; empty for nothing."""
        return ""

    @classmethod
    def check_names(
        cls, path: Path, names: Sequence[str], sizes: Sequence[int], place: NamesPlace
    ) -> None:
        """Raise SourceError where names show, by their file sizes, that the list was misread."""

    def read(self, positions: Sequence[int]) -> Iterator[Sample | Outcome]:
        return map_reads(self._read_one, positions, self._place.root)

    def _read_one(self, position: int) -> Sample | Outcome:
        key = self.key(position)
        refused = self._refuse(position, key)
        if refused:
            return refused
        data = read_image_bytes(self._place.find(key), key)
        if isinstance(data, Outcome):
            return data
        labels = self._labels_of(position)
        return Sample(key, self.identity(position), data, labels, place=key)

    def find_unusable(self, stop: int) -> Iterator[tuple[int, Outcome]]:
        """Yield (position, outcome) of images without a file, or that the list names wrongly."""
        lacks_identity = self.index.identity_of < 0
        has_label = self.index.places[:, 1] > 0
        found = (self.file_sizes <= 0) | (lacks_identity & has_label)
        found[self._repeats] = True
        for position in np.flatnonzero(found[:stop]).tolist():
            key = self.key(position)
            outcome = self._refuse(position, key)
            outcome = outcome or check_file_size(self.file_sizes.item(position), key)
            if outcome:
                yield position, outcome

    @property
    def file_sizes(self) -> Ints:
        return self.index.column(_SIZES, "<i8")

    def _refuse(self, position: int, key: str) -> Outcome | None:
        labels = self._labels_of(position)
        if not key or "\0" in key:
            return Outcome(key, UNREADABLE, f"image {position}: expected a path, found {key!r}")
        if refused := self._place.refuse(key):
            return refused
        at = int(np.searchsorted(self._repeats, position))
        if at < len(self._repeats) and self._repeats[at] == position:
            return Outcome(key, REPEATED, f"{key}: repeated in the list")
        if labels and not self.identity(position) and not math.isfinite(labels[0]):
            return Outcome(key, BAD_LABEL, f"{key}: expected a finite label, found {labels[0]}")
        return None

    def _labels_of(self, position: int) -> tuple[float, ...]:
        start, n = self.index.places[position].tolist()
        return self._labels.read(start, n)

    @property
    def root(self) -> str:
        return "" if self._place.is_absolute else self._place.root

    @property
    def below(self) -> str:
        return str(self.index.facts[_BELOW])


class NpzListSet(ListSet):
    """A .npz of image_names and image_classes."""

    kind: ClassVar[str] = kinds.NPZ_LIST

    @classmethod
    def find_others(cls, path: Path) -> str:
        with NpzFile(path) as file:
            return name_all("other array", _without(file.keys, NAMES, CLASSES, IDENTITIES))


class CsvListSet(ListSet):
    """A .csv of image_names and image_classes or identity."""

    kind: ClassVar[str] = kinds.CSV_LIST

    @classmethod
    def find_others(cls, path: Path) -> str:
        return name_all("other column", read_csv_columns(path)[1])


class ParquetListSet(ListSet):
    """A .parquet of image_names and, where they are there, image_classes and identity.

    Its columns may have the other names that those of a .csv may have.
    """

    kind: ClassVar[str] = kinds.PARQUET_LIST

    @classmethod
    def find_others(cls, path: Path) -> str:
        with open_parquet(path) as file:
            schema = file.schema_arrow
        return name_all("other column", _without(schema.names, *find_columns(schema)))


class LstSet(ListSet):
    """A .lst with im2rec's or InsightFace's columns."""

    kind: ClassVar[str] = kinds.LST


class TxtListSet(ListSet):
    """A .txt of paths, with or without labels."""

    kind: ClassVar[str] = kinds.TXT_LIST

    @classmethod
    def check_names(
        cls, path: Path, names: Sequence[str], sizes: Sequence[int], place: NamesPlace
    ) -> None:
        """Refuse a line that begins with its label, or has two labels.

        The rest of such a line names a file.
        """
        for name, size in zip(names, sizes, strict=True):
            if size != -errno.ENOENT:
                continue
            first, _, rest = name.partition(" ")
            if parse_label(first) is not None and _size_of(place.find(rest)) >= 0:
                problem = "the label is before the path"
                remedy = "Write the label at the end of each line."
                raise _bad_line(path, problem, name, "path label", rest, remedy)
            image, label = split_label(name)
            if label is not None and is_image_name(image) and _size_of(place.find(image)) >= 0:
                expected = "path label, or a path alone"
                remedy = "Leave one label in each line; an .lst may have several."
                raise _bad_line(path, "a line with two labels", name, expected, image, remedy)


def _bad_line(
    path: Path, problem: str, name: str, expected: str, image: str, remedy: str
) -> SourceError:
    """Return the error of a line: `image` is a file, and the whole `name` is not."""
    return SourceError(
        problem,
        path=path,
        where=f"the line that starts with {name!r}",
        expected=expected,
        found=f"no file of that name, and the file {image!r}",
        remedy=remedy,
    )


def _without(names: Iterable[str], *read: str) -> list[str]:
    return [name for name in names if name and name not in read]


def _survey(path: Path, root: str) -> _Survey:
    """Read the list once to see whether all its names are absolute and all its classes named."""
    classes, is_absolute, common = ClassSurvey(path), True, ""
    for row in read_rows(path):
        is_absolute = is_absolute and row.name.startswith("/")
        if is_absolute and row.label is None:
            folder = os.path.dirname(os.path.normpath(row.name))
            common = os.path.commonpath([common or folder, folder])
        classes.add(row)
    if not is_absolute:
        common = ""
    return _Survey(NamesPlace(root, is_absolute), common, classes.class_names())


def _labels_of(row: ListedImage) -> tuple[float, ...]:
    """Return all labels of a line."""
    return () if row.label is None else (row.label, *row.more)


def _common_folder(names: Sequence[str]) -> str:
    """Return the folder that files with these absolute names share, given the least and greatest.

    >>> _common_folder(["/a/b/1.jpg", "/a/c/1.jpg"])
    '/a'
    """
    folders = [os.path.dirname(name) for name in (min(names), max(names))]
    return os.path.commonpath(folders).rstrip("/")


def _size_of(path: str) -> int:
    if not path or "\0" in path:
        return -errno.ENOENT
    return storage.file_size(path)


def _warn_of_missing(path: Path, root: str) -> None:
    """Warn that no file of a list is there, because its relative names lie below another folder."""
    log.warning(
        "%s: none of its images is in %s: name the folder of the images with --relative-to",
        url_of(path),
        root,
    )


def _refuse_no_text(path: Path, names: Sequence[str], start: int) -> None:
    """Raise SourceError for a name that no file can have, since it is not text."""
    try:
        "".join(names).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        for number, name in enumerate(names, start):
            if any("\ud800" <= letter <= "\udfff" for letter in name):
                raise SourceError(
                    "a name that is not text",
                    path=path,
                    where=f"image {number} (counted from 0)",
                    expected="the path of an image",
                    found=ascii(name),
                ) from None


def all_outside(path: Path, root: str) -> SourceError:
    """Return the error of a list of which every name leads outside the folder `root`."""
    return SourceError(
        "all its names lead outside its folder",
        path=path,
        expected=f"images below {root}",
        remedy="Name the folder of the images with --relative-to; names with .. have to be "
        "absolute, and those of objects relative to it.",
    )
