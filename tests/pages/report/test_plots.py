"""Pictures: whole, grey, the same each time, whatever is in them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from faceprep.pages.report.plots import draw
from faceprep.pages.report.sections import Curves, Histogram

TWO = Histogram(
    "t",
    "x",
    [0, 0.5, 1.0],
    {"one": [3, 1], "two": [0, 4]},
    "pairs",
    {"threshold 0.5": 0.5},
    as_shares=True,
)
RATES = ([0.0, 0.01, 1.0], [0.0, 0.5, 1.0])
ODD = {
    "two series": TWO,
    "nothing in it": Histogram("t", "x", [0, 1, 2], {"a": [0, 0]}, "n"),
    "shares of nothing": Histogram("t", "x", [0, 1, 2], {"a": [0, 0]}, "n", as_shares=True),
    "one step": Histogram("t", "x", [5, 6], {"a": [1]}, "n"),
    "log": Histogram("t", "x", [1, 10, 100], {"a": [1, 5]}, "n", is_log=True),
    "log over many decades": Histogram("t", "x", [1e-9, 1, 1e9], {"a": [1, 5]}, "n", is_log=True),
    "log of whole numbers": Histogram(
        "t", "x", [0.5, 1.5, 2.5, 400.5], {"a": [1, 5, 9]}, "n", is_log=True
    ),
    "log from below 0": Histogram("t", "x", [-1, 10, 100], {"a": [1, 5]}, "n", is_log=True),
    "hostile": Histogram(
        "t", "$\\frac{", [0, 1], {"</svg><script>\x00\udcff": [1]}, "&", {"]]>": 0.5}
    ),
    "roc": Curves("t", "roc", {"a": RATES}),
    "det of nothing wrong": Curves("t", "det", {"a": ([0.0, 1.0], [0.0, 0.0])}),
    "many lines": Curves("t", "det", {str(n): RATES for n in range(20)}),
}


@pytest.mark.parametrize("name", ODD)
def test_drawn_whole_and_grey(name: str) -> None:
    svg = draw(ODD[name])
    tree = ElementTree.fromstring(svg)  # noqa: S314
    assert tree.tag.endswith("svg")
    assert not [each for each in tree.iter() if each.tag.endswith("script")]
    colours = re.findall(rb"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})\b", svg)
    assert colours and all(len(set(colour)) == 1 for colour in colours), "told apart without colour"
    assert draw(ODD[name]) == svg
    assert b"<dc:date>" not in svg


def test_series_differ_by_more_than_a_shade() -> None:
    svg = draw(TWO).decode()
    assert "<pattern " in svg, "hatched"
    assert "stroke-dasharray" in svg, "the threshold is broken"
    styles = set(re.findall(r"stroke-dasharray: ([\d. ,]+)", draw(ODD["many lines"]).decode()))
    assert len(styles) >= 3
