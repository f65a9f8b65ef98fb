"""What the tests of review share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reviews import small_plan

pytest.register_assert_rewrite(
    "tests.pages.review.browser.pages"
)  # what its asserts compared is told when they fail


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """With seven decisions on drawn faces."""
    return small_plan(tmp_path)
