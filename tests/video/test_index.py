"""Packets without a time: of a cut stream or of fields, or of a file that has no times."""

from __future__ import annotations

import numpy as np
import pytest

from faceprep.video.index import _NO_TIME, VideoIndex, are_made_up, are_spare


@pytest.mark.parametrize(
    ("unstamped", "keys", "has_fields", "expected"),
    [
        ("000000", [0, 3], False, True),
        ("010000", [0, 3], False, True),  # leading pictures of a group that was cut open
        ("011000", [0, 3], False, True),
        ("011100", [0, 3], False, False),
        ("010010", [0, 3], False, False),
        ("100000", [0, 3], False, False),
        ("010101", [0, 4], True, True),  # second fields
        ("010000", [0, 4], True, False),
        ("111111", [0, 4], True, False),
        ("111111", [0, 4], False, False),
        ("010", [0], False, False),
    ],
)
def test_which_packets_without_a_time_give_no_frame(
    unstamped: str, keys: list[int], has_fields: bool, expected: bool
) -> None:
    mask = np.array([letter == "1" for letter in unstamped])
    assert are_spare(mask, np.array(keys), has_fields) is expected


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([0, 3, 1, 2, 6, 4, 5], False),
        ([0, 1, 2, 3, 4, 5, 6], True),  # those of decoding
        ([0, 3, 1, 3, 6, 4, 5], True),  # two are equal
        ([0], True),
        ([], True),
    ],
)
def test_which_times_of_display_are_made_up(stamps: list[int], expected: bool) -> None:
    assert are_made_up(np.array(stamps, np.int64)) is expected


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [([0, 2, 4, 8], 10.0), ([4, 6], 4.0), ([4], None), ([], None), ([_NO_TIME] * 3, None)],
)
def test_a_duration_may_be_unknown(stamps: list[int], expected: float | None) -> None:
    n = len(stamps)
    index = VideoIndex(np.array(stamps, np.int64), 1.0, True, np.arange(1), n, n, 0, 0)
    assert index.duration == expected
