"""The page of a plan in a real Chromium: what its tests share. Without one, or without
playwright, they are skipped.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from typing import Any

import pytest

try:
    from playwright.sync_api import expect, sync_playwright
except ModuleNotFoundError:
    expect = sync_playwright = None
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
needs_chromium = [
    pytest.mark.skipif(not sync_playwright, reason="no playwright: pip install 'faceprep[test]'"),
    pytest.mark.skipif(not CHROMIUM, reason="no chromium: apt-get install chromium"),
]

FIRST, SECOND = "Move person-1/4.jpg to person-2?", "Merge person-3 into person-1?"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
EXPECTED = (
    "status of "
    "(409|507)|ERR_CONNECTION_(REFUSED|RESET|CLOSED)|ERR_EMPTY_RESPONSE|ERR_CONTENT_LENGTH_MISMATCH"
)
"""A verdict that came too late or was not written, and what a server that is killed leaves: no
answer, or half of one.
"""
Open = Callable[..., Any]


def title(page: Any, text: str) -> None:
    expect(page.locator("#title")).to_have_text(text)


def status(page: Any, pattern: str) -> None:
    expect(page.locator("#status")).to_have_text(re.compile(pattern))


def loaded(page: Any, n: int) -> None:
    """So many pictures are shown, and none is broken."""
    expect(page.locator("main img")).to_have_count(n)
    page.locator("main img").last.scroll_into_view_if_needed()
    wait = (
        "() => [...document.querySelectorAll('main img')].filter((image) => "
        "!image.naturalWidth).length"
    )
    deadline = time.monotonic() + 20
    while page.evaluate(wait):
        assert time.monotonic() < deadline, "pictures are missing"
        time.sleep(0.05)
    expect(page.locator("main .missing")).to_have_count(0)
