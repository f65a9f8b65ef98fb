"""Numbers with their nouns and units, for people."""

from __future__ import annotations

_MOST_SHOWN = 60


def counted(n: int, one: str, many: str = "") -> str:
    """How many of what; `many` where it is not `one` with an s.

    >>> counted(1, "identity", "identities"), counted(1200, "image")
    ('1 identity', '1,200 images')
    """
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def sized(n_bytes: float) -> str:
    """In the unit that suits it.

    >>> sized(300), sized(5 << 20), sized(3 << 40)
    ('300 bytes', '5.0 MiB', '3,072.0 GiB')
    """
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if n_bytes >= unit:
            return f"{n_bytes / unit:,.1f} {name}"
    return counted(round(n_bytes), "byte")


def shown(line: bytes) -> str:
    """What stands in a line of a file, or how it begins.

    >>> shown(b"name,identity"), shown(b"\\xff\\xd8\\xff"), shown(b"")
    ('name,identity', 'bytes that are no text', 'an empty file')
    """
    text = line.decode(errors="replace").strip()
    if "\0" in text or "\ufffd" in text:
        return "bytes that are no text"
    return (text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…") or "an empty file"
