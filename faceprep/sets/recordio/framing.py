"""Writes MXNet records: the framing of payloads and of images. The layout is in `records`."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from faceprep.core.errors import SourceError
from faceprep.core.types import Buffer
from faceprep.sets.recordio.records import (
    FIRST,
    HEADER,
    LAST,
    MAGIC,
    MAGIC_BYTES,
    MAX_LENGTH,
    MIDDLE,
    PART_HEAD,
    WHOLE_HEAD,
)

_SHORT = 256
"""Bytes that are searched faster without NumPy."""
_AT_ONCE = 16
"""Records that are looked through together: a block that stays in the cache."""


def frame(payload: bytes) -> bytes:
    """Frame `payload` as one record; it is split where it holds the magic at a multiple of 4.

    >>> frame(b"abc").hex(" ", 4)
    '0a23d7ce 03000000 61626300'
    """
    if MAGIC_BYTES not in payload:
        return _frame_whole(b"", payload)
    cuts = [-4]
    at = payload.find(MAGIC_BYTES)
    while at >= 0:
        if at % 4 == 0:
            cuts.append(at)
            at = payload.find(MAGIC_BYTES, at + 4)
        else:
            at = payload.find(MAGIC_BYTES, at + 1)
    if len(cuts) == 1:
        return _frame_whole(b"", payload)
    pieces = [
        payload[start + 4 : stop]
        for start, stop in zip(cuts, [*cuts[1:], len(payload)], strict=True)
    ]
    kinds = [FIRST, *[MIDDLE] * (len(pieces) - 2), LAST]
    framed = [
        PART_HEAD.pack(MAGIC, kind << 29 | len(piece)) + piece
        for kind, piece in zip(kinds, pieces, strict=True)
    ]
    return b"".join(framed) + b"\0" * (-len(payload) % 4)


def _frame_whole(head: bytes, body: Buffer) -> bytes:
    length = len(head) + len(body)
    if length > MAX_LENGTH:
        raise SourceError("a record must be shorter than 2^29 bytes", found=f"{length:,} bytes")
    return b"".join((PART_HEAD.pack(MAGIC, length), head, body, b"\0" * (-length % 4)))


def frame_image(labels: Sequence[float], image: bytes, id: int) -> bytes:
    """Frame an image record: one label is a scalar, several are a list."""
    if len(labels) == 1:
        head = HEADER.pack(0, labels[0], id, 0)
    else:
        head = HEADER.pack(len(labels), 0.0, id, 0) + struct.pack(f"<{len(labels)}f", *labels)
    # `head` is a multiple of 4 long, so a magic number across the seam would not be aligned.
    if _holds_magic(head) or _holds_magic(image):
        return frame(head + image)
    return _frame_whole(head, image)


def frame_with_header(header: bytes, image: Buffer) -> bytes:
    """Frame an image record with the `header` of another one: flag, label, ids and labels."""
    if _holds_magic(header) or _holds_magic(image):
        return frame(header + bytes(image))
    return _frame_whole(header, image)


def frame_images(images: Iterable[tuple[float, Buffer, int]]) -> Iterator[tuple[bytes, list[int]]]:
    """Yield the bytes and sizes of many framed records (label, image, id), some records at a time.

    >>> next(frame_images([(7.0, b"jpeg", 3), (8.0, b"png", 4)])) == (
    ...     frame_image([7.0], b"jpeg", 3) + frame_image([8.0], b"png", 4), [36, 36])
    True
    """
    waiting = iter(images)
    while group := list(islice(waiting, _AT_ONCE)):
        whole = [
            (
                WHOLE_HEAD.pack(MAGIC, HEADER.size + len(image), 0, label, id, 0),
                image,
                b"\0" * (-len(image) % 4),
            )
            for label, image, id in group
            if HEADER.size + len(image) <= MAX_LENGTH
        ]
        block = b"".join(chain.from_iterable(whole))
        if len(whole) == len(group) == _count_magic(block):
            yield block, [sum(map(len, pieces)) for pieces in whole]
        else:
            records = [frame_image([label], bytes(image), id) for label, image, id in group]
            yield b"".join(records), list(map(len, records))


def _holds_magic(data: Buffer) -> bool:
    """Return whether the magic is at a multiple of 4."""
    if len(data) <= _SHORT and MAGIC_BYTES not in bytes(data):
        return False
    return _count_magic(data) > 0


def _count_magic(data: Buffer) -> int:
    """Count the positions of the magic at multiples of 4."""
    import numpy as np  # four times as fast as `in`; loaded only where records are written

    return int(np.count_nonzero(np.frombuffer(data, "<u4", len(data) // 4) == MAGIC))
