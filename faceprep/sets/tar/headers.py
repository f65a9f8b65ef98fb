"""Headers of tar files, read by hand: ustar, GNU and pax, several thousand at once.

    0    name, 100 bytes            124  size, 12 bytes of octal digits, or base-256
    148  checksum, 8 bytes          156  type
    257  "ustar\\0" or "ustar  "     345  prefix of the name, 155 bytes ("ustar\\0" only)

The checksum is the sum of all bytes of the header, with spaces for the checksum itself. Sources:
POSIX.1-2017, pax; the GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from faceprep.core.arrays import Ints, Octets

BLOCK = 512
NAME = 100
SIZE, CHECKSUM, TYPE = slice(124, 136), slice(148, 156), 156
REGULAR, EXTENSIONS = b"0\x007", b"xLgK"
FOLDER = b"5"
PAX = ord("x")

PREFIX = slice(345, 500)
MAGIC = slice(257, 263)
_USTAR = b"ustar\0"
_BLANKS = 8 * 32
_SPARSE = b" GNU.sparse."
_find_telling = re.compile(rb" (?:path=|size=|GNU\.sparse\.)").search
_LONG_NAME = ord("L")
_HALVES = (-1, 2, BLOCK // 2)
"""Parts of a header whose bytes have a sum of 16 bits."""
_NUL, _BLANK = b"\0 "
_MOST_CACHED = 1 << 16
_IMPOSSIBLE = 1 << 62
"""A size that no file has; larger numbers do not fit the columns of an index."""


class _Octal(dict[bytes, int]):
    """Numbers of fields of octal digits, and -1 for other fields; sizes recur often."""

    def __missing__(self, field: bytes) -> int:
        digits = field.partition(b"\0")[0].strip(b" ")
        number = -1
        if digits and not digits.strip(b"01234567"):
            number = int(digits, 8)
        if len(self) < _MOST_CACHED:
            self[field] = number
        return number


_octal = _Octal()


class _Sizes(dict[bytes, int]):
    """Sizes by their fields, octal or base-256; -1 for other fields."""

    def __missing__(self, field: bytes) -> int:
        size = _octal[field]
        if field[:1] == b"\x80":
            size = int.from_bytes(field[1:], "big")
        if size >= _IMPOSSIBLE:
            size = -1
        if len(self) < _MOST_CACHED:
            self[field] = size
        return size


read_size: Callable[[bytes], int] = _Sizes().__getitem__
"""Read the size of a member from its field, octal or base-256; -1 where it is neither."""


def read_plain_sizes(fields: Octets) -> Ints:
    """Read the sizes (n,) in their fields (n, 12), where eleven octal digits and an end state them.

    Return -1 for other fields, which may be those of headers or not.
    """
    is_ended = (fields[:, -1] == _NUL) | (fields[:, -1] == _BLANK)
    return np.where(is_ended, _read_digits(fields[:, :-1]), -1)


def _read_digits(fields: Octets) -> Ints:
    """Read fields (n, k) of k octal digits; -1 for others."""
    digits = fields - np.uint8(ord("0"))
    weights = 8.0 ** np.arange(fields.shape[1])[::-1]  # exact, and much faster than integers
    numbers = (digits.astype(np.float64) @ weights).astype(np.int64)
    numbers[(digits > 7).any(axis=1)] = -1
    return numbers


def count_sound(rows: Octets) -> int:
    """Count the headers (n, 512) before the first whose checksum does not match."""
    if not len(rows):
        return 0
    totals = rows.reshape(_HALVES).sum(axis=2, dtype=np.uint16).sum(axis=1, dtype=np.int64)
    fields = np.ascontiguousarray(rows[:, CHECKSUM])
    totals += _BLANKS - fields.sum(axis=1, dtype=np.int64)
    stored = np.where(fields[:, 6] == 0, _read_digits(fields[:, :6]), -1)
    for i in np.flatnonzero(totals != stored).tolist():
        number = _octal[fields[i].tobytes()]
        if totals[i] != number and not _is_signed_sum(rows[i], number):
            return int(i)
    return len(rows)


def _is_signed_sum(row: Octets, stored: int) -> bool:
    """Return whether the checksum matches with signed bytes, as some old programs wrote it."""
    total = int(row.view(np.int8).sum(dtype=np.int64))
    return total - int(row[CHECKSUM].view(np.int8).sum(dtype=np.int64)) + _BLANKS == stored


def is_header(block: bytes) -> bool:
    """Return whether `block` is a header whose checksum matches."""
    if len(block) < BLOCK or not any(block):
        return False
    return count_sound(np.frombuffer(block, np.uint8).reshape(1, BLOCK)) == 1


def read_name_fields(rows: Octets) -> Octets:
    """Read the names (n, k) of headers (n, 512), zeros behind each; the longest has k bytes.

    The prefix that ustar keeps apart is left out.
    """
    fields = rows[:, :NAME]
    is_end = fields == _NUL
    lengths = np.where(is_end.any(axis=1), is_end.argmax(axis=1), NAME)
    n_bytes = int(lengths.max(initial=1))
    return np.where(np.arange(n_bytes) < lengths[:, None], fields[:, :n_bytes], np.uint8(_NUL))


def read_name(header: bytes) -> str:
    """Read the name of one header, with the prefix that ustar keeps apart."""
    name = header[:NAME].partition(b"\0")[0]
    if header[PREFIX.start] and header[MAGIC] == _USTAR:
        name = header[PREFIX].partition(b"\0")[0] + b"/" + name
    return name.decode("utf-8", "surrogateescape")


def is_silent(block: bytes, start: int, stop: int) -> bool:
    """Return whether the pax records in [start, stop) say nothing that matters to a scan."""
    return not _find_telling(block, start, stop)


class Extension:
    """What extended headers say about the member that follows them."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget them once the member is read."""
        self.start, self.size = -1, -1
        """Offset of the first of them; a size in place of the header's. Both are -1 for none."""
        self.name = ""
        self.is_sparse = False

    def add(self, kind: int, content: bytes, offset: int) -> None:
        """Read one, of the type `kind` in EXTENSIONS, at `offset` of the file."""
        if self.start < 0:
            self.start = offset
        if kind == _LONG_NAME:
            self.name = content.partition(b"\0")[0].decode("utf-8", "surrogateescape")
        elif kind == PAX:
            self._read_pax(content)

    def _read_pax(self, content: bytes) -> None:
        """Read pax records, each `LENGTH KEY=VALUE` and a newline; a damaged one ends them."""
        if is_silent(content, 0, len(content)):
            return
        at = 0
        while at < len(content):
            digits = content[at : at + 20].partition(b" ")[0]
            if not digits.isdigit() or not 0 < int(digits) <= len(content) - at:
                break
            record = content[at + len(digits) : at + int(digits) - 1]
            key, _, value = record.partition(b"=")
            if key == b" path" and value:
                self.name = value.decode("utf-8", "surrogateescape")
            elif key == b" size" and value.isdigit() and len(value) < 19:
                self.size = int(value)
            elif key.startswith(_SPARSE):
                self.is_sparse = True
            at += int(digits)
