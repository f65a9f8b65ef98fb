"""Frames in chunks: every frame once, whole segments, parts that wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Semaphore

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.jobs.extract_video.chunks import Chunk, cut_chunks, cut_segments, map_chunks
from faceprep.video.reader import Frame


def frames(numbers: list[int], side: int = 4) -> Iterator[Frame]:
    pixels = np.zeros((side, side, 3), np.uint8)
    return (Frame(number, None, pixels) for number in numbers)


@given(
    numbers=st.sets(st.integers(0, 300), max_size=120),
    every=st.integers(2, 90),
    side=st.sampled_from([4, 1500, 2600, 5000]),
    n_threads=st.integers(1, 8),
    n_frames=st.integers(0, 400),
)
def test_chunks_hold_segments_or_wait_for_their_beginning(
    numbers: set[int], every: int, side: int, n_threads: int, n_frames: int
) -> None:
    wanted = sorted(numbers)
    chunks = list(cut_segments(frames(wanted, side), every, n_threads, n_frames))
    assert [frame.number for chunk in chunks for frame in chunk.frames] == wanted
    segments = [{frame.number // every for frame in chunk.frames} for chunk in chunks]
    most = 400_000_000 // (n_threads + 4)
    for place, chunk in enumerate(chunks):
        is_continued = place > 0 and bool(segments[place] & segments[place - 1])
        assert (chunk.before is not None) == is_continued
        if is_continued:
            assert chunk.before is chunks[place - 1].after and len(segments[place]) == 1
        assert len(chunk.frames) == 1 or sum(f.pixels.nbytes for f in chunk.frames) <= most
    for chunk in cut_chunks(frames(wanted, side)):
        assert chunk.before is None and 1 <= len(chunk.frames) <= 8


@pytest.mark.parametrize(
    ("n_frames", "sizes"),
    [
        (9, [9]),
        (85, [30, 20, 10, 10, 10, 5]),
        (275, [80, 70, 40, 30, 20, 10, 10, 10, 5]),
        (600, [80] * 5 + [70, 40, 30, 20, 10, 10, 10, 10]),
    ],
)
def test_chunks_get_smaller_towards_the_end(n_frames: int, sizes: list[int]) -> None:
    chunks = cut_segments(frames(list(range(n_frames))), 10, n_threads=2, n_frames=n_frames)
    assert [len(chunk.frames) for chunk in chunks] == sizes


def test_one_thread_needs_no_small_chunks() -> None:
    chunks = cut_segments(frames(list(range(275))), 10, n_threads=1, n_frames=275)
    assert [len(chunk.frames) for chunk in chunks] == [80, 80, 80, 35]


@pytest.mark.parametrize("n_threads", [2, 4])
@pytest.mark.parametrize("slow", [range(70), range(70, 140), range(140, 210), range(210, 275)])
def test_threads_end_together_though_a_scene_takes_three_times_as_long(
    n_threads: int, slow: range
) -> None:
    chunks = cut_segments(frames(list(range(275))), 10, n_threads, n_frames=275)
    work = [sum(3 if frame.number in slow else 1 for frame in chunk.frames) for chunk in chunks]
    ends = [0] * n_threads
    for cost in work:
        ends[ends.index(min(ends))] += cost
    assert max(ends) <= 1.25 * sum(work) / n_threads


@pytest.mark.parametrize("n_threads", [2, 4])
def test_the_other_threads_work_on_while_one_chunk_takes_long(n_threads: int) -> None:
    chunks, done = [Chunk([]) for _ in range(9)], Semaphore(0)
    n_others = n_threads + 2

    def work(chunk: Chunk) -> bool:
        if chunk is chunks[0]:
            return all(done.acquire(timeout=20) for _ in range(n_others))
        done.release()
        return True

    assert all(map_chunks(work, iter(chunks), n_threads))


def test_an_error_reaches_the_chunks_that_wait() -> None:
    first, second, third = cut_segments(
        frames(list(range(170))), every=170, n_threads=2, n_frames=170
    )
    with pytest.raises(ValueError, match="bad frame"), first.trail():
        raise ValueError("bad frame")
    for chunk in (second, third):
        with pytest.raises(ValueError, match="bad frame"), chunk.trail():
            pass


def test_the_trail_is_handed_on() -> None:
    first, second, _ = cut_segments(frames(list(range(170))), every=170, n_threads=2, n_frames=170)
    with first.trail() as trail:
        trail.detector = "the first"
    with second.trail() as trail:
        assert trail.detector == "the first"
    with Chunk([]).trail() as trail:
        assert not trail.detector
