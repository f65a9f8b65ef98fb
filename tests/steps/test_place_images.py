"""Where images go: shards and targets."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from faceprep.core.errors import SourceError
from faceprep.steps import place_images as application
from faceprep.steps.place_images import place_shards
from faceprep.steps.placed_samples import Target
from faceprep.steps.undo_plan import evidence_of


def test_every_image_is_in_one_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "_SHARD", 3)
    shards = place_shards(str(tmp_path), Target("out", "copy", 7, True))
    assert [(shard.start, shard.stop) for shard in shards] == [(0, 3), (3, 6), (6, 7)]
    assert place_shards(str(tmp_path), Target("out", "copy", 0, True)) == []


def test_evidence_of_what_is_gone(tmp_path: Path) -> None:
    assert evidence_of(str(tmp_path / "gone")) == {}


def test_evidence_of_what_cannot_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An undo plan without it would not be the one of a calm run."""

    def fail(path: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "a.jpg").write_bytes(b"image")
    monkeypatch.setattr("faceprep.core.paths.look_at", fail)
    with pytest.raises(SourceError, match="a.jpg: cannot look at: Input/output error"):
        evidence_of(str(tmp_path / "a.jpg"))
