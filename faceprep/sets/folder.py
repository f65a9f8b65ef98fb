"""Folders of images: ROOT/IDENTITY/NAME, with identities nested to any depth.

An identity is a folder that holds images itself; its name is its path below ROOT. Class numbers
follow the order of Keras_insightface: names sorted as numbers if all of them are numbers, else as
text. Names that begin with a dot are skipped and counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.errors import SourceError
from faceprep.core.folder_walk import walk_folders
from faceprep.core.io.image_bytes import read_image_bytes
from faceprep.core.io.image_header import is_image_name
from faceprep.core.names import sort_files, sort_names
from faceprep.core.paths import is_folder
from faceprep.core.prefetch import map_reads
from faceprep.core.types import Outcome, Sink
from faceprep.core.untaken import UntakenFiles
from faceprep.sets.distinct_keys import is_path_inside, strip_suffix
from faceprep.sets.image_paths import FORM, PLAIN, path_in_identity
from faceprep.sets.image_set import CheckedSample, Found, ImageSet, Sample
from faceprep.sets.set_index import IndexWriter
from faceprep.sets.set_writer import (
    Capabilities,
    OutPart,
    SetNames,
    Settings,
    SetWriter,
    has_twins,
    write_each,
)

BAD_NAME = "bad_name"
_ADDS = "adds_suffixes"
_LONGEST, _SUFFIX = 255, ".jpg"
"""Bytes of the name of a file at most; the longest suffix that is added to one."""
_AHEAD = 64
"""Identities in a store that are listed before their sizes are asked for."""
_COMMON = (".jpg", ".png", ".jpeg")


@dataclass(frozen=True, slots=True)
class Identity:
    """A folder of images: its name, and the sorted names of its images."""

    name: str
    images: tuple[str, ...]


def _select_images(files: list[str]) -> list[str]:
    """Return the images among the files of a listed folder, where no name begins with a dot."""
    return [file for file in files if file.endswith(_COMMON) or is_image_name(file)]


def read_identity(root: Path, name: str) -> Identity:
    """List the images of one identity, in order. Raises SourceError."""
    _, files = storage.list_folder(f"{root}/{name}")
    return Identity(name, tuple(sort_files(_select_images(files))))


def walk_images(root: Path, untaken: UntakenFiles | None = None) -> Iterator[tuple[str, list[str]]]:
    """Yield (identity, its image files) for every identity, unsorted.

    Images in `root` itself are the identity ``.``. Links are followed, but each real folder is
    one identity, however many links lead to it. Other files are counted in the log and in
    `untaken`. Raises SourceError when `root` is not a folder, or a folder in it cannot be listed.
    """
    if not is_folder(root):
        expected = "a folder of identities with images in them"
        raise SourceError("no such folder", path=root, expected=expected)
    untaken = untaken or UntakenFiles(root, "images")
    for name, files, hidden in walk_folders(root):
        images = _select_images(files)
        if hidden or len(images) < len(files):
            taken = set(images)
            others = [file for file in files if file not in taken]
            untaken.add(name, others + hidden, has_taken=bool(images))
        if images:
            yield name or ".", images
    untaken.report()


def find_identities(root: Path, untaken: UntakenFiles | None = None) -> list[Identity]:
    """List every identity below `root`, in class order. Raises SourceError as `walk_images`.

    `untaken` counts the other files.
    """
    found = {
        name: Identity(name, tuple(sort_files(images)))
        for name, images in walk_images(root, untaken)
    }
    return [found[name] for name in sort_names(found)]


class FolderSet(ImageSet):
    """A folder of identities, or of images alone. Keys are paths with their suffix.

    The place of an image is (0, size of its file).
    """

    kind: ClassVar[str] = "folder"
    keys_have_suffix: ClassVar[bool] = True
    keys_are_below: ClassVar[bool] = True

    @classmethod
    def build_index(cls, path: Path, index: IndexWriter) -> None:
        """Write the columns, identities in class order and images in the order of their names."""
        digest = hashlib.sha256()
        identities = find_identities(path)
        for number, identity in enumerate(identities):
            if number % _AHEAD == 0:
                coming = identities[number : number + _AHEAD]
                storage.list_ahead([f"{path}/{each.name}" for each in coming])
            prefix = f"{identity.name}/".removeprefix("./")
            keys = [prefix + image for image in identity.images]
            name = "" if identity.name == "." else identity.name
            numbers = index.number_identities([name]) * len(keys)
            folder = f"{path}/{identity.name}".removesuffix("/.")
            sizes = storage.file_sizes(folder, identity.images)
            places = np.zeros((len(keys), 2), np.int64)
            places[:, 1] = sizes
            index.add(keys, numbers, places)
            states = "".join(map("{}\0{}\n".format, keys, sizes))
            digest.update(states.encode("utf-8", "surrogateescape"))
        index.fingerprint = f"{len(index):,} images {digest.hexdigest()[:16]}"

    def read(self, positions: Sequence[int]) -> Iterator[Sample | Outcome]:
        return map_reads(self._read_one, positions, self.path)

    def _read_one(self, position: int) -> Sample | Outcome:
        key = self.key(position)
        data = read_image_bytes(f"{self.path}/{key}", key)
        if isinstance(data, Outcome):
            return data
        return Sample(key, self.identity(position), data, place=key)

    @property
    def root(self) -> str:
        return self.path

    @property
    def file_sizes(self) -> Ints:
        return self.index.places[:, 1]


def _is_no_path(name: str) -> bool:
    """Return whether no image file of this name would be read: hidden, or its name is too long.

    >>> [_is_no_path(name) for name in ("a/1", "a/..", ".a/1", "a/" + 255 * "x")]
    [False, True, True, True]
    """
    *folders, base = name.split("/")
    if not is_image_name(base):
        base += _SUFFIX
    parts = [*folders, base]
    longest = max(len(part.encode("utf-8", "surrogateescape")) for part in parts)
    is_hidden = any(part.startswith(".") for part in parts)
    return longest > _LONGEST or is_hidden or not is_path_inside(name)


class FolderWriter(SetWriter):
    """Writes IDENTITY/NAME, with the suffix of the actual format where the key has none."""

    kind: ClassVar[str] = "folder"
    can: ClassVar[Capabilities] = Capabilities(order=False, forbids=_is_no_path)
    has_paths: ClassVar[bool] = True

    @classmethod
    def choose_settings(cls, names: SetNames) -> Settings:
        """Add a suffix to every name where only some have one, and others differ in it alone.

        Raises SourceError where an image and a folder would have one name.
        """
        adds = not names.keys_have_suffix and has_twins(names) and not _are_file_names(names)
        _refuse_folders(names, adds)
        return {FORM: names.form, _ADDS: adds}

    def files(self, n_files: int) -> list[str]:
        """Return one name, which stands for all files of the folder."""
        return [self.output.name]

    def side_files(self, n_files: int) -> list[str]:
        return []

    def write(self, found: Iterator[Found], part: OutPart, sink: Sink) -> Iterator[Outcome]:
        def add(_: int, checked: CheckedSample) -> Outcome | None:
            sample, header = checked
            path = path_in_identity(sample.key, sample.identity, self.settings.get(FORM, PLAIN))
            name = path
            if self.settings.get(_ADDS) or not is_image_name(path):
                name += header.suffix
            if _is_no_path(path) or _is_no_path(name):
                reason = f"{ascii(path)}: a folder cannot hold this name"
                return Outcome(sample.key, BAD_NAME, reason)
            sink.write(name, sample.data)
            return None

        return write_each(found, part, add)

    def join(self, name: str, parts: Sequence[tuple[str, OutPart]], sink: Sink) -> None:
        """Do nothing: there are no parts."""


def _are_file_names(names: SetNames) -> bool:
    """Return whether the names of all images have the suffix of one."""
    return all(map(is_image_name, chain.from_iterable(names.blocks())))


def _refuse_folders(names: SetNames, adds_suffixes: bool) -> None:
    """Raise SourceError where an image has the name of a folder, such as a.jpg of a.jpg/1.jpg."""
    folders = {
        "/".join(parts[:n])
        for parts in (identity.split("/") for identity in names.identities)
        for n in range(1, len(parts) + 1)
        if is_image_name(parts[n - 1])
    }
    if not folders:
        return
    stems = {strip_suffix(folder) for folder in folders}
    for block in names.path_blocks():
        for path in block:
            taken = stems
            if is_image_name(path) and not adds_suffixes:
                taken = folders
            if path in taken:
                raise SourceError(
                    "an image and an identity would have one name in a folder",
                    path=names.path,
                    found=ascii(path),
                    remedy="Write a .tar or .parquet, or rename one of them.",
                )
