"""Models that are classes of the user's own."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from faceprep.core.errors import OptionError
from faceprep.models.detectors.detector import DetectorSpec, open_detector
from faceprep.models.embedders.embedder import EmbedderSpec, open_embedder
from faceprep.models.files.preparation import InputOptions
from faceprep.models.onnx_session import Runtime
from faceprep.models.own import open_detector_class
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

class DoubleMean(Mean):
    def embed(self, crops):
        return crops.mean(axis=(1, 2))

class FirstMean(Mean):
    def embed(self, crops):
        return super().embed(crops)[:1]

class WideMean(Mean):
    def embed(self, crops):
        return np.tile(super().embed(crops), 2)

class ColumnOfRedness(Redness):
    def score(self, crops):
        return super().score(crops)[:, None]

class Blind(Centre):
    def detect(self, images):
        return []

class Boxes(Centre):
    def detect(self, images):
        return [np.zeros((1, 4), "f4")] * len(images)

class Unsure(Centre):
    def detect(self, images):
        scores = np.array([0.5, 0.9], "f4")
        return [Faces(np.eye(2, 4), np.zeros((2, 5, 2)), scores) for _ in images]

class Broken:
    def __init__(self, runtime):
        raise RuntimeError("no weights")

class Misspelled:
    def __init__(self, runtime):
        self.net = a_net

class Exits:
    def __init__(self, runtime):
        raise SystemExit
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the module `my_models`."""
    (tmp_path / "my_models.py").write_text(MODULE)
    (tmp_path / "torn.py").write_text("def open(")
    (tmp_path / "exits.py").write_text("raise SystemExit(4)")
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
        open_embedder(
            EmbedderSpec("python:my_models:Mean", "cpu", input_options=InputOptions(mean=(127.5,)))
        )


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
        ("python:my_models:Misspelled", "NameError: name 'a_net' is not defined"),
        ("python:my_models:Exits", "found SystemExit"),
        ("python:torn:Centre", "found SyntaxError: '(' was never closed"),
        ("python:exits:Centre", "found SystemExit: 4"),
        ("python:my_models:Redness", "found no model, template, dim, embed"),
    ],
)
def test_what_cannot_be_opened_is_one_line(name: str, says: str) -> None:
    with pytest.raises(OptionError) as raised:
        open_embedder(EmbedderSpec(name, "cpu"))
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


CROPS = np.arange(2 * 112 * 112 * 3, dtype=np.uint32).astype(np.uint8).reshape(2, 112, 112, 3)


def test_vectors_of_another_dtype_are_stored_as_float32() -> None:
    own = open_embedder(EmbedderSpec("python:my_models:Mean", "cpu"))
    double = open_embedder(EmbedderSpec("python:my_models:DoubleMean", "cpu"))
    assert double.embed(CROPS).dtype == np.float32
    assert np.allclose(double.embed(CROPS), own.embed(CROPS))


@pytest.mark.parametrize(("name", "found"), [("FirstMean", "(1, 3)"), ("WideMean", "(2, 6)")])
def test_vectors_of_another_shape_are_refused(name: str, found: str) -> None:
    embedder = open_embedder(EmbedderSpec(f"python:my_models:{name}", "cpu"))
    with pytest.raises(OptionError, match=re.escape(f"expected shape (2, 3), found shape {found}")):
        embedder.embed(CROPS)


def test_scores_of_another_shape_are_refused() -> None:
    scorer = open_scorer(ScorerSpec("python:my_models:ColumnOfRedness", "cpu"))
    with pytest.raises(OptionError, match=re.escape("expected shape (2,), found shape (2, 1)")):
        scorer.score(CROPS)


@pytest.mark.parametrize(("name", "found"), [("Blind", "none"), ("Boxes", "2 of ndarray")])
def test_another_answer_than_faces_is_refused(name: str, found: str) -> None:
    detector = open_detector(DetectorSpec(f"python:my_models:{name}", "cpu"))
    with pytest.raises(OptionError, match=f"one faceprep.Faces per image, 2 in all, found {found}"):
        detector.detect(list(CROPS))


def test_the_surest_face_comes_first(folder: Path) -> None:
    detector = open_detector_class(Runtime("cpu"), "my_models:Unsure")
    (faces,) = detector.detect([CROPS[0]])
    assert faces.scores.tolist() == pytest.approx([0.9, 0.5])
    assert faces.boxes[0].tolist() == [0, 1, 0, 0]


def test_a_wrong_answer_ends_the_command_with_one_line(folder: Path) -> None:
    write_folder(folder / "crops", n_identities=2, n_images=3)
    done = faceprep("embed", "crops", "faces.npz", "--embedder", "python:my_models:WideMean")
    assert done.returncode == 2
    assert "python:my_models:WideMean: wrong result of embed: expected shape (" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_commands_use_them_in_their_workers(folder: Path) -> None:
    write_folder(folder / "photos", n_identities=2, n_images=3)
    words = ["photos", "crops", "--detector", "python:my_models:Centre", "--no-refine"]
    assert faceprep("extract-photos", *words, "--workers", "2").returncode == 0
    done = faceprep("embed", "crops", "faces.npz", "--embedder", "python:my_models:Mean")
    assert done.returncode == 0, done.stderr
    done = faceprep("score", "crops", "s.parquet", "--model", "python:my_models:Redness:name=red")
    assert done.returncode == 0, done.stderr
