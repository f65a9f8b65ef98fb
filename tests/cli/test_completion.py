"""Shell completion, through the environment that the scripts of the shells set."""

from __future__ import annotations

import os
import subprocess
import sys
from unittest import mock

import pytest
from click.shell_completion import get_completion_class

from faceprep import cli
from faceprep.core import registry
from tests.real import ROOT

SHELLS = ("bash", "zsh", "fish")
FACEPREP = "import sys; sys.argv[0] = 'faceprep'; from faceprep.__main__ import main; main()"


Words = tuple[str, ...]


def line_of(shell: str, words: Words) -> dict[str, str]:
    """Return what the script of a shell tells of its line, of which `words` are there."""
    last = words[-1] if shell == "fish" and words else str(len(words) - 1)
    return {"COMP_WORDS": " ".join(words), "COMP_CWORD": last}


def answer(shell: str, act: str, words: Words = ()) -> str:
    """Ask as a shell does."""
    told = {"_FACEPREP_COMPLETE": f"{shell}_{act}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", FACEPREP],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | told | line_of(shell, words),
    )
    assert done.stderr == ""
    return done.stdout


def completed(shell: str, *words: str) -> list[tuple[str, str]]:
    """Return (kind, value) of each answer; the last of `words` may be begun only."""
    kind = get_completion_class(shell)
    assert kind is not None
    with mock.patch.dict(os.environ, line_of(shell, words)):
        return parse(shell, kind(cli.faceprep, {}, "faceprep", "_FACEPREP_COMPLETE").complete())


def parse(shell: str, text: str) -> list[tuple[str, str]]:
    if shell == "zsh":
        parts = text.splitlines()
        return list(zip(parts[::3], parts[1::3], strict=True))
    pairs = [line.partition(",")[::2] for line in text.splitlines()]
    return [(kind, value.partition("\t")[0]) for kind, value in pairs]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_asks_for_answers(shell: str) -> None:
    script = answer(shell, "source")
    assert f"_FACEPREP_COMPLETE={shell}_complete" in script


@pytest.mark.parametrize("shell", SHELLS)
def test_commands(shell: str) -> None:
    words = ("faceprep", "ext")
    assert completed(shell, *words) == parse(shell, answer(shell, "complete", words))
    assert completed(shell, *words) == [("plain", "extract-photos"), ("plain", "extract-video")]
    assert [value for _, value in completed(shell, "faceprep", "")] == list(registry.COMMANDS)


@pytest.mark.parametrize("shell", SHELLS)
def test_options_and_their_choices(shell: str) -> None:
    assert ("plain", "--det-size") in completed(shell, "faceprep", "extract-photos", "--d")
    choices = completed(shell, "faceprep", "folder2rec", "--layout", "")
    assert choices == [("plain", "insightface"), ("plain", "flat")]
    assert completed(shell, "faceprep", "rec2folder", "--runner", "s") == [("plain", "serial")]


@pytest.mark.parametrize("shell", SHELLS)
def test_values(shell: str) -> None:
    """Names of detectors, embedders and templates; anything else may be a file."""
    assert completed(shell, "faceprep", "extract-photos", "--detector", "mt") == [
        ("plain", "mtcnn")
    ]
    assert ("plain", "ffhq-256") in completed(shell, "faceprep", "align", "--template", "")
    assert completed(shell, "faceprep", "embed", "--embedder", "dlib") == [("plain", "dlib-resnet")]
    assert completed(shell, "faceprep", "embed", "--embedder", "r50") == [("file", "r50")]


@pytest.mark.parametrize("shell", SHELLS)
def test_files(shell: str) -> None:
    assert completed(shell, "faceprep", "inspect", "tr") == [("file", "tr")]
    assert completed(shell, "faceprep", "score", "--faces", "fa") == [("file", "fa")]


def test_naming_commands_loads_none_of_them() -> None:
    program = FACEPREP.replace("main()", "") + (
        "\ntry: main()\nexcept SystemExit: print({'numpy', 'cv2', 'faceprep.cli.build'} & "
        "set(sys.modules))"
    )
    told = {
        "_FACEPREP_COMPLETE": "bash_complete",
        "COMP_WORDS": "faceprep ",
        "COMP_CWORD": "1",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | told,
    )
    assert done.stdout.splitlines()[-1] == "set()"
