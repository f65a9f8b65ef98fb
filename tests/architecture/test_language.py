"""The rules of language and density that a program can check. Ceilings only ever go down."""

from __future__ import annotations

import ast
import re

import pytest

from tests.architecture.test_source import FILES, TREES
from tests.real import ROOT

DOCSTRING_CEILING = 0.02
"""Share of docstrings that may start with a forbidden word."""
CONDITIONALS_CEILING = 12
"""Conditional expressions in 1,000 lines."""
NOT_FIRST = frozenset(
    [
        "of",
        "as",
        "what",
        "how",
        "whether",
        "where",
        "why",
        "which",
        "who",
        "in",
        "by",
        "for",
        "to",
        "with",
        "about",
        "beside",
        "below",
        "from",
    ]
)
PHRASES = (
    "are no class",
    "are no image",
    "are no vectors",
    "are told",
    "an empty text",
    "cannot be told",
    "full look",
    "go on where",
    "goes on where",
    "in so many words",
    "is no copy",
    "is no image",
    "is no plan",
    "is told",
    "leads back",
    "passed over",
    "passes over",
    "said to be",
    "the way back",
)
"""Phrases of the first version that a native speaker would not write."""
FOLDERS_OF_CHECKS = {"architecture", "contracts", "faults", "fuzz", "golden"}
_WITH_DOCSTRING = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def starts_badly(docstring: str) -> bool:
    return re.split(r"\W+", docstring.strip(), maxsplit=1)[0].lower() in NOT_FIRST


def test_the_look_for_first_words_finds_them() -> None:
    assert starts_badly("What it is.")
    assert not starts_badly("Read what it is.")


def test_docstrings_start_with_a_verb_or_a_noun() -> None:
    docstrings = [
        docstring
        for module in TREES.values()
        for node in ast.walk(module)
        if isinstance(node, _WITH_DOCSTRING) and (docstring := ast.get_docstring(node))
    ]
    assert sum(map(starts_badly, docstrings)) / len(docstrings) < DOCSTRING_CEILING


@pytest.mark.parametrize("phrase", PHRASES)
def test_no_phrase_of_the_first_version(phrase: str) -> None:
    texts = {path: " ".join(path.read_text().lower().split()) for path in FILES}
    assert [path for path, text in texts.items() if phrase in text] == []


def test_conditional_expressions_are_few() -> None:
    n_lines = sum(len(path.read_text().splitlines()) for path in FILES)
    nodes = (node for module in TREES.values() for node in ast.walk(module))
    n_found = sum(isinstance(node, ast.IfExp) for node in nodes)
    assert 1000 * n_found / n_lines < CONDITIONALS_CEILING


def test_tests_mirror_the_package() -> None:
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    rooms = {path.parent.name for path in (ROOT / "faceprep").glob("*/__init__.py")}
    assert folders - {"__pycache__"} - FOLDERS_OF_CHECKS <= rooms
