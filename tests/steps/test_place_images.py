"""Where images go: shards and targets."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceprep.steps import place_images as application
from faceprep.steps.place_images import Target, place_shards
from faceprep.steps.undo_plan import evidence_of


def test_every_image_is_in_one_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "_SHARD", 3)
    shards = place_shards(str(tmp_path), Target("out", "copy", 7, True))
    assert [(shard.start, shard.stop) for shard in shards] == [(0, 3), (3, 6), (6, 7)]
    assert place_shards(str(tmp_path), Target("out", "copy", 0, True)) == []


def test_evidence_of_what_is_gone(tmp_path: Path) -> None:
    assert evidence_of(str(tmp_path / "gone")) == {}
