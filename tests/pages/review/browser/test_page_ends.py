"""The page when nothing is undecided, pairs that are shown once, and what axe finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faceprep.jobs.review import Review
from tests.axe import needs_axe, violations
from tests.pages.review.browser.pages import DESK, PHONE, Open, expect, loaded, needs_chromium
from tests.reviews import merge, save_plan, write_faces

pytestmark = needs_chromium


def test_done_when_nothing_is_undecided(address: str, plan: Path, open_page: Open) -> None:
    page = open_page(address)
    expect(page.locator("#done")).to_be_hidden()
    for key in "aarr":
        page.keyboard.press(key)
    expect(page.locator("#done-text")).to_have_text(
        "Done: nothing is undecided. 5 accepted, 2 refused."
    )
    expect(page.locator("#done-command")).to_contain_text(f"faceprep apply {plan}")
    page.keyboard.press("u")
    expect(page.locator("#done")).to_be_hidden()


def write_page(plan: Path, folder: Path) -> str:
    """Write a static page, and return its address."""
    Review(static=folder).serve(plan, lambda address: None)
    return (folder / "index.html").as_uri()


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_static_page_hands_verdicts_over(
    viewport: dict[str, int], plan: Path, tmp_path: Path, open_page: Open
) -> None:
    page = open_page(write_page(plan, tmp_path / "page"), viewport=viewport)
    for key in "aarr":
        page.keyboard.press(key)
    save = page.locator("#save")
    expect(save).to_be_in_viewport()
    expect(save).to_have_text("Save verdicts as a file (4)")
    expect(page.locator("#done-command")).to_contain_text(f"{plan} --import plan.verdicts.jsonl")


def test_a_browser_that_keeps_nothing_says_so(plan: Path, tmp_path: Path, open_page: Open) -> None:
    page = open_page(write_page(plan, tmp_path / "page"))
    page.context.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); } })"
    )
    page.reload()
    expect(page.locator("#trouble")).to_contain_text("This browser keeps no verdicts")
    page.keyboard.press("a")
    expect(page.locator("#save")).to_have_text("Save verdicts as a file (1)")


def test_a_pair_is_shown_once(tmp_path: Path, open_page: Open) -> None:
    write_faces(tmp_path / "faces", [1, 1])
    decision = merge(1, 0, 0.5)
    pair = ["person-1/0.jpg", "person-0/0.jpg", 0.5]
    decision = decision._replace(evidence={"for": pair, "against": pair})
    plan = save_plan(tmp_path / "plan.jsonl", tmp_path / "faces", [decision])
    page = open_page(write_page(plan, tmp_path / "page"))
    loaded(page, 2)
    expect(page.locator("#evidence h3")).to_have_text("The only pair (0.500)")


def show_threshold(page: Any) -> None:
    page.locator("#threshold summary").click()


def show_help(page: Any) -> None:
    page.locator("#show-help").click()


def show_nothing(page: Any) -> None:
    page.locator("#by-text").fill("nobody")


def show_list(page: Any) -> None:
    page.locator("#show-list").click()


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("show", [show_threshold, show_help, show_nothing, show_list])
def test_axe_finds_nothing(show: Any, scheme: str, address: str, open_page: Open) -> None:
    viewport = PHONE if show is show_list else DESK
    page = open_page(address, viewport=viewport, color_scheme=scheme, bypass_csp=True)
    assert violations(page) == []
    show(page)
    assert violations(page) == []
