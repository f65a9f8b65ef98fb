"""Frame choices give the right numbers for any video length and span."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import OptionError
from faceprep.video.sampling import FrameChoice, frames_at, parse_frames

KINDS = ["all", "every:1", "every:7", "uniform:1", "uniform:8", "pair", "keyframes"]
TIMES = st.lists(st.floats(0, 1), max_size=40).map(lambda steps: np.cumsum([0.0, *steps])[:-1])


@given(times=TIMES, text=st.sampled_from(KINDS), start=st.floats(0, 20), length=st.floats(0.01, 40))
def test_numbers_rise_and_lie_in_the_span(
    times: np.ndarray, text: str, start: float, length: float
) -> None:
    keyframes = list(range(0, len(times), 5))
    numbers = list(parse_frames(text, start, start + length).numbers(times, keyframes))
    assert numbers == sorted(set(numbers))
    start -= 1e-6  # of which a time may be short, being the product of a tick
    assert all(start <= times[number] < start + length for number in numbers)
    everything = list(parse_frames(text).numbers(times, keyframes))
    if not text.startswith("uniform"):
        assert numbers == [
            number for number in everything if start <= times[number] < start + length
        ]


@pytest.mark.parametrize("tick", [1 / 90_000, 1 / 12_000, 1 / 30])
@given(number=st.integers(0, 10_000))
def test_a_span_begins_with_the_frame_of_its_time(tick: float, number: int) -> None:
    """However its seconds were rounded: 6 / 30 is more than 2400 times a 12000th."""
    stamps = np.arange(number + 3) * round(1 / 30 / tick)
    start = number / 30
    assert next(iter(parse_frames("all", start, start + 0.1).numbers(stamps * tick, [0]))) == number


@given(n=st.integers(0, 300), parts=st.integers(1, 60) | st.just(999_999_999))
def test_uniform_is_even(n: int, parts: int) -> None:
    numbers = FrameChoice("uniform", parts).numbers(np.arange(n) / 30, [])
    assert len(numbers) == min(n, parts)
    gaps = np.diff([-n / parts / 2, *numbers, n + n / parts / 2]) if n >= parts else np.ones(1)
    assert gaps.max() - gaps.min() <= max(2, 1e-9)
    assert [n - 1 - number for number in numbers[::-1]] == pytest.approx(
        numbers, abs=1
    )  # the same from the end


@pytest.mark.parametrize(
    ("n", "pair"), [(0, []), (1, [0]), (7, [6]), (10, [6, 9]), (12, [6, 11]), (275, [6, 143])]
)
def test_pair_is_that_of_the_protocols(n: int, pair: list[int]) -> None:
    """6 and 6 + n // 2; the last frame where there are not so many."""
    assert FrameChoice("pair").numbers(np.arange(n) / 30, []) == pair


def test_what_is_parsed() -> None:
    assert parse_frames("all") == FrameChoice()
    assert parse_frames("every:3", 1.5, 4) == FrameChoice("every", 3, 1.5, 4)
    assert parse_frames("uniform:8").end == math.inf


_NONSENSE = [
    "",
    "every",
    "every:",
    "every:0",
    "every:-1",
    "every:1.5",
    "every:٣",
    "uniform:x",
    "all:3",
    "ALL",
    "pair\n",
]


@pytest.mark.parametrize("text", _NONSENSE)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(
        OptionError,
        match="^invalid --frames: expected all, every:N, uniform:N, pair, pair:faces or keyframes",
    ):
        parse_frames(text)


@pytest.mark.parametrize(
    ("start", "end"), [(-1, None), (math.nan, None), (None, -2), (None, math.inf), (3, 3), (4, 2)]
)
def test_spans_that_hold_nothing_are_refused(start: float | None, end: float | None) -> None:
    with pytest.raises(OptionError, match="^invalid --start|^invalid --end"):
        parse_frames("all", start, end)


@given(wanted=st.sets(st.integers(0, 60)), n=st.integers(0, 50))
def test_given_numbers_are_those_that_the_video_has(wanted: set[int], n: int) -> None:
    assert frames_at(wanted).numbers(np.arange(n) / 30, []) == [
        number for number in range(n) if number in wanted
    ]
