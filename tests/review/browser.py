"""The page of a plan in a real Chromium: what its tests share. Without one, or without playwright, they are skipped."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reviews import served

try:
    from playwright.sync_api import expect, sync_playwright
except ModuleNotFoundError:
    expect = sync_playwright = None
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = [
    pytest.mark.skipif(not sync_playwright, reason="no playwright: pip install 'faceprep[test]'"),
    pytest.mark.skipif(not CHROMIUM, reason="no chromium: apt-get install chromium"),
]

FIRST, SECOND = "Move person-1/4.jpg to person-2?", "Merge person-3 into person-1?"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
EXPECTED = "status of 409|ERR_CONNECTION_(REFUSED|RESET|CLOSED)|ERR_EMPTY_RESPONSE|ERR_CONTENT_LENGTH_MISMATCH"
"""A verdict that came too late, and what a server that is killed leaves: no answer, or half of one."""
Open = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_process_is_left_behind() -> None:
    """Chromium starts and ends processes as it likes; it ends itself with the module of the tests."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens the page in a browser of its own, or in another tab of the one `beside`; no error may be told there."""
    contexts, errors, asked = [], [], []

    def open_page(address: str, beside: Any = None, **options: Any) -> Any:
        context = beside.context if beside else browser.new_context(**{"viewport": DESK} | options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda told: errors.append(told.text) if told.type == "error" else None)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        expect(page.locator("#n-shown")).not_to_be_empty()
        expect(page.locator("#title")).not_to_be_empty()
        return page

    yield open_page
    for context in dict.fromkeys(contexts):
        context.close()
    foreign = [url for url in asked if not re.match(r"http://127\.0\.0\.1:|file:|blob:", url)]
    assert foreign == []
    assert [error for error in errors if not re.search(EXPECTED, error)] == []


@pytest.fixture
def address(plan: Path) -> Iterator[str]:
    """Of the page of `plan`."""
    with served(plan) as address:
        yield address


def title(page: Any, text: str) -> None:
    expect(page.locator("#title")).to_have_text(text)


def status(page: Any, pattern: str) -> None:
    expect(page.locator("#status")).to_have_text(re.compile(pattern))


def loaded(page: Any, n: int) -> None:
    """So many pictures are shown, and none is broken."""
    expect(page.locator("main img")).to_have_count(n)
    page.locator("main img").last.scroll_into_view_if_needed()
    wait = "() => [...document.querySelectorAll('main img')].filter((image) => !image.naturalWidth).length"
    deadline = time.monotonic() + 20
    while page.evaluate(wait):
        assert time.monotonic() < deadline, "pictures are missing"
        time.sleep(0.05)
    expect(page.locator("main .missing")).to_have_count(0)
