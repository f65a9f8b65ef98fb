"""Frames of a video in chunks, each the work of one thread.

With --detect-every, the chunks of a segment hand on the tracked faces: each begins where
the one before it ends. The result does not depend on their sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from faceprep.core.prefetch import map_ahead
from faceprep.steps.trail import Trail
from faceprep.video.reader import Frame

R = TypeVar("R")
_FRAMES, _BYTES = 8, 25_000_000
"""Maximum frames and bytes of a chunk without segments."""
_SEGMENT_FRAMES, _ALL_BYTES = 80, 400_000_000
"""Maximum frames of a chunk of segments, which advance side by side in few calls of the networks,
and maximum bytes of all chunks that wait."""
_SPARE_CHUNKS = 4
"""Chunks that wait beside those of the threads, among them the one that is being decoded and the
next. One chunk may take as long as several others, whose results wait for it."""


@dataclass(frozen=True)
class Chunk:
    """Frames in order; `before` gives the trail of the chunk before in its segment, if any."""

    frames: Sequence[Frame]
    before: Future[Trail] | None = None
    after: Future[Trail] | None = None

    @contextmanager
    def trail(self) -> Iterator[Trail]:
        """Wait for the trail of the chunk before, and hand it on at the end of the block.

        An error in the block is raised in the chunks that follow too, so that none waits forever.
        """
        after: Future[Trail] = self.after or Future()
        try:
            trail = Trail()
            if self.before is not None:
                trail = self.before.result()
            yield trail
        except BaseException as error:
            after.set_exception(error)
            raise
        after.set_result(trail)


def map_chunks(
    work: Callable[[Chunk], R], chunks: Iterator[Chunk], n_threads: int
) -> Generator[R, None, None]:
    """Yield `work(chunk)` for each chunk in order, from `n_threads` threads, as `map_ahead`."""
    return map_ahead(work, chunks, n_threads, n_threads + _SPARE_CHUNKS - 2)


def cut_chunks(frames: Iterator[Frame]) -> Iterator[Chunk]:
    """Yield frames in chunks, smaller ones for large frames."""
    chunk: list[Frame] = []
    for frame in frames:
        chunk.append(frame)
        if len(chunk) == _FRAMES or len(chunk) * frame.pixels.nbytes >= _BYTES:
            yield Chunk(chunk)
            chunk = []
    if chunk:
        yield Chunk(chunk)


def cut_segments(
    frames: Iterator[Frame], every: int, n_threads: int, n_frames: int
) -> Iterator[Chunk]:
    """Yield frames in chunks of whole segments, or of parts of a segment that is too large.

    Segments begin at multiples of `every`. `n_frames` is the number of frames that is expected. One
    scene may take several times as long as another, so chunks get smaller towards the end if there
    are several threads. They then end at about the same time.
    """
    most_bytes = _ALL_BYTES // (n_threads + _SPARE_CHUNKS)
    chunk: list[Frame] = []
    before: Future[Trail] | None = None
    # Of the frames left, a chunk takes one share and leaves two for each of the other threads.
    n_left, n_shares = n_frames, 1 + 2 * (n_threads - 1)
    for frame in frames:
        most = max(1, min(_SEGMENT_FRAMES, most_bytes // frame.pixels.nbytes))
        n = len(chunk)
        is_share = n + every / 2 > n_left / n_shares
        is_new = bool(chunk) and frame.number // every != chunk[-1].number // every
        if is_new and (before or is_share or n + every > most):
            yield Chunk(chunk, before)
            n_left, chunk, before = n_left - n, [], None
        elif n >= most:
            after: Future[Trail] = Future()
            yield Chunk(chunk, before, after)
            n_left, chunk, before = n_left - n, [], after
        chunk.append(frame)
    if chunk:
        yield Chunk(chunk, before)
