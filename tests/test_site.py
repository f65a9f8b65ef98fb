"""The site: it builds without a warning, and its reference is that of the code."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import click
import pytest

import faceprep
from faceprep.cli.build import command_for
from faceprep.core import registry
from tests.axe import needs_axe, violations
from tests.real import ROOT

needs_mkdocs = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("mkdocs", "material"))),
    reason="the extra [docs] is not installed: tests/run.sh installs it",
)
_LINK = re.compile(r'(?:href|src)="([^"]+)"')
_ELSEWHERE = ("http:", "https:", "mailto:", "data:", "javascript:")


@pytest.fixture(scope="module")
def generated() -> ModuleType:
    path = ROOT / "docs" / "generated_pages.py"
    spec = importlib.util.spec_from_file_location("generated_pages", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_has_every_option_of_every_command(generated: ModuleType) -> None:
    sections = re.split(r"^### ", generated.cli(), flags=re.MULTILINE)
    by_name = {section.partition("\n")[0]: section for section in sections}
    for name in registry.COMMANDS:
        command = command_for(name)
        for option in command.params:
            if isinstance(option, click.Option):
                assert f"{option.opts[0]}" in by_name[name], (name, option.opts)


def test_the_reference_keeps_a_command_with_an_option_as_code(generated: ModuleType) -> None:
    flat = " ".join(generated.cli().split())
    assert "use `make-bin DST OUT --pairs-file DST/pairs.csv`." in flat
    assert "With `--in-place`" in flat


def test_the_reference_has_every_public_name(generated: ModuleType) -> None:
    text = generated.api()
    for name in faceprep.__all__:
        assert f"## {name}\n" in text or f"| `{name}` |" in text, name


def test_the_reference_begins_with_an_example_of_public_names(generated: ModuleType) -> None:
    code = generated.api().split("```python\n")[1].partition("```")[0]
    imports = [node for node in ast.parse(code).body if isinstance(node, ast.ImportFrom)]
    assert {name.name for name in imports[0].names} <= set(faceprep.__all__)
    assert "ForwardRef" not in generated.api()


def test_pages_from_files_link_into_the_site(generated: ModuleType) -> None:
    links = re.findall(r"\]\(([^)#]+)", generated.pages()["index.md"]())
    assert {"faces.md", "examples.md", "changelog.md", "review.png"} <= set(links)
    assert not [link for link in links if link.startswith("docs/")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(target)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return target


@needs_mkdocs
def test_every_page_is_built(site: Path, generated: ModuleType) -> None:
    sources = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    for page in [*map(str, sources), *generated.pages()]:
        assert (site / page).with_suffix(".html").is_file(), page


@needs_mkdocs
def test_links_and_anchors_of_the_built_pages(site: Path) -> None:
    texts = {page: page.read_text() for page in site.rglob("*.html") if page.name != "404.html"}
    broken = []
    for page, text in texts.items():
        for link in set(_LINK.findall(text)) - {"#", "."}:
            if link.startswith(_ELSEWHERE):
                continue
            path, _, anchor = unquote(link).partition("#")
            target = (page.parent / path).resolve() if path else page
            is_named = not anchor or target not in texts or f'id="{anchor}"' in texts[target]
            if not (target.exists() and is_named):
                broken.append((page.name, link))
    assert broken == []


@needs_mkdocs
def test_nothing_is_loaded_from_another_server(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|img|link)\b[^>]*(?:src|href)="(https?:[^"]+)"', page.read_text()
        )
        assert [each for each in loaded if "canonical" not in each] == [], page.name


@needs_axe
@needs_mkdocs
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(scheme: str, site: Path) -> None:
    """Look at a page of each kind: tables, code, guides and the reference."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("no chromium: apt-get install chromium")
    found = {}
    with pytest.importorskip("playwright.sync_api").sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)
        for name in ("index", "containers", "examples", "guides/cleaning", "reference/cli"):
            page.goto((site / f"{name}.html").as_uri())
            found[name] = violations(page)
        browser.close()
    assert {name: faults for name, faults in found.items() if faults} == {}
