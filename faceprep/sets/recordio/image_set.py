"""MXNet .rec files as a set: one file, a folder with train.rec, or a set in parts.

A key is IDENTITY/KEY, as rec2folder names its files. In a set in parts, a key may be in several
files, so it is IDENTITY/PART_KEY there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.io.image_bytes import undecodable
from faceprep.core.types import Outcome
from faceprep.sets.image_set import ImageSet, Sample
from faceprep.sets.recordio import index as rec_index
from faceprep.sets.recordio.index import RecPaths
from faceprep.sets.recordio.metadata import Metadata
from faceprep.sets.recordio.records import (
    Damage,
    IdentityNames,
    ImageRecord,
    Record,
    RecordFile,
    unpack_image,
)
from faceprep.sets.recordio.survey import survey_entries
from faceprep.sets.set_index import IndexWriter, SetIndex

_BLOCK = 512
"""Records that are read together, in the order of the file."""
_HEADERS = 1 << 16
HAS_HEADER = "has_header"
"""The fact that says whether the records have InsightFace's header before them."""
HEADER = "rec/header"
"""The name in `Sample.extra` of what only a .rec can hold: the bytes of the record's header."""


class RecSet(ImageSet):
    """A set in one or several .rec files."""

    kind: ClassVar[str] = "rec"

    def __init__(self, path: str, index: SetIndex) -> None:
        super().__init__(path, index)
        self._parts: list[str] = list(index.facts["parts"])
        self._starts: list[int] = list(index.facts["starts"])
        self._files: dict[int, RecordFile] = {}

    @classmethod
    def build_index(cls, path: Path, index: IndexWriter) -> None:
        """Write the columns: keys and offsets from the .idx, identities from the records."""
        parts = find_parts(path)
        starts: list[int] = []
        faults: list[Outcome] = []
        for paths in parts:
            starts.append(len(index))
            faults += _index_part(paths, index)
        names = [str(paths.rec) for paths in parts]
        index.facts |= {"parts": names, "starts": starts, "faults": faults}
        index.fingerprint = " ".join(paths.fingerprint for paths in parts)

    def faults(self) -> list[Outcome]:
        return [Outcome(*fields) for fields in self.index.facts["faults"]]

    def keys(self, start: int, stop: int) -> list[str]:
        names = self.index.identities
        keys = []
        for position in range(start, stop):
            number = int(self.index.identity_of[position])
            folder = f"{names[number]}/" if number >= 0 else ""
            keys.append(folder + self._name(position))
        return keys

    def _name(self, position: int) -> str:
        key, offset = self.index.places[position].tolist()
        name = f"at_{offset}" if key < 0 else str(key)
        if len(self._parts) == 1:
            return name
        return f"{Path(self._parts[self._part_of(position)]).stem}_{name}"

    def _part_of(self, position: int) -> int:
        return int(np.searchsorted(self._starts, position, "right")) - 1

    def read(self, positions: Sequence[int]) -> Iterator[Sample | Outcome]:
        for start in range(0, len(positions), _BLOCK):
            yield from self._read_block(positions[start : start + _BLOCK])

    def _read_block(self, positions: Sequence[int]) -> list[Sample | Outcome]:
        offsets = self.index.places[np.asarray(positions, np.int64), 1].tolist()
        parts = [self._part_of(position) for position in positions]
        order = sorted(range(len(positions)), key=lambda i: (parts[i], offsets[i]))
        found: dict[int, Sample | Outcome] = {}
        for part in sorted(set(parts)):
            here = [i for i in order if parts[i] == part]
            records = self._file(part).read_payloads([offsets[i] for i in here])
            for i, record in zip(here, records, strict=True):
                found[i] = self._sample(positions[i], offsets[i], record)
        return [found[i] for i in range(len(positions))]

    def _file(self, part: int) -> RecordFile:
        if part not in self._files:
            self._files[part] = RecordFile(self._parts[part])
        return self._files[part]

    def _sample(self, position: int, offset: int, record: Record | Damage) -> Sample | Outcome:
        key = self.key(position)
        place = f"record {self._name(position)} at offset {offset}"
        if isinstance(record, Damage):
            return Outcome(key, record.status, f"{place}: {record.reason}")
        image = unpack_image(record.payload)
        if isinstance(image, Damage):
            return Outcome(key, image.status, f"{place}: {image.reason}")
        if not image.image:
            return undecodable(key, "no bytes at all", place)
        identity = self.identity(position)
        if not identity:
            found = image.labels[0]
            return Outcome(key, "bad_label", f"{place}: expected a finite label, found {found}")
        n_header = len(record.payload) - len(image.image)
        extra = {HEADER: bytes(record.payload[:n_header])}
        return Sample(key, identity, bytes(image.image), image.labels, place, extra)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()


def find_parts(source: Path) -> list[RecPaths]:
    """Find the .rec files of a set: one, or NAME_1.rec, NAME_2.rec and so on in a folder.

    `source` may also be the .idx. Raises SourceError.
    """
    if source.is_dir():
        names = [name for name in storage.list_folder(source)[1] if name.endswith(".rec")]
        numbered = _in_parts(names)
        if numbered:
            return [rec_index.find_rec(source / name) for name in numbered]
    return [rec_index.find_rec(source)]


def _in_parts(names: Sequence[str]) -> list[str]:
    """Return the names in order if they are one stem with the numbers of parts.

    >>> _in_parts(["train_2.rec", "train_10.rec", "train_1.rec"]), _in_parts(["train.rec", "a.rec"])
    (['train_1.rec', 'train_2.rec', 'train_10.rec'], [])
    """
    split = [name.removesuffix(".rec").rpartition("_") for name in names]
    stems = {stem for stem, _, _ in split}
    numbers = [number for _, _, number in split]
    if len(names) < 2 or len(stems) > 1 or not all(number.isdigit() for number in numbers):
        return []
    return [name for _, name in sorted(zip(map(int, numbers), names, strict=True))]


def _index_part(paths: RecPaths, index: IndexWriter) -> list[Outcome]:
    """Write the columns of one file; return the outcomes of the file itself."""
    scratch = index.folder / "entries"
    rec_index.write_index(paths, scratch)
    entries = np.fromfile(scratch, "<i8").reshape(-1, 2)
    storage.remove_file(scratch)
    found = survey_entries(paths, entries)
    entries, labels, max_labels = _read_images(paths.rec, entries, found.metadata)
    index.facts[HAS_HEADER] = found.metadata.header is not None
    index.facts["max_labels"] = max(max_labels, index.facts.get("max_labels", 1))
    names = IdentityNames()
    for start in range(0, len(entries), _HEADERS):
        here = labels[start : start + _HEADERS].tolist()
        numbers = index.number_identities([names[label] for label in here])
        index.add(None, numbers, entries[start : start + _HEADERS])
    return list(found.faults)


def _read_images(
    rec: Path, entries: Ints, metadata: Metadata
) -> tuple[Ints, npt.NDArray[np.float32], int]:
    """Return the entries of images (n, 2), their labels (n,), and the most labels of one."""
    labels, is_image, most = _read_labels(rec, entries, metadata)
    if not is_image.all():
        entries, labels = entries[is_image], labels[is_image]
    return entries, labels, most


def _read_labels(
    rec: Path, entries: Ints, metadata: Metadata
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], int]:
    """Read the first label of each record (n,), NaN for a damaged one, in the order of the file.

    The mask (n,) tells images, lost ones too, from metadata; the number is the most labels of one.
    """
    most = 1
    labels = np.full(len(entries), np.nan, np.float32)
    is_image = np.ones(len(entries), np.bool_)
    order: Ints | None = None
    if (np.diff(entries[:, 1]) < 0).any():
        order = np.argsort(entries[:, 1], kind="stable")
        entries = entries[order]
    with RecordFile(rec) as file:
        for start in range(0, len(entries), _HEADERS):
            keys, offsets = entries[start : start + _HEADERS].T.tolist()
            for i, record in enumerate(file.read_images(offsets)):
                if isinstance(record, ImageRecord):
                    labels[start + i] = record.labels[0]
                    if not record.image:
                        is_image[start + i] = not metadata.describes(keys[i], record)
                    if is_image[start + i]:
                        most = max(most, record.flag)
    if order is not None:
        labels[order] = labels.copy()
        is_image[order] = is_image.copy()
    return labels, is_image, most
