"""A list that lies elsewhere: every command reads its names below the folder of --relative-to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from faceprep.core import registry
from faceprep.jobs.apply import Apply
from faceprep.jobs.dedupe.job import Dedupe
from faceprep.tables.plan import read_plan
from tests.color_people import color_embedders
from tests.jobs import test_every_set as every_set
from tests.jobs.test_any_set import images_of, run
from tests.jobs.test_every_set import NAMES, WAYS, folder

__all__ = ["color_embedders", "folder"]  # fixtures
WITH_OPTION = (
    *("inspect", "convert", "manifest", "make-bin", "score", "embed", "verify", "folder2rec"),
    *("align", "dedupe", "merge-identities", "clean-identities", "search", "exclude-people"),
)
FROM_A_PLAN_OR_TABLE = {"apply", "review", "report"}


@pytest.fixture
def names(folder: Path, tmp_path: Path) -> Path:
    """A list of the images in a folder of its own."""
    path = tmp_path / "lists" / "in.txt"
    path.parent.mkdir()
    path.write_text("".join(f"{name}.jpg {name.partition('/')[0]}\n" for name in NAMES))
    return path


@pytest.fixture
def with_option(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the option to every job that has it."""
    for name in WITH_OPTION:
        job = registry.load(registry.COMMANDS, name)
        monkeypatch.setattr(every_set, job.__name__, partial(job, relative_to=folder))


@pytest.mark.usefixtures("color_embedders", "with_option")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.removeprefix("_"))
def test_the_result_is_that_of_the_folder(
    way: Callable[[Path, Path], Any], folder: Path, names: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert way(names, tmp_path / "b") == way(folder, tmp_path / "a")


@pytest.mark.parametrize("name", every_set.COMMANDS)
def test_each_command_has_the_option(name: str) -> None:
    job = registry.load(registry.COMMANDS, name)
    found = [field for field in fields(job) if field.name == "relative_to"]
    if name in FROM_A_PLAN_OR_TABLE:
        assert not found
        return
    (option,) = found
    help = "Read the relative names of a list or .parquet below this folder"
    assert option.metadata["help"].startswith(help)


def test_a_plan_keeps_the_folder(folder: Path, names: Path, tmp_path: Path) -> None:
    run(Dedupe(exact_only=True, relative_to=folder), names, tmp_path / "less.tar")
    header, _ = read_plan(tmp_path / "less.plan.jsonl")
    assert header["options"]["relative_to"] == str(folder)
    run(Apply(), tmp_path / "less.undo.jsonl", tmp_path / "back.tar")
    before = images_of(folder, tmp_path / "a")
    assert images_of(tmp_path / "less.tar", tmp_path / "b") != before
    assert images_of(tmp_path / "back.tar", tmp_path / "c") == before
