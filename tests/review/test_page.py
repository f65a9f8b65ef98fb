"""The page in a real Chromium: with keys, with fingers, in two tabs, killed, on a phone, with 100,000 decisions."""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faceprep.review.review import Review
from faceprep.review.session import open_session
from faceprep.types import Decision
from tests.reviews import (
    Running,
    large_plan,
    merge,
    running,
    save_plan,
    saved,
    served,
    small_plan,
    verdicts,
    write_faces,
)

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'faceprep[test]'")
expect = playwright.expect
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium: apt-get install chromium")

A, R, U = "accepted", "refused", "undecided"
BEFORE = [A, U, U, U, A, U, A]
FIRST, SECOND = "Move person-1/4.jpg to person-2?", "Merge person-3 into person-1?"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
EXPECTED = "status of 409|ERR_CONNECTION_(REFUSED|RESET|CLOSED)|ERR_EMPTY_RESPONSE|ERR_CONTENT_LENGTH_MISMATCH"
"""A verdict that came too late, and what a server that is killed leaves: no answer, or half of one."""
Open = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_process_is_left_behind() -> None:
    """Chromium starts and ends processes as it likes; it ends itself with this module."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
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
def plan(tmp_path: Path) -> Path:
    return small_plan(tmp_path)


@pytest.fixture
def address(plan: Path) -> Iterator[str]:
    """Of the page of `plan`."""
    with served(plan) as address:
        yield address


def title(page: Any, text: str) -> None:
    expect(page.locator("#title")).to_have_text(text)


def status(page: Any, pattern: str) -> None:
    expect(page.locator("#status")).to_have_text(re.compile(pattern))


def rows(page: Any) -> list[str]:
    return page.locator("#rows .item .names").all_inner_texts()  # type: ignore[no-any-return]


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


# Deciding


@pytest.fixture
def server(plan: Path) -> Iterator[Running]:
    with running(plan) as server:
        yield server


def test_buttons(server: Running, plan: Path, open_page: Open, tmp_path: Path) -> None:
    page = open_page(server.address)
    assert rows(page)[:4] == [
        "person-1/4.jpg → person-2", "person-3 → person-1", "person-2 → person-1", "person-3 → person-0",
    ], "undecided ones first, nearest to the threshold first"  # fmt: skip
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
    code, stdout, stderr = server.stop()
    assert (code, stderr) == (0, "") and stdout.startswith("1 decision changed")
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
    press = "document.body.dispatchEvent(new KeyboardEvent('keydown', { key, repeat, bubbles: true }))"
    page.evaluate(f"() => {{ for (const key of 'rara') {{ const repeat = false; {press} }} }}")
    status(page, "person-3 → person-0 accepted")
    assert saved(plan) == [A, A, A, R, A, R, A]
    page.evaluate(f"() => {{ const [key, repeat] = ['r', true]; {press} }}")
    title(page, "Drop person-0/7.jpg?")
    assert saved(plan) == [A, A, A, R, A, R, A], "a key that is held down decides once"


def test_every_control_can_be_reached_and_seen(address: str, open_page: Open) -> None:
    """With Tab; what has the focus has a ring; all have names."""
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
    wanted = {"show-help", "by-action", "by-verdict", "by-text", "list", "t-action", "t-side", "t-number", "t-slider"}
    assert wanted | {"accept", "refuse", "skip", "next"} <= set(seen)
    nameless = page.evaluate(
        "() => [...document.querySelectorAll('button, input, select, img')].filter((e) => !(e.innerText || e.alt ||"
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
    expect(page.locator("#t-told")).to_have_text(
        re.compile("^4 of 4 pass. It would change 3 decisions: 0 accepted, 0 re")
    )
    page.locator("#t-number").fill("0.45")
    expect(page.locator("#t-told")).to_have_text(re.compile("^3 of 4 pass. It would change 3 decisions"))
    page.screenshot(path=tmp_path / "threshold.png")
    assert saved(plan) == BEFORE, "a slider decides nothing"
    page.get_by_role("button", name="Accept 2 undecided that pass").click()
    status(page, "^Saved: 2 decisions accepted$")
    page.get_by_role("button", name="Refuse 1 that do not").click()
    status(page, "refused$")
    assert saved(plan) == [A, R, A, A, A, U, A]
    page.locator("#undo").click()
    page.locator("#undo").click()
    status(page, "^Undone: 2 decisions$")
    assert saved(plan) == BEFORE


# What goes wrong


def test_reload(address: str, plan: Path, open_page: Open) -> None:
    page = open_page(address)
    page.keyboard.press("r")
    status(page, "refused$")
    page.reload()
    title(page, SECOND)
    expect(page.locator("#counts")).to_have_text("3 undecided, 3 accepted, 1 refused")
    page.keyboard.press("u")
    status(page, "^Undone")
    title(page, FIRST)
    assert saved(plan) == BEFORE


def test_killed_and_started_again(plan: Path, open_page: Open) -> None:
    with running(plan) as server:
        page = open_page(server.address)
        page.keyboard.press("r")
        page.keyboard.press("a")
        status(page, "person-3 → person-1 accepted$")
        server.kill()
        page.keyboard.press("a")
        status(page, "^Not saved: the server does not answer")
        expect(page.locator("#accept")).to_be_disabled()
        expect(page.locator("#trouble")).to_be_visible()
    with running(plan) as server:
        page = open_page(server.address)
        expect(page.locator("#counts")).to_have_text("2 undecided, 4 accepted, 1 refused")
        title(page, "Merge person-2 into person-1?")
        assert server.stop()[0] == 0
    assert verdicts(plan) == [A, U, A, U, A, R, A]


def test_two_tabs(address: str, plan: Path, open_page: Open) -> None:
    one = open_page(address)
    other = open_page(address, beside=one)
    other.evaluate("() => { store.watch = () => {}; window.setInterval = () => {}; store.since = Infinity }")
    one.keyboard.press("r")
    status(one, "refused$")
    title(other, FIRST)
    other.evaluate("() => decisions.set(5, 'u', 0)")  # as if it had not been told yet
    other.keyboard.press("a")
    status(other, "Not saved, decided elsewhere meanwhile: person-1/4.jpg → person-2: now refused")
    title(other, FIRST)
    expect(other.locator("#verdict")).to_have_text("✗ refused")
    assert saved(plan)[5] == R, "the first one stays"
    other.keyboard.press("a")
    status(other, "accepted$")
    assert saved(plan)[5] == A, "whoever has seen it may change it"
    expect(one.locator("#counts")).to_have_text("3 undecided, 4 accepted, 0 refused")
    one.keyboard.press("u")
    status(one, "nothing to undo")
    assert saved(plan)[5] == A, "nobody undoes what somebody else decided"


def test_plan_changed_by_hand(address: str, plan: Path, open_page: Open) -> None:
    page = open_page(address)
    by_hand = plan.read_bytes() + b"\n"
    plan.write_bytes(by_hand)
    page.keyboard.press("a")
    expect(page.locator("#trouble")).to_have_text(re.compile("the plan was changed by somebody else"))
    expect(page.locator("#accept")).to_be_disabled()
    assert plan.read_bytes() == by_hand


def test_names_are_text(tmp_path: Path, open_page: Open) -> None:
    write_faces(tmp_path / "faces", [1])
    name = "<img src=x onerror=alert(1)>'\"&amp;\udcff"
    plan = save_plan(
        tmp_path / "plan.jsonl", tmp_path / "faces", [Decision("merge", name, "</script>", 0.5, "<b>why</b>")]
    )
    with served(plan) as address:
        page = open_page(address)
        expect(page.locator("#title")).to_have_text(
            re.compile(r"^Merge <img src=x onerror=alert\(1\)>'\"&amp;.* into </scr")
        )
        expect(page.locator("#reason")).to_have_text("<b>why</b>")
        page.keyboard.press("r")
        status(page, "refused. That was the last one of this list")


def test_picture_that_cannot_be_shown(address: str, plan: Path, tmp_path: Path, browser: Any) -> None:
    (tmp_path / "faces/person-1/4.jpg").write_text("no image")
    page = browser.new_page()
    page.goto(address)
    expect(page.locator("main .missing").first).to_have_text("cannot be shown: person-1/4.jpg")
    page.keyboard.press("r")
    status(page, "refused$")
    page.context.close()


# Looks

OVERFLOWING = (
    "() => [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1)"
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
        assert box["x"] >= 0 and box["x"] + box["width"] <= 360 and box["y"] + box["height"] <= 740, name
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
  const seen = [...document.querySelectorAll('body *')].filter((e) => !e.disabled && e.checkVisibility() && hasText(e));
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
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    assert dark == (scheme == "dark")


# Many


def test_100_000_decisions(tmp_path: Path, open_page: Open) -> None:
    """Bounds are generous: they are for what grows with the plan where it should not."""
    plan = large_plan(tmp_path)
    with running(plan) as server:
        page = open_page(server.address)
        expect(page.locator("#n-shown")).to_have_text("100,000 decisions")
        assert page.locator(".item").count() < 60, "only rows in sight exist"
        started = time.monotonic()
        for _ in range(20):
            page.keyboard.press("n")
        expect(page.locator("#place")).to_have_text("21 of 100,000")
        for _ in range(20):
            page.keyboard.press("r")
        expect(page.locator("#place")).to_have_text("41 of 100,000")
        assert time.monotonic() - started < 20
        page.locator("#list").focus()
        page.keyboard.press("End")
        expect(page.locator("#place")).to_have_text("100,000 of 100,000")
        page.screenshot(path=tmp_path / "many.png")
        page.locator("#by-text").fill("person-09999")
        expect(page.locator("#n-shown")).to_have_text("10 of 100,000 decisions")
        page.locator("#threshold summary").click()
        page.locator("#t-number").fill("0.5")
        page.locator("#t-accept").click()
        status(page, r"^Saved: [\d,]+ decisions accepted$")
        n = int(re.sub(r"\D", "", page.locator("#status").inner_text()))
        assert Counter(saved(plan)) == {A: 29_999 + n, R: 20, U: 69_981 - n}
        page.locator("#undo").click()
        status(page, r"^Undone: [\d,]+ decisions$")
        server.kill()
    with open_session(plan):
        counts = Counter(verdicts(plan))
    assert counts == {A: 29_999, R: 20, U: 69_981}


# Without a server


def test_static_page(plan: Path, open_page: Open, tmp_path: Path) -> None:
    Review(static=tmp_path / "page").serve(plan, lambda address: None)
    address = (tmp_path / "page/index.html").as_uri()
    page = open_page(address)
    title(page, FIRST)
    loaded(page, 1 + 5 + 3)
    for key in "rau":
        page.keyboard.press(key)
    status(page, "^Undone: person-3 → person-1$")
    page.keyboard.press("r")
    status(page, "^Saved: person-3 → person-1 refused$")
    page.screenshot(path=tmp_path / "static.png")
    page.reload()
    expect(page.locator("#counts")).to_have_text("2 undecided, 3 accepted, 2 refused")
    page.keyboard.press("u")
    status(page, "^Undone: person-3 → person-1$")
    other = open_page(address, beside=page)
    other.keyboard.press("a")
    status(other, "^Saved: person-3 → person-1 accepted$")
    expect(page.locator("#counts")).to_have_text("2 undecided, 4 accepted, 1 refused")
    page.evaluate("() => decisions.set(2, 'u', 0)")  # as if it had not been told yet
    page.keyboard.press("r")
    status(page, "Not saved, decided elsewhere meanwhile: person-3 → person-1: now accepted")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save verdicts as a file").click()
    assert download.value.suggested_filename == "plan.verdicts.jsonl"
    download.value.save_as(tmp_path / "verdicts.jsonl")
    assert verdicts(plan) == BEFORE
    reviewed = Review(import_=tmp_path / "verdicts.jsonl").serve(plan, lambda address: None)
    assert reviewed.decided == 2
    assert verdicts(plan) == [A, U, A, U, A, R, A]


def test_static_pages_are_read_as_they_are_needed(tmp_path: Path, open_page: Open) -> None:
    write_faces(tmp_path / "faces", [2, 2])
    plan = save_plan(tmp_path / "plan.jsonl", tmp_path / "faces", [merge(1, 0, i / 450) for i in range(450)])
    Review(static=tmp_path / "page").serve(plan, lambda address: None)
    page = open_page((tmp_path / "page/index.html").as_uri(), viewport=PHONE)
    pages = "() => Object.keys(faceprepPages).length"
    assert page.evaluate(pages) < 3
    page.evaluate("() => go(449)")
    loaded(page, 8)
    assert page.evaluate(pages) >= 2
