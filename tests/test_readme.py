"""The commands of the README and the docs run as they stand, and their links lead somewhere."""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path

import pytest

from faceprep.core import registry
from tests.doc_blocks import blocks_of, run_lines, write_clip, write_registrations
from tests.real import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = blocks_of(README)
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_the_first_command_after_its_installation(tmp_path: Path) -> None:
    pytest.importorskip("insightface")
    first = next(text for kind, text in BLOCKS if kind == "bash")
    install, _, rest = first.partition("pip install '.[insightface]' && ")
    assert install.startswith("python3 -m venv .venv && ")
    packages = sysconfig.get_paths()["purelib"]
    run_lines(
        rest.replace(".venv/lib/python3*/site-packages", packages).replace(".venv/bin/", ""),
        tmp_path,
    )
    assert len(list((tmp_path / "faces").glob("t1_*.png"))) == 6


def test_the_recipes_in_order(tmp_path: Path) -> None:
    recipes = next(
        text for kind, text in BLOCKS if kind == "bash" and "faceprep.synthetic set" in text
    )
    run_lines(recipes, tmp_path)
    assert (tmp_path / "again" / "train.rec").read_bytes() == (
        tmp_path / "set" / "train.rec"
    ).read_bytes()


def test_the_command_for_a_video(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4")
    run_lines(
        next(text for kind, text in BLOCKS if kind == "bash" and "extract-video" in text), tmp_path
    )
    assert (tmp_path / "frames" / "clip" / "17.png").is_file() and (
        tmp_path / "frames" / "faces.parquet"
    ).is_file()


def test_the_commands_for_a_registration_desk(tmp_path: Path) -> None:
    """Six people who signed up twice: the faces of one photo with their surroundings, as they
    are and darker.
    """
    write_registrations(tmp_path / "registration")
    run_lines(
        next(text for kind, text in BLOCKS if kind == "bash" and "merge-identities" in text),
        tmp_path,
    )
    assert len(list((tmp_path / "clean").glob("[0-9]*/*.png"))) == 12
    assert len(list((tmp_path / "clean").glob("[0-9]*"))) == 6


def test_the_python_example(tmp_path: Path) -> None:
    run_lines("python -m faceprep.synthetic set", tmp_path)
    example = next(text for kind, text in BLOCKS if kind == "python")
    (tmp_path / "example.py").write_text(example)
    run_lines("python example.py", tmp_path)


def test_the_second_command_is_what_ci_runs() -> None:
    assert "bash tests/run.sh\n" in README
    assert "bash tests/run.sh" in (ROOT / ".ci" / "run").read_text()


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 170


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    local = [link for link in links if not link.startswith(("http:", "https:"))]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_the_pages_exist(page: Path) -> None:
    blocks = re.findall(r"```\w*\n(.*?)```", page.read_text(), re.DOTALL)
    named = re.findall(
        r"^(?:.*&& )?(?:\S*/)?faceprep ([a-z][\w-]*)", "\n".join(blocks), re.MULTILINE
    )
    assert set(named) <= set(registry.COMMANDS)
