"""`-symbol.json`: attributes of every age, and damaged files in one line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.models.mxnet.symbol import parse_symbol
from tests.models.mxnet_files import EMBEDDER, symbol_bytes

SYMBOL = symbol_bytes(EMBEDDER)


def test_attributes_are_found_under_all_their_names() -> None:
    symbols = [parse_symbol(symbol_bytes(EMBEDDER, key=key)) for key in ("attrs", "attr", "param")]
    assert symbols[0] == symbols[1] == symbols[2]
    assert symbols[0].nodes[1].attributes == {"scalar": "127.5"}


def test_only_what_the_outputs_need_is_kept() -> None:
    symbol = parse_symbol(SYMBOL)
    assert symbol.find("s1") == (1, 0)
    assert symbol.find("data") is None and symbol.find("no such node") is None
    assert symbol.rows_before([(2, 0)]) == [0, 1, 2]
    assert symbol.rows_before(symbol.heads) == list(range(len(symbol.nodes)))


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, len(SYMBOL) - 1), data=st.binary(max_size=6))
def test_a_damaged_file_is_one_line(place: int, data: bytes) -> None:
    try:
        symbol = parse_symbol(SYMBOL[:place] + data + SYMBOL[place + len(data) :])
    except SourceError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
    else:
        assert all(row < len(symbol.nodes) for row, _ in symbol.heads)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("nodes", "heads", "op", "name", "inputs", "attrs")), inner, max_size=6
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(nodes=st.lists(_JSON, max_size=3), heads=_JSON)
def test_json_of_any_form_is_one_line(nodes: list[Any], heads: Any) -> None:
    try:
        parse_symbol(json.dumps({"nodes": nodes, "heads": heads}).encode())
    except SourceError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b"[1]", "expected an object with nodes and heads, found list"),
        (b'{"nodes": []}', "heads: expected a list"),
        (b'{"nodes": [], "heads": []}', "heads: expected one output or more"),
        (b'{"nodes": [{"op": "null", "name": "\\ud800"}]}', "name of node 0: expected 1 to 1,024"),
        (b'{"nodes": [{"op": "a", "name": "b", "inputs": [[0, 0]]}]}', "from nodes before 0"),
        (b'{"nodes": [{"op": "a", "name": "b", "attrs": {"c": 1}}]}', "a string as c, found 1"),
        (b" " * (1 << 24) + b" ", "expected at most 16,777,216 bytes"),
    ],
)
def test_a_refusal_says_what_was_expected(data: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=f"not the graph of an MXNet checkpoint.*{message}"):
        parse_symbol(data)
