"""Shared by the tests of review."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reviews import small_plan

pytest.register_assert_rewrite(
    "tests.pages.review.browser.pages"
)  # failed asserts show the compared values


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """Write a plan with seven decisions on drawn faces."""
    return small_plan(tmp_path)
