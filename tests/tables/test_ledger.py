"""Pages of the ledger: what a shard commits is read; a damaged page is named, line by line."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceprep.core.types import OK, Outcome, count_name
from faceprep.run.ledger import ShardSink
from faceprep.run.places import Places
from faceprep.tables.ledger import Page

text = st.text(max_size=8)
outcomes = st.builds(Outcome, text, st.sampled_from([OK, "undecodable"]), text)
LINES = (
    b'[["a", "b"], [1, 2]]',
    b'{"shard": "0", "inputs": 2, "by_status": {"ok": 1, "bad": 1}, "outputs": 2}',
    b'[["x", "y"], {"1": ["bad", "y: bad"]}]',
)


def page_of(*lines: bytes) -> Page:
    return Page("0", b"".join(line + b"\n" for line in lines))


@given(st.lists(outcomes, max_size=6))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_committed_is_read(tmp_path: Path, committed: list[Outcome]) -> None:
    places = Places(tmp_path)
    places.page("0").unlink(missing_ok=True)  # of the example before: the first commit counts
    sink = ShardSink(places, "0")
    sink.write("a.txt", b"four")
    sink.open_part(".rows").write(b"rows!")
    report = sink.commit(committed)
    page = Page("0", places.page("0").read_bytes())
    assert list(page.outcomes()) == committed
    assert page.counts == report
    assert page.counts.by_status == Counter(map(count_name, committed))
    assert dict(zip(page.outputs, page.sizes, strict=True)) == {
        "a.txt": 4,
        places.part_name("0", ".rows"): 5,
    }


def test_whole_page() -> None:
    page = page_of(*LINES)
    page.parse()
    assert list(page.outcomes()) == [Outcome("x"), Outcome("y", "bad", "y: bad")]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n".join(LINES),
        b"\n".join(LINES[:2]) + b"\n",
        b"\n".join([*LINES, LINES[2]]) + b"\n",
        b"\n".join(LINES) + b"\nmore",
    ],
)
def test_page_without_its_lines(data: bytes) -> None:
    with pytest.raises(ValueError, match="damaged page of shard 0: expected three lines"):
        Page("0", data)


@pytest.mark.parametrize("damaged", [b"", b"[", b"3", b"[]", b"{}", b"[3, 4]", b"null"])
@pytest.mark.parametrize("place", range(3))
def test_damaged_line_costs_no_other(damaged: bytes, place: int) -> None:
    lines = list(LINES)
    lines[place] = damaged
    page = page_of(*lines)
    with pytest.raises(ValueError, match=r"damaged page|Expecting"):
        page.parse()
    values = [
        lambda: list(page.outputs),
        lambda: page.counts.n_inputs,
        lambda: len(list(page.outcomes())),
    ]
    for number, (value, expected) in enumerate(zip(values, (["a", "b"], 2, 2), strict=True)):
        if number != place:
            assert value() == expected


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (0, b'[["a", "b"], [1]]'),
        (0, b'[["a", null], [1, 2]]'),
        (0, b'[["a", "b"], [1, -2]]'),
        (0, b'[["a", "b"], [1, 1%s]]' % (400 * b"0")),
        (1, LINES[1].replace(b'{"ok": 1, "bad": 1}', b"[]")),
        (1, LINES[1].replace(b'"bad": 1', b'"bad": "1"')),
        (2, b'[["x", 3], {}]'),
        (2, b'[["x", "y"], {"1": "bad"}]'),
        (2, b'[["x", "y"], {"1": ["bad"]}]'),
        (2, b'[["x", "y"], {"1": ["bad", null]}]'),
    ],
)
def test_values_of_other_types_are_damage(place: int, line: bytes) -> None:
    lines = list(LINES)
    lines[place] = line
    with pytest.raises(ValueError, match="damaged page of shard 0: expected "):
        page_of(*lines).parse()


def test_sizes_of_lines_do_not_matter() -> None:
    """A page of many inputs is three lines, too."""
    keys = [f"{i}\n" for i in range(1000)]
    page = page_of(*LINES[:2], json.dumps([keys, {}]).encode())
    assert [outcome.key for outcome in page.outcomes()] == keys
