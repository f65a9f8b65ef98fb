"""CSV that was written is read back."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.io.csv import CsvReader, csv_bytes, csv_line

NAMES = st.binary(max_size=9).map(lambda name: name.decode("utf-8", "surrogateescape"))
FIELDS = NAMES | st.text(st.sampled_from('a,"\r\n \t\ufeff'), max_size=6)
ROWS = st.lists(st.lists(FIELDS, max_size=4), max_size=5)


@given(ROWS)
@example([["a\rb", "", "\r"], [""], ["", ""], ['"', "\n", "\r\n"], ["\udcff"], []])
def test_rows_come_back(rows: list[list[str]]) -> None:
    header, *rest = rows or [["input"]]
    data = csv_bytes(header, rest)
    assert list(CsvReader(io.BytesIO(data), "a.csv")) == [header, *rest]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_another_reader_finds_the_same(row: list[str]) -> None:
    assert next(csv.reader(io.StringIO(csv_line(row), newline=""))) == row


@pytest.mark.parametrize("data", [b'"a"b\n', b'a,"b'])
def test_what_is_not_csv(data: bytes) -> None:
    with pytest.raises(SourceError, match=r"x\.csv.*not a CSV file"):
        list(CsvReader(io.BytesIO(data), "x.csv"))
