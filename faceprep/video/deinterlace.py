"""Interlaced pictures to whole ones, one for one, with FFmpeg's filter bwdif.

The filter looks at the picture before and the one after. A stream may mix interlaced and whole
pictures; whole ones pass unchanged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from fractions import Fraction
from typing import Any

from faceprep.video.decoder import Decoded, pyav

_TICK = Fraction(1, 25)
_FILTER, _HOW = "bwdif", "mode=send_frame:parity=auto:deint=interlaced"
_NOTE = "interlaced pictures deinterlaced (bwdif)"


def deinterlace(
    decoded: Generator[Decoded, None, None], note: Callable[[str], None]
) -> Generator[Decoded, None, None]:
    """Yield the pictures, those that are interlaced replaced; then `note` is called.

    All pictures pass untouched until the first that is interlaced. The one before it is kept, as
    the filter needs it.
    """
    bwdif, previous = None, None
    with closing(decoded):
        for each in decoded:
            if bwdif is None and each.picture.interlaced_frame:
                bwdif = _Bwdif()
                note(_NOTE)
                if previous is not None:
                    bwdif.skip(previous)
            if bwdif is None:
                previous = each
                yield each
            else:
                yield from bwdif.send(each)
        if bwdif is not None:
            yield from bwdif.flush()


class _Bwdif:
    """The filter, which answers each picture when the next one is there."""

    def __init__(self) -> None:
        self._graph: Any = None
        self._kind: Any = None
        self._waiting: deque[Decoded | None] = deque()

    def skip(self, each: Decoded) -> None:
        """Give the filter a picture that is not asked for."""
        self._push(each.picture)
        self._waiting.append(None)

    def send(self, each: Decoded) -> Iterator[Decoded]:
        """Give the filter a picture; yield what it answers."""
        picture = each.picture
        kind = picture.width, picture.height, picture.format.name
        if self._graph is not None and kind != self._kind:
            yield from self.flush()
        self._push(picture)
        self._waiting.append(each)
        yield from self._answers()

    def flush(self) -> Iterator[Decoded]:
        """End the stream; yield what is left."""
        self._source.push(None)
        yield from self._answers()
        self._graph = None

    def _push(self, picture: Any) -> None:
        if self._graph is None:
            self._open(picture)
        picture.pts, picture.time_base = self._n, _TICK
        self._n += 1
        self._source.push(picture)

    def _open(self, picture: Any) -> None:
        graph = pyav().filter.Graph()
        self._kind = picture.width, picture.height, picture.format.name
        self._source = graph.add_buffer(
            width=picture.width, height=picture.height, format=picture.format, time_base=_TICK
        )
        bwdif, self._sink = graph.add(_FILTER, _HOW), graph.add("buffersink")
        self._source.link_to(bwdif)
        bwdif.link_to(self._sink)
        graph.configure()
        self._graph, self._n = graph, 0

    def _answers(self) -> Iterator[Decoded]:
        av = pyav()
        while self._waiting:
            try:
                picture = self._sink.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            asked = self._waiting.popleft()
            if asked is not None:
                yield asked._replace(picture=picture)
