"""clean-identities: outliers moved, proposed as a second person or dropped; small identities;
and back again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from faceprep.core.errors import OptionError
from faceprep.core.types import REFUSED, Request, Summary
from faceprep.jobs.apply import Apply
from faceprep.jobs.clean_identities import CleanIdentities
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.tables.plan import read_plan
from tests.color_people import BLUE, GREEN, RED, color_embedders, paint
from tests.fakes import images, results, tree

__all__ = ["color_embedders"]
pytestmark = pytest.mark.usefixtures("color_embedders")
YELLOW = (250, 250, 0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Red people with one green image, who is known, and three blue ones, who are not; a small
    identity.
    """
    for i in range(9):
        paint(tmp_path / "source" / "red" / f"{i}.png", RED)
    paint(tmp_path / "source" / "red" / "green.png", GREEN)
    for i in range(3):
        paint(tmp_path / "source" / "red" / f"blue{i}.png", BLUE)
        paint(tmp_path / "source" / "green" / f"{i}.png", GREEN)
    paint(tmp_path / "source" / "small" / "0.png", YELLOW)
    return tmp_path / "source"


def clean(source: Path, output: Path, **options: Any) -> Summary:
    job = CleanIdentities(**{"embedder": "colors", "min_images": 2} | options)
    return run_job(job, Request((source,), output), SerialRunner())


def test_a_new_number_is_not_that_of_an_identity_without_a_sound_image(tmp_path: Path) -> None:
    for i in range(9):
        paint(tmp_path / "in" / "0" / f"{i}.png", RED)
        paint(tmp_path / "in" / "1" / f"{i}.png", GREEN)
    for i in range(3):
        paint(tmp_path / "in" / "0" / f"blue{i}.png", BLUE)
    (tmp_path / "in" / "2").mkdir()
    (tmp_path / "in" / "2" / "bad.png").write_bytes(b"")
    (tmp_path / "in" / "bad.png").write_bytes(b"")
    clean(tmp_path / "in", tmp_path / "out")
    moved = [name for name in images(tmp_path / "out") if "blue" in name]
    assert moved == [f"3/blue{i}.png" for i in range(3)]


def test_planned_placed_and_undone(source: Path, tmp_path: Path) -> None:
    before = tree(source)
    (source / "red" / "bad.png").write_bytes(b"")
    summary = clean(source, tmp_path / "out")
    assert summary.by_status == {"ok": 17, "undecodable": 1}
    figures = {
        name: summary.details[name]
        for name in ("identities", "moved", "dropped", "undecided", "angle")
    }
    assert figures == {"identities": 3, "moved": 4, "dropped": 1, "undecided": 0, "angle": 40}
    assert summary.details["angle_origin"] == "the rainbow" and summary.details["too_small"] == 1
    sentence = CleanIdentities().sentence(summary.details)
    assert sentence.startswith("17 images of 3 identities: 4 moved, 0 dropped, 0 undecided, and ")
    assert "outliers are more than 40 degrees from their centre" in sentence
    assert "and 1 identity with too few images dropped; outliers are" in sentence
    assert set(images(tmp_path / "out")) == {
        *(f"red/{i}.png" for i in range(9)),
        *(f"red-2/blue{i}.png" for i in range(3)),
        *(f"green/{i}.png" for i in range(3)),
        "green/green.png",
    }
    reasons = {
        decision.subject: decision.reason
        for decision in read_plan(tmp_path / "out" / "plan.jsonl")[1]
    }
    assert "degrees from the centre of red" in reasons["red/green.png"]
    assert "fewer than 2" in reasons["small"] and reasons["red/bad.png"].startswith("undecodable")
    run_job(Apply(), Request((tmp_path / "out" / "undo.jsonl",), tmp_path / "back"), SerialRunner())
    assert images(tmp_path / "back") == images(source)
    (source / "red" / "bad.png").unlink()
    assert tree(source) == before


def test_a_new_identity_takes_no_name_of_one_without_a_vector(tmp_path: Path) -> None:
    """A person who keeps its images in the review gets them beside nobody else's."""
    for i in range(9):
        paint(tmp_path / "source" / "1" / f"{i}.png", RED)
    for i in range(3):
        paint(tmp_path / "source" / "1" / f"blue{i}.png", BLUE)
    (tmp_path / "source" / "2").mkdir()
    (tmp_path / "source" / "2" / "bad.png").write_bytes(b"")
    clean(tmp_path / "source", tmp_path / "out", min_images=0)
    decisions = read_plan(tmp_path / "out" / "plan.jsonl")[1]
    assert {each.into for each in decisions if each.into} == {"3"}


def test_undecided_moves_that_a_person_accepted_stay_accepted(tmp_path: Path) -> None:
    """Most images of `red` are outliers, so nothing is moved without a person."""
    for i in range(3):
        paint(tmp_path / "in" / "red" / f"{i}.png", RED)
        paint(tmp_path / "in" / "red" / f"blue{i}.png", BLUE)
        paint(tmp_path / "in" / "blue" / f"{i}.png", BLUE)
    before = clean(tmp_path / "in", tmp_path / "one", plan_only=True).details
    assert before["undecided"] and not before["moved"]
    plan = tmp_path / "one" / "plan.jsonl"
    plan.write_text(plan.read_text().replace('"undecided"', '"accepted"'))
    for name in ("two", "three"):
        after = clean(tmp_path / "in", tmp_path / name, plan_only=True, verdicts=plan).details
        assert (after["undecided"], after["moved"]) == (0, before["undecided"])
        plan = tmp_path / name / "plan.jsonl"


def test_an_identity_whose_images_a_person_keeps_is_not_too_small(tmp_path: Path) -> None:
    """The green image stays in red, which then has enough images; small is kept as it is."""
    source = tmp_path / "set"
    for i in range(4):
        paint(source / "red" / f"{i}.png", GREEN if i == 3 else RED)
        paint(source / "green" / f"{i}.png", GREEN)
    for name in ("small", "tiny"):
        paint(source / name / "0.png", BLUE if name == "tiny" else YELLOW)
    clean(source, tmp_path / "one", min_images=4)
    assert {path.parent.name for path in (tmp_path / "one").glob("*/*.png")} == {"green"}
    plan = tmp_path / "one" / "plan.jsonl"
    lines = plan.read_text().splitlines()
    for subject in ("red/3.png", "small"):
        at = next(i for i, line in enumerate(lines) if f'"subject": "{subject}"' in line)
        lines[at] = json.dumps(json.loads(lines[at]) | {"verdict": REFUSED})
    plan.write_text("\n".join(lines) + "\n")
    summary = clean(source, tmp_path / "two", min_images=4, verdicts=plan)
    assert images(source).keys() - images(tmp_path / "two").keys() == {"tiny/0.png"}
    figures = {name: summary.details[name] for name in ("moved", "dropped", "too_small", "refused")}
    assert figures == {"moved": 0, "dropped": 1, "too_small": 1, "refused": 2}
    sentence = CleanIdentities().sentence(summary.details)
    assert "0 moved, 0 dropped, 0 undecided, 2 refused, and 1 identity with too few" in sentence


def test_a_refusal_outlives_the_drop_of_its_identity(tmp_path: Path) -> None:
    """The green image of red is not moved by the third plan, which keeps small identities again."""
    source = tmp_path / "set"
    for i in range(4):
        paint(source / "red" / f"{i}.png", GREEN if i == 3 else RED)
        paint(source / "green" / f"{i}.png", GREEN)
    clean(source, tmp_path / "one", plan_only=True)
    plan = tmp_path / "one" / "plan.jsonl"
    header, move = plan.read_text().splitlines()
    refused = json.dumps(json.loads(move) | {"verdict": REFUSED})
    plan.write_text(f"{header}\n{refused}\n")
    second = clean(source, tmp_path / "two", min_images=5, plan_only=True, verdicts=plan)
    assert second.details["too_small"] == 2 and second.details["refused"] == 1
    plan = tmp_path / "two" / "plan.jsonl"
    clean(source, tmp_path / "three", verdicts=plan)
    assert images(tmp_path / "three") == images(source)


def test_cleaning_again_changes_nothing(source: Path, tmp_path: Path) -> None:
    clean(source, tmp_path / "out")
    clean(tmp_path / "out", tmp_path / "again")
    assert images(tmp_path / "again") == images(tmp_path / "out")


def test_plan_only(source: Path, tmp_path: Path) -> None:
    clean(source, tmp_path / "out", plan_only=True)
    assert set(results(tmp_path / "out")) == {"plan.jsonl", "likeness.jsonl"}


def test_an_angle_of_ones_own(source: Path, tmp_path: Path) -> None:
    summary = clean(source, tmp_path / "out", angle=100.0, min_images=0)
    assert images(tmp_path / "out") == images(source)
    assert (summary.details["angle"], summary.details["angle_origin"]) == (100, "--angle")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"angle": 0.0}, "^invalid --angle: expected more than 0, at most 180, found 0"),
        ({"angle": 181.0}, "--angle"),
        ({"angle": float("nan")}, "--angle"),
        ({"min_images": -1}, "^invalid --min-images: expected 0 or more, found -1"),
        ({"mode": "move"}, "^invalid --mode: expected"),
    ],
)
def test_options_that_cannot_be_meant(
    options: dict[str, Any], told: str, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=told):
        clean(source, tmp_path / "out", **options)
