"""The names of images: which are numbers, and which can end in the suffix of an image."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.io.image_header import is_image_name
from faceprep.sets.containers import index_set
from faceprep.sets.recordio.framing import frame_image
from faceprep.sets.set_writer import SetNames, has_double_suffixes, has_twins, number_of, numbers_of
from faceprep.sets.stream_writers import TarWriter


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


def test_no_key_of_a_rec_ends_in_the_suffix_of_an_image(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.mkdir()
    for name in ("b.jpg_1", "b.jpg_2"):
        (source / f"{name}.rec").write_bytes(frame_image([0.5], b"image", 7))
        (source / f"{name}.idx").write_text("7\t0\n")
    with index_set(source, tmp_path) as images:
        assert images.keys(0, 2) == ["0.5/b.jpg_1_7", "0.5/b.jpg_2_7"]
        assert not any(map(is_image_name, images.keys(0, 2)))
        names = SetNames.of(images, TarWriter)
    assert not has_twins(names)
    assert not has_double_suffixes(names)
