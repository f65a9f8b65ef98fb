"""Places of the features of an encoded `tf.train.Example`, found without copying their values.

The layout is described in `tfrecord`. Every place is a range [start, stop) in the bytes given.
"""

from __future__ import annotations

from faceprep.core.types import Buffer
from faceprep.sets.protobuf import Malformed

Range = tuple[int, int]

_KIND, _BYTES = 7, 2
_LONG_OR_KIND = 0x87
_FIRST_OF_BYTES = 1 << 3 | _BYTES
_SECOND_OF_BYTES = 2 << 3 | _BYTES
_FIXED = {1: 8, 5: 4}
_MAX_SHIFT = 63


def find_features(data: Buffer, start: int, stop: int) -> dict[bytes, Range]:
    """Find the encoded Feature of each name in the example data[start:stop]. Raises Malformed.

    >>> find_features(bytes.fromhex("0a0c0a0a0a016112051a030a0103"), 0, 14)
    {b'a': (9, 14)}
    """
    features: dict[bytes, Range] = {}
    for features_start, features_stop in _find(data, start, stop, _FIRST_OF_BYTES):
        for entry in _find(data, features_start, features_stop, _FIRST_OF_BYTES):
            name, value = _read_entry(data, *entry)
            features[name] = value
    return features


def find_value(data: Buffer, start: int, stop: int) -> Range | None:
    """Find the first value of the Feature data[start:stop], if it is a list of bytes.

    Raises Malformed.
    """
    return next(iter(find_values(data, start, stop)), None)


def find_values(data: Buffer, start: int, stop: int) -> list[Range]:
    """Find all values of the Feature data[start:stop]; none if it is not a list of bytes.

    Raises Malformed.
    """
    found: list[Range] = []
    for list_start, list_stop in _find(data, start, stop, _FIRST_OF_BYTES):
        found += _find(data, list_start, list_stop, _FIRST_OF_BYTES)
    return found


def _read_entry(data: Buffer, start: int, stop: int) -> tuple[bytes, Range]:
    """Return the name and the place of the value of a map entry."""
    name, value = b"", (stop, stop)
    at = start
    while at < stop:
        tag, begin, at = _read_field(data, at, stop)
        if tag == _FIRST_OF_BYTES:
            name = bytes(data[begin:at])
        elif tag == _SECOND_OF_BYTES:
            value = begin, at
    return name, value


def _find(data: Buffer, start: int, stop: int, tag: int) -> list[Range]:
    """Find the values of the fields with this tag in a message."""
    found = []
    at = start
    while at < stop:
        here, begin, at = _read_field(data, at, stop)
        if here == tag:
            found.append((begin, at))
    return found


def _read_field(data: Buffer, at: int, stop: int) -> tuple[int, int, int]:
    """Return the tag of the field at `at`, and the start and end of its value."""
    if at + 1 < stop and data[at] & _LONG_OR_KIND == _BYTES and data[at + 1] < 0x80:
        tag, begin = data[at], at + 2  # the common case, in a third of the time
        end = begin + data[at + 1]
    else:
        tag, begin, end = _read_long_field(data, at, stop)
    if end > stop:
        raise Malformed(f"a field of {end - begin} bytes at byte {begin} of {stop}")
    return tag, begin, end


def _read_long_field(data: Buffer, at: int, stop: int) -> tuple[int, int, int]:
    tag, begin = _read_number(data, at, stop)
    kind = tag & _KIND
    if kind == _BYTES:
        length, begin = _read_number(data, begin, stop)
        return tag, begin, begin + length
    if kind == 0:
        return tag, begin, _read_number(data, begin, stop)[1]
    if kind in _FIXED:
        return tag, begin, begin + _FIXED[kind]
    raise Malformed(f"unknown kind of field {kind} before byte {begin}")


def _read_number(data: Buffer, at: int, stop: int) -> tuple[int, int]:
    number = shift = 0
    while at < stop and shift <= _MAX_SHIFT:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    raise Malformed(f"the number before byte {at} has no end")
