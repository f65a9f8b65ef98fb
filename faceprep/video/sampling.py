"""Choices of frames of a video: by number, by key frame or by time.

    all           every frame
    every:N       numbers 0, N, 2N …
    uniform:N     N frames, evenly spaced: the middle of each N-th part of the video
    pair          numbers 6 and 6 + n // 2 of n frames, as SSDG and FLIP take them from SiW
    pair:faces    the same of the n frames with a face, which the caller finds: here every frame
    keyframes     the frames that need no other to be decoded

A span of seconds narrows each of them: `uniform` spaces its frames over the span, and the others
keep those of their frames that lie in it. Numbers are those of the whole video.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from faceprep.core.errors import OptionError

_FORMS = "all, every:N, uniform:N, pair, pair:faces or keyframes"
_PAIR_FIRST = 6
_ROUNDING = 1e-6
"""Seconds: a frame at 6/30 s is in a span from 0.2 s on, though the product of its stamp and
the tick is less.
"""


@dataclass(frozen=True, slots=True)
class FrameChoice:
    """A choice of frames: its `kind`, its `n`, and a span of the video from `start` to before `end`
    in seconds.
    """

    kind: str = "all"
    n: int = 1
    start: float = 0.0
    end: float = math.inf
    at: tuple[int, ...] = ()
    """The wanted numbers, ascending, of the kind `at`."""
    within: tuple[int, int] | None = None
    """Keep only numbers from the first to before the second: those of a piece of the video."""

    @property
    def is_pair(self) -> bool:
        """Return whether two frames are wanted, both of which must exist."""
        return self.kind in ("pair", "pair:faces")

    @property
    def is_pair_of_faces(self) -> bool:
        """Return whether the pair is chosen after faces are found, by `choose_pair`."""
        return self.kind == "pair:faces"

    def numbers(
        self, times: Sequence[float] | npt.NDArray[np.float64], keyframes: npt.ArrayLike
    ) -> range | list[int]:
        """Return the wanted ascending numbers of a video with these frame `times` and `keyframes`.

        `times` are ascending seconds.

        >>> FrameChoice("uniform", 3).numbers([0, 1, 2, 3, 4, 5], [0])
        [1, 3, 5]
        >>> FrameChoice("every", 2, start=1.5).numbers([0, 1, 2, 3, 4, 5], [0])
        range(2, 6, 2)
        >>> FrameChoice("every", 2, within=(1, 4)).numbers([0, 1, 2, 3, 4, 5], [0])
        range(2, 4, 2)
        """
        chosen = self._choose(times, keyframes)
        if self.within is None:
            return chosen
        first, stop = (bisect_left(chosen, edge) for edge in self.within)
        return chosen[first:stop]

    def _choose(
        self, times: Sequence[float] | npt.NDArray[np.float64], keyframes: npt.ArrayLike
    ) -> range | list[int]:
        first, stop = (
            int(np.searchsorted(times, edge - _ROUNDING)) for edge in (self.start, self.end)
        )
        if self.kind in ("all", "every", "pair:faces"):
            return range(-(-first // self.n) * self.n, stop, self.n)
        if self.kind == "uniform":
            n = stop - first
            n_parts = min(self.n, n)
            return [first + (2 * part + 1) * n // (2 * n_parts) for part in range(n_parts)]
        if self.kind == "at":
            chosen = list(self.at)
        else:
            if self.kind == "keyframes":
                chosen = np.asarray(keyframes).tolist()
            else:
                chosen = _pair(len(times))
        return [number for number in chosen if first <= number < stop]


ALL_FRAMES = FrameChoice()
FIRST_FRAME = FrameChoice("at", at=(0,))


def frames_at(numbers: Iterable[int]) -> FrameChoice:
    """Return a choice of the frames with these numbers; numbers beyond the video are left out.

    >>> frames_at([4, 1, 9]).numbers([0, 1, 2, 3, 4, 5], [0])
    [1, 4]
    """
    return FrameChoice("at", at=tuple(sorted(set(numbers))))


def _pair(n: int) -> list[int]:
    if n:
        return sorted({min(_PAIR_FIRST, n - 1), min(_PAIR_FIRST + n // 2, n - 1)})
    return []


def choose_pair(numbers: Sequence[int]) -> list[int]:
    """Return the two of `numbers`, ascending, at the places 6 and 6 + half of their count.

    If there are too few for these places, return the first and the last.

    >>> choose_pair(range(10, 30)), choose_pair([4, 5, 9]), choose_pair([4]), choose_pair([])
    ([16, 26], [4, 9], [4], [])
    """
    places = _pair(len(numbers))
    if len(places) == 1:
        places = sorted({0, len(numbers) - 1})
    return [numbers[place] for place in places]


def parse_frames(text: str, start: float | None = None, end: float | None = None) -> FrameChoice:
    """Parse a choice, within a span of seconds. Raises OptionError.

    >>> parse_frames("every:5").n
    5
    >>> parse_frames("uniform")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    faceprep.core.errors.OptionError: invalid --frames: expected all, ... found 'uniform'
    """
    match = re.fullmatch(
        r"(every|uniform):([1-9][0-9]{0,8})|all|pair|pair:faces|keyframes", text, re.ASCII
    )
    if not match:
        raise OptionError("--frames", expected=_FORMS, found=repr(text))
    choice = FrameChoice(match[1], int(match[2])) if match[1] else FrameChoice(text)
    for name, edge in (("--start", start), ("--end", end)):
        if edge is not None and not (math.isfinite(edge) and edge >= 0):
            raise OptionError(
                name, expected="seconds from the beginning of the video", found=str(edge)
            )
    if end is not None and end <= (start or 0.0):
        raise OptionError(
            "--end", expected=f"more than the start, {start or 0:g} s", found=f"{end:g} s"
        )
    return replace(choice, start=start or 0.0, end=math.inf if end is None else end)
