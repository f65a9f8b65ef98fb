"""The page of the docs on tables lists every column, in the order of the files."""

from __future__ import annotations

import re

import pytest

from faceprep.core.types import Decision
from faceprep.tables import faces, frames, matches, pair_scores
from faceprep.vision.quality import MEASURES
from tests.real import ROOT

_SECTIONS = (ROOT / "docs" / "tables.md").read_text().split("\n## ")


def names_of(heading: str) -> list[str]:
    """Return the names in the first column of the table of a section."""
    (section,) = (each for each in _SECTIONS if each.startswith(heading))
    cells = re.findall(r"^\| (`[^|]*`) \|", section, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]*)`", cell)]


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("faces.parquet", faces.SCHEMA.names),
        ("frames.parquet", frames.SCHEMA.names),
        ("Scores", MEASURES),
        ("Matches", matches.COLUMNS),
        ("Plans", Decision._fields),
    ],
)
def test_the_page_lists_every_column(heading: str, names: list[str]) -> None:
    assert names_of(heading) == list(names)


def test_the_page_lists_the_columns_of_verify() -> None:
    (line,) = (each for each in _SECTIONS[-1].splitlines() if "verify --scores" in each)
    assert re.findall(r"`([^`]*)`", line)[1:] == list(pair_scores.COLUMNS)
