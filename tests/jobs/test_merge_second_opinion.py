"""merge-identities with a second opinion: merges that another embedder does not confirm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep.jobs.merge_identities import MergeIdentities
from faceprep.tables.plan import read_plan
from tests.color_people import Brightness, color_embedders, paint
from tests.fakes import images
from tests.merging import MERGED, SET, merge, source
from tests.tiny_models import save_onnx

__all__ = ["color_embedders", "source"]
pytestmark = pytest.mark.usefixtures("color_embedders")


def test_a_second_opinion(source: Path, tmp_path: Path) -> None:
    """The other model sees a darker image in a; red and blue alone are one to it, as all that
    is bright.
    """
    paint(source / "a" / "1.png", (150, 0, 0))
    summary = merge(source, tmp_path / "out", second_opinion="brightness")
    assert (summary.inputs, summary.ok) == (9, 9), "nobody is counted twice"
    assert (
        summary.details["merged"],
        summary.details["undecided"],
        summary.details["unconfirmed"],
    ) == (2, 2, 1)
    assert "1 not confirmed by the second opinion" in MergeIdentities().sentence(summary.details)
    decisions = {d.subject: d for d in read_plan(tmp_path / "out" / "plan.jsonl")[1]}
    assert {name: d.verdict for name, d in decisions.items()} == {
        "a": "undecided",
        "e": "accepted",
        "g": "accepted",
        "d": "undecided",
    }
    assert "the second opinion contradicts" in decisions["a"].reason
    assert decisions["e"].evidence["second_opinion"] == 1
    assert set(images(tmp_path / "out")) == MERGED - {"b/a_1.png"} | {"a/1.png"}


def test_a_second_embedder_that_cannot_tell(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives zeros for what is red."""

    def see(self: Brightness, crops: Any) -> Any:
        mean = crops.mean(axis=(1, 2), dtype=np.float32)
        return np.repeat(mean[:, 2:] * (mean[:, :1] < 100), 2, axis=1)

    monkeypatch.setattr(Brightness, "embed", see)
    merge(source, tmp_path / "out", second_opinion="brightness")
    decisions = {d.subject: d for d in read_plan(tmp_path / "out" / "plan.jsonl")[1]}
    assert decisions["a"].verdict == "undecided" and decisions["a"].reason.endswith(
        "the second embedder has no vector for it"
    )
    assert decisions["e"].verdict == "accepted"


def test_a_second_opinion_has_a_preprocessing_of_its_own(tmp_path: Path) -> None:
    net = save_onnx(tmp_path / "net.onnx")
    job = MergeIdentities(embedder="colors", second_opinion=f"{net}:mean=1,std=2,flip=true")
    second = job.second()
    assert second is not None
    assert second.options.model().fingerprint.endswith("mean1/std2/rgb/of-arcface-112/flip")
    own = MergeIdentities(second_opinion=f"{net}:crops=box1.5-112", crops="box1.5-256").second()
    assert own is not None and own.options.source_template == "box1.5-256"
    assert own.options.open().template == "box1.5-112"


@pytest.mark.parametrize("n", [1, 2, 4])
def test_a_second_opinion_where_there_is_little(n: int, tmp_path: Path) -> None:
    for name, color in list(SET.items())[:n]:
        paint(tmp_path / "source" / name, color)
    merge(tmp_path / "source", tmp_path / "out", second_opinion="brightness")
    assert len(images(tmp_path / "out")) == n


def test_a_merge_that_was_held_back_stays_accepted(source: Path, tmp_path: Path) -> None:
    """A person accepts it; its similarity is above the threshold, so no command needs to ask."""
    paint(source / "a" / "1.png", (150, 0, 0))
    plan = tmp_path / "one" / "plan.jsonl"
    merge(source, plan.parent, second_opinion="brightness")
    header, *lines = plan.read_text().splitlines()
    accepted = [line.replace('"undecided"', '"accepted"') for line in lines]
    plan.write_text("\n".join([header, *accepted]) + "\n")
    for name in ("two", "three"):
        summary = merge(source, tmp_path / name, second_opinion="brightness", verdicts=plan)
        assert (summary.details["merged"], summary.details["undecided"]) == (4, 0)
        plan = tmp_path / name / "plan.jsonl"
