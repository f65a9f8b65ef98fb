"""`report`: the answer first, what was merged, what is missing and why, and where a set is from."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from faceprep import Apply, Convert, Dedupe, ExtractPhotos, MergeIdentities, Rec2Folder, Report
from faceprep.core.errors import OptionError, OutputError
from faceprep.pages.report.section_decisions import decision_sections
from faceprep.pages.report.sections import Comparison
from faceprep.tables.plan import read_plan
from tests.color_people import color_embedders
from tests.fakes import opened
from tests.flat_faces import Flat, flat_detectors, save
from tests.merging import source
from tests.pages.report.pages import Page
from tests.reports import lopsided, report, run

__all__ = ["color_embedders", "flat_detectors", "lopsided", "source"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos of two people: one of each, one with two faces, one without, one broken."""
    folder = tmp_path / "photos"
    save(folder / "ann" / "1.png", Flat(40, 50, 60))
    save(folder / "ben" / "1.png", Flat(40, 50, 80, 0.9))
    save(folder / "ann" / "two.png", Flat(40, 50), Flat(200, 80))
    save(folder / "ann" / "none.png")
    (folder / "ben" / "broken.png").write_bytes(b"not an image")
    return folder


def total(numbers: dict[str, Any]) -> int:
    """The inputs that have an answer: ok, failed, left out."""
    left_out = numbers.get("left_out", {}).get("left_out", 0)
    failed = numbers.get("failures", {}).get("failed", 0)
    return int(numbers["run"]["ok"] + failed + left_out)


@pytest.mark.usefixtures("flat_detectors")
def test_every_input_is_in_the_answer(photos: Path, tmp_path: Path) -> None:
    run(ExtractPhotos(detector="flat"), photos, tmp_path / "out")
    numbers = report(tmp_path / "out")
    text = "2 images of 2 identities written; 1 failed: undecodable."
    assert numbers["answer"] == {"text": text, "finished": True}
    assert total(numbers) == numbers["run"]["inputs"] == 5
    assert numbers["left_out"]["by_status"] == {"many_faces": 1, "no_face": 1}
    page = Page(tmp_path / "out" / "report.html")
    assert text in page.texts
    shown = {alt for alt in page.pictures if alt.endswith("as it was given")}
    assert shown == {f"ann/{name}.png, as it was given" for name in ("two", "none")}
    marked = {alt for alt in page.pictures if alt.endswith("marked")}
    assert "ben/1.png, with 1 face marked" in marked


@pytest.mark.usefixtures("flat_detectors")
def test_notes_on_inputs_that_were_used(photos: Path, tmp_path: Path) -> None:
    run(ExtractPhotos(detector="flat"), photos, tmp_path / "out")
    assert "notes" not in report(tmp_path / "out")
    with (
        Image.open(photos / "ann" / "1.png") as first,
        Image.open(photos / "ben" / "1.png") as more,
    ):
        first.save(photos / "ann" / "1.gif", save_all=True, append_images=[more])
    run(ExtractPhotos(detector="flat"), photos, tmp_path / "new")
    notes = report(tmp_path / "new")["notes"]
    (reason,) = notes["reasons"]
    assert (notes["noted"], reason["reason"]) == (1, "an animation: its first frame is used")
    assert reason["examples"][0]["input"] == "ann/1.gif"


@pytest.mark.usefixtures("flat_detectors")
def test_a_killed_run_names_its_failures(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(ExtractPhotos(detector="flat"), photos, out)
    whole = report(out)
    record = opened(out) / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"finished": False}))
    (out / "failures.csv").unlink()
    killed = report(out)
    assert killed["failures"] == whole["failures"] and killed["left_out"] == whole["left_out"]
    assert not killed["answer"]["finished"] and not killed["run"]["finished"]
    page = (out / "report.html").read_text()
    assert "This run is not finished" in page
    n_ok, n = killed["run"]["ok"], killed["run"]["inputs"]
    assert f"So far: {n_ok} of {n} inputs are ok; 1 failed: undecodable." in page


@pytest.mark.usefixtures("color_embedders")
def test_merged_people_are_side_by_side(source: Path, tmp_path: Path) -> None:
    run(MergeIdentities(embedder="colors"), source, tmp_path / "merged")
    numbers = report(tmp_path / "merged")
    plan = tmp_path / "merged" / "plan.jsonl"
    decisions = [json.loads(line) for line in plan.read_text().splitlines()[1:]]
    merges = [one for one in decisions if one["action"] == "merge"]
    verdicts = Counter(one.get("verdict", "accepted") for one in merges)
    shown = numbers["merge_pictures"]
    assert (shown["accepted"], shown["undecided"]) == (verdicts["accepted"], verdicts["undecided"])
    page = Page(tmp_path / "merged" / "report.html")
    for subject, into in shown["shown"]:
        assert {subject, into} <= set(page.texts)
        assert any(alt.startswith(f"{subject}/") for alt in page.pictures)
    assert page.source.index("Merged people") < page.source.index("Where it comes from")
    header, found = read_plan(plan)
    undecided = [each._replace(verdict="undecided") for each in found]
    (section,) = decision_sections(header, undecided, tmp_path / "scratch")
    assert section.title == "People who may be one"
    assert "None of these was carried out" in section.text
    mixed = [undecided[0]._replace(verdict="accepted"), *undecided[1:]]
    (section,) = decision_sections(header, mixed, tmp_path / "mixed")
    assert section.title == "Merged people"
    assert section.text.endswith(" What is marked undecided was not carried out.")
    accepted = [each._replace(into="person", verdict="accepted") for each in undecided]
    merges_of_one = [each for each in accepted if each.action == "merge"]
    (section,) = decision_sections(header, merges_of_one, tmp_path / "together")
    (caption,) = [part.text for part in section.parts if isinstance(part, Comparison)]
    expected = {f"{each.subject}: {each.reason}".lower() for each in merges_of_one}
    assert len(expected) > 1 and set(caption.lower().split(". ")) == expected
    run(Apply(), plan, tmp_path / "applied")
    applied = report(tmp_path / "applied")
    assert applied["merge_pictures"] == shown, "apply shows what it carried out"


def test_chain_from_the_first_source(rec_set: Path, tmp_path: Path) -> None:
    run(Rec2Folder(), rec_set, tmp_path / "folders")
    run(Dedupe(embedder="none"), tmp_path / "folders", tmp_path / "once")
    run(Convert(allow_loss=True), tmp_path / "once", tmp_path / "set.tar")
    lineage = report(tmp_path / "set.tar")["lineage"]
    commands = [step["command"] for step in lineage["steps"]]
    assert commands == ["rec2folder", "dedupe", "convert"]
    assert [end["path"] for end in lineage["ends"]] == [str(rec_set)]
    for before, after in zip(lineage["steps"], lineage["steps"][1:], strict=False):
        assert after["sources"] == [before["output"]]
        lost = sum(each["inputs"] for each in before["left_out"])
        assert before["ok"] == before["inputs"] - lost == after["inputs"]


@pytest.mark.parametrize("fate", ["gone", "made again", "damaged"])
def test_a_chain_says_where_it_ends(fate: str, rec_set: Path, tmp_path: Path) -> None:
    folders, out = tmp_path / "folders", tmp_path / "out.tar"
    run(Rec2Folder(), rec_set, folders)
    run(Convert(), folders, out)
    if fate == "damaged":
        (folders / ".faceprep").write_bytes(b"damaged")
    else:
        shutil.rmtree(folders)
    if fate == "made again":
        run(Convert(allow_loss=True), rec_set, folders)
    lineage = report(out)["lineage"]
    assert [step["command"] for step in lineage["steps"]] == ["convert"]
    (end,) = lineage["ends"]
    assert end["path"] == str(folders)
    assert ("no longer there" in end["reason"]) == (fate == "gone")
    assert "cannot be followed further" in end["reason"]


def test_several_outputs_share_a_page(
    rec_set: Path, lopsided: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(Rec2Folder(), rec_set, tmp_path / "a")
    run(Convert(allow_loss=True), lopsided, tmp_path / "b.tar")
    made = Report().look([tmp_path / "a", tmp_path / "b.tar"])
    assert made.path == Path("report.html")
    both = json.loads(made.numbers_path.read_bytes())["reports"]
    beside = Report().look(tmp_path / "b.tar")
    named = [tmp_path / f"b.tar.report.{ending}" for ending in ("html", "json")]
    assert str(beside).splitlines()[-1] == f"{named[0]} and {named[1]}"
    alone = [report(tmp_path / name) for name in ("a", "b.tar")]
    for one, other in zip(both, alone, strict=True):
        assert one == {name: value for name, value in other.items() if name in one}
    page = Page(made.path).judge()
    assert 'open=""' not in page.source, "details of several outputs are folded"
    assert "2 outputs, all finished; no failures." in page.texts
    assert [one["answer"]["text"] in page.texts for one in both] == [True, True]


def test_card(lopsided: Path, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    run(Convert(allow_loss=True), lopsided, tmp_path / "out")
    card = tmp_path / "out" / "README.md"
    Report(card=True).look(tmp_path / "out")
    _, header, text = card.read_text().split("---\n", 2)
    found = yaml.safe_load(header)
    assert (found["license"], found["size_categories"]) == ("other", ["n<1K"])
    info = found["dataset_info"]
    images = list((tmp_path / "out").glob("*/*.jpg"))
    (split,) = info["splits"]
    assert split["num_examples"] == len(images) == 78
    assert split["num_bytes"] == sum(path.stat().st_size for path in images)
    names = info["features"][1]["dtype"]["class_label"]["names"]
    assert list(names.values()) == sorted(f"p{n}" for n in range(12))
    assert "a person must state the licence" in text and "`convert`: 78 of 78 inputs ok" in text
    before = card.read_bytes()
    Report(card=True).look(tmp_path / "out")
    assert card.read_bytes() == before, "its own card is written again"
    again = run(Convert(allow_loss=True), lopsided, tmp_path / "out")
    assert again.details["done_before"] == 78, "a card is in nobody's way"


@pytest.mark.parametrize("edit", ["mine\n", "{}\nedited"])
def test_a_persons_card_is_kept(edit: str, lopsided: Path, tmp_path: Path) -> None:
    run(Convert(allow_loss=True), lopsided, tmp_path / "out")
    card = tmp_path / "out" / "README.md"
    Report(card=True).look(tmp_path / "out")
    card.write_text(edit.replace("{}", card.read_text()))
    before = card.read_bytes()
    with pytest.raises(OutputError, match="a person wrote or edited it"):
        Report(card=True).look(tmp_path / "out")
    assert card.read_bytes() == before
    Report(card=True, overwrite=True).look(tmp_path / "out")
    assert card.read_bytes() != before


def test_two_outputs_never_share_a_card(rec_set: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "a.tar", tmp_path / "b.tar"]
    for out in outs:
        run(Convert(allow_loss=True), rec_set, out)
    with pytest.raises(OptionError, match="two outputs have the same card"):
        Report(card=True, output=tmp_path / "r.html").look(outs)
    assert not (tmp_path / "README.md").exists() and not (tmp_path / "r.html").exists()
