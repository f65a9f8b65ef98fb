"""merge-identities from folders: planned, placed, undone; damaged images, odd sets, killed
runs.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep.core.embeddings import Model
from faceprep.core.errors import MissingExtra, OptionError, OutputError, SourceError
from faceprep.core.types import PLACING_MODES
from faceprep.jobs.merge_identities import MergeIdentities
from faceprep.steps import place_images as application
from faceprep.steps import plan_identities as identity_plans
from faceprep.tables.plan import read_plan
from tests.color_people import BLACK, GREEN, RED, Colors, color_embedders, paint
from tests.fakes import images, results, survives_kills, tree
from tests.merging import MERGED, apply, call_merge, decided, embed, merge, source

__all__ = ["color_embedders", "source"]
pytestmark = pytest.mark.usefixtures("color_embedders")


@pytest.mark.parametrize("mode", PLACING_MODES)
def test_planned_placed_and_undone(mode: str, source: Path, tmp_path: Path) -> None:
    before = tree(source)
    summary = merge(source, tmp_path / "out", mode=mode)
    assert (summary.inputs, summary.ok, summary.outputs) == (9, 9, 12)
    figures = {
        name: summary.details[name] for name in ("images", "identities", "merged", "undecided")
    }
    assert figures == {"images": 9, "identities": 7, "merged": 3, "undecided": 1}
    assert (
        summary.details["threshold"] == 0.95
        and summary.details["threshold_origin"] == "the rainbow"
    )
    assert decided(tmp_path / "out") == [
        ("merge", "a", "b", "accepted"),
        ("merge", "e", "f", "accepted"),
        ("merge", "g", "f", "accepted"),
        ("merge", "d", "b", "undecided"),
    ]
    assert set(images(tmp_path / "out")) == MERGED
    judged, decisions = read_plan(tmp_path / "out" / "plan.jsonl")
    assert (judged["source"], judged["model"]) == (str(source), "colors/of-arcface-112")
    assert judged["summary"]["merged"] == 3 and judged["options"]["embedder"] == "colors"
    assert next(iter(decisions)).evidence["images"] == [1, 2]
    apply(tmp_path / "out" / "undo.jsonl", tmp_path / "back")
    assert images(tmp_path / "back") == images(source)
    assert tree(source) == before


def test_a_plan_only_then_edited_and_applied(source: Path, tmp_path: Path) -> None:
    merge(source, tmp_path / "whole")
    summary = merge(source, tmp_path / "out", plan_only=True)
    assert (summary.inputs, summary.outputs) == (9, 2)
    assert set(results(tmp_path / "out")) == {"plan.jsonl", "likeness.jsonl"}
    apply(tmp_path / "out" / "plan.jsonl", tmp_path / "applied")
    assert images(tmp_path / "applied") == images(tmp_path / "whole")
    plan = tmp_path / "edited.jsonl"
    plan.write_text(
        (tmp_path / "out" / "plan.jsonl").read_text().replace('"undecided"', '"accepted"', 5)
    )
    apply(plan, tmp_path / "edited")
    assert set(images(tmp_path / "edited")) == MERGED - {"d/1.png"} | {"b/d_1.png"}


def test_damaged_images_are_named_dropped_and_restored(source: Path, tmp_path: Path) -> None:
    (source / "a" / "bad.png").write_bytes(b"no image")
    paint(source / "c" / "black.png", BLACK)
    paint(source / "h" / "only.png", BLACK)
    summary = merge(source, tmp_path / "out")
    assert summary.by_status == {"no_vector": 2, "ok": 9, "undecodable": 1}
    assert set(images(tmp_path / "out")) == MERGED
    drops = [d for d in read_plan(tmp_path / "out" / "plan.jsonl")[1] if d.action == "drop"]
    assert [d.subject for d in drops] == ["a/bad.png", "c/black.png", "h/only.png"]
    assert drops[0].reason.startswith("undecodable: ") and drops[1].reason.startswith("no_vector: ")
    assert "a/bad.png,undecodable" in (tmp_path / "out" / "failures.csv").read_text()
    apply(tmp_path / "out" / "undo.jsonl", tmp_path / "back")
    assert images(tmp_path / "back") == images(source)
    apply(tmp_path / "out" / "plan.jsonl", tmp_path / "applied")
    assert images(tmp_path / "applied") == images(tmp_path / "out")


def test_the_same_whatever_the_shards(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge(source, tmp_path / "out")
    expected = results(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    monkeypatch.setattr(identity_plans, "_SHARD", 2)
    monkeypatch.setattr(application, "_SHARD", 4)
    merge(source, tmp_path / "out")
    assert results(tmp_path / "out") == expected


def test_merging_again_changes_nothing(source: Path, tmp_path: Path) -> None:
    merge(source, tmp_path / "out")
    summary = merge(tmp_path / "out", tmp_path / "again")
    assert summary.details["merged"] == 0
    assert images(tmp_path / "again") == images(tmp_path / "out")


def test_a_threshold_of_ones_own(source: Path, tmp_path: Path) -> None:
    lower = merge(source, tmp_path / "lower", threshold=0.85)
    assert lower.details["threshold_origin"] == "--threshold"
    assert (lower.details["merged"], lower.details["undecided"]) == (4, 0)
    assert lower.details["undecided_from"] == pytest.approx(0.7)
    higher = merge(source, tmp_path / "higher", threshold=1.0)
    assert higher.details["undecided_from"] == pytest.approx(0.85)


def test_a_threshold_from_the_rate_of_false_accepts(tmp_path: Path) -> None:
    """A hundred colours: from the threshold on, hardly any pair of them is alike."""
    for i in range(40):
        paint(tmp_path / "source" / f"{i:02d}" / "1.png", (250 - 6 * i, 6 * i, 0))
    summary = merge(tmp_path / "source", tmp_path / "out", far=0.05)
    origin = summary.details["threshold_origin"]
    assert origin.startswith("--far 0.05: 0.0")
    assert f" or more ({origin})" in MergeIdentities(far=0.05).sentence(summary.details)
    assert summary.details["threshold"] != Colors.model.merge_from


def test_likeness_is_in_the_summary(source: Path, tmp_path: Path) -> None:
    details = merge(source, tmp_path / "out").details
    assert details["likeness"]["images"] == 9 and details["likeness"]["positive"]["pairs"] == 2
    assert details["separable"] == details["likeness"]["separable"]
    judged, _ = read_plan(tmp_path / "out" / "plan.jsonl")
    assert "likeness" not in judged["summary"]
    beside = json.loads((tmp_path / "out" / "likeness.jsonl").read_text())
    assert sum(beside.pop("histogram")["positive"]) == 2 and beside == details["likeness"]


def test_the_first_line_of_a_plan_is_short(source: Path, tmp_path: Path) -> None:
    """It says what was judged, by which model, and from which threshold on."""
    merge(source, tmp_path / "out", plan_only=True)
    first = (tmp_path / "out" / "plan.jsonl").read_text().splitlines()[0]
    assert len(first) < 800
    told = json.loads(first)
    assert (told["source"], told["model"]) == (str(source), "colors/of-arcface-112")
    assert told["summary"]["threshold"] == 0.95
    assert told["options"] == {
        "mode": "copy",
        "embedder": "colors",
        "plan_only": True,
        "linkage": "mean",
    }


def test_approximate(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few identities are compared exactly in any case."""
    pytest.importorskip("faiss")
    summary = merge(source, tmp_path / "out", approximate=True)
    assert (summary.details["merged"], summary.details["recall"]) == (3, 1)
    sentence = MergeIdentities(approximate=True).sentence(summary.details)
    assert "the approximate search found 100 % of a sample of the candidates" in sentence
    assert "recall" not in merge(source, tmp_path / "exact").details
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="--approximate needs FAISS"):
        merge(source, tmp_path / "other", approximate=True)


@pytest.mark.parametrize("linkage", ["complete", "mean", "centroid", "single"])
def test_linkages(linkage: str, source: Path, tmp_path: Path) -> None:
    assert merge(source, tmp_path / "out", linkage=linkage).details["merged"] == 3


def test_centres_need_a_threshold_of_their_own(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    merge(source, tmp_path / "own", linkage="centroid", threshold=0.99)
    merge(source, tmp_path / "mean")
    assert "centroid" not in caplog.text
    merge(source, tmp_path / "out", linkage="centroid")
    assert "too many identities may be merged" in caplog.text


def test_little_or_nothing_to_merge(tmp_path: Path) -> None:
    (tmp_path / "empty" / "a").mkdir(parents=True)
    with pytest.raises(SourceError, match="no images in it"):
        merge(tmp_path / "empty", tmp_path / "out")
    paint(tmp_path / "one" / "a" / "1.png", RED)
    merge(tmp_path / "one", tmp_path / "out 1")
    assert set(images(tmp_path / "out 1")) == {"a/1.png"} and decided(tmp_path / "out 1") == []
    paint(tmp_path / "one" / "a" / "2.png", GREEN)
    merge(tmp_path / "one", tmp_path / "out 2")
    assert set(images(tmp_path / "out 2")) == {"a/1.png", "a/2.png"}
    (tmp_path / "bad" / "a").mkdir(parents=True)
    (tmp_path / "bad" / "a" / "1.png").write_bytes(b"")
    summary = merge(tmp_path / "bad", tmp_path / "out 3")
    assert summary.by_status == {"undecodable": 1} and images(tmp_path / "out 3") == {}


def test_the_first_images_only(source: Path, tmp_path: Path) -> None:
    summary = merge(source, tmp_path / "out", limit=3)
    assert summary.inputs == 3 and set(images(tmp_path / "out")) == {
        "b/1.png",
        "b/2.png",
        "b/a_1.png",
    }
    apply(tmp_path / "out" / "undo.jsonl", tmp_path / "back")
    assert set(images(tmp_path / "back")) == {"a/1.png", "b/1.png", "b/2.png"}
    with pytest.raises(OptionError, match="a file of embeddings is judged as a whole"):
        merge(embed(source, tmp_path / "set.npz"), tmp_path / "other", limit=3)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"threshold": 1.5}, "^invalid --threshold: expected -1 to 1, found 1.5"),
        ({"threshold": float("nan")}, "--threshold"),
        ({"far": 0.0}, "^invalid --far: expected more than 0, less than 1, found 0"),
        ({"far": 0.1, "threshold": 0.9}, "--far and --threshold both set the threshold"),
        ({"far": 1e-6}, "too few pairs for a false accept rate of 1e-06"),
        ({"linkage": "average"}, "^invalid --linkage: expected"),
        ({"mode": "move"}, "^invalid --mode: expected copy, hardlink, symlink, found 'move'"),
        ({"crops": "none"}, "none"),
        ({"embedder": "none"}, "none"),
        ({"second_opinion": "none"}, "none"),
    ],
)
def test_options_that_cannot_be_meant(
    options: dict[str, Any], told: str, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=told):
        merge(source, tmp_path / "out", **options)


def test_a_threshold_that_the_images_rule_out_leaves_nothing(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with pytest.raises(OptionError, match="most identities would be one person") as refused:
        merge(source, output, threshold=-1.0)
    assert not output.exists()
    assert str(refused.value).endswith("and name FILE.npz instead of SRC.")
    with pytest.raises(OptionError, match="most identities would be one person") as refused:
        merge(embed(source, tmp_path / "set.npz"), output, threshold=-1.0)
    assert "faceprep embed" not in str(refused.value)
    assert merge(source, output).details["merged"] == 3, "another threshold needs no --overwrite"


def test_output_and_input_are_apart(source: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the output would be inside the input"):
        merge(source, source / "out")
    with pytest.raises(OutputError, match="the output would be inside the input"):
        merge(embed(source, tmp_path / "set.npz"), source / "out")


def test_killed_before_any_change_of_the_disk(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity_plans, "_SHARD", 5)
    monkeypatch.setattr(application, "_SHARD", 5)
    (source / "a" / "bad.png").write_bytes(b"no image")
    output = tmp_path / "out"

    survives_kills(lambda: merge(source, output, second_opinion="brightness"), output, n=8)


def test_command_line(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call_merge(monkeypatch, source, tmp_path / "out", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["merged"], told["undecided"], told["threshold_origin"]) == (3, 1, "the rainbow")
    assert call_merge(monkeypatch, source, tmp_path / "out") == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "7 identities are 4 people: 3 merged, 1 undecided; matched at a similarity of 0.95 or more"
    ), "that identities of one person are alike is no news"


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"images": 0, "merged": 0, "undecided": 0}, "nothing to compare: no image has a vector"),
        (
            {"identities": 1, "merged": 0},
            "1 identity is 1 person: 0 merged, 1 undecided; matched at a similarity of 0.3 or more",
        ),
        (
            {"identities": 3, "merged": 2},
            "3 identities are 1 person: 2 merged, 1 undecided; "
            "matched at a similarity of 0.3 or more",
        ),
        ({"conflicts": 2}, "held back by matches that do not match each other"),
    ],
)
def test_the_sentence(found: dict[str, Any], told: str) -> None:
    whole = {
        "identities": 9,
        "merged": 2,
        "undecided": 1,
        "conflicts": 0,
        "threshold": 0.3,
        "separable": 0,
    }
    whole |= {"likeness": {"identities_of_two": 0}}
    assert told in MergeIdentities().sentence((whole if "images" not in found else {}) | found)


def test_a_model_that_has_changed_is_not_gone_on_with(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge(source, tmp_path / "out")
    monkeypatch.setattr(Colors, "model", replace(Colors.model, fingerprint="other colors"))
    with pytest.raises(Exception, match="the input has changed since this run began"):
        merge(source, tmp_path / "out")


def test_the_default_is_the_models_own(tmp_path: Path) -> None:
    model = Model("any", merge_from=0.7, undecided_from=0.6, origin="somewhere")
    vectors = np.array([[1, 0], [0.8, 0.6]], np.float32)
    names = {"a/1": RED, "b/1": RED}
    file = embed(tmp_path / "gone", tmp_path / "e.npz", names, vectors=vectors, model=model)
    found = merge(file, tmp_path / "out").details
    assert (found["merged"], found["undecided"], found["threshold"]) == (1, 0, 0.7)
    found = merge(file, tmp_path / "other", threshold=0.85).details
    assert (found["merged"], found["undecided"], found["undecided_from"]) == (0, 1, 0.75)
