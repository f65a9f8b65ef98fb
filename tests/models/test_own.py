"""Models that are classes of the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceprep.core.errors import OptionError
from faceprep.models.detectors.detector import DetectorSpec, open_detector
from faceprep.models.embedders.embedder import EmbedderSpec, open_embedder
from faceprep.models.scorers.scorer import ScorerSpec, open_scorer
from faceprep.synthetic import write_folder
from tests.command import faceprep

MODULE = """
import numpy as np
from faceprep import Faces, Model

class Centre:
    provider = "CPU"
    def __init__(self, runtime, min_score=0.25):
        self.fingerprint = f"centre/{min_score}"
    def detect(self, images):
        points = np.array([(34, 46), (66, 46), (50, 64), (37, 82), (63, 82)], "f4")
        box = np.array([[10, 10, 90, 90]], "f4")
        return [Faces(box, points[None], np.ones(1, "f4")) for _ in images]

class Mean:
    provider, template, dim = "CPU", "arcface-112", 3
    model = Model("mean/1", threshold=0.9)
    def __init__(self, runtime): ...
    def embed(self, crops):
        return crops.mean(axis=(1, 2), dtype="f4")

class Redness:
    provider, fingerprint, size = "CPU", "redness/1", (112, 112)
    def __init__(self, runtime): ...
    def score(self, crops):
        return crops[..., 0].mean(axis=(1, 2), dtype="f4")

class Broken:
    def __init__(self, runtime):
        raise RuntimeError("no weights")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the module `my_models`."""
    (tmp_path / "my_models.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "my_models", raising=False)
    for opened in (open_detector, open_embedder, open_scorer):
        opened.cache_clear()
    return tmp_path


def test_a_detector_gets_the_options() -> None:
    detector = open_detector(DetectorSpec("python:my_models:Centre", "cpu", min_score=0.5))
    assert detector.fingerprint.startswith("centre/0.5/")
    assert detector.detect([np.zeros((100, 100, 3), np.uint8)])[0].boxes.tolist() == [
        [10, 10, 90, 90]
    ]


def test_an_embedder_has_its_own_thresholds_and_preprocessing() -> None:
    embedder = open_embedder(EmbedderSpec("python:my_models:Mean", "cpu"))
    assert embedder.model.threshold == 0.9
    assert embedder.embed(np.full((2, 112, 112, 3), 7, np.uint8)).tolist() == [[7, 7, 7]] * 2
    with pytest.raises(OptionError, match="prepares its crops itself"):
        open_embedder(EmbedderSpec("python:my_models:Mean", "cpu", mean=(127.5,)))


def test_a_scorer_names_its_column_and_takes_no_settings_of_files() -> None:
    spec = ScorerSpec("python:my_models:Redness:crops=arcface-112", "cpu")
    assert (spec.name, spec.crops) == ("Redness", "arcface-112")
    assert open_scorer(spec).score(np.full((1, 112, 112, 3), 9, np.uint8)).tolist() == [9]
    with pytest.raises(OptionError, match="all settings but crops= and name="):
        ScorerSpec("python:my_models:Redness:read=column/0")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("python:", "unknown embedder 'python:'"),
        ("python:my_models", "MODULE:CLASS"),
        ("python:my_models:", "MODULE:CLASS"),
        ("python:no_such_module:Centre", "No module named 'no_such_module'"),
        ("python:my_models:Center", "has no attribute 'Center'"),
        ("python:my_models:Broken", "RuntimeError: no weights"),
        ("python:my_models:Redness", "found no model, template, dim, embed"),
    ],
)
def test_what_cannot_be_opened_is_one_line(name: str, says: str) -> None:
    with pytest.raises(OptionError) as raised:
        open_embedder(EmbedderSpec(name, "cpu"))
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_commands_use_them_in_their_workers(folder: Path) -> None:
    write_folder(folder / "photos", n_identities=2, n_images=3)
    words = ["photos", "crops", "--detector", "python:my_models:Centre", "--no-refine"]
    assert faceprep("extract-photos", *words, "--workers", "2").returncode == 0
    done = faceprep("embed", "crops", "faces.npz", "--embedder", "python:my_models:Mean")
    assert done.returncode == 0, done.stderr
    done = faceprep("score", "crops", "s.parquet", "--model", "python:my_models:Redness:name=red")
    assert done.returncode == 0, done.stderr
