"""Chains of FFmpeg's filters for decoded pictures."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from faceprep.video.decoder import pyav

_TICK = Fraction(1, 25)


class FilterChain:
    """Filters in a row, each a (name, options), for pictures like `picture`.

    The pictures given must share its size and format. They are renumbered.
    """

    def __init__(self, picture: Any, *filters: tuple[str, str]) -> None:
        graph = pyav().filter.Graph()
        last = self._source = graph.add_buffer(
            width=picture.width, height=picture.height, format=picture.format, time_base=_TICK
        )
        for name, options in (*filters, ("buffersink", None)):
            following = graph.add(name, options)
            last.link_to(following)
            last = following
        graph.configure()
        self._graph, self._sink, self._n = graph, last, 0

    def push(self, picture: Any) -> None:
        """Give the chain a picture."""
        picture.pts, picture.time_base = self._n, _TICK
        self._n += 1
        self._source.push(picture)

    def end(self) -> None:
        """Signal that no picture follows."""
        self._source.push(None)

    def pull(self) -> Any:
        """Return the next picture; None where the chain has none ready."""
        av = pyav()
        try:
            return self._sink.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return None
