"""Numbers with their nouns, for people."""

from __future__ import annotations


def counted(n: int, one: str, many: str = "") -> str:
    """How many of what; `many` where it is not `one` with an s.

    >>> counted(1, "identity", "identities"), counted(1200, "image")
    ('1 identity', '1,200 images')
    """
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"
