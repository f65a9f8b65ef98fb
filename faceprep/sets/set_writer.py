"""The contract of writers: a set goes to files in parts, which several workers write.

A file of a set has one part or several. Each worker writes whole parts; a file of one part is
complete with it, and the others are joined at the end.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from faceprep.core import storage
from faceprep.core.io.image_header import is_image_name
from faceprep.core.names import sort_names
from faceprep.core.shards import even_bounds
from faceprep.core.types import Outcome, Sink
from faceprep.core.urls import url_of
from faceprep.sets import class_map
from faceprep.sets.distinct_keys import find_repeats, hash_names, strip_suffix
from faceprep.sets.image_paths import PLAIN, ImagePaths
from faceprep.sets.image_set import CheckedSample, Found, ImageSet, Sample, SampleRun, check_sample
from faceprep.sets.recordio.records import EXACT_FLOATS

PART = ".part"
Settings = Mapping[str, Any]
"""What all parts of a run agree on, as plain values."""
_KEYS = 1 << 16
_MOST_DIGITS = 19
"""Digits of 2^63; Python refuses to read numbers of thousands of digits."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a container can hold besides the bytes of its images.

    `keys`: names of images; `text_keys`: names that are not numbers. `identity_names`: identities
    that are not exact float32 numbers. `identities`: any identity at all. `unnamed`: images without
    one. `many_labels`: more than one label per image. `order`: the order of the images. `suffixes`:
    keys with the suffix of a file name. `any_bytes`: names that are not UTF-8. `forbids`
    returns whether it cannot hold a name for another reason.
    """

    keys: bool = True
    text_keys: bool = True
    identity_names: bool = True
    identities: bool = True
    unnamed: bool = True
    many_labels: bool = False
    order: bool = True
    suffixes: bool = False
    any_bytes: bool = True
    forbids: Callable[[str], object] | None = None


@dataclass(frozen=True)
class SetNames:
    """The names in a set of `n` images that is to be written.

    `keys(start, stop)` are the keys of some images. `keys_have_suffix` says that they are file
    names, and `keys_are_plain` that none can seem to be one, or lead out of a folder. `facts` are
    those of its index. `n_unnamed` images have no identity. `damaged` are the positions that stand
    for damage and not for an image; nothing of them is written. `root` is the folder that keys are
    paths below, empty for absolute ones, None for images that are not files. `kind` and `path` are
    those of the set, and `own` names what only this kind of container can hold of it. `relative_to`
    is the folder that names in a list shall be below, if any. `paths` are those of the images;
    without them, each key is the path itself. `before` are the names before a plan, which its undo
    plan gives back.
    """

    n: int
    keys: Callable[[int, int], list[str]]
    identities: Sequence[str]
    keys_have_suffix: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    n_unnamed: int = 0
    root: str | None = None
    kind: str = ""
    own: str = ""
    relative_to: str = ""
    path: str = ""
    paths: ImagePaths | None = None
    keys_are_plain: bool = False
    before: SetNames | None = None
    damaged: Sequence[int] = ()

    @cached_property
    def are_number_keys(self) -> bool:
        """Return whether the names of all images are distinct whole numbers of 63 bits."""
        found = np.zeros(self.n, np.int64)
        for start, stop in even_bounds(self.n, _KEYS):
            keys = self.keys(start, stop)
            first, last = np.searchsorted(self.damaged, [start, stop]).tolist()
            for position in self.damaged[first:last]:
                keys[position - start] = "0"
            here = numbers_of(keys)
            if here is None:
                return False
            found[start:stop] = here
        return bool((np.diff(np.sort(np.delete(found, self.damaged))) > 0).all())

    @staticmethod
    def of(images: ImageSet, writer: type[SetWriter], relative_to: str = "") -> SetNames:
        """Return the names of a set that is written as it is."""
        keys = images.plain_keys
        if writer.refers_to_files:
            keys = images.keys
        damaged = images.find_damage()
        return SetNames(
            len(images),
            keys,
            images.index.identities,
            images.keys_have_suffix,
            images.index.facts,
            int((images.index.identity_of < 0).sum()) - len(damaged),
            images.root,
            images.kind,
            images.own,
            relative_to,
            images.path,
            ImagePaths(images, keys),
            images.keys_are_plain,
            damaged=damaged,
        )

    def listed(self, key: str) -> str:
        """Return the name of an image in a list: its absolute path, or below `relative_to`."""
        return listed_name(self.root or "", self.relative_to, key)

    @property
    def form(self) -> str:
        """Return the form of the paths of the images."""
        if self.paths is None:
            return PLAIN
        return self.paths.form

    def path_blocks(self) -> Iterator[list[str]]:
        """Yield the paths IDENTITY/NAME of all images in order, some at a time."""
        read = self.keys
        if self.paths is not None:
            read = self.paths.read
        for start, stop in even_bounds(self.n, _KEYS):
            yield read(start, stop)

    def blocks(self) -> Iterator[list[str]]:
        """Yield all keys in order, some at a time."""
        for start, stop in even_bounds(self.n, _KEYS):
            yield self.keys(start, stop)


@dataclass(frozen=True, slots=True)
class Classes:
    """The class number of each identity, in the order of their names."""

    names: Sequence[str]
    numbers: Mapping[str, int]

    def number(self, identity: str) -> int:
        """Return the class number of an identity, -1 for an image without one."""
        return self.numbers.get(identity, -1)

    @property
    def are_names(self) -> bool:
        """Return whether each identity is called by its number."""
        return all(name == str(number) for name, number in self.numbers.items())

    @staticmethod
    def of(identities: Iterable[str]) -> Classes:
        """Assign class numbers: names sorted as numbers if all are numbers, else as text."""
        return Classes.in_order(sort_names(identities))

    @staticmethod
    def in_order(names: Sequence[str]) -> Classes:
        """Assign the class numbers in the order of `names`."""
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
    takes_new_names: ClassVar[bool] = True
    """Whether images may get other keys than they had, as a plan gives them."""
    takes_numbers: ClassVar[bool] = True
    """Whether the classes may have other numbers than in the order of their names."""
    refers_to_files: ClassVar[bool] = False
    """Whether it names files instead of holding images."""
    has_paths: ClassVar[bool] = False
    """Whether an image is called by its path IDENTITY/NAME, and not by its key."""
    holds_plain_keys: ClassVar[bool] = False
    """Whether it can hold every plain key, so that a set of them needs no check."""
    group: ClassVar[int] = 1
    """Number of consecutive images that stay together."""
    overhead: ClassVar[int] = 100
    """Bytes that an image takes beside its own, about: its name and its labels."""

    def __init__(self, output: Path, classes: Classes, settings: Settings) -> None:
        self.output, self.classes, self.settings = output, classes, settings

    @classmethod
    def choose_settings(cls, names: SetNames) -> Settings:
        """Look through the set once for what all parts must agree on. Raises SourceError."""
        return {}

    def read_back(self, key: str) -> str:
        """Return the key that an image has in the written set."""
        if self.cuts_suffixes and is_image_name(key.rpartition("/")[2]):
            return key.rpartition(".")[0]
        return key

    @property
    def cuts_suffixes(self) -> bool:
        """Return whether the keys of the written set lack the suffixes of images."""
        return not self.can.suffixes

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
    def write(self, found: Iterator[Found], part: OutPart, sink: Sink) -> Iterator[Outcome]:
        """Write the sound ones of the images and yield one Outcome for each."""

    @abstractmethod
    def join(self, name: str, parts: Sequence[tuple[str, OutPart]], sink: Sink) -> None:
        """Join the parts of a file, given as (id of the shard, part)."""


def _add_none(position: int, run: SampleRun) -> bool:
    return False


def write_each(
    found: Iterable[Found],
    part: OutPart,
    add: Callable[[int, CheckedSample], Outcome | None],
    add_run: Callable[[int, SampleRun], bool] = _add_none,
) -> Iterator[Outcome]:
    """Check the images of a part, write the sound ones, and yield one Outcome for each.

    `add(position, sample)` writes one. It returns None, or the reason why it cannot be written.
    `add_run(position, run)` writes all of a run, or returns False; they are then written singly.
    """
    position = part.start
    for each in found:
        singly: Iterable[Sample | Outcome]
        if not isinstance(each, SampleRun):
            singly = (each,)
        elif add_run(position, each):
            yield from map(Outcome, each.keys)
            position += len(each.keys)
            continue
        else:
            singly = each.read_singly()
        for sample in singly:
            checked = check_sample(sample)
            if isinstance(checked, Outcome):
                yield checked
            else:
                yield add(position, checked) or Outcome(checked.sample.key)
            position += 1


def join_bytes(parts: Sequence[tuple[str, OutPart]], sink: Sink, file: BinaryIO) -> None:
    """Write parts one after the other."""
    for shard_id, _ in parts:
        storage.append_file(sink.part_path(shard_id, PART), file)


def listed_name(root: str, relative_to: str, key: str) -> str:
    """Return the name in a list of the file `key` below `root`.

    It is the full path, or the path below the folder `relative_to`.

    >>> listed_name("/faces", "", "ann/1.jpg"), listed_name("/faces", "/faces", "ann/1.jpg")
    ('/faces/ann/1.jpg', 'ann/1.jpg')
    >>> listed_name("s3://b/faces", "", "1.jpg"), listed_name("s3://b/faces", "s3://b", "1.jpg")
    ('s3://b/faces/1.jpg', 'faces/1.jpg')
    """
    path = url_of(os.path.normpath(os.path.join(root, key)))
    if not relative_to:
        return path
    return path.removeprefix(f"{relative_to.rstrip('/')}/")


def are_labels(names: Iterable[str]) -> bool:
    """Return whether all names are whole numbers that float32 holds exactly."""
    return all(_is_number(name) and int(name) <= EXACT_FLOATS for name in names)


def number_of(key: str) -> int | None:
    """Return the name of an image as a number; None for another name.

    >>> number_of("5/17"), number_of("5/17.jpg"), number_of("5/17.x.jpg"), number_of("5/017")
    (17, 17, None, None)
    """
    stem = strip_suffix(key.rpartition("/")[2])
    return int(stem) if _is_number(stem) else None


def numbers_of(keys: Sequence[str]) -> list[int] | None:
    """Return the names of images as numbers, as `number_of` does; None where one is not a number.

    >>> numbers_of(["5/17", "6/18"]), numbers_of(["5/17", "6/x"])
    ([17, 18], None)
    """
    names = [key.rpartition("/")[2] for key in keys]
    with suppress(ValueError):
        numbers = list(map(int, names))
        are_plain = list(map(str, numbers)) == names
        if numbers and are_plain and min(numbers) >= 0 and max(numbers) < 1 << 63:
            return numbers
    found = [number for number in map(number_of, keys) if number is not None]
    return found if len(found) == len(keys) else None


def has_twins(names: SetNames) -> bool:
    """Return whether two paths differ in the suffix of an image alone, such as a.jpg and a.png."""
    return _may_have_suffixes(names) and find_repeats(hash_names(_stems(names))).size > 0


def has_double_suffixes(names: SetNames) -> bool:
    """Return whether a path without the suffix of an image still ends in one, such as a.png.jpg."""
    return _may_have_suffixes(names) and any(map(is_image_name, _stems(names)))


def _may_have_suffixes(names: SetNames) -> bool:
    if names.keys_are_plain:
        return False
    return names.keys_have_suffix or any("." in "".join(block) for block in names.blocks())


def _stems(names: SetNames) -> Iterator[str]:
    return map(strip_suffix, chain.from_iterable(names.path_blocks()))


def _is_number(name: str) -> bool:
    """Return whether a name is a whole number below 2^63, without zeros in front."""
    is_plain = name.isascii() and name.isdigit() and (name[0] != "0" or name == "0")
    return is_plain and len(name) <= _MOST_DIGITS and int(name) < 1 << 63
