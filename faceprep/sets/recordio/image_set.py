"""MXNet .rec files as a set: one file, a folder with train.rec, or a set in parts.

A key is IDENTITY/KEY, as rec2folder names its files. In a set in parts, a key may be in several
files, so it is IDENTITY/PART_KEY there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Floats, Ints
from faceprep.core.io.image_bytes import BAD_LABEL, undecodable
from faceprep.core.paths import is_folder
from faceprep.core.text import list_words
from faceprep.core.types import Outcome
from faceprep.sets.file_family import empty_faults, missing_faults, pack_place
from faceprep.sets.image_set import (
    FAULTS,
    FILES,
    MAX_LABELS,
    Found,
    ImageSet,
    Sample,
    SampleRun,
    read_singly,
)
from faceprep.sets.open_files import OpenFiles
from faceprep.sets.read_ahead import announce_reads
from faceprep.sets.recordio import index as rec_index
from faceprep.sets.recordio.coverage import Unindexed
from faceprep.sets.recordio.index import RecPaths
from faceprep.sets.recordio.labels import Extent, read_labels
from faceprep.sets.recordio.parts import find_missing, find_parts, warn_of_other_sets
from faceprep.sets.recordio.records import (
    EXACT_FLOATS,
    Damage,
    IdentityNames,
    ImageRun,
    Record,
    RecordFile,
    unpack_image,
)
from faceprep.sets.recordio.survey import describe_rounded, survey_entries
from faceprep.sets.set_index import IndexWriter, SetIndex

log = logging.getLogger("faceprep")

_LARGEST = 64 << 10
"""Bytes to read at once of a record whose end is not known, or is further away."""
HAS_HEADER = "has_header"
"""The fact that says whether the records have InsightFace's header before them."""
_EXTENT = "extent"
"""The fact that says what the headers of the records hold: the values of `Extent`."""
HEADER = "rec/header"
"""The name in `Sample.extra` of what only a .rec can hold: the bytes of the record's header."""


class _Block(NamedTuple):
    """Columns of some images: names, keys, identities, offsets, ends, and numbers of files (n,).

    `keeps_labels` is that of the set.
    """

    names: list[str]
    keys: list[str]
    identities: list[str]
    offsets: list[int]
    ends: list[int]
    parts: Ints
    keeps_labels: bool

    def place(self, row: int) -> str:
        """Return the words that say where the record of one of them is."""
        return f"record {self.names[row]} at offset {self.offsets[row]}"


_Make = Callable[[_Block, Sequence[int], ImageRun], Iterable[Found]]
"""A function that makes the images of a run of records, which are rows of a block."""


class RecSet(ImageSet):
    """A set in one or several .rec files."""

    kind: ClassVar[str] = "rec"
    keys_are_plain: ClassVar[bool] = True
    keys_are_below: ClassVar[bool] = True

    def __init__(self, path: str, index: SetIndex) -> None:
        super().__init__(path, index)
        self._parts: list[str] = list(index.facts[FILES])
        self._starts: list[int] = list(index.facts["starts"])
        self._files = OpenFiles(self._parts, RecordFile)

    @classmethod
    def is_kind(cls, path: Path) -> bool:
        """Return whether there is a .rec; an .idx alone does not make a folder one of records."""
        return not is_folder(path) or bool(rec_index.list_recs(path))

    @classmethod
    def build_index(cls, path: Path, index: IndexWriter) -> None:
        """Write the columns: keys and offsets from the .idx, identities from the records."""
        found = find_parts(path)
        warn_of_other_sets(path, [paths.rec for paths in found])
        faults = missing_faults(find_missing([paths.rec.name for paths in found]))
        parts = [paths for paths in found if not paths.are_empty]
        if len(found) > 1:
            faults += empty_faults([paths.rec.name for paths in found if paths.are_empty])
        starts: list[int] = []
        for paths in parts:
            starts.append(len(index))
            faults += _index_part(paths, index)
        names = [str(paths.rec) for paths in parts]
        index.facts |= {FILES: names, "starts": starts, FAULTS: faults}
        index.fingerprint = " ".join(paths.fingerprint for paths in found)

    @property
    def own(self) -> str:
        extent = Extent(*self.index.facts.get(_EXTENT, ()))
        losses = list[str]()
        if extent.has_id:
            losses.append("the ids of its records, which differ from their keys")
        if extent.has_id2:
            losses.append("the second ids of its records")
        return list_words(losses) if losses else ""

    def keys(self, start: int, stop: int) -> list[str]:
        return self._block(np.arange(start, stop)).keys

    def _block(self, rows: Ints) -> _Block:
        """Return the columns of the images at the positions `rows`."""
        places = self.index.places[rows]
        parts = self._parts_of(rows)
        numbers, offsets = places[:, 0].tolist(), places[:, 1].tolist()
        names = [
            str(key) if key >= 0 else f"at_{offset}"
            for key, offset in zip(numbers, offsets, strict=True)
        ]
        if len(self._parts) > 1:
            stems = [Path(part).stem for part in self._parts]
            names = [f"{stems[part]}_{name}" for part, name in zip(parts, names, strict=True)]
        here = self.index.identity_of[rows].tolist()
        known = {number: self.index.identities[number] for number in set(here) if number >= 0}
        identities = [known.get(number, "") for number in here]
        keys = [
            f"{identity}/{name}" if identity else name
            for identity, name in zip(identities, names, strict=True)
        ]
        ends = self._ends(rows).tolist()
        return _Block(names, keys, identities, offsets, ends, parts, self.keeps_labels)

    def _parts_of(self, rows: Ints) -> Ints:
        """Return the numbers of the files of the images `rows`."""
        parts: Ints = np.searchsorted(self._starts, rows, "right") - 1
        return parts

    def _ends(self, rows: Ints) -> Ints:
        """Return the offsets at which the records of the images `rows` end, or the most to read."""
        offsets = self.index.places[rows, 1]
        following = self.index.places[np.minimum(rows + 1, len(self) - 1), 1]
        known = (following > offsets) & (following < offsets + _LARGEST)
        ends: Ints = np.where(known, following, offsets + _LARGEST)
        return ends

    def read(self, positions: Sequence[int]) -> Iterator[Sample | Outcome]:
        return read_singly(self.read_runs(positions))

    def read_runs(self, positions: Sequence[int]) -> Iterator[Found]:
        for rows in announce_reads(self._files, self._places, positions):
            block = self._block(np.asarray(rows, np.int64))
            order = np.lexsort((np.array(block.offsets, np.int64), block.parts))
            if (np.diff(order) == 1).all():
                yield from self._read_block(block, order, _make_run)
            else:
                samples = list(self._read_block(block, order, _make_samples))
                yield from (samples[place] for place in np.argsort(order).tolist())

    def _places(self, rows: Ints) -> Ints:
        """Return the places (n, 2) of the records of the images `rows`, and their lengths."""
        offsets = self.index.places[rows, 1]
        lengths = self._ends(rows) - offsets
        return np.stack([pack_place(self._parts_of(rows), offsets), lengths], axis=1)

    def _read_block(self, block: _Block, order: Ints, make: _Make) -> Iterator[Found]:
        """Yield the images of a block in `order`, by which each file is read in its own order."""
        for part in np.unique(block.parts).tolist():
            rows = order[block.parts[order] == part].tolist()
            offsets, ends = (
                [values[row] for row in rows] for values in (block.offsets, block.ends)
            )
            n_read = 0
            for run in self._files.open(part).read_whole(offsets, ends):
                if isinstance(run, ImageRun):
                    yield from make(block, rows[n_read : n_read + len(run)], run)
                    n_read += len(run)
                else:
                    yield _unpack_sample(block, rows[n_read], run)
                    n_read += 1

    def close(self) -> None:
        self._files.close()


def _make_samples(block: _Block, rows: Sequence[int], run: ImageRun) -> Iterator[Sample | Outcome]:
    return map(partial(_make_sample, block), rows, run.headers, run.images, run.labels)


def _make_run(block: _Block, rows: Sequence[int], run: ImageRun) -> Iterable[Found]:
    """Return the images as one run if they can form one, or else as samples."""
    keys, identities = ([column[row] for row in rows] for column in (block.keys, block.identities))
    make = partial(_make_samples, block, rows, run)
    if run.have_one_label and all(identities) and not block.keeps_labels:
        return [SampleRun(keys, identities, [], run.block, run.starts, run.stops, make)]
    return make()


def _make_sample(
    block: _Block, row: int, header: bytes, image: bytes, labels: tuple[float, ...]
) -> Sample | Outcome:
    """Return the image of one row of a block, or why it has none that can be used."""
    key, place, identity = block.keys[row], block.place(row), block.identities[row]
    if not image:
        return undecodable(key, "no bytes at all", place)
    if not identity and not block.keeps_labels:
        reason = f"{place}: expected a finite label, found {labels[0]}"
        return Outcome(key, BAD_LABEL, reason)
    return Sample(key, identity, image, labels, place, {HEADER: header})


def _unpack_sample(block: _Block, row: int, record: Record | Damage) -> Sample | Outcome:
    """Return the image of a record that is not in a run."""
    if isinstance(record, Damage):
        return Outcome(block.keys[row], record.status, f"{block.place(row)}: {record.reason}")
    image = unpack_image(record.payload)
    if isinstance(image, Damage):
        return Outcome(block.keys[row], image.status, f"{block.place(row)}: {image.reason}")
    header = record.payload[: len(record.payload) - len(image.image)]
    return _make_sample(block, row, bytes(header), bytes(image.image), image.labels)


def _index_part(paths: RecPaths, index: IndexWriter) -> list[Outcome]:
    """Write the columns of one file; return the outcomes of the file itself."""
    scratch = index.folder / "entries"
    rec_index.write_index(paths, scratch)
    mapped: Ints = np.asarray(np.memmap(scratch, "<i8", "r")).reshape(-1, 2)
    found = survey_entries(paths, mapped)
    extent = Extent(*index.facts.get(_EXTENT, ()))
    found.warn(paths.rec)
    left_out, n_rounded = Unindexed(paths), 0
    for entries, labels in read_labels(paths.rec, mapped, found.metadata, left_out):
        kept = labels.is_image
        index.add(None, _number_identities(labels.first[kept], index), entries[kept])
        extent = extent.join(labels.extent)
        sizes = np.abs(labels.first[kept])
        n_rounded += int(np.count_nonzero((sizes >= EXACT_FLOATS) & np.isfinite(sizes)))
    if n_rounded:
        log.warning("%s: %s", paths.rec, describe_rounded(n_rounded))
    index.facts |= {MAX_LABELS: extent.n_labels, _EXTENT: extent}
    storage.remove_file(scratch)
    index.facts[HAS_HEADER] = found.metadata.header is not None
    return [*found.faults, *left_out.faults()]


def _number_identities(labels: Floats, index: IndexWriter) -> Ints:
    """Return the numbers (n,) of the identities with these labels; a new one gets the next."""
    values, firsts, inverse = np.unique(labels, return_index=True, return_inverse=True)
    names, order = IdentityNames(), np.argsort(firsts)
    numbers = np.empty(len(values), np.int64)
    numbers[order] = index.number_identities([names[value] for value in values[order].tolist()])
    return numbers[inverse]
