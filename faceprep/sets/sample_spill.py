"""A shuffle of samples in two passes, where the source is larger than memory.

The first pass reads the source in its order, some images at a time, and writes each batch in the
order of the output. The second pass takes a range of the output from every batch; the images of a
range lie together there. So the disk reads pieces of many images instead of one image at a time.
It is worth it where single reads are slow, as on hard disks; on flash they are faster than a second
copy of all bytes.

    X.samples   encoded samples, ascending by their positions in the output
    X.columns   (2, n) int64: these positions, and where each sample ends

A sample is a length (u32), as many bytes of JSON, and its contents: image, the rest.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.shards import even_bounds
from faceprep.core.types import Buffer, Outcome, Sink
from faceprep.sets.image_set import ImageSet, Sample

_SAMPLES, _COLUMNS = ".samples", ".columns"
_LENGTH = struct.Struct("<I")
_N_TIMED = 512
_FAST = 40 << 20
"""Bytes per second of single reads from which reading directly is faster. Two passes move each byte
four times, so a hard disk of 150 MB per second delivers about this much.
"""

PartPath = Callable[[str], Path]
"""Returns the path of the intermediate file of one batch with this suffix."""


def reads_fast(images: ImageSet, order: Ints) -> bool:
    """Return whether the source gives single images fast: the first of `order` (n,) are timed."""
    started = time.monotonic()
    found = images.read(order[:_N_TIMED].tolist())
    n_bytes = sum(len(sample.data) for sample in found if isinstance(sample, Sample))
    return n_bytes >= _FAST * (time.monotonic() - started)


def write_spill(samples: Iterable[Sample | Outcome], positions: Ints, sink: Sink) -> None:
    """Write one batch, whose samples get these `positions` (n,) in the output."""
    encoded = [_encode(sample) for sample in samples]
    order = np.argsort(positions)
    columns = np.empty((2, len(order)), "<i8")
    columns[0] = positions[order]
    columns[1] = np.cumsum([len(encoded[i]) for i in order.tolist()], dtype=np.int64)
    with sink.open_part(_SAMPLES) as file:
        for i in order.tolist():
            file.write(encoded[i])
    with sink.open_part(_COLUMNS) as file:
        file.write(columns.tobytes())


def read_spilled(
    spills: Sequence[PartPath], start: int, stop: int, n_at_once: int
) -> Iterator[Sample | Outcome]:
    """Yield the samples of the positions [start, stop), from all batches.

    `n_at_once` of them are in memory at a time. Raises SourceError.
    """
    for first, last in even_bounds(stop, n_at_once, start):
        found: dict[int, bytes] = {}
        for spill in spills:
            _read_range(spill, first, last, found)
        for position in range(first, last):
            yield _decode(found.pop(position))


def _read_range(spill: PartPath, first: int, last: int, found: dict[int, bytes]) -> None:
    """Add the samples of one batch with positions in [first, last) to `found`."""
    columns = np.memmap(spill(_COLUMNS), "<i8", "r").reshape(2, -1)
    low, high = np.searchsorted(columns[0], [first, last]).tolist()
    if low == high:
        return
    begin = columns.item(1, low - 1) if low else 0
    ends = (columns[1, low:high] - begin).tolist()
    with storage.ByteSource(spill(_SAMPLES)) as file:
        block = file.read_at(begin, ends[-1])
    starts = [0, *ends[:-1]]
    for position, at, end in zip(columns[0, low:high].tolist(), starts, ends, strict=True):
        found[position] = block[at:end]


def _encode(sample: Sample | Outcome) -> bytes:
    head: list[Any] = [sample]
    contents: list[Buffer] = []
    if isinstance(sample, Sample):
        key, identity, data, labels, place, extra = sample
        contents = [data, *extra.values()]
        head = [(key, identity, place, labels), list(extra), list(map(len, contents))]
    text = json.dumps(head).encode()
    return b"".join((_LENGTH.pack(len(text)), text, *contents))


def _decode(encoded: bytes) -> Sample | Outcome:
    (length,) = _LENGTH.unpack_from(encoded)
    at = _LENGTH.size + length
    head = json.loads(encoded[_LENGTH.size : at])
    if len(head) == 1:
        return Outcome(*head[0])
    (key, identity, place, labels), names, lengths = head
    contents = []
    for n_bytes in lengths:
        contents.append(encoded[at : at + n_bytes])
        at += n_bytes
    data, *others = contents
    extra = dict(zip(names, others, strict=True))
    return Sample(key, identity, data, tuple(labels), place, extra)
