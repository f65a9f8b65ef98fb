"""TFRecord files of `tf.train.Example`s, without TensorFlow.

    record   u64 length | u32 masked crc32c(length) | data | u32 masked crc32c(data)  little-endian
    mask     ((crc >> 15) | (crc << 17)) + 0xa282ead8 mod 2^32
    data     Example { features = 1: Features { feature = 1: map<string, Feature> } }
    Feature  one of BytesList = 1, FloatList = 2, Int64List = 3, each { repeated value = 1 }

Features are written in the order of their names, as protobuf does when it serialises
deterministically. Sources: tensorflow/core/lib/io/record_writer.h,
tensorflow/core/example/feature.proto.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO, TypeVar, cast

import google_crc32c

from faceprep.core.errors import OptionError, SourceError
from faceprep.core.io.contents import Contents, count
from faceprep.core.storage import ByteSource
from faceprep.sets.file_format import refuse_other_format
from faceprep.sets.protobuf import Malformed, read_fields, read_numbers, varint

Key = TypeVar("Key")
Value = TypeVar("Value")
Decoded = TypeVar("Decoded")
Values = list[bytes] | list[int] | list[float]

_HEAD = struct.Struct("<QI")
_TAIL = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")
_BYTES, _FLOATS, _INTS = 1, 2, 3
_LABELS = ("image_classes", "label")
_MOST_CACHED = 1 << 16
_WINDOW = 4 << 20
_crc32c: Callable[[bytes], int] = google_crc32c.value


def masked_crc32c(data: bytes) -> int:
    """Compute the checksum of a record.

    >>> hex(masked_crc32c(b""))
    '0xa282ead8'
    """
    crc = _crc32c(data)
    return (crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF


class _Cached(dict[Key, Value]):
    """Caches of encoded values: lengths, classes and names recur often."""

    def __init__(self, encode: Callable[[Key], Value]) -> None:
        self._encode = encode

    def __missing__(self, key: Key) -> Value:
        encoded = self._encode(key)
        if len(self) < _MOST_CACHED:
            self[key] = encoded
        return encoded


def frame(data: bytes) -> bytes:
    """Frame `data` as a record.

    >>> len(frame(b"data"))
    20
    """
    crc = _crc32c(data)
    return _heads[len(data)] + data + _TAIL.pack((crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF)


def write_records(file: BinaryIO, records: Iterable[bytes]) -> None:
    """Append each record, framed."""
    file.writelines(map(frame, records))


_heads: _Cached[int, bytes] = _Cached(
    lambda length: _HEAD.pack(length, masked_crc32c(_LENGTH.pack(length)))
)


def encode_example(features: Mapping[str, bytes | int]) -> bytes:
    """Encode a `tf.train.Example` with one value per feature: bytes or an int64.

    Raises OptionError beyond int64.

    >>> encode_example({"label": 3})
    b'\\n\\x10\\n\\x0e\\n\\x05label\\x12\\x05\\x1a\\x03\\n\\x01\\x03'
    """
    parts: list[bytes] = []
    for name in sorted(features):
        value = features[name]
        if isinstance(value, bytes):
            parts += (_before_bytes[name][len(value)], value)
        else:
            parts.append(_int_entries[name][value])
    content = b"".join(parts)
    return _before_features[len(content)] + content


def encode_examples(
    columns: Mapping[str, Sequence[bytes] | Sequence[int]], about: Mapping[str, int] | None = None
) -> Iterator[bytes]:
    """Encode many examples with the same features at once.

    Each column has one value per example. The first example also gets the features `about`.

    >>> one_by_one = [encode_example({"label": label}) for label in (3, 4)]
    >>> list(encode_examples({"label": [3, 4]})) == one_by_one
    True
    """
    if about:
        yield encode_example({name: column[0] for name, column in columns.items()} | dict(about))
        columns = {name: column[1:] for name, column in columns.items()}
    parts: list[Iterator[bytes]] = []
    for name in sorted(columns):
        values = cast(Sequence[Any], columns[name])
        if values and isinstance(values[0], bytes):
            parts += (map(_before_bytes[name].__getitem__, map(len, values)), iter(values))
        else:
            parts.append(map(_int_entries[name].__getitem__, values))
    before, join = _before_features, b"".join
    for content in map(join, zip(*parts, strict=True)):
        yield before[len(content)] + content


def _int_entry(name: str, value: int) -> bytes:
    """Encode the whole map entry of an int64 feature."""
    if not -(1 << 63) <= value < 1 << 63:
        raise OptionError(
            f"feature {name!r}", expected="a number that fits in int64", found=str(value)
        )
    content = varint(value & 0xFFFFFFFFFFFFFFFF)
    return _entry(name, _INTS, len(content)) + content


def _entry(name: str, kind: int, n_bytes: int) -> bytes:
    """Encode the part of a map entry that precedes its only value, of `n_bytes` bytes."""
    key, length = name.encode(), varint(n_bytes)
    n_list = 1 + len(length) + n_bytes
    feature = bytes([kind << 3 | 2]) + varint(n_list) + b"\x0a" + length
    entry = b"\x0a" + varint(len(key)) + key + b"\x12" + varint(len(feature) + n_bytes) + feature
    return b"\x0a" + varint(len(entry) + n_bytes) + entry


_int_entries: _Cached[str, _Cached[int, bytes]] = _Cached(
    lambda name: _Cached(partial(_int_entry, name))
)
_before_bytes: _Cached[str, _Cached[int, bytes]] = _Cached(
    lambda name: _Cached(partial(_entry, name, _BYTES))
)
_before_features: _Cached[int, bytes] = _Cached(lambda n_bytes: b"\x0a" + varint(n_bytes))


# Reading


def read_examples(path: str | os.PathLike[str]) -> Iterator[dict[str, Values]]:
    """Yield the features of each record. Raises SourceError with the offset of the damage."""
    return _decoded(path, decode_example)


def _decoded(path: str | os.PathLike[str], decode: Callable[[bytes], Decoded]) -> Iterator[Decoded]:
    with ByteSource(path) as source:
        for offset, length, _, _ in scan_records(source):
            data = read_data(source, offset, length)
            try:
                yield decode(data)
            except Malformed as problem:
                raise SourceError(
                    f"the record is not a tf.train.Example: {problem}",
                    path=path,
                    where=f"offset {offset}",
                ) from None


def decode_example(data: bytes) -> dict[str, Values]:
    """Decode an example into a dict from feature name to its values. Raises Malformed.

    >>> decode_example(encode_example({"label": 3, "image_raw": b"x"}))
    {'image_raw': [b'x'], 'label': [3]}
    """
    return {name: decode_feature(feature) for name, feature in _features(data)}


def _features(data: bytes) -> Iterator[tuple[str, bytes | int]]:
    """Yield (name, encoded feature)."""
    for number, message in read_fields(data):
        if number == 1:
            for _, entry in read_fields(_message(message)):
                fields = dict(read_fields(_message(entry)))
                yield _message(fields.get(1, b"")).decode("utf-8", "replace"), fields.get(2, b"")


def _message(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise Malformed("a message was expected, a number was found")
    return value


def decode_feature(feature: bytes | int) -> Values:
    """Decode the values of an encoded Feature. Raises Malformed."""
    for kind, content in read_fields(_message(feature)):
        if kind == _BYTES:
            return [_message(value) for _, value in read_fields(_message(content))]
        if kind == _FLOATS:
            return [
                x for _, value in read_fields(_message(content)) for x in read_numbers(value, "f")
            ]
        if kind == _INTS:
            return [
                x for _, value in read_fields(_message(content)) for x in read_numbers(value, "q")
            ]
    return list[bytes]()


def scan_records(source: ByteSource) -> Iterator[tuple[int, int, bytes, int]]:
    """Yield (offset, length, window, start) of each record: its data are window[start:][:length].

    The checksums of the lengths are compared, those of the data are not. Raises SourceError with
    the offset of the damage.
    """
    at, window, first = 0, b"", 0
    while at < source.size:
        start = at - first + _HEAD.size
        if start > len(window):
            window, first, start = source.read_at(at, _WINDOW), at, _HEAD.size
        if start > len(window):
            raise _truncated(source.path, at, _HEAD.size, len(window))
        length = read_length(window[start - _HEAD.size : start], source.path, at)
        whole = _HEAD.size + length + _TAIL.size
        if whole > source.size - at:
            raise _truncated(source.path, at, whole, source.size - at)
        if start + length > len(window):
            window, first, start = source.read_at(at, max(_WINDOW, whole)), at, _HEAD.size
        yield at, length, window, start
        at += whole


def read_length(head: bytes, path: str | os.PathLike[str], offset: int) -> int:
    """Return the length of a record from its first 12 bytes. Raises SourceError."""
    length: int
    length, crc = _HEAD.unpack(head)
    if _heads[length] != head:
        _compare(path, offset, "the record's length", head[: _LENGTH.size], crc)
    return length


def read_data(source: ByteSource, offset: int, length: int) -> bytes:
    """Read the data of the record at `offset`, and compare its checksum. Raises SourceError."""
    body = source.read_at(offset + _HEAD.size, length + _TAIL.size)
    if len(body) < length + _TAIL.size:
        raise _truncated(source.path, offset, length + _TAIL.size, len(body))
    data = body[:length]
    _compare(source.path, offset, "the record's data", data, _TAIL.unpack_from(body, length)[0])
    return data


def _truncated(path: str | os.PathLike[str], offset: int, expected: int, found: int) -> SourceError:
    return SourceError(
        "the record is cut off",
        path=path,
        where=f"offset {offset}",
        expected=f"{expected} bytes",
        found=f"{found}",
    )


def _compare(path: str | os.PathLike[str], offset: int, what: str, data: bytes, found: int) -> None:
    expected = masked_crc32c(data)
    if expected != found:
        if offset == 0:
            refuse_other_format(path)
        raise SourceError(
            f"the checksum of {what} is wrong",
            path=path,
            where=f"offset {offset}",
            expected=f"{expected:#010x}",
            found=f"{found:#010x}",
        )


def describe(path: str | os.PathLike[str]) -> Contents:
    """Count the records and labels and name the features of the first record, up to the first
    damage.
    """
    return count(_decoded(path, _glance))


def _glance(data: bytes) -> tuple[object, tuple[str, ...]]:
    """Read the label and the feature names; other values are skipped."""
    features = dict(_features(data))
    label = next(
        (
            values[0]
            for name in _LABELS
            if name in features and (values := decode_feature(features[name]))
        ),
        None,
    )
    return label, tuple(features)
