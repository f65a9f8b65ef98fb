"""A .zip of a folder of identities, read in place.

Keys, identities and their order are those of the folder that the file would unpack to. One leading
folder that holds everything is left out, unless the images lie in it directly. Backslashes are
taken for slashes where no image has a slash in its name. The place of an image is (offset of its
record in the directory, offset of the member).
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from faceprep.core import storage
from faceprep.core.errors import SourceError, naming
from faceprep.core.io.image_bytes import UNDECODABLE, UNREADABLE
from faceprep.core.io.image_header import is_image_name
from faceprep.core.names import sort_files, sort_names
from faceprep.core.storage import ByteSource
from faceprep.core.types import Outcome
from faceprep.sets.image_set import ImageSet, Sample
from faceprep.sets.members import SkippedFiles, read_path
from faceprep.sets.set_index import IndexWriter, SetIndex
from faceprep.sets.zip_directory import (
    DEFLATED,
    STORED,
    Directory,
    ZipMember,
    find_directory,
    read_content,
    read_directory,
    read_record,
)

_LARGEST_IMAGE = 1 << 30
_MOST_EXPANSION = 1100
"""Deflate expands 1,032 times at most."""
_BACKSLASH = "\\"
_LINK = "expected an image, found a link; unpack the file and read the folder"


log = logging.getLogger("faceprep")


class ZipSet(ImageSet):
    """A zip file of images that are stored or deflated."""

    kind: ClassVar[str] = "zip"
    keys_are_below: ClassVar[bool] = True

    def __init__(self, path: str, index: SetIndex) -> None:
        super().__init__(path, index)
        self._shift: int = index.facts["shift"]
        self._source: ByteSource | None = None

    @classmethod
    def build_index(cls, path: Path, index: IndexWriter) -> None:
        """Write the columns, identities in class order and images in the order of their names."""
        with naming(path), ByteSource(path) as source:
            directory = find_directory(source)
            images = _find_images(source, directory)
            if images.have_backslashes_alone():
                log.warning(
                    "%s: the names have backslashes and no slashes, as some Windows programs write "
                    "them; each backslash ends the name of a folder",
                    path,
                )
                images = _find_images(source, directory, _BACKSLASH)
            images.write(source, index)
        images.skipped.warn(path)
        index.facts = {"shift": directory.shift}
        index.fingerprint = storage.fingerprint_of(path)

    def read(self, positions: Sequence[int]) -> Iterator[Sample | Outcome]:
        if self._source is None:
            self._source = ByteSource(self.path)
        for position in positions:
            yield self._read_one(self._source, position)

    def _read_one(self, source: ByteSource, position: int) -> Sample | Outcome:
        key = self.key(position)
        at, start = self.index.places[position].tolist()
        place = f"{key} at offset {start}"
        try:
            member = read_record(source, at, self._shift)
            problem = _find_problem(member, source.size)
            if member.is_link:
                problem = _LINK
            data = problem or read_content(source, member)
        except SourceError as error:
            return Outcome(key, UNREADABLE, f"{place}: {error.problem}")
        if isinstance(data, str):
            return Outcome(key, UNREADABLE, f"{place}: {data}")
        if not data:
            return Outcome(key, UNDECODABLE, f"{place}: no bytes where an image was expected")
        return Sample(key, self.identity(position), data, place=key)

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None


class _Images:
    """The images of a directory: offsets of their records, and numbers of their folders.

    `separator` ends the name of a folder.
    """

    def __init__(self, shift: int, separator: str) -> None:
        self._shift, self._separator = shift, separator
        self._n_backslashes = 0
        self.skipped = SkippedFiles()
        self._records, self._folder_of = array("q"), array("i")
        self._folders: dict[str, int] = {}

    def name_of(self, member: ZipMember) -> str:
        """Return the name of a member, with slashes."""
        return member.name.replace(self._separator, "/")

    def have_backslashes_alone(self) -> bool:
        """Return whether names of images have backslashes and no slashes."""
        return self._n_backslashes > 0 and list(self._folders) == [""]

    def add(self, member: ZipMember, path: str) -> None:
        self._n_backslashes += _BACKSLASH in path
        folder = path.rpartition("/")[0]
        self._records.append(member.at)
        self._folder_of.append(self._folders.setdefault(folder, len(self._folders)))

    def write(self, source: ByteSource, index: IndexWriter) -> None:
        """Write the index, one folder after another."""
        n_cut = _count_leading(list(self._folders))
        by_identity = {folder[n_cut:]: number for folder, number in self._folders.items()}
        folder_of = np.array(self._folder_of, np.int32)
        order = np.argsort(folder_of, kind="stable")
        edges = np.searchsorted(folder_of[order], np.arange(len(by_identity) + 1)).tolist()
        records = np.array(self._records, np.int64)[order]
        for identity in sort_names(by_identity):
            number = by_identity[identity]
            offsets = records[edges[number] : edges[number + 1]].tolist()
            members = (read_record(source, offset, self._shift) for offset in offsets)
            self._write_folder(identity, members, index)

    def _write_folder(
        self, identity: str, members: Iterator[ZipMember], index: IndexWriter
    ) -> None:
        """Write the images of one folder; of two members with one name, the later counts."""
        found: dict[str, tuple[int, int]] = {}
        for member in members:
            name = self.name_of(member).rpartition("/")[2]
            if name in found:
                self.skipped.add("replaced by a later member of the same name", member.name)
            found[name] = member.at, member.start
        prefix = f"{identity}/".removeprefix("/")
        names = sort_files(found)
        numbers = index.number_identities([identity]) * len(names)
        index.add([prefix + name for name in names], numbers, [found[name] for name in names])


def _find_images(source: ByteSource, directory: Directory, separator: str = "/") -> _Images:
    """Read the directory and check it. Raises SourceError."""
    images = _Images(directory.shift, separator)
    for member in read_directory(source, directory):
        name = images.name_of(member)
        path = read_path(name)
        if name.endswith("/"):
            continue
        if any(part.startswith(".") for part in path.split("/")):
            images.skipped.add("hidden files", member.name)
        elif not is_image_name(path):
            images.skipped.add("not images", member.name)
        else:
            problem = _find_problem(member, source.size)
            if problem:
                remedy = "Unpack it with another program, or make it again."
                raise SourceError(f"the member {member.name!r}: {problem}", remedy=remedy)
            images.add(member, path)
    return images


def _find_problem(member: ZipMember, file_size: int) -> str:
    """Return why a member is refused, and nothing where it is not."""
    if member.is_encrypted:
        return "encrypted"
    if member.method not in (STORED, DEFLATED):
        return f"compressed by method {member.method}; only stored and deflated members are read"
    if member.start + member.packed_size > file_size:
        return f"it takes {member.packed_size:,} bytes, more than the file has"
    if member.size > min(_LARGEST_IMAGE, _MOST_EXPANSION * (member.packed_size + 1)):
        return f"its size is implausible: {member.size:,} bytes from {member.packed_size:,}"
    return ""


def _count_leading(folders: list[str]) -> int:
    """Return the length of the leading folder to leave out, with its slash.

    >>> _count_leading(["set", "set/a"]), _count_leading(["a", "b"]), _count_leading(["a"])
    (4, 0, 0)
    """
    first = {folder.partition("/")[0] for folder in folders}
    is_nested = any("/" in folder for folder in folders)
    if len(first) == 1 and is_nested:
        return len(first.pop()) + 1
    return 0
