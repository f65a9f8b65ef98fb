"""The page of a search in a real Chromium: every picture of both sets can be seen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from faceprep.core.types import Request
from faceprep.jobs.merge_identities import MergeIdentities
from faceprep.jobs.report import Report
from faceprep.jobs.search import Search
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from tests.axe import needs_axe, violations
from tests.color_people import RED, color_embedders, paint
from tests.merging import source

__all__ = ["color_embedders", "source"]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium: apt-get install chromium")


@pytest.fixture(autouse=True)
def _no_process_is_left_behind() -> None:
    """Chromium starts and ends processes as it likes, and ends them with the test."""


@needs_axe
@pytest.mark.usefixtures("color_embedders")
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_and_nothing_is_cut_off(width: int, source: Path, tmp_path: Path) -> None:
    merged = tmp_path / "merged"
    run_job(MergeIdentities(embedder="colors"), Request((source,), merged), SerialRunner())
    made = Report(output=tmp_path / "both.html").look([merged, merged / "plan.jsonl"])
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": width, "height": 800}, bypass_csp=True)
        page = context.new_page()
        page.goto(made.path.as_uri())
        assert violations(page) == []
        page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()


@pytest.mark.usefixtures("color_embedders")
def test_pictures_of_a_search_are_shown(source: Path, tmp_path: Path) -> None:
    paint(tmp_path / "probes" / "<b>x.png", RED)
    request = Request((tmp_path / "probes", source), tmp_path / "out.csv")
    run_job(Search(embedder="colors", top=3), request, SerialRunner())
    made = Report().look(tmp_path / "out.csv")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(made.path.as_uri())
        crops = page.locator(".crops img")
        assert crops.count() == 4
        widths = crops.evaluate_all("images => images.map(image => image.naturalWidth)")
        assert all(width > 0 for width in widths)
        assert page.locator(".crops b").all_inner_texts()[0] == "searched for"
        assert page.locator("h3", has_text="<b>x.png").count() == 1
        browser.close()
