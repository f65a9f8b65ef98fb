"""Work ahead: in order, within bounds, errors in their place, no thread left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core import input_faults
from faceprep.core.prefetch import map_ahead


@given(st.lists(st.integers()), st.integers(1, 4), st.integers(1, 5))
def test_the_order_is_that_of_the_items(items: list[int], n_threads: int, most: int) -> None:
    assert list(map_ahead(lambda item: item * 2, items, n_threads, most)) == [
        item * 2 for item in items
    ]


def test_faults_that_threads_meet_are_noted(tmp_path: Path) -> None:
    missing = [tmp_path / "a", tmp_path / "b"]

    def look(path: Path) -> int:
        try:
            return input_faults.look_at(path).n_bytes
        except FileNotFoundError:
            return -1

    with input_faults.watch() as faults:
        assert list(map_ahead(look, missing, n_threads=2, most=1)) == [-1, -1]
    assert set(faults.met) == {str(path) for path in missing}


def test_the_order_holds_where_the_first_takes_longest() -> None:
    def work(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    assert list(map_ahead(work, [0.05, 0.0, 0.01], n_threads=3, most=3)) == [0.05, 0.0, 0.01]


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_is_taken_than_was_said(most: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    fetched = map_ahead(abs, items(), 2, most)
    for number in range(5):
        assert next(fetched) == number
        time.sleep(0.01)
        assert len(taken) <= number + 2 + most
    fetched.close()


def test_an_error_comes_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise ValueError("the fourth")

    got = []
    with pytest.raises(ValueError, match="the fourth"):
        for item in map_ahead(abs, items(), 2, 2):
            got.append(item)
    assert got == [0, 1, 2]
    got.clear()
    with pytest.raises(ZeroDivisionError):
        for item in map_ahead(lambda item: 1 // item, [1, 1, 0, 1], 2, 3):
            got.append(item)
    assert got == [1, 1]


def test_no_thread_is_left_when_it_is_closed() -> None:
    before = threading.active_count()
    mapped = map_ahead(abs, iter(int, 1), 2, 2)
    next(mapped)
    assert threading.active_count() > before
    mapped.close()
    assert threading.active_count() == before
