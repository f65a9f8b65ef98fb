"""A line of JSON comes back as it was written; what no table may hold is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.io.json_line import parse_json_line
from faceprep.core.text import encode_json

TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXTS | st.floats(-1e308, 1e308),
    lambda parts: st.lists(parts) | st.dictionaries(TEXTS, parts),
    max_leaves=10,
)


@given(VALUES)
def test_what_is_written_is_read(value: object) -> None:
    assert parse_json_line(encode_json(value)) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("NaN", "NaN is not"),
        ("[-Infinity]", "-Infinity is not"),
        ("1e999", "too large"),
        ("[[1E+400]]", "too large"),
        ("1" + 400 * "0", "too large"),
        (5000 * "9", "digits"),
        ('"a\\u0000b"', "the character '.x00'"),
        ('{"a\\u0000": 1}', "the character"),
        ('["\\ud800"]', "the character '.ud800'"),
        ('"\\udc00"', "the character"),
        (100_000 * "[", "nested too deeply"),
        (900 * '{"a":' + '"\\u0000"' + 900 * "}", "character|nested too deeply"),
        ('"a\nb"', "control character"),
        ("", "(Expecting value|Illegal trailing comma before end of array) at character"),
        ('"a', "Unterminated string starting at character"),
        ('{"a": 1, "b": 2, "a": 1}', "'a' occurs twice"),
    ],
)
@pytest.mark.parametrize("around", ["%s", '{"evidence": {"for": ["a", %s]}}'])
def test_what_no_table_may_hold_is_refused(around: str, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_json_line((around % text).encode())


def test_a_backslash_in_a_name_is_no_escape() -> None:
    assert parse_json_line(json.dumps("C:\\u0000 1e999").encode()) == "C:\\u0000 1e999"
