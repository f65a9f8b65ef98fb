"""The contract of containers: a set of encoded images with identities, read through an index.

The index is on disk and memory-mapped, so that a set of any size needs little memory. It is built
once per run, in the run's folder, and every worker opens it there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.io.image_bytes import check_file_size, check_image_bytes
from faceprep.core.io.image_header import ImageHeader
from faceprep.core.types import Buffer, Outcome
from faceprep.sets.set_index import IndexWriter, SetIndex

FILES = "files"
"""Name of the fact of an index that lists the files of a set in several."""
MAX_LABELS = "max_labels"
"""Name of the fact that is the largest number of labels of an image; without it, one."""
LABELS_ARE_IDENTITIES = "labels_are_identities"
"""Name of the fact that each identity is the first label of its images, and no other name."""
UNREAD = "unread"
"""Name of the fact that says what else a set holds, which is not read."""
CLASS_NAMES = "class names"
"""Name of the fact that lists the names of the classes by number, where a set states them."""
FAULTS = "faults"
"""Name of the fact of an index that has the outcomes of the container itself."""
_NOTHING: Mapping[str, bytes] = MappingProxyType({})


class Sample(NamedTuple):
    """One encoded image, bytes as found.

    `key` names it in its set, as a path: `IDENTITY/NAME`, without the suffix of the image. `labels`
    keeps all labels of a record. `place` names it in messages. `extra` is what else its container
    holds, which only the same kind of container can write again: the other files of a sample in a
    .tar by their extensions, and more under names with a slash.
    """

    key: str
    identity: str
    data: Buffer
    labels: tuple[float, ...] = ()
    place: str = ""
    extra: Mapping[str, bytes] = _NOTHING


@dataclass(frozen=True, slots=True)
class SampleRun:
    """Consecutive images of a set in one block of bytes, in columns, which cost less per image.

    Image i is ``block[starts[i] : stops[i]]``, and it is not empty. Each image has an identity, a
    plain key IDENTITY/NAME, one label, and nothing else that another kind of container can hold.
    `labels` is empty where each label is the name of the identity. `read_singly` makes the samples.
    """

    keys: list[str]
    identities: list[str]
    labels: list[float]
    block: bytes
    starts: list[int]
    stops: list[int]
    read_singly: Callable[[], Iterator[Sample | Outcome]]


Found = SampleRun | Sample | Outcome
"""The results of reading a set: several images, one image, or the reason for a failure."""


def read_singly(found: Iterable[Found]) -> Iterator[Sample | Outcome]:
    """Yield the samples of runs one by one; others pass through."""
    for each in found:
        if isinstance(each, SampleRun):
            yield from each.read_singly()
        else:
            yield each


class CheckedSample(NamedTuple):
    """A sample whose head and tail are sound, and what its header says."""

    sample: Sample
    header: ImageHeader


def check_sample(sample: Sample | Outcome) -> CheckedSample | Outcome:
    """Check a sample without decoding it; an outcome passes through."""
    if isinstance(sample, Outcome):
        return sample
    header = check_image_bytes(sample.data, sample.key, sample.place)
    if isinstance(header, Outcome):
        return header
    return CheckedSample(sample, header)


class ImageSet(ABC):
    """A container of images that is open for reading.

    A subclass is one kind of container. Use an object in one process; the index may be shared.
    """

    kind: ClassVar[str]
    """Name of the container in messages and in `inspect --json`."""
    keys_have_suffix: ClassVar[bool] = False
    """Whether keys are file names, with the suffix of the image."""
    keys_are_plain: ClassVar[bool] = False
    """Whether no key can end in the suffix of an image or lead out of a folder, by the way that the
    set is read.
    """
    keys_are_below: ClassVar[bool] = False
    """Whether each key lies in the folder of its identity by the way that the set is read."""

    def __init__(self, path: str, index: SetIndex) -> None:
        self.path, self.index = path, index
        self.keeps_labels = False
        """True if the images go into the same kind of container, which keeps all that a sample has,
        even a label that is NaN. Elsewhere, an image with such a label is a failure.
        """

    @classmethod
    def is_kind(cls, path: Path) -> bool:
        """Return whether the file at `path` is of this kind, where kinds share a suffix."""
        return True

    @classmethod
    @abstractmethod
    def build_index(cls, path: Path, index: IndexWriter) -> None:
        """Write the columns of the container at the absolute `path`. Raises SourceError."""

    @abstractmethod
    def read(self, positions: Sequence[int]) -> Iterator[Sample | Outcome]:
        """Yield the images at `positions`, in this order; an Outcome for one that is lost."""

    def read_runs(self, positions: Sequence[int]) -> Iterator[Found]:
        """Yield the same images as `read`, in runs where the container has them at hand."""
        return self.read(positions)

    @property
    def n_files(self) -> int:
        """Return the number of files that hold the set: several for a set in shards."""
        return len(self.index.facts.get(FILES, [self.path]))

    def __len__(self) -> int:
        return self.index.n

    def keys(self, start: int, stop: int) -> list[str]:
        """Return the keys of the images [start, stop)."""
        return self.index.keys[start:stop]

    def key(self, position: int) -> str:
        """Return the key of one image."""
        return self.keys(position, position + 1)[0]

    def identity(self, position: int) -> str:
        """Return the identity of one image; empty where it has none."""
        number = self.index.identity_of.item(position)
        if number < 0:
            return ""
        return self.index.identities.read_one(number)

    def identities(self, start: int, stop: int) -> list[str]:
        """Return the identities of the images [start, stop), empty for none."""
        numbers = self.index.identity_of[start:stop].tolist()
        names = {number: self.index.identities[number] for number in set(numbers) if number >= 0}
        return [names.get(number, "") for number in numbers]

    @property
    def root(self) -> str | None:
        """Return the folder that keys are paths below; empty for absolute paths.

        None says that the images are not files.
        """
        return None

    @property
    def below(self) -> str:
        """Return the folder that the images of absolute keys share; empty for relative keys."""
        return ""

    def plain_keys(self, start: int, stop: int) -> list[str]:
        """Return the keys of the images [start, stop), absolute ones as paths in `below`."""
        if not self.below:
            return self.keys(start, stop)
        return [key.removeprefix(f"{self.below}/") for key in self.keys(start, stop)]

    @property
    def facts(self) -> Mapping[str, Any]:
        """Return the facts of its index."""
        return self.index.facts

    @property
    def own(self) -> str:
        """Name what the set holds that only its kind of container can; empty for nothing."""
        return ""

    @property
    def file_sizes(self) -> Ints | None:
        """Return the size (n,) of the file of each image, as `storage.file_size` gave it.

        None says that the images are not files.
        """
        return None

    def count_bytes(self, n: int) -> int:
        """Return the bytes of the first `n` images; about, where a file holds many of them."""
        if self.file_sizes is not None:
            return int(np.maximum(self.file_sizes[:n], 0).sum())
        files = self.index.facts.get(FILES, [self.path])
        return sum(storage.size_of(file) or 0 for file in files) * n // max(len(self), 1)

    def find_unusable(self, stop: int) -> Iterator[tuple[int, Outcome]]:
        """Yield (position, outcome) of images before `stop` that need not be read to be refused.

        A file is refused that is missing, empty or not a regular file.
        """
        sizes = self.file_sizes
        if sizes is None:
            return
        for position in np.flatnonzero(sizes[:stop] <= 0).tolist():
            outcome = check_file_size(sizes.item(position), self.key(position))
            if outcome:
                yield position, outcome

    def find_damage(self) -> list[int]:
        """Return the positions that stand for damage of a file and not for an image, ascending."""
        return []

    def faults(self) -> list[Outcome]:
        """Return outcomes of the container itself: bytes that no index covers, a missing part.

        They name a unit of their own. A command reports them beside those of the images.
        """
        return [Outcome(*fields) for fields in self.index.facts.get(FAULTS, [])]

    def close(self) -> None:  # noqa: B027
        """Close what `read` has opened."""

    def __enter__(self) -> ImageSet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
