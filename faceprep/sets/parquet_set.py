"""Parquet files with images as a set: one file, a folder of them, or a family.

An image whose page is plain and not compressed is read by its offset in the file, any other by row
group and row. A row without bytes names a file below the folder of the Parquet file, or below a
given one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.errors import SourceError
from faceprep.core.io.image_bytes import (
    BAD_LABEL,
    BAD_RECORD,
    UNDECODABLE,
    UNREADABLE,
    read_image_bytes,
)
from faceprep.core.paths import exists, is_file
from faceprep.core.storage import ByteSource
from faceprep.core.text import count_noun, name_all
from faceprep.core.types import Outcome
from faceprep.sets.distinct_keys import FACT, NAMES, STEMS, KeyCheck, read_key, read_keys
from faceprep.sets.file_family import find_files, fingerprint_files, unpack_place
from faceprep.sets.image_set import CLASS_NAMES, FILES, UNREAD, ImageSet, Sample
from faceprep.sets.list_set import NamesPlace
from faceprep.sets.members import warn_of_others
from faceprep.sets.open_files import OpenFiles
from faceprep.sets.parquet_columns import Columns, columns_of, share_columns
from faceprep.sets.parquet_footer import N_FIELDS, ColumnChunk, pack_chunks, unpack_chunks
from faceprep.sets.parquet_index import NO_LABEL, NOT_FINITE, at_row, is_row, read_parts
from faceprep.sets.parquet_rows import RowReader
from faceprep.sets.read_ahead import announce_reads
from faceprep.sets.set_index import RELATIVE_TO, IndexWriter, SetIndex

log = logging.getLogger("faceprep")
SUFFIX = ".parquet"
_LABELS, _CHUNKS = "labels", "chunks"
_ENDS = "ends"
"""The fact that has the number of row groups up to the end of each file."""


class ParquetSet(ImageSet):
    """A set in one or several .parquet files."""

    kind: ClassVar[str] = "parquet-images"

    def __init__(self, path: str, index: SetIndex) -> None:
        super().__init__(path, index)
        self._paths: list[str] = list(index.facts[FILES])
        self._names = [Path(file).name for file in self._paths]
        self._files = OpenFiles(self._paths, ByteSource)
        self._rows = RowReader(self._paths, index.facts["column"], self._stored_chunks)

    @classmethod
    def is_kind(cls, path: Path) -> bool:
        """Return whether a column holds images, or the file itself cannot be read.

        Raises SourceError for a folder whose files are not one set that can be read.
        """
        try:
            return any(columns_of(file) for file in find_files(path, SUFFIX)[:1])
        except SourceError:
            if is_file(path):
                return True
            raise

    @classmethod
    def build_index(cls, path: Path, index: IndexWriter) -> None:
        """Write the columns: small columns by pyarrow, places by following the pages."""
        files = find_files(path, SUFFIX)
        warn_of_others(path, files)
        columns, others = share_columns(files)
        for column in columns.unusable:
            expected = "expected numbers or strings. Write it as one of these."
            log.warning("%s: the column %s is not read: %s", path, column, expected)
        kinds = (NAMES,) if columns.key else (STEMS, NAMES)
        check, n_unnamed = KeyCheck(index.folder, kinds), 0
        chunks, ends = index.add_column(_CHUNKS), list[int]()

        def keep(found: Sequence[ColumnChunk | None]) -> None:
            chunks.write(pack_chunks(found).tobytes())
            ends.append(sum(ends[-1:]) + len(found))

        with storage.AtomicFile(index.folder / _LABELS, durable=False) as labels:
            for number, file in enumerate(files):
                for part in read_parts(number, file, columns, keep):
                    index.add(part.keys, index.number_identities(part.identities), part.places)
                    check.add(part.keys)
                    n_unnamed += _count_unnamed(part.labels, columns)
                    labels.write(part.labels.tobytes())
        if n_unnamed:
            log.warning(
                "%s: %s not among the %s that the features name; the number is the identity",
                path,
                count_noun(n_unnamed, "image has a class", "images have classes"),
                count_noun(len(columns.classes), "class", "classes"),
            )
        facts = {FILES: [str(file) for file in files], "column": columns.image, _ENDS: ends}
        facts[CLASS_NAMES] = list(columns.classes)
        facts[UNREAD] = name_all("other column", others)
        index.facts = facts | {FACT: check.choose(path)}
        index.fingerprint = fingerprint_files(files)

    @cached_property
    def _labels(self) -> Ints:
        return np.asarray(np.memmap(self.index.folder / _LABELS, "<i8", "r"))

    def _stored_chunks(self, path: str) -> list[ColumnChunk | None]:
        """Return the column of images in each row group of a file, as the index has it."""
        number = self._paths.index(path)
        start, stop = [0, *self.index.facts[_ENDS]][number : number + 2]
        return unpack_chunks(self.index.column(_CHUNKS, "<i8").reshape(-1, N_FIELDS)[start:stop])

    def keys(self, start: int, stop: int) -> list[str]:
        return read_keys(self.index, start, stop)

    def key(self, position: int) -> str:
        return read_key(self.index, position)

    def read(self, positions: Sequence[int]) -> Iterator[Sample | Outcome]:
        for block in announce_reads(self._files, self.index.places.__getitem__, positions):
            yield from map(self._read_one, block)

    def _read_one(self, position: int) -> Sample | Outcome:
        place, length = self.index.places[position].tolist()
        number, at = unpack_place(place)
        key = self.key(position)
        try:
            if is_row(length):
                data, where = self._read_row(key, number, at, at_row(length))
            else:
                data, where = self._read_bytes(key, number, at, length)
        except SourceError as error:
            data, where = Outcome(key, UNREADABLE, str(error)), ""
        return self._sample(position, key, data, where)

    def _sample(
        self, position: int, key: str, data: bytes | Outcome, where: str
    ) -> Sample | Outcome:
        if isinstance(data, Outcome):
            return data
        if not data:
            return Outcome(key, UNDECODABLE, f"{where}: no bytes where an image was expected")
        label = self._labels.item(position)
        if label == NOT_FINITE:
            return Outcome(key, BAD_LABEL, f"{where}: expected a finite label, found another")
        labels = () if label == NO_LABEL else (label,)
        return Sample(key, self.identity(position), data, labels, where)

    def _read_bytes(
        self, key: str, number: int, offset: int, length: int
    ) -> tuple[bytes | Outcome, str]:
        where = f"{self._names[number]} at offset {offset}"
        data = self._files.open(number).read_at(offset - 4, length + 4)
        found = int.from_bytes(data[:4], "little")
        if found != length or len(data) < length + 4:
            reason = f"{where}: expected an image of {length} bytes, found one of {found}"
            if found == length:
                reason = f"{where}: expected {length} bytes, found {max(len(data) - 4, 0)}"
            return Outcome(key, BAD_RECORD, reason), where
        return data[4:], where

    def _read_row(self, key: str, number: int, group: int, row: int) -> tuple[bytes | Outcome, str]:
        where = f"{self._names[number]} at row {row} of row group {group}"
        found = self._rows.read(number, group, row)
        if found.data is not None or not found.path:
            return found.data or b"", where
        root = self.index.facts.get(RELATIVE_TO) or os.path.dirname(self._paths[number])
        path = NamesPlace(root, is_absolute=False).find(found.path)
        if not path or "\0" in path:
            outside = f"the path {found.path!r} leads outside the folder {root}"
            return Outcome(key, UNREADABLE, f"{where}: {outside}. See --relative-to"), where
        data = read_image_bytes(path, key)
        if isinstance(data, Outcome):
            reason = f"the file {found.path!r}: {data.reason.removeprefix(f'{key}: ')}"
            if not found.path.startswith("/") and not exists(path):
                reason += f" It was looked for in {root}. See --relative-to"
            data = data._replace(reason=f"{where}: {reason}")
        return data, where

    def close(self) -> None:
        self._files.close()
        self._rows.close()


def _count_unnamed(labels: Ints, columns: Columns) -> int:
    """Count the labels that are none of the named classes."""
    if columns.identity or not columns.classes:
        return 0
    has_name = (labels >= -1) & (labels < len(columns.classes))
    return int((~has_name & (labels > NOT_FINITE)).sum())
