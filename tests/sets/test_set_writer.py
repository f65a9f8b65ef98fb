"""The names of images that are numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.sets.set_writer import number_of, numbers_of


@given(st.integers(0, (1 << 63) - 1))
def test_a_name_that_is_a_number_of_63_bits_is_that_number(number: int) -> None:
    assert number_of(str(number)) == number_of(f"5/{number}.jpg") == number
    assert number_of(f"0{number}") is None


@pytest.mark.parametrize("name", ["", "-1", "1.5", "٣", str(1 << 63), "9" * 5000])
def test_any_other_name_is_no_number(name: str) -> None:
    assert number_of(name) is None


NAMES = st.one_of(
    st.integers(0, 1 << 64).map(str),
    st.integers(0, 9).map("a/{}.jpg".format),
    st.sampled_from(["+1", " 1", "1_0", "01", "٣", "5.x", "", "a/2"]),
)


@given(st.lists(NAMES, max_size=4))
def test_many_names_are_the_numbers_that_each_is(names: list[str]) -> None:
    each = [number_of(name) for name in names]
    assert numbers_of(names) == (None if None in each else each)
