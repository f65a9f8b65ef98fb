"""Small CSV tables: class maps, pairs. Quoted as RFC 4180 has it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_NEEDS_QUOTES = re.compile(r'[",\r\n]')


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A CSV file with a header line.

    >>> csv_bytes(("class", "name"), [(0, "a,b")])
    b'class,name\\n0,"a,b"\\n'
    """
    lines = (",".join(quoted(str(field)) for field in row) + "\n" for row in (header, *rows))
    return "".join(lines).encode("utf-8", "surrogateescape")


def quoted(field: str) -> str:
    """As it stands in a CSV file. The csv module leaves a lone carriage return bare, which it then
    cannot read.

    >>> quoted("a"), quoted("a,b")
    ('a', '"a,b"')
    """
    return '"' + field.replace('"', '""') + '"' if _NEEDS_QUOTES.search(field) else field
