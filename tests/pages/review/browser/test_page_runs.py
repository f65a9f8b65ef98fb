"""The page in a real Chromium: reloaded, killed, in two tabs, with 100,000 decisions, without a
server.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from faceprep.core.errors import OutputError
from faceprep.core.types import Decision
from faceprep.jobs.review import Review
from faceprep.pages.review import session
from faceprep.pages.review.session import open_session
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
from tests.reviews import (
    BEFORE,
    A,
    R,
    U,
    large_plan,
    merge,
    running,
    save_plan,
    saved,
    served,
    verdicts,
    write_faces,
)

pytestmark = needs_chromium


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
    nothing = {"rows": [], "trouble": "", "since": 0}
    other.route("**/changes/*", lambda route: route.fulfill(json=nothing))
    one.keyboard.press("r")
    status(one, "refused$")
    title(other, FIRST)
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
    expect(page.locator("#trouble")).to_have_text(
        re.compile("the plan was changed by somebody else")
    )
    expect(page.locator("#accept")).to_be_disabled()
    assert plan.read_bytes() == by_hand


def _full(*_: object, **__: object) -> None:
    raise OutputError("cannot write: No space left on device", path="plan.jsonl")


def test_a_verdict_that_is_not_written(
    address: str, plan: Path, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page(address)
    with monkeypatch.context() as patch:
        patch.setattr(session, "append_durably", _full)
        page.keyboard.press("r")
        status(page, "^Not saved: .*No space left on device")
        title(page, FIRST)
        expect(page.locator("#counts")).to_have_text("4 undecided, 3 accepted, 0 refused")
    page.keyboard.press("r")
    status(page, "refused$")
    assert saved(plan)[5] == R


def test_a_plan_that_is_not_written(
    address: str, plan: Path, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page(address)
    with monkeypatch.context() as patch:
        patch.setattr(session.storage, "write_file", _full)
        page.keyboard.press("r")
        expect(page.locator("#trouble")).to_have_text(re.compile("No space left on device"))
    page.keyboard.press("a")
    expect(page.locator("#trouble")).to_be_hidden(timeout=20_000)
    assert saved(plan)[5] == R


def test_names_are_text(tmp_path: Path, open_page: Open) -> None:
    write_faces(tmp_path / "faces", [1])
    name = "<img src=x onerror=alert(1)>'\"&amp;\udcff"
    plan = save_plan(
        tmp_path / "plan.jsonl",
        tmp_path / "faces",
        [Decision("merge", name, "</script>", 0.5, "<b>why</b>")],
    )
    with served(plan) as address:
        page = open_page(address)
        expect(page.locator("#title")).to_have_text(
            re.compile(r"^Merge <img src=x onerror=alert\(1\)>'\"&amp;.* into </scr")
        )
        expect(page.locator("#reason")).to_have_text("<b>why</b>")
        page.keyboard.press("r")
        status(page, "refused. This was the last decision of the list")


def test_picture_that_cannot_be_shown(
    address: str, plan: Path, tmp_path: Path, browser: Any
) -> None:
    (tmp_path / "faces/person-1/4.jpg").write_text("no image")
    page = browser.new_page()
    page.goto(address)
    expect(page.locator("main .missing").first).to_have_text("cannot be shown: person-1/4.jpg")
    page.keyboard.press("r")
    status(page, "refused$")
    page.context.close()


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
        assert time.monotonic() - started < 60
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
    plan = save_plan(
        tmp_path / "plan.jsonl", tmp_path / "faces", [merge(1, 0, i / 450) for i in range(450)]
    )
    Review(static=tmp_path / "page").serve(plan, lambda address: None)
    page = open_page((tmp_path / "page/index.html").as_uri(), viewport=PHONE)
    pages = "() => Object.keys(faceprepPages).length"
    assert page.evaluate(pages) < 3
    page.evaluate("() => go(449)")
    loaded(page, 4)  # two pairs, which are all images of both
    assert page.evaluate(pages) >= 2
