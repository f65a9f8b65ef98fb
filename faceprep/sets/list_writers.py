"""Writers of lists that refer to image files: .npz .csv .lst .txt, in the columns of `manifest`.

A name is the absolute path of an image, or its path below the folder of `relative_to`. The class of
an image is the number of its identity in NAME_classes.csv.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import BinaryIO, ClassVar, NamedTuple

import numpy as np

from faceprep.core.errors import OptionError, SourceError
from faceprep.core.io import npz
from faceprep.core.paths import is_full
from faceprep.core.types import Outcome, Sink
from faceprep.sets import kinds, lists
from faceprep.sets.folder import BAD_NAME
from faceprep.sets.image_set import LABELS_ARE_IDENTITIES, MAX_LABELS, CheckedSample, Found, Sample
from faceprep.sets.losses import can_write
from faceprep.sets.set_writer import (
    Capabilities,
    Classes,
    OutPart,
    SetNames,
    Settings,
    SetWriter,
    join_bytes,
    listed_name,
    write_each,
)

_ROWS = 1 << 12
_ROOT, _RELATIVE_TO, _WIDTH, _HAS_CLASSES = "root", "relative_to", "width", "has_classes"
_KEEPS_LABELS = "keeps_labels"

_NAMES, _CLASSES = f".{npz.NAMES}", f".{npz.CLASSES}"


class Row(NamedTuple):
    """An image of a list: its position in the set, name, class number, identity, other labels."""

    position: int
    name: str
    label: int
    identity: str
    more: tuple[float, ...]


class ListWriter(SetWriter):
    """Writes rows, some at a time; images are read to see that they are sound."""

    takes_new_names: ClassVar[bool] = False
    refers_to_files: ClassVar[bool] = True

    @classmethod
    def choose_settings(cls, names: SetNames) -> Settings:
        """Choose the spelling of names, and the length of the longest in characters.

        Raises SourceError for images that are not files, OptionError for one outside of the folder
        that names shall be relative to.
        """
        if names.root is None:
            raise SourceError(
                "a list refers to files, and these images are not files",
                path=names.path,
                found=f"a {names.kind} set",
                remedy="Convert it to a folder first.",
            )
        width = 0
        for block in names.blocks():
            listed = [names.listed(key) for key in block]
            width = max(width, *map(len, listed))
            if names.relative_to and any(map(is_full, listed)):
                outside = next(filter(is_full, listed))
                raise OptionError(
                    "--relative-to",
                    expected="a folder that holds all images",
                    found=f"{names.relative_to}, and {outside} outside of it",
                )
        return {
            _ROOT: names.root,
            _RELATIVE_TO: names.relative_to,
            _WIDTH: width,
            _HAS_CLASSES: len(names.identities) > 0,
        }

    def write(self, found: Iterator[Found], part: OutPart, sink: Sink) -> Iterator[Outcome]:
        files = self._open(part, sink)
        rows: list[Row] = []

        def add_row(position: int, checked: CheckedSample) -> Outcome | None:
            row = self._row(checked.sample, position)
            if not can_write(row.name, self.can):
                reason = f"{ascii(row.name)}: a {self.output.suffix} list cannot hold this name"
                return Outcome(checked.sample.key, BAD_NAME, reason)
            rows.append(row)
            if len(rows) == _ROWS:
                self.add(files, rows)
                rows.clear()
            return None

        yield from write_each(found, part, add_row)
        if rows:
            self.add(files, rows)

    def _row(self, sample: Sample, position: int) -> Row:
        name = listed_name(self.settings[_ROOT], self.settings[_RELATIVE_TO], sample.key)
        number = self.classes.number(sample.identity)
        return Row(position, name, number, sample.identity, sample.labels[1:])

    def _open(self, part: OutPart, sink: Sink) -> Sequence[BinaryIO]:
        return [part.open(sink)]

    @abstractmethod
    def add(self, files: Sequence[BinaryIO], rows: Sequence[Row]) -> None:
        """Write rows to the files of a part."""


class _TextWriter(ListWriter):
    """Writes lines, below a head line where the kind of list has one."""

    head: ClassVar[bytes] = b""

    def _open(self, part: OutPart, sink: Sink) -> Sequence[BinaryIO]:
        file = part.open(sink)
        if part.is_whole:
            file.write(self.head)
        return [file]

    def join(self, name: str, parts: Sequence[tuple[str, OutPart]], sink: Sink) -> None:
        with sink.open(name) as file:
            file.write(self.head)
            join_bytes(parts, sink, file)


class CsvListWriter(_TextWriter):
    """Writes image_names, image_classes and identity; the class is -1 where there is none."""

    kind: ClassVar[str] = kinds.CSV_LIST
    can: ClassVar[Capabilities] = Capabilities(suffixes=True, any_bytes=False)
    head: ClassVar[bytes] = lists.csv_header()

    def add(self, files: Sequence[BinaryIO], rows: Sequence[Row]) -> None:
        names, labels, identities = zip(
            *((row.name, row.label, row.identity) for row in rows), strict=True
        )
        files[0].write(lists.csv_lines(names, labels, identities))


class LstWriter(_TextWriter):
    """Writes the columns of im2rec: number, label, more labels, path.

    The label is the class. Where images have several labels, the first stays as it is, such as an
    age, and no class map is written. A source with a class map is numbered by classes instead.
    """

    kind: ClassVar[str] = kinds.LST
    can: ClassVar[Capabilities] = Capabilities(
        suffixes=True, many_labels=True, any_bytes=False, forbids=lists.NOT_IN_LST.search
    )

    @classmethod
    def choose_settings(cls, names: SetNames) -> Settings:
        return {**super().choose_settings(names), _KEEPS_LABELS: _keeps_labels(names)}

    def side_files(self, n_files: int) -> list[str]:
        """Return the name of the class map, where the labels are its numbers."""
        if self.settings.get(_KEEPS_LABELS):
            return []
        return super().side_files(n_files)

    def add(self, files: Sequence[BinaryIO], rows: Sequence[Row]) -> None:
        files[0].write(
            b"".join(
                lists.lst_line(row.position, row.name, self._label(row), row.more) for row in rows
            )
        )

    def _label(self, row: Row) -> int | str:
        if self.settings[_KEEPS_LABELS] and row.identity:
            return row.identity
        return row.label


def _keeps_labels(names: SetNames) -> bool:
    """Return whether the identities are the first of several labels, and not class numbers."""
    if names.facts.get(MAX_LABELS, 1) == 1 or not names.facts.get(LABELS_ARE_IDENTITIES):
        return False
    classes = Classes.of(names.identities)
    are_readable = all(lists.parse_label(name) is not None for name in classes.names)
    return are_readable and not classes.are_names


class TxtListWriter(_TextWriter):
    """Writes lines of path and class; in a set without identities, lines of paths."""

    kind: ClassVar[str] = kinds.TXT_LIST
    can: ClassVar[Capabilities] = Capabilities(
        suffixes=True, any_bytes=False, forbids=lists.NOT_IN_TXT.search
    )

    def add(self, files: Sequence[BinaryIO], rows: Sequence[Row]) -> None:
        names = [row.name for row in rows]
        if self.settings[_HAS_CLASSES]:
            files[0].write(lists.txt_lines(names, (row.label for row in rows)))
        else:
            files[0].write(lists.txt_lines(names))


class NpzListWriter(ListWriter):
    """Writes the arrays image_names and image_classes; their bare rows come first."""

    kind: ClassVar[str] = kinds.NPZ_LIST
    can: ClassVar[Capabilities] = Capabilities(suffixes=True, any_bytes=False)
    parts_are_files: ClassVar[bool] = False

    def _open(self, part: OutPart, sink: Sink) -> Sequence[BinaryIO]:
        return [sink.open_part(_NAMES), sink.open_part(_CLASSES)]

    @property
    def _names_type(self) -> str:
        return f"<U{self.settings[_WIDTH]}"

    def add(self, files: Sequence[BinaryIO], rows: Sequence[Row]) -> None:
        names, classes = files
        names.write(np.array([row.name for row in rows], self._names_type).tobytes())
        classes.write(np.array([row.label for row in rows], "<i8").tobytes())

    def join(self, name: str, parts: Sequence[tuple[str, OutPart]], sink: Sink) -> None:
        columns = ((npz.NAMES, self._names_type, _NAMES), (npz.CLASSES, "<i8", _CLASSES))
        with sink.open(name) as file:
            npz.write_npz(
                file,
                (
                    npz.member_of_files(
                        key, dtype, [sink.part_path(shard_id, suffix) for shard_id, _ in parts]
                    )
                    for key, dtype, suffix in columns
                ),
            )
