"""What the tests of the engine share."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceprep import Request
from tests.fakes import write_lines


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    """Twelve lines into a new folder."""
    return Request((write_lines(tmp_path / "source.txt"),), tmp_path / "out")
