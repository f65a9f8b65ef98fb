"""Warnings that libjpeg, libpng and OpenCV print to file descriptor 2.

libjpeg decodes damaged data to grey and only prints a warning, so the warning is the only sign of
damage. libtiff leaves damaged parts black, and OpenCV only logs its error. The descriptor belongs
to the whole process. Threads therefore decode together while nothing is printed, and each decodes
again alone when a warning may be its own.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from typing import TypeVar

from faceprep.core.opencv import log_warnings
from faceprep.core.scratch import open_unnamed
from faceprep.core.staged_file import write_all

T = TypeVar("T")
_STDERR = 2
_DECODER_LINE = re.compile(
    rb"libpng |Corrupt JPEG data|Premature end of JPEG|Invalid SOS parameters|"
    rb"Inconsistent progression|Unknown Adobe color|Warning: unknown JFIF|"
    rb"Application transferred|Unsupported marker|\[ ?(?:FATAL|ERROR|WARN):\d+@"
)
_LOGGED = re.compile(rb"(\[ ?(?:FATAL|ERROR|WARN):\d+@[^\n]*\n)(?:(?:>[^\n]*)?\n)*")
"""An entry in OpenCV's log: a line, then maybe the values that it expected, and an empty line."""
_DAMAGE = re.compile(
    r"premature end of data segment|Premature end of JPEG file|bad Huffman code|instead of RST\d"
    r"|Inconsistent progression|extraneous bytes before marker 0x(?!d9)\w\w"
    r"|(?<=TIFF_Error )(?!TIFFAdvanceDirectory"
    r'|_TIFFVSetField:[^"]*"(?:FillOrder|Orientation|[XY]Resolution|ResolutionUnit)").*'
)
"""Warnings of lost pixels. Stray bytes before the end marker (0xd9) are harmless and common. A
directory that libtiff cannot reach is that of a later page. It replaces a bad value of the named
tags by the usual one, such as the orientation 0 that some scanners write."""


class _Catcher:
    """A reader of standard error while at least one thread decodes.

    Lines that are not from a decoder are printed on the real standard error. Without a standard
    error, nothing is caught.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n_inside = self._n_entries = 0
        self._is_reserved = False
        self._lines: list[str] = []
        self._stderr = self._source = -1
        self._at = 0

    def run(self, work: Callable[[], T], alone: bool) -> tuple[T, list[str], bool]:
        """Run `work`; return its result, the warnings, and True if no other thread decoded."""
        start, entry, was_first = self._enter(alone)
        lines: list[str] = []
        try:
            result = work()
        finally:
            lines, n_entries = self._leave(start, alone)
        return result, lines, was_first and n_entries == entry

    def _enter(self, alone: bool) -> tuple[int, int, bool]:
        """Wait; return the counts of lines and entries so far, and True if no thread was inside."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_reserved)
            self._is_reserved = alone
            if alone:
                self._changed.wait_for(lambda: not self._n_inside)
            was_first = not self._n_inside
            if was_first:
                self._redirect()
            self._n_inside += 1
            self._n_entries += 1
            return len(self._lines), self._n_entries, was_first

    def _leave(self, start: int, alone: bool) -> tuple[list[str], int]:
        """Return the lines since `start` and the number of entries so far."""
        with self._changed:
            self._read()
            lines = self._lines[start:]
            self._n_inside -= 1
            if not self._n_inside:
                self._restore()
            if alone:
                self._is_reserved = False
            self._changed.notify_all()
            return lines, self._n_entries

    def _redirect(self) -> None:
        try:
            self._stderr = os.dup(_STDERR)
        except OSError:
            return
        self._source, self._at = open_unnamed(), 0  # a full pipe would end all logging of OpenCV
        os.dup2(self._source, _STDERR)
        log_warnings(True)

    def _read(self) -> None:
        if self._stderr < 0:
            return
        n_bytes = os.fstat(self._source).st_size - self._at
        if not n_bytes:
            return
        printed = os.pread(self._source, n_bytes, self._at)
        self._at += len(printed)
        lines = _LOGGED.sub(rb"\1", printed).splitlines(keepends=True)
        own = [line for line in lines if _DECODER_LINE.match(line)]
        self._lines += [line.decode(errors="replace").strip() for line in own]
        others = b"".join(line for line in lines if not _DECODER_LINE.match(line))
        if others:
            write_all(self._stderr, others)

    def _restore(self) -> None:
        self._lines = []
        if self._stderr < 0:
            return
        log_warnings(False)
        os.dup2(self._stderr, _STDERR)
        self._read()
        self._lines = []
        os.close(self._stderr)
        os.close(self._source)
        self._stderr = self._source = -1


_CATCHER = _Catcher()


def catch_warnings(decode: Callable[[], T]) -> tuple[T, list[str]]:
    """Run `decode` with the decoders kept silent; return its result and their warnings.

    `decode` may run twice, so it must have no side effects.
    """
    result, lines, are_own = _CATCHER.run(decode, alone=False)
    if lines and not are_own:
        result, lines, _ = _CATCHER.run(decode, alone=True)
    return result, lines


def find_damage(warnings: list[str]) -> str:
    """Return the first warning of lost pixels, or an empty string.

    >>> find_damage(["Corrupt JPEG data: premature end of data segment"])
    'premature end of data segment'
    >>> find_damage(["Corrupt JPEG data: 2 extraneous bytes before marker 0xd9"])
    ''
    """
    for warning in warnings:
        if found := _DAMAGE.search(warning):
            return found[0]
    return ""
