"""Numbers with their nouns and units, and excerpts of files, written for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

_CONTROLS = (
    *(range(32), range(0x7F, 0xA0)),
    *([0x61C], range(0x200E, 0x2010), range(0x2028, 0x202F), range(0x2066, 0x206A)),
)
"""Control codes of terminals, and characters that change the direction or the lines of a text."""
_ESCAPED = {code: repr(chr(code))[1:-1] for codes in _CONTROLS for code in codes}
_ESCAPED |= {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)}
"""Those, and the stand-ins for bytes of file names that are not UTF-8, as a terminal shows them."""
_MAX_EXCERPT = 60
_MOST_DIGITS = 18
_NOT_TEXT = re.compile("[\ud800-\udfff]")
"""Stand-ins for bytes of file names that are not UTF-8."""


def count_noun(n: int, singular: str, plural: str = "") -> str:
    """Format a number with its noun; `plural` defaults to `singular` with an s.

    >>> count_noun(1, "identity", "identities"), count_noun(1200, "image")
    ('1 identity', '1,200 images')
    """
    noun = singular
    if n != 1:
        noun = plural or f"{singular}s"
    return f"{n:,} {noun}"


def name_all(noun: str, names: Sequence[str]) -> str:
    """Name all of some things; empty for none.

    >>> name_all("column", ["age"]), name_all("column", ["age", "pose"]), name_all("column", [])
    ('the column age', 'the columns age and pose', '')
    """
    if not names:
        return ""
    if len(names) > 1:
        noun += "s"
    return f"the {noun} {list_words(names)}"


def encode_json(value: object) -> bytes:
    """Encode one line of JSON as valid UTF-8, whatever the file names in it.

    Bytes of a name that are not text are escaped, and reading the line gives them back. Raises
    ValueError for NaN or infinity.

    >>> encode_json({"name": "ü" + chr(0xDCE9)})
    b'{"name": "\\xc3\\xbc\\\\udce9"}\\n'
    """
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    escaped = _NOT_TEXT.sub(lambda match: f"\\u{ord(match[0]):04x}", line)
    return f"{escaped}\n".encode()


def parse_whole(text: str | bytes) -> int | None:
    """Return ASCII digits as a number; None for any other string, and for 10^18 and above.

    Python refuses to convert thousands of digits.

    >>> parse_whole("12"), parse_whole(b"007"), parse_whole("-1"), parse_whole("9" * 5000)
    (12, 7, None, None)
    """
    is_whole = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if is_whole else None


def as_text(value: object) -> str | None:
    """Return a string as it is, and bytes as text; None for any other value.

    Some programs write strings as bytes, which need not be UTF-8.

    >>> as_text(b"a/1.jpg"), as_text(1)
    ('a/1.jpg', None)
    """
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value if isinstance(value, str) else None


def as_name(value: object) -> str:
    """Return a string, bytes or a number as the name of an identity; empty for None.

    >>> as_name("ann"), as_name(b"ann"), as_name(7), as_name(None)
    ('ann', 'ann', '7', '')
    """
    if value is None:
        return ""
    text = as_text(value)
    return str(value) if text is None else text


def format_bytes(n_bytes: float) -> str:
    """Format a number of bytes in the largest unit that fits.

    >>> format_bytes(300), format_bytes(5 << 20), format_bytes(3 << 40)
    ('300 bytes', '5.0 MiB', '3,072.0 GiB')
    """
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if n_bytes >= unit:
            return f"{n_bytes / unit:,.1f} {name}"
    return count_noun(round(n_bytes), "byte")


def format_duration(seconds: float) -> str:
    """Format a time as hours, minutes and seconds, with tenths below a minute.

    >>> format_duration(1.34), format_duration(90), format_duration(360_000)
    ('00:00:01.3', '00:01:30', '100:00:00')
    """
    if seconds < 59.95:
        return f"00:00:{seconds:04.1f}"
    return format_clock(seconds)


def parse_time(text: str) -> float:
    """Read a time in seconds, or in hours, minutes and seconds. Raises ValueError.

    >>> parse_time("90.5"), parse_time("01:30"), parse_time("00:01:30.5")
    (90.5, 90.0, 90.5)
    """
    *larger, seconds = text.split(":")
    found = float(seconds)
    if not larger:
        return found
    if len(larger) > 2 or not all(part.isdecimal() for part in larger):  # noqa: PLR2004
        raise ValueError(f"not a time: {text!r}")
    hours, minutes = ([0] + [int(part) for part in larger])[-2:]
    if not 0 <= found < 60 or (len(larger) > 1 and minutes >= 60):  # noqa: PLR2004
        raise ValueError(f"not a time: {text!r}")
    return hours * 3600 + minutes * 60 + found


def format_clock(seconds: float) -> str:
    """Format a time as hours, minutes and whole seconds.

    >>> format_clock(1.34), format_clock(90)
    ('00:00:01', '00:01:30')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"


def list_words(words: Iterable[str]) -> str:
    """Join words as a sentence does.

    >>> list_words(["a"]), list_words(["a", "b"]), list_words(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def on_one_line(text: str) -> str:
    """Escape control characters and bytes that are not UTF-8, which names and files may hold.

    The text then stays on its line, in its order, and does not control the terminal.

    >>> on_one_line("a\\n5 of 5 inputs ok\\x1b[31m\\udcff")
    'a\\\\n5 of 5 inputs ok\\\\x1b[31m\\\\xff'
    """
    return text.translate(_ESCAPED)


def join_lines(lines: Iterable[str]) -> str:
    """Join lines to a text for a terminal; see `on_one_line`."""
    return "\n".join(map(on_one_line, lines))


def shorten(text: str, longest: int) -> str:
    """Return a text, cut to `longest` characters and marked where it is longer.

    >>> shorten("abcdef", 6), shorten("abcdefg", 6)
    ('abcdef', 'abcdef…')
    """
    return text if len(text) <= longest else f"{text[:longest]}…"


def excerpt_line(line: bytes) -> str:
    """Quote a line of a file, shortened where it is long, or say that it is not text.

    >>> excerpt_line(b"name,identity"), excerpt_line(b"\\xff\\xd8\\xff"), excerpt_line(b"")
    ('name,identity', 'bytes that are not text', 'an empty file')
    """
    text = line.decode(errors="replace").strip()
    if "\0" in text or "\ufffd" in text:
        return "bytes that are not text"
    return shorten(text, _MAX_EXCERPT) or "an empty file"
