"""The page in a real Chromium: with keys, with fingers, on a phone, in light and dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pages.review.browser.pages import (
    FIRST,
    PHONE,
    SECOND,
    Open,
    expect,
    loaded,
    needs_chromium,
    status,
    title,
)
from tests.reviews import BEFORE, A, R, Running, U, running, saved, verdicts

pytestmark = needs_chromium


def rows(page: Any) -> list[str]:
    return page.locator("#rows .item .names").all_inner_texts()  # type: ignore[no-any-return]


# Deciding


@pytest.fixture
def server(plan: Path) -> Iterator[Running]:
    with running(plan) as server:
        yield server


def test_buttons(server: Running, plan: Path, open_page: Open, tmp_path: Path) -> None:
    page = open_page(server.address)
    assert rows(page)[:4] == [
        "person-1/4.jpg → person-2",
        "person-3 → person-1",
        "person-2 → person-1",
        "person-3 → person-0",
    ], "undecided ones first, nearest to the threshold first"
    title(page, FIRST)
    loaded(page, 1 + 5 + 3)
    page.screenshot(path=tmp_path / "move.png")
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    page.get_by_role("button", name="Accept", exact=False).first.click()
    status(page, "^Saved: person-1/4.jpg → person-2 accepted$")
    assert saved(plan) == [A, U, U, U, A, A, A], "on disk before the page says so"
    title(page, SECOND)
    loaded(page, 2 + 2 + 3 + 5)
    page.screenshot(path=tmp_path / "merge.png")
    page.get_by_role("button", name="Refuse").first.click()
    status(page, "refused$")
    assert saved(plan) == [A, U, R, U, A, A, A]
    expect(page.locator("#counts")).to_have_text("2 undecided, 4 accepted, 1 refused")
    page.get_by_role("button", name="Undo").click()
    status(page, "^Undone: person-3 → person-1$")
    title(page, SECOND)
    expect(page.locator("#verdict")).to_have_text("? undecided")
    assert saved(plan) == [A, U, U, U, A, A, A]
    command = f"faceprep apply {plan} {plan.parent}-reviewed"
    expect(page.locator("#carry-out-command")).to_have_text(command)
    code, stdout, stderr = server.stop()
    assert code == 0 and stdout.startswith("1 decision changed")
    assert stderr.splitlines()[-1] == f"faceprep: apply the plan: {command}"
    assert verdicts(plan) == [A, U, U, U, A, A, A]


def test_keys_alone(address: str, plan: Path, open_page: Open, tmp_path: Path) -> None:
    page = open_page(address)
    press = page.keyboard.press
    for key, shown in (("n", SECOND), ("p", FIRST), ("j", SECOND), ("k", FIRST), ("p", FIRST)):
        press(key)
        title(page, shown)
    for key in "aras":
        press(key)
    title(page, "Drop person-0/7.jpg?")
    loaded(page, 2 + 8)
    assert saved(plan) == [A, U, R, A, A, A, A]
    press("u")
    title(page, "Merge person-2 into person-1?")
    press("u")
    title(page, SECOND)
    press("Shift+?")
    expect(page.get_by_role("dialog")).to_be_visible()
    press("a")
    page.screenshot(path=tmp_path / "help.png")
    press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert saved(plan) == [A, U, U, U, A, A, A], "keys of the help decide nothing"
    press("/")
    page.keyboard.type("aura")
    expect(page.locator("#n-shown")).to_have_text("0 of 7 decisions")
    expect(page.locator("#nothing")).to_be_visible()
    for _ in range(4):
        press("Backspace")
    page.keyboard.type("person-3")
    expect(page.locator("#n-shown")).to_have_text("3 of 7 decisions")
    press("Escape")
    press("r")
    status(page, "person-3 → person-1 refused")
    press("Control+a")
    assert saved(plan) == [A, U, R, U, A, A, A]


def test_fast_keys_meet_one_decision_each(address: str, plan: Path, open_page: Open) -> None:
    page = open_page(address)
    press = (
        "document.body.dispatchEvent(new KeyboardEvent('keydown', { key, repeat, bubbles: true }))"
    )
    page.evaluate(f"() => {{ for (const key of 'rara') {{ const repeat = false; {press} }} }}")
    status(page, "person-3 → person-0 accepted")
    assert saved(plan) == [A, A, A, R, A, R, A]
    page.evaluate(f"() => {{ const [key, repeat] = ['r', true]; {press} }}")
    title(page, "Drop person-0/7.jpg?")
    assert saved(plan) == [A, A, A, R, A, R, A], "a key that is held down decides once"


def test_every_control_can_be_reached_and_seen(address: str, open_page: Open) -> None:
    """Reach every control with Tab; each has a focus ring and a name."""
    page = open_page(address)
    page.locator("#threshold summary").click()
    page.evaluate("() => document.activeElement.blur()")
    seen: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        told = page.evaluate(
            "() => { const e = document.activeElement; const s = getComputedStyle(e);"
            " return [e.id || e.tagName, s.outlineStyle, parseFloat(s.outlineWidth)] }"
        )
        if told[0] in seen:
            break
        if told[0] not in ("BODY", "decision", "main"):
            assert told[1] == "solid" and told[2] >= 2, told
        seen.append(told[0])
    wanted = {
        "show-help",
        "by-action",
        "by-verdict",
        "by-text",
        "list",
        "t-action",
        "t-side",
        "t-number",
        "t-slider",
    }
    assert wanted | {"accept", "refuse", "skip", "next"} <= set(seen)
    nameless = page.evaluate(
        "() => [...document.querySelectorAll('button, input, select, img')].filter((e) => "
        "!(e.innerText || e.alt ||"
        " e.getAttribute('aria-label') || e.labels?.length)).map((e) => e.outerHTML)"
    )
    assert nameless == []


def test_list_with_arrows(address: str, open_page: Open) -> None:
    page = open_page(address)
    page.locator("#list").focus()
    page.keyboard.press("ArrowDown")
    title(page, SECOND)
    page.keyboard.press("End")
    title(page, "Drop person-3?")
    expect(page.locator(".item[aria-selected=true]")).to_have_attribute("aria-posinset", "7")
    expect(page.locator("#list")).to_have_attribute("aria-activedescendant", "item-6")
    page.locator(".item").nth(1).click()
    title(page, SECOND)


def test_filters(address: str, open_page: Open) -> None:
    page = open_page(address)
    page.locator("#by-action").select_option("drop")
    expect(page.locator("#n-shown")).to_have_text("2 of 7 decisions")
    page.locator("#by-verdict").select_option("u")
    expect(page.locator("#nothing")).to_be_visible()
    expect(page.locator("#accept")).to_be_disabled()
    page.locator("#by-action").select_option("")
    expect(page.locator("#n-shown")).to_have_text("4 of 7 decisions")


def test_threshold(address: str, plan: Path, open_page: Open, tmp_path: Path) -> None:
    page = open_page(address)
    page.locator("#threshold summary").click()
    expect(page.locator("#t-number")).to_have_value("0.6")
    page.locator("#t-action").select_option("merge")
    page.locator("#t-slider").focus()
    page.keyboard.press("Home")
    expect(page.locator("#t-summary")).to_have_text(
        re.compile("^4 of 4 decisions to merge have .* Of 3 undecided, 3 would be accepted and 0")
    )
    page.locator("#t-number").fill("0.45")
    expect(page.locator("#t-summary")).to_have_text(
        re.compile("^3 of 4 decisions to merge have a score of at least 0.45. Of 3 undecided, 2")
    )
    page.screenshot(path=tmp_path / "threshold.png")
    assert saved(plan) == BEFORE, "a slider decides nothing"
    page.get_by_role("button", name="Accept 2 undecided").click()
    status(page, "^Saved: 2 decisions accepted$")
    page.get_by_role("button", name="Refuse 1 undecided").click()
    status(page, "refused$")
    assert saved(plan) == [A, R, A, A, A, U, A]
    expect(page.locator("#t-summary")).to_have_text(re.compile("0.45. None is undecided."))
    page.locator("#undo").click()
    page.locator("#undo").click()
    status(page, "^Undone: 2 decisions$")
    assert saved(plan) == BEFORE


# Looks

OVERFLOWING = (
    "() => [...document.querySelectorAll('body *')].filter((e) => "
    "e.getBoundingClientRect().right > innerWidth + 1)"
)


def test_phone(address: str, plan: Path, open_page: Open, tmp_path: Path) -> None:
    page = open_page(address, viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2)
    page.locator("#next").tap()
    title(page, SECOND)
    loaded(page, 2 + 2 + 3 + 5)
    page.locator("main").evaluate("(main) => { main.scrollTop = 0 }")
    page.screenshot(path=tmp_path / "phone.png")
    for name in ("accept", "refuse", "skip", "undo", "previous", "next"):
        box = page.locator(f"#{name}").bounding_box()
        assert box["height"] >= 40 and box["width"] >= 40, name
        assert (
            box["x"] >= 0 and box["x"] + box["width"] <= 360 and box["y"] + box["height"] <= 740
        ), name
    assert page.evaluate(f"({OVERFLOWING})().length") == 0
    strips = page.locator("#identities .panel")
    assert strips.nth(0).bounding_box()["y"] == strips.nth(1).bounding_box()["y"], "side by side"
    page.locator("#refuse").tap()
    status(page, "refused$")
    page.locator("#show-list").tap()
    page.locator("#threshold summary").tap()
    page.screenshot(path=tmp_path / "phone-list.png")
    assert page.evaluate(f"({OVERFLOWING})().length") == 0
    page.locator(".item").nth(2).tap()
    title(page, "Merge person-2 into person-1?")
    expect(page.locator("#side")).to_be_hidden()
    assert saved(plan) == [A, U, R, U, A, U, A]


CONTRAST = """() => {
  const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    const colour = getComputedStyle(e).backgroundColor;
    return colour === 'rgba(0, 0, 0, 0)' ? ground(e.parentElement) : colour;
  };
  const ratio = (e) => {
    const [low, high] = [light(getComputedStyle(e).color), light(ground(e))].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const hasText = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  const isRead = (e) => !e.disabled && e.checkVisibility() && hasText(e);
  const seen = [...document.querySelectorAll('body *')].filter(isRead);
  return seen.filter((e) => ratio(e) < 4.5).map((e) => e.outerHTML.slice(0, 80));
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable(scheme: str, address: str, open_page: Open, tmp_path: Path) -> None:
    """A contrast of 4.5 to 1, as WCAG 2 AA asks for."""
    page = open_page(address, color_scheme=scheme)
    page.locator("#threshold summary").click()
    page.keyboard.press("n")
    page.keyboard.press("r")
    status(page, "refused$")
    loaded(page, 2 + 2 + 3 + 5)
    page.screenshot(path=tmp_path / f"{scheme}.png")
    assert page.evaluate(CONTRAST) == []
    dark = (
        page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    )
    assert dark == (scheme == "dark")
