"""The guides of the site: every block of bash runs as it stands, in the order of the page."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from faceprep.synthetic import write_folder, write_siw_like
from faceprep.synthetic.video import SIW_CUT_OFF, SIW_FEW_ROWS
from tests.command import faceprep
from tests.doc_blocks import blocks_of, photo_of_six, run_lines, write_clip, write_registrations
from tests.fakes import tree
from tests.real import ROOT

GUIDES = ROOT / "docs" / "guides"


def write_crops(folder: Path) -> None:
    """Aligned crops of six people, and another crop of one of them as the people of a test set."""
    write_registrations(folder / "registration")
    done = faceprep("extract-photos", "registration", "all", cwd=folder)
    assert done.returncode == 0, done.stderr
    for number in range(6):
        shutil.copytree(folder / "all" / str(number), folder / "crops" / str(number))
    shutil.copytree(folder / "all" / "6", folder / "test_people" / "one")


def write_siw(folder: Path) -> None:
    write_siw_like(folder / "SiW", face=photo_of_six()[230:440:3, 430:610:3])
    for name in (SIW_CUT_OFF, SIW_FEW_ROWS):  # a run with failures ends with 3
        for path in (folder / "SiW").glob(f"{name}*"):
            path.unlink()


def write_videos(folder: Path) -> None:
    write_clip(folder / "videos" / "clip.mp4")


INPUTS: dict[str, Callable[[Path], None]] = {
    "cleaning": write_crops,
    "conversion": lambda folder: None,
    "insightface_to_trainer": lambda folder: None,
    "live_or_spoof": write_siw,
    "registration_desk": lambda folder: write_registrations(folder / "registration"),
    "verification_sets": lambda folder: write_folder(folder / "crops", 6, 6),
    "video_datasets": write_videos,
}
"""What each guide has before its first line."""


@pytest.fixture(scope="module")
def run_guide(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    ran: dict[str, Path] = {}

    def run(name: str) -> Path:
        if name not in ran:
            folder = tmp_path_factory.mktemp(name)
            INPUTS[name](folder)
            blocks = blocks_of((GUIDES / f"{name}.md").read_text())
            run_lines("".join(code for kind, code in blocks if kind == "bash"), folder)
            ran[name] = folder
        return ran[name]

    return run


def test_each_guide_has_its_input() -> None:
    assert sorted(INPUTS) == sorted(page.stem for page in GUIDES.glob("*.md"))


@pytest.mark.parametrize("name", INPUTS)
def test_a_guide_is_short(name: str) -> None:
    assert len((GUIDES / f"{name}.md").read_text().splitlines()) <= 60


@pytest.mark.parametrize("name", INPUTS)
def test_its_commands_run(name: str, run_guide: Callable[[str], Path]) -> None:
    run_guide(name)


def test_the_set_comes_back_from_every_container(run_guide: Callable[[str], Path]) -> None:
    folder = run_guide("conversion")
    assert len(list((folder / "folders").glob("*/*.jpg"))) == 200


def test_registrations_are_merged_and_restored(run_guide: Callable[[str], Path]) -> None:
    folder = run_guide("registration_desk")
    images = {path.name for path in (folder / "merged").iterdir() if path.is_dir()}
    assert len(images) == 6
    kept = [
        {name: data for name, data in tree(folder / each).items() if name.endswith(".png")}
        for each in ("crops", "restored")
    ]
    assert kept[0] == kept[1]


def test_the_person_of_the_test_set_is_gone(run_guide: Callable[[str], Path]) -> None:
    final = run_guide("cleaning") / "final"
    assert len([path for path in final.iterdir() if path.is_dir()]) == 5


def test_subjects_stay_on_one_side(run_guide: Callable[[str], Path]) -> None:
    folder = run_guide("live_or_spoof")
    train, val = (
        (folder / name).read_text().splitlines()[1:] for name in ("siw.csv", "siw_val.csv")
    )
    assert train and val

    def subjects(rows: list[str]) -> set[str]:
        return {row.split("crops/")[1].split("/")[2] for row in rows}

    assert not subjects(train) & subjects(val)
