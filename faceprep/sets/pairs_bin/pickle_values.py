"""Values in the pickle of a verification set: strings, NumPy arrays and allowed names.

The calls by which NumPy arrays and old byte strings are written are described here, never made:
`describe_call` turns an allowed name and checked arguments into a `Span` or an `Array`, both plain
facts about bytes in the file.
"""

from __future__ import annotations

import codecs
import re
import warnings
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

_MAX_WORD, _MOST_AXES = 256, 4


class NotAllowed(Exception):
    """An error that names the value found in place of an allowed one."""


class Coding(IntEnum):
    """The encoding of a string in the file. Text stands for the bytes of its latin-1 characters."""

    RAW = 0
    UTF8 = 1
    UNICODE_ESCAPE = 2
    STRING_ESCAPE = 3


class Span(NamedTuple):
    """A byte or text string, by its place in the file in bytes."""

    start: int
    n_bytes: int
    coding: int = Coding.RAW


class Array:
    """A described NumPy array or scalar: its `dtype` as in ``<i8``, its `shape`, and the place of
    its bytes.
    """

    __slots__ = ("data", "dtype", "shape")

    def __init__(self) -> None:
        self.dtype = "|u1"
        self.shape: tuple[int, ...] = (0,)
        self.data = Span(0, 0)


class Dtype:
    """A described NumPy number type: its `code` as in ``i8`` and its byte `order`."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "<"


class Other:
    """A value that is data, but none that a verification set has: its `kind` for messages."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Name(str):
    """An allowed `module.name`, which is never imported."""

    __slots__ = ()


def bytes_of(data: bytes | memoryview, coding: int) -> bytes:
    """Decode a byte string that lies in the file as `data`. Raises ValueError for a bad encoding.

    >>> bytes_of("ÿØ".encode(), Coding.UTF8), bytes_of(rb"\\xff\\n", Coding.STRING_ESCAPE)
    (b'\\xff\\xd8', b'\\xff\\n')
    """
    if coding == Coding.RAW:
        return bytes(data)
    if coding == Coding.STRING_ESCAPE:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unknown escape stays as it is
            return codecs.escape_decode(bytes(data))[0]
    text = str(data, "utf-8" if coding == Coding.UTF8 else "raw-unicode-escape")
    return text.encode("latin-1")


class Strings:
    """The strings of one file."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._lengths: dict[Span, int] = {}

    def bytes_at(self, span: Span) -> bytes:
        """Return the string. Raises ValueError when its encoding is broken."""
        return bytes_of(self._data[span.start : span.start + span.n_bytes], span.coding)

    def length(self, span: Span) -> int:
        """Return its length in bytes; a string is decoded only once.

        Raises ValueError as `bytes_at`.
        """
        if span.coding == Coding.RAW:
            return span.n_bytes
        if span not in self._lengths:
            self._lengths[span] = len(self.bytes_at(span))
        return self._lengths[span]

    def word(self, value: Any) -> str:
        """Return a short string as ASCII text; empty for all other values."""
        if type(value) is not Span or value.n_bytes > _MAX_WORD:
            return ""
        try:
            return self.bytes_at(value).decode("ascii")
        except ValueError:
            return ""


_KINDS = {
    bool: "a truth value",
    int: "a number",
    float: "a number with a fraction",
    list: "a list",
    tuple: "a tuple",
    Span: "a string",
}
_KINDS |= {Array: "a NumPy array", Dtype: "a NumPy dtype", type(None): "None"}


def kind_of(value: Any) -> str:
    """Name the kind of a value for messages; its content is never shown.

    >>> kind_of([1, 2]), kind_of(None), kind_of(Name("numpy.dtype"))
    ('a list', 'None', 'the name numpy.dtype')
    """
    if type(value) is Other:
        return value.kind
    return _KINDS.get(type(value)) or f"the name {value}"


def name_of(full: str) -> Name:
    """Return an allowed name. Raises NotAllowed."""
    if full not in _CALLS and full != _NDARRAY:
        raise NotAllowed(f"the name {full!r}")
    return Name(full)


def describe_call(name: Any, values: tuple[Any, ...], strings: Strings) -> Span | Array | Dtype:
    """Describe the result of calling `name` with `values`, without calling it.

    Raises NotAllowed.
    """
    describe = _CALLS.get(name) if type(name) is Name else None
    if describe is None:
        raise NotAllowed(f"a call of {kind_of(name)}")
    return describe(values, strings)


def describe_state(target: Any, values: tuple[Any, ...], strings: Strings) -> None:
    """Set the byte order of a described dtype, or the bytes of a described array.

    Raises NotAllowed.
    """
    if type(target) is Dtype and len(values) == 8 and values[0] == 3 and values[2:5] == (None,) * 3:
        target.order = strings.word(values[1])
        if target.order not in ("<", ">", "|", "="):
            raise NotAllowed(f"the NumPy byte order {target.order!r}")
    elif type(target) is Array and len(values) == 5:
        _fill(target, strings, values[4], values[2], values[1])
    else:
        raise NotAllowed(f"a state of {len(values)} values for {kind_of(target)}")


def _fill(array: Array, strings: Strings, data: Any, dtype: Any, shape: Any) -> None:
    """Set the bytes of an array if their number agrees with its shape and type."""
    is_shape = (
        type(shape) is tuple
        and len(shape) <= _MOST_AXES
        and all(type(n) is int and n >= 0 for n in shape)
    )
    if type(dtype) is Dtype and dtype.code == _OBJECTS:
        _fill_objects(array, data, shape)
        return
    if type(data) is not Span or type(dtype) is not Dtype or not is_shape:
        raise NotAllowed("a NumPy array that is not made of bytes, a number type and a shape")
    expected = int(dtype.code[1:]) * _BYTES_A_LETTER.get(dtype.code[0], 1)
    for n in shape:
        expected *= n
    try:
        n_bytes = strings.length(data)
    except ValueError as error:
        raise NotAllowed(f"a NumPy array in a string that cannot be decoded ({error})") from error
    if n_bytes != expected:
        raise NotAllowed(
            f"a NumPy array of shape {shape} and type {dtype.code} in {n_bytes:,} bytes"
        )
    array.dtype, array.shape, array.data = dtype.order + dtype.code, shape, data


def _fill_objects(array: Array, items: Any, shape: Any) -> None:
    """Describe an array of Python objects, whose values are in the pickle one by one."""
    if type(items) is not list or type(shape) is not tuple:
        raise NotAllowed("a NumPy array of objects without its list or shape")
    array.dtype, array.shape, array.data = "object", shape, Span(0, 0)


def _encode(values: tuple[Any, ...], strings: Strings) -> Span:
    """Describe `_codecs.encode(text, "latin1")`: protocols 0 to 2 write Python 3 bytes this way."""
    if (
        len(values) == 2
        and type(values[0]) is Span
        and strings.word(values[1]) in ("latin1", "latin-1")
    ):
        return values[0]
    raise NotAllowed("text that is not encoded as latin1")


def _bytes(values: tuple[Any, ...], strings: Strings) -> Span:
    """Describe `bytes()`, `bytearray()`, `bytearray(bytes)` and `bytearray(text, "latin-1")`.

    Never `bytearray(number)`.
    """
    if not values:
        return Span(0, 0)
    if len(values) == 1 and type(values[0]) is Span:
        return values[0]
    return _encode(values, strings)


def _reconstruct(values: tuple[Any, ...], strings: Strings) -> Array:
    """Describe `_reconstruct(ndarray, (0,), b"b")`: an empty array, which its state fills."""
    if len(values) == 3 and values[0] == _NDARRAY and values[1] == (0,):
        return Array()
    raise NotAllowed("a NumPy array that does not begin empty")


def _dtype(values: tuple[Any, ...], strings: Strings) -> Dtype:
    """Describe `dtype("u1", False, True)`."""
    code = strings.word(values[0]) if values else ""
    if len(values) == 3 and (code in _DTYPES or _OTHER_DTYPE.fullmatch(code)):
        return Dtype(code)
    raise NotAllowed(f"the NumPy type {code!r}")


def _scalar(values: tuple[Any, ...], strings: Strings) -> Array:
    """Describe `scalar(dtype, bytes)`."""
    if len(values) != 2:
        raise NotAllowed("a NumPy scalar without its type or bytes")
    array = Array()
    _fill(array, strings, values[1], values[0], ())
    return array


def _frombuffer(values: tuple[Any, ...], strings: Strings) -> Array:
    """Describe `_frombuffer(bytes, dtype, shape, order)`: protocol 5 writes arrays this way."""
    if len(values) != 4:
        raise NotAllowed("a NumPy array without its bytes, type, shape or order")
    array = Array()
    _fill(array, strings, *values[:3])
    return array


_NDARRAY = "numpy.ndarray"
_DTYPES = frozenset(["b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"])
_OBJECTS = "O8"
_OTHER_DTYPE = re.compile("f[248]|[US][0-9]{1,6}|O8")
"""NumPy types of other files, such as embeddings and their names: described, so that a message can
say what the file holds."""
_BYTES_A_LETTER = {"U": 4}
_CALLS: dict[str, Callable[[tuple[Any, ...], Strings], Span | Array | Dtype]] = {
    "_codecs.encode": _encode,
    "__builtin__.bytes": _bytes,
    "builtins.bytes": _bytes,
    "__builtin__.bytearray": _bytes,
    "builtins.bytearray": _bytes,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _frombuffer,
    "numpy._core.numeric._frombuffer": _frombuffer,
}
