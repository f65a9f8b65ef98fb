"""The contract of writers: a set goes to files in parts, which several workers write.

A file of a set has one part or several. Each worker writes whole parts; a file of one part is
complete with it, and the others are joined at the end.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from faceprep.core import storage
from faceprep.core.io.image_header import is_image_name
from faceprep.core.names import sort_names
from faceprep.core.shards import even_bounds
from faceprep.core.types import Outcome, Sink
from faceprep.sets import class_map
from faceprep.sets.image_set import ImageSet, Sample

PART = ".part"
Settings = Mapping[str, Any]
"""What all parts of a run agree on, as plain values."""
_KEYS = 1 << 16


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a container can hold besides the bytes of its images.

    `text_keys`: names of images; without them a key is a number. `identity_names`: identities that
    are not numbers. `many_labels`: more than one label per image. `order`: the order of the images.
    `suffixes`: keys with the suffix of a file name.
    """

    text_keys: bool = True
    identity_names: bool = True
    many_labels: bool = False
    order: bool = True
    suffixes: bool = False


@dataclass(frozen=True)
class SetNames:
    """The names in a set of `n` images that is to be written.

    `keys(start, stop)` are the keys of some images. `keys_have_suffix` says that they are file
    names. `max_labels` is the largest number of labels of an image.
    """

    n: int
    keys: Callable[[int, int], list[str]]
    identities: Sequence[str]
    keys_have_suffix: bool = False
    max_labels: int = 1

    @cached_property
    def are_number_keys(self) -> bool:
        """Return whether the names of all images are distinct whole numbers of 63 bits."""
        found = np.zeros(self.n, np.int64)
        for start, stop in even_bounds(self.n, _KEYS):
            here = [number_of(key) for key in self.keys(start, stop)]
            numbers = [number for number in here if number is not None]
            if len(numbers) < len(here):
                return False
            found[start:stop] = numbers
        return bool((np.diff(np.sort(found)) > 0).all())

    @staticmethod
    def of(images: ImageSet) -> SetNames:
        """Return the names of a set that is written as it is."""
        facts = images.index.facts
        return SetNames(
            len(images),
            images.keys,
            images.index.identities,
            images.keys_have_suffix,
            facts.get("max_labels", 1),
        )


@dataclass(frozen=True, slots=True)
class Classes:
    """The class number of each identity, in the order of their names."""

    names: Sequence[str]
    numbers: Mapping[str, int]

    def number(self, identity: str) -> int:
        """Return the class number of an identity, -1 for an image without one."""
        return self.numbers.get(identity, -1)

    @staticmethod
    def of(identities: Iterable[str]) -> Classes:
        """Assign class numbers: names sorted as numbers if all are numbers, else as text."""
        names = sort_names(identities)
        return Classes(names, {name: number for number, name in enumerate(names)})


@dataclass(frozen=True, slots=True)
class OutPart:
    """The part [start, stop) of an output file of `n` images.

    `is_whole` says that the file has only this part.
    """

    file: str
    start: int
    stop: int
    n: int
    is_whole: bool

    def open(self, sink: Sink) -> BinaryIO:
        """Open the file that this part is written to."""
        if self.is_whole:
            return sink.open(self.file)
        return sink.open_part(PART)


class SetWriter(ABC):
    """Writes one kind of container; every part is written by `write`."""

    kind: ClassVar[str]
    can: ClassVar[Capabilities]
    parts_are_files: ClassVar[bool] = True
    """Whether the only part of a file is the file."""

    def __init__(self, output: Path, classes: Classes, settings: Settings) -> None:
        self.output, self.classes, self.settings = output, classes, settings

    @classmethod
    def choose_settings(cls, names: SetNames) -> Settings:
        """Look through the set once for what all parts must agree on. Raises SourceError."""
        return {}

    @classmethod
    def read_back(cls, key: str) -> str:
        """Return the key that an image has in the written set."""
        if not cls.can.suffixes and is_image_name(key.rpartition("/")[2]):
            return key.rpartition(".")[0]
        return key

    def files(self, n_files: int) -> list[str]:
        """Return the names of the output files: the output itself, or numbered shards."""
        if n_files == 1:
            return [self.output.name]
        stem, suffix = self.output.stem, self.output.suffix
        return [f"{stem}-{number:05d}-of-{n_files:05d}{suffix}" for number in range(n_files)]

    def side_files(self, n_files: int) -> list[str]:
        """Return the names of the files that come beside them."""
        return [self.class_map]

    @property
    def class_map(self) -> str:
        """Return the name of the class map."""
        return class_map.name_for(self.output)

    @abstractmethod
    def write(
        self, samples: Iterator[Sample | Outcome], part: OutPart, sink: Sink
    ) -> Iterator[Outcome]:
        """Write the sound ones of `samples` and yield one Outcome for each."""

    @abstractmethod
    def join(self, name: str, parts: Sequence[tuple[str, OutPart]], sink: Sink) -> None:
        """Join the parts of a file, given as (id of the shard, part)."""


def join_bytes(parts: Sequence[tuple[str, OutPart]], sink: Sink, file: BinaryIO) -> None:
    """Write parts one after the other."""
    for shard_id, _ in parts:
        storage.append_file(sink.part_path(shard_id, PART), file)


def find_losses(names: SetNames, can: Capabilities) -> list[str]:
    """Name what a container cannot hold of this set; empty where it can hold all of it."""
    losses = []
    if not can.text_keys and not names.are_number_keys:
        losses.append("the names of the images")
    if not can.identity_names and not are_numbers(names.identities):
        losses.append("the names of the identities")
    if not can.many_labels and names.max_labels > 1:
        losses.append(f"all but one of {names.max_labels} labels of an image")
    return losses


def are_numbers(names: Iterable[str]) -> bool:
    """Return whether all names are whole numbers of 63 bits."""
    return all(map(_is_number, names))


def number_of(key: str) -> int | None:
    """Return the name of an image as a number; None for another name.

    >>> number_of("5/17"), number_of("5/17.jpg"), number_of("5/017")
    (17, 17, None)
    """
    name = key.rpartition("/")[2]
    stem = name.partition(".")[0]
    if not _is_number(stem) or not (stem == name or is_image_name(name)):
        return None
    return int(stem)


def has_twins(names: SetNames) -> bool:
    """Return whether two keys differ in the suffix alone, such as a.jpg and a.png."""
    if not names.keys_have_suffix:
        return False
    stems = np.zeros(names.n, np.uint64)
    for start, stop in even_bounds(names.n, _KEYS):
        stems[start:stop] = [_hash(key.rpartition(".")[0]) for key in names.keys(start, stop)]
    return bool((np.diff(np.sort(stems)) == 0).any())


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and name == str(int(name)) and int(name) < 1 << 63
