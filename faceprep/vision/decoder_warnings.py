"""What libjpeg and libpng print to file descriptor 2 from inside OpenCV: caught, for nothing else
stops them.

libjpeg decodes damaged data to grey and only prints a warning, so the warning is the one sign of
the damage.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from faceprep.core.storage import write_all

_ALONE = threading.Lock()
_OF_DECODERS = re.compile(
    rb"libpng |Corrupt JPEG data|Premature end of JPEG|Invalid SOS parameters|Inconsistent "
    rb"progression"
    rb"|Unknown Adobe color|Warning: unknown JFIF|Application transferred|Unsupported marker"
)
_DAMAGE = re.compile(
    r"premature end of data segment|Premature end of JPEG file|bad Huffman code|instead of RST\d"
    r"|Inconsistent progression|extraneous bytes before marker 0x(?!d9)\w\w"
)
"""Warnings that stand for lost pixels. Bytes without meaning before the end marker (0xd9) are
harmless and common.
"""


@contextmanager
def catch_messages() -> Iterator[list[str]]:
    """The decoders' lines that are printed within the block, filled in at its end; one block at a
    time in a process.

    What other threads print meanwhile is passed on afterwards. Without a standard error, nothing is
    caught.
    """
    lines: list[str] = []
    with _ALONE:
        try:
            stderr = os.dup(2)
        except OSError:
            yield lines
            return
        source, target = os.pipe()
        try:
            os.set_blocking(source, False)
            os.set_blocking(target, False)
            os.dup2(target, 2)
            try:
                yield lines
            finally:
                os.dup2(stderr, 2)
                lines += _sort_out(source, stderr)
        finally:
            for fd in (stderr, source, target):
                os.close(fd)


def _sort_out(source: int, stderr: int) -> list[str]:
    try:
        printed = os.read(source, 1 << 16)
    except BlockingIOError:  # nothing was printed
        return []
    lines = printed.splitlines(keepends=True)
    others = b"".join(line for line in lines if not _OF_DECODERS.match(line))
    if others:
        write_all(stderr, others)
    return [line.decode(errors="replace").strip() for line in lines if _OF_DECODERS.match(line)]


def find_damage(messages: list[str]) -> str:
    """The first message that says that pixels are lost, or an empty text.

    >>> find_damage(["Corrupt JPEG data: premature end of data segment"])
    'premature end of data segment'
    >>> find_damage(["Corrupt JPEG data: 2 extraneous bytes before marker 0xd9"])
    ''
    """
    return next((found[0] for message in messages if (found := _DAMAGE.search(message))), "")
