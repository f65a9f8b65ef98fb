"""exclude-people: planned, placed, undone, reviewed; from sets and from embeddings."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep.core.errors import OptionError, SourceError
from faceprep.core.types import ACCEPTED, REFUSED, UNDECIDED, Request, Summary
from faceprep.jobs.convert import Convert
from faceprep.jobs.exclude_people import ExcludePeople
from faceprep.pages.review.gallery import FOR, Gallery
from faceprep.pages.review.thumbnails import ImageInSet
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.tables.plan import read_plan
from tests.color_people import BLACK, BLUE, GREEN, ORANGE, RED, Colors, color_embedders, paint
from tests.fakes import before_changes, images, killed_before, start, status_of, tree
from tests.merging import SET, apply, decided, embed, source
from tests.pages.report.pages import Page
from tests.reports import report

__all__ = ["color_embedders", "source"]
pytestmark = pytest.mark.usefixtures("color_embedders")
NAMED = {"model": replace(Colors.model, fingerprint="colors/of-arcface-112")}
LEFT = {"c/1.png", "d/1.png"}
"""What is left of the set without red and blue."""


def exclude(source: Path, other: Path, output: Path, **options: Any) -> Summary:
    if source.is_dir() or other.suffix != ".npz":
        options = {"embedder": "colors"} | options
    job = ExcludePeople(**options)
    return run_job(job, Request((source, other), output), SerialRunner())


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Two people who opted out; the second has no folder."""
    paint(tmp_path / "other" / "Zoe" / "9.png", RED)
    paint(tmp_path / "other" / "8.png", BLUE)
    return tmp_path / "other"


def test_planned_placed_and_undone(source: Path, other: Path, tmp_path: Path) -> None:
    before = tree(source), tree(other)
    summary = exclude(source, other, tmp_path / "out")
    assert (summary.inputs, summary.ok, summary.failed) == (9, 9, 0)
    assert summary.others == {"other image": {"ok": 2}}
    found = summary.details
    assert (found["in_both"], found["other_identities"], found["identities"]) == (2, 2, 7)
    assert (found["dropped_identities"], found["dropped_images"], found["undecided"]) == (5, 7, 1)
    assert decided(tmp_path / "out") == [
        *(("drop", name, "", "accepted") for name in "abefg"),
        ("drop", "d", "", "undecided"),
    ]
    assert set(images(tmp_path / "out")) == LEFT
    decision = next(read_plan(tmp_path / "out" / "plan.jsonl")[1])
    assert decision.evidence["for"][:2] == ["a/1.png", f"{other}/Zoe/9.png"]
    assert decision.evidence["person"] == "Zoe"
    apply(tmp_path / "out" / "undo.jsonl", tmp_path / "back")
    assert images(tmp_path / "back") == images(source)
    assert (tree(source), tree(other)) == before


def test_the_people_in_both_sets_are_those_whose_drop_is_carried_out(
    source: Path, tmp_path: Path
) -> None:
    paint(tmp_path / "other" / "Zoe" / "9.png", ORANGE)
    paint(tmp_path / "other" / "Kim" / "9.png", GREEN)
    exclude(source, tmp_path / "other", tmp_path / "one")
    plan = tmp_path / "one" / "plan.jsonl"
    header, *lines = plan.read_text().splitlines()
    verdicts = {"a": ACCEPTED, "c": REFUSED, "d": REFUSED}
    edited = [json.loads(line) for line in lines]
    edited = [each | {"verdict": verdicts.get(each["subject"], UNDECIDED)} for each in edited]
    plan.write_text("\n".join([header, *map(json.dumps, edited)]) + "\n")
    found = exclude(source, tmp_path / "other", tmp_path / "two", verdicts=plan).details
    assert (found["in_both"], found["dropped_images"], found["refused"]) == (1, 1, 2)
    sentence = ExcludePeople().sentence(found)
    assert sentence.startswith("found 1 of 2 identities of the other set in this one: 1 image dro")
    assert "; 1 undecided, 2 refused; " in sentence


def test_what_a_person_accepted_stays_accepted_in_a_third_plan(tmp_path: Path) -> None:
    """It matches two people, above the threshold."""
    paint(tmp_path / "set" / "a" / "1.png", (180, 180, 0))
    for name, color in {"Zoe": RED, "Kim": GREEN}.items():
        paint(tmp_path / "other" / name / "9.png", color)
    plan, other = None, tmp_path / "other"
    for number, verdict in enumerate((UNDECIDED, ACCEPTED, ACCEPTED)):
        output = tmp_path / str(number)
        exclude(tmp_path / "set", other, output, threshold=0.7, verdicts=plan)
        assert decided(output) == [("drop", "a", "", verdict)]
        plan = output / "plan.jsonl"
        plan.write_text(plan.read_text().replace(f'"{UNDECIDED}"', f'"{ACCEPTED}"'))


def test_a_set_without_itself(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    for other in (source, tmp_path / "link"):
        with pytest.raises(SourceError, match="SRC and OTHER are the same set"):
            exclude(source, other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("files", ["first", "second", "both"])
def test_a_set_without_its_own_embeddings(files: str, source: Path, tmp_path: Path) -> None:
    paths = [source, source]
    for place, which in enumerate(("first", "second")):
        if files in (which, "both"):
            paths[place] = embed(source, tmp_path / f"{which}.npz", **NAMED)
    with pytest.raises(SourceError, match="SRC and OTHER are the same set"):
        exclude(*paths, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.png"))


def test_a_set_without_some_of_its_people(source: Path, tmp_path: Path) -> None:
    """The embeddings of a few are those of people to leave out."""
    some = embed(source, tmp_path / "some.npz", {"c/1.png": SET["c/1.png"]}, **NAMED)
    exclude(source, some, tmp_path / "out")
    assert images(tmp_path / "out") and "c/1.png" not in images(tmp_path / "out")


def test_a_set_without_a_copy_of_itself(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(source, tmp_path / "copy")
    exclude(source, tmp_path / "copy", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.png"))
    assert "all images are dropped (9), the first one " in caplog.text


@pytest.mark.parametrize("kind", ["npz", "tar", "both npz"])
def test_containers_and_embeddings(kind: str, source: Path, other: Path, tmp_path: Path) -> None:
    exclude(source, other, tmp_path / "whole")
    ours, theirs = source, other
    if kind == "tar":
        theirs = tmp_path / "other.tar"
        run_job(Convert(), Request((other,), theirs), SerialRunner())
    if "npz" in kind:
        names = {"Zoe/9.png": RED, "8.png": BLUE}
        theirs = embed(other, tmp_path / "other.npz", names, identities=["Zoe", "."], **NAMED)
    if kind == "both npz":
        ours = embed(source, tmp_path / "set.npz", **NAMED)
    exclude(ours, theirs, tmp_path / "out")
    wanted = [line[:4] for line in decided(tmp_path / "whole")]
    assert decided(tmp_path / "out") == wanted
    assert set(images(tmp_path / "out")) == LEFT


def test_review_shows_images_of_both_sets(source: Path, other: Path, tmp_path: Path) -> None:
    packed = tmp_path / "other.tar"
    run_job(Convert(), Request((other,), packed), SerialRunner())
    for theirs in (other, packed):
        output = tmp_path / f"out{len(theirs.suffix)}"
        exclude(source, theirs, output)
        judged, decisions = read_plan(output / "plan.jsonl")
        gallery = Gallery(judged, tmp_path)
        decision = next(decisions)
        assert gallery.locate(decision, FOR, 0) == str(source / "a" / "1.png")
        place = gallery.locate(decision, FOR, 1)
        if theirs == other:
            assert place == str(other / "Zoe" / "9.png")
        else:
            assert isinstance(place, ImageInSet) and place.path == "Zoe/9"
        gallery.close()


def test_report_lists_who_is_in_both(source: Path, other: Path, tmp_path: Path) -> None:
    exclude(source, other, tmp_path / "out")
    found = report(tmp_path / "out")
    overlap = found["plan"]["overlap"]
    assert [row["subject"] for row in overlap] == [*"abefg", "d"]
    assert {row["person"] for row in overlap[:2]} == {"Zoe"}
    answer = "Found 2 of 2 identities of the other set in this one. 2 images of 2 identities wr"
    assert found["answer"]["text"].startswith(answer)
    page = Page(tmp_path / "out" / "report.html").judge()
    assert "People who are in both sets" in page.texts
    shown = {name.partition(",")[0] for name in page.pictures}
    assert {"a/1.png", f"{other}/Zoe/9.png", f"{other}/8.png"} <= shown
    at = page.texts.index("other image: ok")
    assert [text for text in page.texts[at + 1 :] if text.strip()][:2] == ["2", "used"]


def test_a_threshold(source: Path, other: Path, tmp_path: Path) -> None:
    found = exclude(source, other, tmp_path / "out", threshold=0.85).details
    assert (found["dropped_identities"], found["undecided"]) == (6, 0)
    assert found["threshold_origin"] == "--threshold"


def test_what_cannot_be_compared_is_named(source: Path, other: Path, tmp_path: Path) -> None:
    paint(other / "Zoe" / "black.png", BLACK)
    (source / "a" / "bad.png").write_bytes(b"text")
    summary = exclude(source, other, tmp_path / "out")
    assert summary.failed == 2 and summary.others["other image"] == {"ok": 2, "no_vector": 1}
    vectors = np.array([[np.nan, 1, 1], [0, 0, 0]], np.float32)
    names = {"Zoe/9.png": RED, "8.png": BLUE}
    file = embed(other, tmp_path / "other.npz", names, vectors=vectors, **NAMED)
    with pytest.raises(SourceError, match=r"other.npz: none of its vectors can be compared"):
        exclude(source, file, tmp_path / "again")
    with pytest.raises(OptionError, match="expected vectors of one model"):
        exclude(source, embed(other, tmp_path / "b.npz", names), tmp_path / "b")


def test_a_killed_run_resumes_to_the_same_bytes(source: Path, other: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"

    def run(change: int = 0) -> list[str]:
        with before_changes(killed_before(change)) as made:
            exclude(source, other, output)
        return made

    n_changes = len(run())
    expected = tree(output)
    for change in range(1, n_changes, n_changes // 4):
        shutil.rmtree(output)
        assert status_of(start(lambda change=change: run(change))) == -signal.SIGKILL
        run()
        assert tree(output) == expected, f"killed before change {change}"


def test_the_plan_is_json_lines(source: Path, other: Path, tmp_path: Path) -> None:
    exclude(source, other, tmp_path / "out", plan_only=True)
    assert not images(tmp_path / "out")
    lines = (tmp_path / "out" / "plan.jsonl").read_text().splitlines()
    assert [json.loads(line).get("action") for line in lines] == [None, *["drop"] * 6]


def test_faces_that_all_look_like_one_person_are_refused(source: Path, tmp_path: Path) -> None:
    """Such as photos that are not crops: everybody would go at exit 0."""
    for name in "xyz":
        paint(tmp_path / "alike" / name / "1.png", RED)
    with pytest.raises(OptionError, match="most identities of OTHER look like one person"):
        exclude(source, tmp_path / "alike", tmp_path / "out")
    with pytest.raises(OptionError, match=r"of SRC .* expected less than 50% .* found 100%"):
        exclude(tmp_path / "alike", source, tmp_path / "other")
    assert not (tmp_path / "out").exists()
    found = exclude(source, tmp_path / "alike", tmp_path / "out", threshold=0.95).details
    assert found["dropped_identities"] == 2


def test_images_without_an_identity_are_judged_one_by_one(source: Path, tmp_path: Path) -> None:
    for name, color in {"x.png": RED, "y.png": BLUE, "z.png": GREEN}.items():
        paint(tmp_path / "flat" / name, color)
    paint(tmp_path / "one" / "Zoe" / "1.png", RED)
    found = exclude(tmp_path / "flat", tmp_path / "one", tmp_path / "out").details
    assert decided(tmp_path / "out") == [("drop", "x.png", "", "accepted")]
    assert (found["dropped_identities"], found["dropped_images"]) == (0, 1)
    assert set(images(tmp_path / "out")) == {"y.png", "z.png"}
