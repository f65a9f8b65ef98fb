"""The positions of records in a .rec, from its `.idx` or from a scan where there is none.

    .idx       text, one line per record: key TAB offset     keys need be neither ordered nor dense;
               spaces in place of the tab and a byte order mark are accepted
    our copy   see `entries`

A scan follows the lengths from the start; after damage it resumes at the next aligned magic. Keys
are then the ids in the records' own headers when these are all different (as im2rec and InsightFace
write them), else the ordinal numbers, as MXNet's rec2idx counts.
"""

from __future__ import annotations

import json
from array import array
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from operator import lt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.paths import exists, is_folder
from faceprep.core.text import count_noun
from faceprep.sets.file_format import refuse_other_format
from faceprep.sets.recordio.entries import DAMAGED_KEY, as_bytes, read_entries
from faceprep.sets.recordio.records import Damage, ImageRecord, RecordFile, unpack_image

if TYPE_CHECKING:
    import numpy.typing as npt

    from faceprep.sets.recordio.entries import Entries

_CHUNK = 1 << 20
_WINDOW = 1 << 20
_BATCH = 1 << 17
_SORTED = 1 << 21
_LARGEST = (1 << 63) - 1
_DIGITS = b"0123456789"
_AS_LIST = bytes.maketrans(b"\t \r\n", b",, ,")
_PLAIN = (b"\t\n", b"\t\r\n", b" \n", b" \r\n")
"""What a line has besides its digits where it can be parsed with many others at once."""
_LARGE = 4 << 20
"""Bytes of an index that is worth the import of NumPy."""


@dataclass(frozen=True)
class RecPaths:
    """A .rec and its .idx; `idx` is None when there is none."""

    rec: Path
    idx: Path | None

    @property
    def fingerprint(self) -> str:
        return storage.fingerprint_of(self.rec, *([self.idx] if self.idx else []))

    @property
    def are_empty(self) -> bool:
        """Return whether both files are empty, as those of a set without images are."""
        return self.idx is not None and not any(map(storage.file_size, (self.rec, self.idx)))


def list_recs(folder: Path) -> list[str]:
    """List the .rec files of a folder by name. Raises SourceError."""
    return [name for name in storage.list_folder(folder)[1] if name.lower().endswith(".rec")]


def find_rec(source: Path, ignore_idx: bool = False) -> RecPaths:
    """Find the .rec at `source` or in that folder; `source` may also be its .idx.

    Raises SourceError when there is none, or more than one.
    """
    if source.suffix.lower() == ".idx" and not is_folder(source):
        source = _beside(source, ".rec")
    rec = source
    if is_folder(source):
        names = sorted(list_recs(source))
        if "train.rec" in names:
            names = ["train.rec"]
        if len(names) != 1:
            problem = "several .rec files in this folder" if names else "no .rec in this folder"
            raise SourceError(
                problem,
                path=source,
                expected="train.rec, or one .rec file",
                found=", ".join(names) or "none",
                remedy="Name the .rec file itself.",
            )
        rec = source / names[0]
    elif not exists(source):
        raise SourceError(
            "no such file or folder",
            path=source,
            expected="a .rec file, or a folder with train.rec",
        )
    idx = _beside(rec, ".idx")
    return RecPaths(rec, idx if exists(idx) and not ignore_idx else None)


def _beside(path: Path, suffix: str) -> Path:
    """Return the .idx of a .rec or the reverse, in lower or upper case: the one that exists."""
    lower, upper = path.with_suffix(suffix), path.with_suffix(suffix.upper())
    return upper if exists(upper) and not exists(lower) else lower


def write_index(paths: RecPaths, target: Path) -> int:
    """Write the binary copy of the index to `target`; return the number of records.

    Raises SourceError.
    """
    if storage.file_size(paths.rec) == 0:
        raise SourceError(
            "the file is empty",
            path=paths.rec,
            expected="RecordIO records",
            remedy="Copy it again.",
        )
    n, last, ascending = 0, -1, True
    with storage.AtomicFile(target, durable=False) as file:
        for entries in _parse_idx(paths.idx) if paths.idx else _scan(paths.rec):
            file.write(as_bytes(entries))
            keys = entries[0::2]
            ascending = ascending and all(map(lt, chain((last,), keys), keys))
            n, last = n + len(keys), keys[-1] if keys else last
    if paths.idx is None:
        _number_by_position_unless_distinct(target, paths.rec)
    elif not ascending:
        refuse_repeats(paths.idx, "key", _map_keys(target))
    elif not n:
        raise SourceError(
            "the index is empty", path=paths.idx, expected="lines of key TAB offset", remedy=SCAN
        )
    return n


SCAN = "Move it away, or use rec2folder with --scan, to find the records without it."


def _parse_idx(idx: Path) -> Iterator[Entries]:
    """Yield the entries of the text file in chunks."""
    first_line, rest = 1, b""
    numbers_of = _numbers_of_many if (storage.size_of(idx) or 0) > _LARGE else _numbers_of_few
    with storage.open_source(idx) as file:
        if file.read(len(BOM_UTF8)) != BOM_UTF8:
            file.seek(0)
        while chunk := file.read(_CHUNK):
            text, newline, tail = (rest + chunk).rpartition(b"\n")
            rest = tail
            if newline:
                yield _parse_lines(idx, text + b"\n", first_line, numbers_of)
                first_line += text.count(b"\n") + 1
        if rest.strip():
            yield _parse_lines(idx, rest + b"\n", first_line, numbers_of)


def _numbers_of_few(text: bytes) -> Entries:
    """Parse the whole numbers in lines of key TAB offset as one JSON list, twice as fast as `int`.

    Raises OverflowError for more than 63 bits, ValueError for text that JSON rejects (leading
    zeros).
    """
    return array("q", json.loads(b"[%s]" % text.translate(_AS_LIST).rstrip(b", ")))


def _numbers_of_many(text: bytes) -> Entries:
    """Parse the same lines with NumPy: five times as fast, but its import takes as long as 100,000
    lines.
    """
    import numpy as np

    numbers = np.fromstring(text, np.int64, sep=" ")
    if len(numbers) and numbers.max() == _LARGEST:  # NumPy turns larger numbers into this one
        raise OverflowError
    return array("q", numbers.tobytes())


def _parse_lines(
    idx: Path, text: bytes, first_line: int, numbers_of: Callable[[bytes], Entries]
) -> Entries:
    """Parse whole lines to entries: at once if all are sound, else line by line to name the bad
    one.
    """
    marks = text.translate(None, _DIGITS)
    n_lines = text.count(b"\n")
    if any(marks == plain * n_lines for plain in _PLAIN):
        with suppress(OverflowError, ValueError):
            numbers = numbers_of(text)
            if len(numbers) == 2 * n_lines:
                return numbers
    entries = array("q")
    for number, line in enumerate(text.splitlines(), first_line):
        if not line.strip():
            continue
        try:
            key, offset = line.split()
            entries.extend((_whole(key), _whole(offset)))
        except (ValueError, OverflowError):
            raise SourceError(
                "not an index line",
                path=idx,
                where=f"line {number}",
                expected="key TAB offset in whole numbers",
                found=repr(line[:60].decode("utf-8", "replace")),
                remedy=SCAN,
            ) from None
    return entries


def _whole(text: bytes) -> int:
    if not text.isdigit() or (number := int(text)) > _LARGEST:
        raise ValueError(text)
    return number


def _scan(rec: Path) -> Iterator[Entries]:
    """Yield (id in the record's header, offset) of every record, and (-1, offset) of every damaged
    spot.
    """
    batch = array("q")
    with RecordFile(rec) as file:
        at: int | None = 0
        while at is not None and at < file.size:
            record = file.read(at, _WINDOW)
            following: int | None
            if isinstance(record, Damage):
                batch.extend((DAMAGED_KEY, at))
                following = file.find_next(at + 4)
            else:
                following = record.end
                image = unpack_image(record.payload)
                batch.extend((_key_of(image), at))
                if following < file.size and isinstance(file.read(following, _WINDOW), Damage):
                    inside = file.find_next(at + 4)
                    if inside is not None and inside < following:  # its own length is wrong
                        batch[-2] = DAMAGED_KEY
                        following = inside
            at = following
            if len(batch) >= _BATCH:
                yield batch
                batch = array("q")
    yield batch


def _key_of(image: ImageRecord | Damage) -> int:
    if isinstance(image, Damage) or image.id > _LARGEST:
        return -2
    return image.id


def refuse_repeats(idx: Path, what: str, numbers: npt.NDArray[Any]) -> None:
    """Raise SourceError if one of the numbers of an index, keys or offsets, occurs twice."""
    n_repeated, first = _find_repeats(numbers)
    if n_repeated:
        raise SourceError(
            f"{count_noun(n_repeated, what)} repeated, the first of them {first}",
            path=idx,
            expected=f"every {what} once",
            remedy=SCAN,
        )


def _map_keys(index: Path) -> npt.NDArray[Any]:
    import numpy as np

    keys: npt.NDArray[Any] = np.memmap(index, "<i8", "r")[0::2]
    return keys


def _number_by_position_unless_distinct(target: Path, rec: Path) -> None:
    import numpy as np

    keys = _map_keys(target)
    n_damaged = n_ids = 0
    for start in range(0, len(keys), _BATCH):
        n_damaged += int(np.count_nonzero(keys[start : start + _BATCH] == DAMAGED_KEY))
        n_ids += int(np.count_nonzero(keys[start : start + _BATCH] >= 0))
    n_records = len(keys) - n_damaged
    if not n_records:
        refuse_other_format(rec)
        raise SourceError(
            "no record in this file",
            path=rec,
            expected="RecordIO records, as MXNet writes them",
            remedy="Check the path.",
        )
    if n_ids == n_records and not _find_repeats(keys)[0]:
        return
    with storage.AtomicFile(target, durable=False) as file:
        for start in range(0, len(keys), _BATCH):
            entries = read_entries(target, start, start + _BATCH)
            for i, key in enumerate(entries[0::2]):
                if key != DAMAGED_KEY:
                    entries[2 * i] = start + i
            file.write(as_bytes(entries))


def _find_repeats(numbers: npt.NDArray[Any]) -> tuple[int, int]:
    """Count the repeated numbers of a column, and find the smallest; negative ones are ignored.

    About `_SORTED` of them are sorted in memory at a time.
    """
    import numpy as np

    n_passes = -(-len(numbers) // _SORTED)
    n_repeated, smallest = 0, _LARGEST
    for number in range(n_passes):
        found = []
        for start in range(0, len(numbers), _SORTED):
            block = np.asarray(numbers[start : start + _SORTED])
            found.append(block[(block % n_passes == number) & (block >= 0)])
        ordered = np.sort(np.concatenate(found))
        repeated = ordered[1:][ordered[1:] == ordered[:-1]]
        if len(repeated):
            n_repeated += len(repeated)
            smallest = min(smallest, int(repeated[0]))
    return n_repeated, smallest
