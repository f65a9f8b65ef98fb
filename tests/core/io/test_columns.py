"""Columns of texts give back what was put in, and behave as lists do."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.io.columns import (
    DictionaryColumn,
    DictionaryEncoder,
    create_strings,
    find_missing,
    open_strings,
    pack_strings,
    save_strings,
)

TEXTS = st.lists(st.text(max_size=12))
NAMES = ["a", "", "ü/1.png", "\udcff", "x" * 300]


@given(TEXTS)
def test_a_packed_column_equals_its_list(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    column = pack_strings(texts)
    assert column == texts
    assert list(column) == texts
    assert [column[at] for at in range(-len(texts), len(texts))] == texts * 2
    for step in (-3, -1, 1, 2):
        assert column[::step] == texts[::step]
        assert column[1:4:step] == texts[1:4:step]


def test_a_saved_column_keeps_names_that_are_not_utf8(tmp_path: Path) -> None:
    save_strings(tmp_path / "names", NAMES)
    assert open_strings(tmp_path / "names") == NAMES
    save_strings(tmp_path / "none", [])
    assert len(open_strings(tmp_path / "none")) == 0


def test_a_column_differs_from_other_texts() -> None:
    column = pack_strings(NAMES)
    assert column != NAMES[:-1]
    assert column != [*NAMES[:-1], "y"]
    assert column != 7
    with pytest.raises(IndexError):
        column[len(NAMES)]


@given(st.lists(st.sampled_from(["", "b", "cc", "é"])))
def test_repeated_texts_are_kept_once(texts: list[str]) -> None:
    numbers = DictionaryEncoder()
    for text in texts:
        numbers.add([text])
    column = numbers.column()
    assert column == texts
    assert list(column.names) == list(dict.fromkeys(texts))
    assert DictionaryColumn(["a", "b"], np.array([1, 0])) == ["b", "a"]


@given(TEXTS, TEXTS)
def test_missing_texts_are_those_of_a_set(texts: list[str], others: list[str]) -> None:
    assert list(find_missing(texts, others)) == [text for text in texts if text not in set(others)]


def test_many_texts_are_written_some_at_a_time(tmp_path: Path) -> None:
    writer = create_strings(tmp_path / "names")
    tracemalloc.start()
    try:
        writer.add(map(str, range(300_000)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    writer.close()
    assert peak < 4 << 20
    assert open_strings(tmp_path / "names") == list(map(str, range(300_000)))
