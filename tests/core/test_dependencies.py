"""Dependencies read from the source tree equal those in pip's metadata."""

from __future__ import annotations

import pytest

from faceprep.core import dependencies as installed


def test_extras_follow_extras() -> None:
    needed = installed.requirements()
    assert set(needed["detect"]) < set(needed["video"])
    assert set(needed["detect"]) | set(needed["embed"]) <= set(needed["all"])
    assert not [each for extra in needed.values() for each in extra if each.startswith("faceprep")]


def test_pip_notes_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "numpy>=1.26",
        'av<19,>=17; extra == "video"',
        'faceprep[detect]; extra == "video"',
        'onnx>=1.15; extra == "detect"',
        "tf; sys_platform == 'linux' and extra == 'detect'",
    ]
    monkeypatch.setattr(installed.metadata, "requires", lambda name: lines)
    monkeypatch.setattr(installed.metadata, "metadata", lambda name: Notes())
    monkeypatch.setattr(installed.Path, "is_file", lambda path: False)
    assert installed.requirements() == {
        "": ["numpy>=1.26"],
        "detect": ["onnx>=1.15", "tf"],
        "ray": [],
        "video": ["av<19,>=17", "onnx>=1.15", "tf"],
    }


class Notes:
    """Metadata in the form that importlib.metadata gives."""

    def get_all(self, name: str) -> list[str]:
        return ["detect", "ray", "video"] if name == "Provides-Extra" else []


@pytest.mark.parametrize(
    ("requirement", "version", "problem"),
    [
        ("av>=17,<19", "18.1.0", ""),
        ("av>=17,<19", "19.0", "av>=17,<19 is required, found 19.0"),
        ("av>=17,<19", "16.9.9", "av>=17,<19 is required, found 16.9.9"),
        ("av>=17,<19", "17rc1", ""),
        ("av>=17.0.1", "17", "av>=17.0.1 is required, found 17"),
        ("av", "0.1.dev", ""),
    ],
)
def test_versions(
    requirement: str, version: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installed, "version_of", lambda project: version)
    assert installed.problem_of(requirement) == problem


def test_a_stand_in_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name != "onnxruntime-gpu":
            raise installed.metadata.PackageNotFoundError(name)
        return "1.20"

    monkeypatch.setattr(installed.metadata, "version", version)
    installed.version_of.cache_clear()
    try:
        assert installed.version_of("onnxruntime") == "1.20"
        assert installed.version_of("onnx") is None
    finally:
        installed.version_of.cache_clear()
