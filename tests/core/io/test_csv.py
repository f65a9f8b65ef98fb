"""CSV that was written is read back."""

from __future__ import annotations

import csv
import io
import tracemalloc

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


def rows_of(data: bytes, from_excel: bool = True) -> list[list[str]]:
    return list(CsvReader(io.BytesIO(data), "a.csv", "strict", from_excel))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("head", ["", "sep=,\r\n", "sep=;\r\n", "sep=\t\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_excel_saves_is_read(delimiter: str, head: str, mark: str, end: str) -> None:
    if head and head[4] != delimiter:
        head = ""
    rows = [["name", "class"], ["é a", "1"], [f'x{delimiter}"y"', "2"], ["", ""]]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows(rows)
    assert rows_of((mark + head + text.getvalue()).encode()) == rows


def test_semicolons_in_our_own_tables_are_text() -> None:
    assert rows_of(b"a;b\n", from_excel=False) == [["a;b"]]
    assert rows_of(b"a;b,c\n1;2,3\n") == [["a;b", "c"], ["1;2", "3"]]


@pytest.mark.parametrize("head", ["", "sep=;\n"])
def test_another_encoding_is_named_with_its_line(head: str) -> None:
    data = (head + "name;class\ncafé;1\n").encode("cp1252")
    line = 2 + bool(head)
    why = rf"line {line}: expected utf-8, found the byte 0xe9, as in .*cp1252.* Save it as"
    with pytest.raises(SourceError, match=why):
        rows_of(data)
    with pytest.raises(SourceError, match="line 1: expected utf-8, found UTF-16"):
        rows_of("name;class\n".encode("utf-16"))


def test_table_is_made_in_the_memory_of_its_bytes() -> None:
    rows = ((number, str(number), 1) for number in range(100_000))
    tracemalloc.start()
    try:
        data = csv_bytes(["class", "name", "images"], rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert data.endswith(b"\n99999,99999,1\n") and data.count(b"\n") == 100_001
    assert peak < 3 * len(data) + (4 << 20)
