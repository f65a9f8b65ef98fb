"""Where the records of a .rec are: its `.idx`, or a scan when there is none.

    .idx       text, one line a record: key TAB offset     keys need be neither ordered nor dense
    our copy   see `rec_entries`

A scan follows the lengths from the start; after damage it goes on at the next aligned magic. Keys are then the
ids in the records' own headers when these are all different (as im2rec and InsightFace write them), else the
ordinal numbers, as MXNet's rec2idx counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from faceprep import storage
from faceprep.errors import SourceError
from faceprep.formats.rec_entries import DAMAGED_KEY
from faceprep.formats.recordio import Damage, RecordFile, unpack_image

_CHUNK = 8 << 20
_ENTRY = np.dtype(("<i8", (2,)))
_BATCH = 1 << 16
_LARGEST = (1 << 63) - 1  # what NumPy makes of larger numbers

Entries = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RecPaths:
    """A .rec and its .idx; `idx` is None when there is none."""

    rec: Path
    idx: Path | None

    @property
    def fingerprint(self) -> str:
        return storage.fingerprint_of(self.rec, *([self.idx] if self.idx else []))


def find_rec(source: Path, ignore_idx: bool = False) -> RecPaths:
    """The .rec at `source`, or the one in that folder. Raises SourceError when there is none, or no single one."""
    rec = source
    if source.is_dir():
        names = sorted(name for name in storage.list_folder(source)[1] if name.endswith(".rec"))
        if "train.rec" in names:
            names = ["train.rec"]
        if len(names) != 1:
            raise SourceError(
                "no single .rec in this folder",
                path=source,
                expected="train.rec, or one .rec file",
                found=", ".join(names) or "none",
                remedy="Name the .rec file itself.",
            )
        rec = source / names[0]
    elif not source.exists():
        raise SourceError("no such file or folder", path=source, expected="a .rec file, or a folder with train.rec")
    idx = rec.with_suffix(".idx")
    return RecPaths(rec, idx if idx.exists() and not ignore_idx else None)


def write_index(paths: RecPaths, target: Path) -> int:
    """Write our copy of the index to `target`; the number of records. Raises SourceError."""
    if storage.size_of(paths.rec) == 0:
        raise SourceError("the file is empty", path=paths.rec, expected="RecordIO records", remedy="Copy it again.")
    n, last, ascending = 0, -1, True
    with storage.AtomicFile(target, durable=False) as file:
        for entries in _parse_idx(paths.idx) if paths.idx else _scan(paths.rec):
            file.write(entries.astype("<i8").tobytes())
            keys = entries[:, 0]
            ascending = ascending and bool((np.diff(keys, prepend=last) > 0).all())
            n, last = n + len(entries), int(keys[-1]) if len(keys) else last
    if paths.idx is None:
        _number_by_position_unless_distinct(target, paths.rec)
    elif not ascending:
        _refuse_repeated_keys(target, paths.idx)
    elif not n:
        raise SourceError("the index is empty", path=paths.idx, expected="lines of key TAB offset", remedy=_SCAN)
    return n


_SCAN = "Use --scan to find the records without it."


def read_index(target: Path, start: int = 0, stop: int | None = None) -> Entries:
    """Entries [start, stop) of our copy: (n, 2) int64 of key, offset in bytes; key -1 marks a damaged spot."""
    count = -1 if stop is None else stop - start
    return np.fromfile(target, _ENTRY, count, offset=start * _ENTRY.itemsize).reshape(-1, 2).astype(np.int64)


def _parse_idx(idx: Path) -> Iterator[Entries]:
    """The entries of the text file, a chunk at a time."""
    first_line, rest = 1, b""
    with storage.open_source(idx) as file:
        while chunk := file.read(_CHUNK):
            text, newline, tail = (rest + chunk).rpartition(b"\n")
            rest = tail
            if newline:
                yield _parse_lines(idx, text + b"\n", first_line)
                first_line += text.count(b"\n") + 1
        if rest.strip():
            yield _parse_lines(idx, rest + b"\n", first_line)


def _parse_lines(idx: Path, text: bytes, first_line: int) -> Entries:
    """Whole lines to entries: all at once when they look right, else line by line to name the wrong one."""
    if not text.translate(None, b"0123456789\t\r\n") and _alternate(text):
        numbers = np.fromstring(text, np.int64, sep=" ")
        if len(numbers) == 2 * text.count(b"\n") and numbers.max() < _LARGEST:
            entries: Entries = numbers.reshape(-1, 2)
            return entries
    entries_list = []
    for number, line in enumerate(text.splitlines(), first_line):
        if not line.strip():
            continue
        try:
            key, offset = line.split(b"\t")
            entries_list.append((_whole(key), _whole(offset)))
        except (ValueError, OverflowError):
            raise SourceError(
                "not an index line",
                path=idx,
                where=f"line {number}",
                expected="key TAB offset in whole numbers",
                found=repr(line[:60].decode("utf-8", "replace")),
                remedy=_SCAN,
            ) from None
    return np.array(entries_list, np.int64).reshape(-1, 2)


def _alternate(text: bytes) -> bool:
    """Whether each line has one tab."""
    letters = np.frombuffer(text, np.uint8)
    tabs, ends = np.flatnonzero(letters == ord("\t")), np.flatnonzero(letters == ord("\n"))
    return len(tabs) == len(ends) and bool((tabs < ends).all() and (tabs[1:] > ends[:-1]).all())


def _whole(text: bytes) -> int:
    number = int(text)
    if not 0 <= number < _LARGEST:
        raise ValueError(number)
    return number


def _scan(rec: Path) -> Iterator[Entries]:
    """(id in the record's header, offset) of every record, and (-1, offset) of every damaged spot."""
    batch: list[tuple[int, int]] = []
    with RecordFile(rec) as file:
        at: int | None = 0
        while at is not None and at < file.size:
            record = file.read(at, _CHUNK)
            following: int | None
            if isinstance(record, Damage):
                batch.append((DAMAGED_KEY, at))
                following = file.find_next(at + 4)
            else:
                following = record.end
                image = unpack_image(record.payload)
                batch.append((-2 if isinstance(image, Damage) else image.id, at))
                if following < file.size and isinstance(file.read(following, _CHUNK), Damage):
                    inside = file.find_next(at + 4)
                    if inside is not None and inside < following:  # its own length is wrong
                        batch[-1] = DAMAGED_KEY, at
                        following = inside
            at = following
            if len(batch) >= _BATCH:
                yield _as_entries(batch)
                batch = []
    yield _as_entries(batch)


def _as_entries(batch: list[tuple[int, int]]) -> Entries:
    return np.array([(key if key < 1 << 63 else -2, offset) for key, offset in batch], np.int64).reshape(-1, 2)


def _refuse_repeated_keys(target: Path, idx: Path) -> None:
    keys = np.sort(read_index(target)[:, 0])
    repeated = keys[1:][keys[1:] == keys[:-1]]
    if len(repeated):
        raise SourceError(
            f"{len(repeated):,} keys stand there twice, first {repeated[0]}",
            path=idx,
            expected="every key once",
            remedy=_SCAN,
        )


def _number_by_position_unless_distinct(target: Path, rec: Path) -> None:
    entries = read_index(target)
    keys = entries[entries[:, 0] != DAMAGED_KEY, 0]
    if not len(keys):
        raise SourceError(
            "no record in this file",
            path=rec,
            expected="RecordIO records, as MXNet writes them",
            remedy="Check the path.",
        )
    if keys.min() >= 0 and len(np.unique(keys)) == len(keys):
        return
    entries[:, 0] = np.where(entries[:, 0] == DAMAGED_KEY, DAMAGED_KEY, np.arange(len(entries)))
    storage.write_file(target, entries.astype("<i8").tobytes(), durable=False)
