"""The fixtures of the tests in a real Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pages.review.browser.pages import CHROMIUM, DESK, EXPECTED, Open, expect, sync_playwright
from tests.reviews import served


@pytest.fixture(autouse=True)
def _no_process_is_left_behind() -> None:
    """Chromium starts and ends processes as it likes; it ends itself with the module of the
    tests.
    """


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens the page in a browser of its own, or in another tab of the one `beside`; no error
    may be told there.
    """
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
    """Return the address of the page of `plan`."""
    with served(plan) as address:
        yield address
