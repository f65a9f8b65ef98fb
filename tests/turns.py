"""A few of many points each day, so that all of them have their turn within some days."""

from __future__ import annotations

import datetime
import os
import random
from collections.abc import Sequence
from typing import TypeVar

Point = TypeVar("Point")
_TURN = os.environ.get("FAULTS_TURN") or str(datetime.datetime.now(datetime.UTC).toordinal())
ALL = "all"
TURN = 0 if _TURN == ALL else int(_TURN)
"""The number of the day, unless FAULTS_TURN is another one."""


def choose_points(points: Sequence[Point], n: int | None, turn: int = 0) -> list[Point]:
    """Take `n` points, or all when None.

    Consecutive turns take other points until each was taken.
    """
    if n is None or n >= len(points):
        return list(points)
    shuffled = list(points)
    random.Random(1).shuffle(shuffled)
    first = turn * n
    return [shuffled[(first + i) % len(points)] for i in range(n)]


def points_of_the_day(points: Sequence[Point], n: int) -> list[Point]:
    """Take the `n` points of the day, in their order; all with FAULTS_TURN=all."""
    numbers = choose_points(range(len(points)), None if _TURN == ALL else n, TURN)
    return [points[number] for number in sorted(numbers)]
