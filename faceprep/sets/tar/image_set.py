"""WebDataset shards as a set: one .tar, a folder of them, or NAME-00000-of-00008.tar and so on.

The place of an image is (number of the shard << 44 | offset, number of the image << 44 | length):
the bytes of its sample, and which of the images in them it is. A length of 0 marks damage, or an
image that is a link.

A key that occurs several times in a shard gets the position of the image as a suffix, after as many
underscores as keep it apart from all keys. Where shards repeat one another's keys, each key has the
number of its shard in front of its name.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.errors import SourceError, naming
from faceprep.core.io.image_bytes import BAD_LABEL, UNDECODABLE, UNREADABLE
from faceprep.core.storage import ByteSource
from faceprep.core.text import count_noun
from faceprep.core.types import Outcome
from faceprep.sets.file_family import Parts, find_parts, missing_faults
from faceprep.sets.file_format import refuse_other_format
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
from faceprep.sets.members import SkippedFiles, warn_of_others
from faceprep.sets.open_files import OpenFiles
from faceprep.sets.read_ahead import announce_reads
from faceprep.sets.set_index import IndexWriter, SetIndex
from faceprep.sets.tar.contents import SampleFiles, find_pair, read_class, read_files, read_labels
from faceprep.sets.tar.repeated import KeySums, read_repeated
from faceprep.sets.tar.samples import NO_BYTES, Entries, Entry, SampleGrouper
from faceprep.sets.tar.scan import CUT, Gap, TarScan

SHIFT = 44
_BELOW = (1 << SHIFT) - 1
_MOST_SHARDS = 1 << 63 - SHIFT
_BATCH = 1 << 14
_LARGEST_SAMPLE = 1 << 30
_AHEAD = 256 << 10  # stays in the processor's cache
_GAP = 4 << 10
SUFFIX = ".tar"
_HAS_OTHERS = "has_others"
_NO_SAMPLE = {
    0: "damaged: no sound header, or cut off",
    NO_BYTES: "expected an image, found a link or a special file, whose bytes are elsewhere; "
    "unpack the file with tar and read the folder",
}
"""Why there are no bytes, by the number of the image."""

log = logging.getLogger("faceprep")


class _Window(NamedTuple):
    """Bytes of a shard that were read ahead, from `start`."""

    shard: int = -1
    start: int = 0
    data: bytes = b""


class _Rows(NamedTuple):
    """Columns of some images: keys, identities, and the parts of their places."""

    keys: list[str]
    identities: list[str]
    shards: list[int]
    offsets: list[int]
    images: list[int]
    lengths: list[int]


class TarSet(ImageSet):
    """A set in one or several tar files."""

    kind: ClassVar[str] = "webdataset"
    keys_are_below: ClassVar[bool] = True

    def __init__(self, path: str, index: SetIndex) -> None:
        super().__init__(path, index)
        self._shards: list[str] = list(index.facts[FILES])
        self._names = [Path(shard).name for shard in self._shards]
        self._window, self._end = _Window(), 0
        self._files = OpenFiles(self._shards, ByteSource)

    @classmethod
    def build_index(cls, path: Path, index: IndexWriter) -> None:
        """Write the columns, images in the order of the shards."""
        shards, missing = find_shards(path)
        sums = KeySums(index.folder)
        indexers = [_ShardIndexer(shard, i, index, sums) for i, shard in enumerate(shards)]
        for indexer in indexers:
            indexer.run()
        found = sums.close()
        if found.n_repeated:
            repeated = count_noun(found.n_repeated, "key occurs", "keys occur")
            log.warning("%s: %s more than once in a file", path, repeated)
        index.facts = {
            FILES: [str(shard) for shard in shards],
            FAULTS: missing_faults(missing),
            "is_numbered": found.across_files,
            "separator": found.separator,
            MAX_LABELS: max(indexer.max_labels for indexer in indexers),
            _HAS_OTHERS: any(indexer.has_others for indexer in indexers),
        }
        state = storage.fingerprint_of(*shards)
        if len(shards) > 1:
            state = f"{len(shards):,} shards {hashlib.sha256(state.encode()).hexdigest()[:16]}"
        index.fingerprint = state

    @cached_property
    def _repeated(self) -> npt.NDArray[np.int64]:
        return read_repeated(self.index.folder)

    def keys(self, start: int, stop: int) -> list[str]:
        keys = super().keys(start, stop)
        if self.index.facts["is_numbered"]:
            shards = self.index.places[start:stop, 0] >> SHIFT
            digits = len(str(len(self._shards) - 1))
            for i, shard in enumerate(shards.tolist()):
                folder, slash, name = keys[i].rpartition("/")
                keys[i] = f"{folder}{slash}{shard:0{digits}d}_{name}"
        repeated = self._repeated
        first, last = np.searchsorted(repeated, [start, stop]).tolist()
        for position in repeated[first:last].tolist():
            keys[position - start] += f"{self.index.facts['separator']}{position}"
        return keys

    @property
    def own(self) -> str:
        if self.index.facts[_HAS_OTHERS]:
            return "the other files of the samples"
        return ""

    def find_damage(self) -> list[int]:
        unnamed = np.flatnonzero(self.index.identity_of < 0)
        found: list[int] = unnamed[self.index.places[unnamed, 1] == 0].tolist()
        return found

    def read(self, positions: Sequence[int]) -> Iterator[Sample | Outcome]:
        return read_singly(self.read_runs(positions))

    def read_runs(self, positions: Sequence[int]) -> Iterator[Found]:
        for block in announce_reads(self._files, self._places, positions):
            first, last = block[0], block[-1] + 1
            if isinstance(block, range) and block.step == 1:
                keys = self.keys(first, last)
            else:
                keys = [self.key(position) for position in block]
            rows = np.asarray(block, np.int64)
            numbers = self.index.identity_of[rows].tolist()
            names = {n: self.index.identities[n] for n in set(numbers) if n >= 0}
            places = self.index.places[rows].T
            columns = (*(places >> SHIFT), *(places & _BELOW))
            shards, images, offsets, lengths = (column.tolist() for column in columns)
            identities = [names.get(number, "") for number in numbers]
            yield from self._read_rows(_Rows(keys, identities, shards, offsets, images, lengths))

    def _places(self, rows: Ints) -> Ints:
        places: Ints = self.index.places[rows]
        places[:, 1] &= _BELOW
        return places

    def _read_rows(self, rows: _Rows) -> Iterator[Found]:
        """Yield images in order, those that are read ahead together as runs."""
        start = 0
        while start < len(rows.keys):
            at_hand = self._bring(rows, start)
            if isinstance(at_hand, Outcome):
                yield at_hand
                start += 1
                continue
            run = self._find_run(rows, start, at_hand)
            yield run or self._read_one(rows, start, *at_hand)
            start += len(run.keys) if run else 1

    def _bring(self, rows: _Rows, row: int) -> tuple[bytes, int] | Outcome:
        """Return bytes that hold the sample of a row, and its offset in them, or an Outcome."""
        key, length = rows.keys[row], rows.lengths[row]
        if not length:
            reason = _NO_SAMPLE[rows.images[row]]
        elif length > _LARGEST_SAMPLE:
            reason = f"its sample takes {length:,} bytes; at most {_LARGEST_SAMPLE:,} are read"
        else:
            try:
                return self._read_ahead(rows.shards[row], rows.offsets[row], length)
            except SourceError as error:
                reason = error.problem
        return Outcome(key, UNREADABLE, f"{self._place(rows, row)}: {reason}")

    def _find_run(self, rows: _Rows, start: int, at_hand: tuple[bytes, int]) -> SampleRun | None:
        """Return the longest run of images that begins at row `start`, or None if there is none."""
        block, at = at_hand
        base, size, shard = rows.offsets[start] - at, len(block), rows.shards[start]
        labels, starts, stops = list[float](), list[int](), list[int]()
        for row in range(start, len(rows.keys)):
            at = rows.offsets[row] - base
            stop = at + rows.lengths[row]
            if not 0 <= at < stop <= size or rows.images[row] or rows.shards[row] != shard:
                break
            pair = find_pair(block, at, stop)
            if not pair or pair.name != "cls" or pair.start == pair.stop:
                break
            label = read_class(pair.content)
            if label is None or not rows.identities[row] or "." in rows.keys[row]:
                break
            labels.append(label)
            starts.append(pair.start)
            stops.append(pair.stop)
            self._end = base + stop
        if not labels:
            return None
        here = slice(start, start + len(labels))
        keys, identities = rows.keys[here], rows.identities[here]

        def read_singly() -> Iterator[Sample]:
            for i, (begin, stop) in enumerate(zip(starts, stops, strict=True)):
                place = self._place(rows, start + i)
                yield Sample(keys[i], identities[i], block[begin:stop], (labels[i],), place)

        return SampleRun(keys, identities, labels, block, starts, stops, read_singly)

    def _read_one(self, rows: _Rows, row: int, block: bytes, at: int) -> Sample | Outcome:
        key, place, stop = rows.keys[row], self._place(rows, row), at + rows.lengths[row]
        files = read_files(block, rows.images[row], at, stop)
        if len(block) < stop or files is None:
            reason = "expected an image; the file has changed since it was indexed"
            return Outcome(key, UNREADABLE, f"{place}: {reason}")
        return _sample(key, rows.identities[row], files, place)

    def _place(self, rows: _Rows, row: int) -> str:
        """Name the shard and the offset of the sample of a row."""
        return f"{self._names[rows.shards[row]]} at offset {rows.offsets[row]}"

    def _read_ahead(self, shard: int, offset: int, length: int) -> tuple[bytes, int]:
        """Read bytes of a shard: the next ones with those that follow, others alone.

        Return a block of the shard, and where in it they begin. Raises SourceError.
        """
        window, end = self._window, self._end
        self._end = offset + length
        at = offset - window.start
        if shard == window.shard and 0 <= at <= len(window.data) - length:
            return window.data, at
        source = self._files.open(shard)
        if shard != window.shard or not 0 <= offset - end <= _GAP or length >= _AHEAD:
            self._window = _Window(shard, offset)
            return source.read_at(offset, length), 0
        self._window = _Window(shard, offset, source.read_at(offset, _AHEAD))
        return self._window.data, 0

    def close(self) -> None:
        self._files.close()


def _sample(key: str, identity: str, files: SampleFiles, place: str) -> Sample | Outcome:
    if not files.image:
        return Outcome(key, UNDECODABLE, f"{place}: no bytes where an image was expected")
    if not identity and "cls" in files.others:
        text = files.others["cls"][:40].decode("utf-8", "backslashreplace")
        return Outcome(key, BAD_LABEL, f"{place}: expected a class, found {text!r}")
    labels, extra = read_labels(files.others)
    return Sample(key, identity, files.image, labels, place, extra)


class _ShardIndexer:
    """Writes the images of one shard to the index."""

    def __init__(self, path: Path, number: int, index: IndexWriter, sums: KeySums) -> None:
        self._path, self._number = path, number
        self._index, self._sums = index, sums
        self._skipped = SkippedFiles()
        self.max_labels, self.has_others = 1, False

    def run(self) -> None:
        """Scan the shard. Raises SourceError."""
        self._sums.begin_file()
        n_before = len(self._index)
        damage: list[Gap] = []
        with ByteSource(self._path) as source, naming(self._path):
            _check_size(source)
            scan = TarScan(source)
            samples = SampleGrouper(source, self._skipped)
            for found in scan.read_members():
                if isinstance(found, Gap):
                    samples.finish()
                    if found.reason:
                        damage.append(found)
                        samples.entries.add(self._damage(found))
                else:
                    samples.add(found)
                for member in scan.bodiless:
                    samples.add_bodiless(member)
                scan.bodiless.clear()
                if len(samples.entries) > _BATCH:
                    self._write(samples)
            self._write(samples)
        self.max_labels, self.has_others = samples.max_labels, samples.has_others
        if damage and damage[0].offset == 0 and len(self._index) - n_before == len(damage):
            _refuse(self._path, damage[0].reason)
        for gap in damage:
            log.warning("%s: offset %d: %s", self._path, gap.offset, gap.reason)
        self._warn(scan, samples)

    def _damage(self, gap: Gap) -> Entry:
        return Entry(f"{self._path.stem}_at_{gap.offset}", "", gap.offset, gap.offset)

    def _write(self, samples: SampleGrouper) -> None:
        """Write the entries that are complete."""
        entries, samples.entries = samples.entries, Entries()
        starts = np.array(entries.starts, np.int64)
        places = np.empty((len(entries), 2), np.int64)
        places[:, 0] = starts | self._number << SHIFT
        places[:, 1] = np.array(entries.numbers, np.int64) << SHIFT
        places[:, 1] |= np.array(entries.stops, np.int64) - starts
        numbers = self._index.number_identities(entries.identities)
        self._index.add(entries.keys, numbers, places)
        self._sums.add(entries.keys)

    def _warn(self, scan: TarScan, samples: SampleGrouper) -> None:
        scan.skipped.warn(self._path)
        self._skipped.warn(self._path)
        counts = (
            (scan.n_joined, "tar file", "after its end mark, read as well"),
            (samples.n_several, "sample", "with several images; each is an image of its own"),
            (samples.n_dropped_names, "image", "in a folder __NAME__, which webdataset skips"),
        )
        for n, what, where in counts:
            if n:
                log.warning("%s: %s %s", self._path, count_noun(n, what), where)


def _check_size(source: ByteSource) -> None:
    if not source.size:
        raise SourceError("the file is empty", expected="a tar file", remedy="Copy it again.")
    if source.size > _BELOW:
        raise SourceError(
            "the tar file is too large",
            expected=f"at most {_BELOW:,} bytes",
            found=f"{source.size:,}",
            remedy="Split it into shards.",
        )


def _refuse(path: Path, reason: str) -> None:
    """Raise SourceError for a file without any whole member."""
    refuse_other_format(path)
    if reason.startswith(CUT):
        raise SourceError(
            "the tar file is cut off", path=path, where="offset 0", remedy="Copy the file again."
        )
    start = storage.read_bytes(path, 8)
    raise SourceError(
        "not a tar file",
        path=path,
        expected="a tar header, not compressed",
        found=f"the bytes {start.hex(' ')}",
    )


def find_shards(source: Path) -> Parts:
    """Find the tar files of a set, in the order of their names, and those that are missing.

    `source` is a folder, or one file of a family NAME-00000-of-00008.tar, or a file by itself.
    Raises SourceError.
    """
    found = find_parts(source, SUFFIX)
    warn_of_others(source, found.files)
    if len(found.files) > _MOST_SHARDS:
        raise SourceError(
            "too many tar files",
            path=source,
            expected=f"at most {_MOST_SHARDS:,}",
            found=f"{len(found.files):,}",
        )
    return found
