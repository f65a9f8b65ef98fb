"""Writes a set as an MXNet .rec with its .idx, images in the given order.

Keys are the names of the images where all are numbers, else positions. A record that comes from a
.rec keeps its header, byte for byte; another one gets its class as the label. Images with the keys
1 to n get InsightFace's header and identity records around them, unless a .rec came without.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.errors import SourceError
from faceprep.core.io.image_bytes import BAD_LABEL
from faceprep.core.io.image_end import check_images
from faceprep.core.prefetch import map_ahead
from faceprep.core.text import count_noun
from faceprep.core.types import Outcome, Sink
from faceprep.sets.image_set import CheckedSample, Found, Sample, SampleRun
from faceprep.sets.lists import EXACT
from faceprep.sets.recordio.framing import frame_image, frame_images, frame_with_header
from faceprep.sets.recordio.header_records import ROW, make_header_records
from faceprep.sets.recordio.image_set import HAS_HEADER, HEADER
from faceprep.sets.recordio.records import EXACT_FLOATS
from faceprep.sets.set_writer import (
    PART,
    Capabilities,
    OutPart,
    SetNames,
    Settings,
    SetWriter,
    are_labels,
    numbers_of,
    write_each,
)

log = logging.getLogger("faceprep")
_ROWS, _ROUNDED = ".rows", ".rounded"
_BLOCK = 64
_LARGEST = float(np.finfo(np.float32).max)


class RecWriter(SetWriter):
    """Writes NAME.rec and NAME.idx."""

    kind: ClassVar[str] = "rec"
    takes_numbers: ClassVar[bool] = False  # its header counts the identities
    can: ClassVar[Capabilities] = Capabilities(
        text_keys=False, identity_names=False, unnamed=False, many_labels=True
    )
    parts_are_files: ClassVar[bool] = False

    @classmethod
    def choose_settings(cls, names: SetNames) -> Settings:
        """Keep names of images as keys and names of identities as labels where all are numbers."""
        n = len(names.identities)
        if n > EXACT_FLOATS:
            raise SourceError(
                f"{n:,} identities: labels of a .rec are float32, exact only below "
                f"{EXACT_FLOATS:,}",
                remedy="Write a .tar or .parquet.",
            )
        return {
            "keeps_keys": names.are_number_keys,
            "keeps_labels": are_labels(names.identities),
            "has_header": names.are_number_keys and names.facts.get(HAS_HEADER, True),
        }

    def files(self, n_files: int) -> list[str]:
        """Return NAME.rec, or NAME_1.rec, NAME_2.rec and so on, as sets in parts are called."""
        if n_files == 1:
            return [self.output.name]
        return [f"{self.output.stem}_{number}.rec" for number in range(1, n_files + 1)]

    def side_files(self, n_files: int) -> list[str]:
        """Return the names of the indexes, and of the class map where it has the labels."""
        indexes = [f"{Path(name).stem}.idx" for name in self.files(n_files)]
        if self.settings.get("keeps_labels") and not self.classes.are_names:
            return indexes
        return [*indexes, *super().side_files(n_files)]

    def write(self, found: Iterator[Found], part: OutPart, sink: Sink) -> Iterator[Outcome]:
        block: list[tuple[int, Sample]] = []
        file, rows = sink.open_part(PART), sink.open_part(_ROWS)
        rounded: list[str] = []

        def flush() -> None:
            self._write_block(block, file, rows)
            block.clear()

        def add(position: int, checked: CheckedSample) -> Outcome | None:
            if refused := _refuse_label(checked.sample):
                return refused
            rounded.extend(_find_rounded(checked.sample))
            block.append((position, checked.sample))
            if len(block) == _BLOCK:
                flush()
            return None

        def add_run(position: int, run: SampleRun) -> bool:
            if any(header.damage for header in check_images(run.block, run.starts, run.stops)):
                return False
            flush()
            self._write_run(position, run, file, rows)
            return True

        yield from write_each(found, part, add, add_run)
        flush()
        sink.open_part(_ROUNDED).write(json.dumps([len(rounded), *rounded[:1]]).encode())

    def _write_run(self, position: int, run: SampleRun, file: BinaryIO, rows: BinaryIO) -> None:
        """Write the records of a run that begins at `position`, and their rows."""
        keys = self._keys(run.keys, range(position, position + len(run.keys)))
        labels, block = list(map(self._label_of, run.identities)), memoryview(run.block)
        images = (block[start:stop] for start, stop in zip(run.starts, run.stops, strict=True))
        records = frame_images(zip(labels, images, keys, strict=True))
        _write_rows(records, keys, labels, file, rows)

    def _write_block(
        self, block: Sequence[tuple[int, Sample]], file: BinaryIO, rows: BinaryIO
    ) -> None:
        """Write the records of some samples, and their rows."""
        samples = [sample for _, sample in block]
        names, positions = [sample.key for sample in samples], [position for position, _ in block]
        keys, labels = self._keys(names, positions), list(map(self._label, samples))
        _write_rows(_frame(samples, keys, labels), keys, labels, file, rows)

    def _keys(self, names: Sequence[str], positions: Sequence[int]) -> Sequence[int]:
        """Return the keys of records: the names of the images, or their positions."""
        numbers = numbers_of(names) if self.settings["keeps_keys"] else None
        return numbers or positions

    def _label(self, sample: Sample) -> float:
        """Return the first label of an image."""
        if HEADER in sample.extra:
            return sample.labels[0]
        return self._label_of(sample.identity)

    def _label_of(self, identity: str) -> float:
        """Return the label of an identity."""
        if self.settings["keeps_labels"] and identity:
            return int(identity)
        return self.classes.number(identity)

    def join(self, name: str, parts: Sequence[tuple[str, OutPart]], sink: Sink) -> None:
        """Write the records and the lines of the index."""
        beside = None
        self._warn_of_rounded(name, (sink.part_path(each, _ROUNDED) for each, _ in parts))
        if self.settings["has_header"] and name == self.output.name:
            self._warn_of_gaps()
            beside = make_header_records(_read_rows(parts, sink), len(self.classes.names))
        with sink.open(name) as rec, sink.open(f"{Path(name).stem}.idx") as idx:
            file = _IndexedFile(rec, idx)
            if beside:
                file.add(*beside.header)
            file.add_parts(
                [sink.part_path(each, PART) for each, _ in parts], _read_rows(parts, sink)
            )
            if beside:
                for record in beside.identities:
                    file.add(*record)

    def _warn_of_rounded(self, name: str, paths: Iterable[Path]) -> None:
        """Warn of further labels that float32 has changed; `paths` have those of each part."""
        found = [json.loads(storage.read_bytes(path)) for path in paths]
        if n := sum(each[0] for each in found):
            log.warning(
                "%s: float32 has rounded a further label of %s, such as %s; a .tar keeps it",
                name,
                count_noun(n, "image"),
                next(each[1] for each in found if each[0]),
            )

    def _warn_of_gaps(self) -> None:
        """Warn of labels that a trainer which counts the identities would refuse."""
        names = self.classes.names
        if not (names and self.settings["keeps_labels"]):
            return
        largest = max(map(int, names))
        if largest >= len(names):
            log.warning(
                "%s: the labels of %s go up to %d. Trainers that count the identities, such as "
                "Keras_insightface, need labels without gaps: faceprep folder2rec %s DST numbers "
                "them again",
                self.output.name,
                count_noun(len(names), "identity", "identities"),
                largest,
                self.output,
            )


def _refuse_label(sample: Sample) -> Outcome | None:
    """Return the outcome of an image with a further label that is too large for float32."""
    if HEADER in sample.extra:
        return None
    for label in sample.labels[1:]:
        if _LARGEST < abs(label) < math.inf:
            reason = f"{sample.place}: expected labels up to {_LARGEST:g}, found {label:g}"
            return Outcome(sample.key, BAD_LABEL, reason)
    return None


def _find_rounded(sample: Sample) -> Iterator[str]:
    """Yield the key and the number for an image with a whole number that float32 changes."""
    if HEADER in sample.extra:
        return
    for label in sample.labels[1:]:
        is_whole = abs(label) < EXACT and label == int(label) or isinstance(label, int)
        if is_whole and float(np.float32(label)) != label:
            yield f"{sample.key} ({int(label)})"
            return


def _frame(
    samples: Sequence[Sample], keys: Sequence[int], labels: Sequence[float]
) -> Iterator[tuple[bytes, list[int]]]:
    """Yield the bytes and the sizes of records; usual ones are framed many at once."""
    placed = zip(samples, keys, labels, strict=True)
    if all(len(each.labels) < 2 and HEADER not in each.extra for each in samples):
        yield from frame_images((label, bytes(each.data), key) for each, key, label in placed)
        return
    for each, key, label in placed:
        if HEADER in each.extra:
            record = frame_with_header(each.extra[HEADER], each.data)
        else:
            record = frame_image((label, *each.labels[1:]), bytes(each.data), key)
        yield record, [len(record)]


def _write_rows(
    framed: Iterable[tuple[bytes, list[int]]],
    keys: Sequence[int],
    labels: Sequence[float],
    file: BinaryIO,
    rows: BinaryIO,
) -> None:
    """Write framed records, some at a time, and a row for each with its key, size and label."""
    lengths: list[int] = []
    for records, sizes in framed:
        file.write(records)
        lengths += sizes
    found = np.empty(len(keys), ROW)
    found["key"], found["length"], found["label"] = keys, lengths, labels
    rows.write(found.tobytes())


def _read_rows(parts: Sequence[tuple[str, OutPart]], sink: Sink) -> Iterator[npt.NDArray[Any]]:
    return (np.fromfile(sink.part_path(shard_id, _ROWS), ROW) for shard_id, _ in parts)


class _IndexedFile:
    """A .rec that is being written, with its index."""

    def __init__(self, rec: BinaryIO, idx: BinaryIO) -> None:
        self._rec, self._idx, self._offset = rec, idx, 0

    def add(self, key: int, record: bytes) -> None:
        """Add one record."""
        self._rec.write(record)
        self._idx.write(b"%d\t%d\n" % (key, self._offset))
        self._offset += len(record)

    def add_parts(self, paths: Sequence[Path], blocks: Iterable[npt.NDArray[Any]]) -> None:
        """Add the records of files; each of `blocks` has the rows of one file.

        The lines of the next file are made while the system copies this one.
        """
        with closing(map_ahead(_make_lines, self._with_starts(blocks), 1, 1)) as texts:
            for path, text in zip(paths, texts, strict=True):
                self._idx.write(text)
                storage.append_file(path, self._rec)

    def _with_starts(self, blocks: Iterable[npt.NDArray[Any]]) -> Iterator[tuple[Ints, Ints]]:
        """Yield the keys and the offsets of the records of each block."""
        for rows in blocks:
            ends = self._offset + np.cumsum(rows["length"])
            yield rows["key"], ends - rows["length"]
            self._offset += int(rows["length"].sum())


def _make_lines(columns: tuple[Ints, Ints]) -> bytes:
    """Return the lines of the index for these keys and offsets."""
    pairs = zip(*(column.tolist() for column in columns), strict=True)
    return b"".join(b"%d\t%d\n" % pair for pair in pairs)
