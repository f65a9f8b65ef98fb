"""Conversion of interlaced pictures to whole ones, one for one, with FFmpeg's filter bwdif.

The filter looks at the picture before and the one after. A stream may mix interlaced and whole
pictures; whole ones pass unchanged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

from faceprep.video.decoder import Decoded
from faceprep.video.filters import FilterChain

_BWDIF = "bwdif", "mode=send_frame:parity=auto:deint=interlaced"
_NOTE = "interlaced pictures deinterlaced (bwdif)"


def deinterlace(
    decoded: Generator[Decoded, None, None], note: Callable[[str], None]
) -> Generator[Decoded, None, None]:
    """Yield the pictures with the interlaced ones replaced; call `note` if there are any.

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
    """The filter, which returns each picture after it has received the next one."""

    def __init__(self) -> None:
        self._chain: FilterChain | None = None
        self._kind: Any = None
        self._waiting: deque[Decoded | None] = deque()

    def skip(self, each: Decoded) -> None:
        """Give the filter a picture whose result is not wanted."""
        self._push(each.picture)
        self._waiting.append(None)

    def send(self, each: Decoded) -> Iterator[Decoded]:
        """Give the filter a picture; yield those that are ready."""
        if self._chain is not None and _kind_of(each.picture) != self._kind:
            yield from self.flush()
        self._push(each.picture)
        self._waiting.append(each)
        yield from self._answers()

    def flush(self) -> Iterator[Decoded]:
        """End the stream; yield the pictures that are left."""
        if self._chain is not None:
            self._chain.end()
            yield from self._answers()
            self._chain = None

    def _push(self, picture: Any) -> None:
        if self._chain is None:
            self._chain, self._kind = FilterChain(picture, _BWDIF), _kind_of(picture)
        self._chain.push(picture)

    def _answers(self) -> Iterator[Decoded]:
        while self._chain and self._waiting and (picture := self._chain.pull()) is not None:
            asked = self._waiting.popleft()
            if asked is not None:
                yield asked._replace(picture=picture)


def _kind_of(picture: Any) -> tuple[int, int, str]:
    return picture.width, picture.height, picture.format.name
