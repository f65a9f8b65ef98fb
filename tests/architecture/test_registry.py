"""Every registered name leads to a class that is there; nothing is imported to find out."""

from __future__ import annotations

import ast

import pytest

from faceprep.core import registry
from faceprep.core.public_names import OTHER_NAMES
from tests.architecture.test_source import TREES

TABLES = (
    registry.COMMANDS,
    registry.CONTAINERS,
    registry.RUNNERS,
    registry.DETECTORS,
    registry.EMBEDDERS,
    registry.MODEL_FILES,
    registry.SCORERS,
)
TARGETS = [entry.target for table in TABLES for entry in table.values()]


@pytest.mark.parametrize("target", [*TARGETS, *OTHER_NAMES.values()])
def test_target_is_there(target: str) -> None:
    module, _, attribute = target.partition(":")
    body = TREES[f"{module.replace('.', '/')}.py"].body
    defined = {node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    assert attribute in defined
