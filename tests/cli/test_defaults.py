"""Defaults from variables and from a file of the working directory."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from faceprep.cli import main
from faceprep.cli.defaults import ONLY_TYPED, variables_of


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FACEPREP_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


class Typed:
    """What a command line printed, and its exit status."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def run(*words: object) -> Typed:
        monkeypatch.setattr(sys, "argv", ["faceprep", *map(str, words)])
        status = main()
        return Typed(status, *capsys.readouterr())

    return run


def test_the_command_line_wins_over_variables_and_these_over_files(
    typed, rec_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def n_done(*more: object) -> int:
        done = typed("rec2folder", rec_set, "out", "--overwrite", "--json", *more)
        assert done.status == 0, done.err
        return int(json.loads(done.out)["inputs"])

    assert n_done() == 30
    Path("pyproject.toml").write_text("[tool.faceprep]\nlimit = 2\n")
    assert n_done() == 2
    Path("faceprep.toml").write_text("limit = 3\n")
    assert n_done() == 3, "faceprep.toml is read instead of pyproject.toml"
    Path("faceprep.toml").write_text("limit = 3\n[rec2folder]\nlimit = 4\n[embed]\nlimit = 9\n")
    assert n_done() == 4
    monkeypatch.setenv("FACEPREP_LIMIT", "5")
    assert n_done() == 5
    monkeypatch.setenv("FACEPREP_REC2FOLDER_LIMIT", "6")
    assert n_done() == 6
    assert n_done("--limit", 7) == 7


def test_verbose_names_where_a_value_comes_from(
    typed, rec_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("faceprep.toml").write_text("max-failures = 9\nlimit = 1\n")
    monkeypatch.setenv("FACEPREP_RUNNER", "serial")
    shown = typed("rec2folder", rec_set, "out", "-v", "--limit", 2).err
    assert "--max-failures 9 comes from faceprep.toml" in shown
    assert "--runner serial comes from FACEPREP_RUNNER" in shown
    assert "--limit" not in shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wrokers = 2", "faceprep.toml: unknown key 'wrokers'. Did you mean workers?"),
        ("[rec2foldr]", "faceprep.toml: unknown key 'rec2foldr'. Did you mean rec2folder"),
        (
            "[rec2folder]\nlimmit = 2",
            "faceprep.toml: unknown key 'limmit' at [rec2folder]. Did you mean limit?",
        ),
        ("[rec2folder]\ndetector = 'mtcnn'", "unknown key 'detector' at [rec2folder]"),
        ("json = true", "faceprep.toml: json cannot have a default. Type --json"),
        ("limit = [2]", "faceprep.toml: invalid --limit: expected a string or a number, found [2]"),
        ("overwrite = 1", "faceprep.toml: invalid --overwrite: expected true or false, found 1"),
        ("workers = 1.5", "'1.5' is not a valid integer. It comes from faceprep.toml."),
        ("limit", "faceprep.toml: not TOML"),
        ("limit = " + "[" * 100_000, "faceprep.toml: not TOML"),
    ],
)
def test_wrong_files_are_refused(typed, text: str, message: str) -> None:
    Path("faceprep.toml").write_text(text)
    done = typed("rec2folder", "a", "b")
    assert (done.status, done.out) == (2, "")
    assert message in done.err


def test_options_of_other_commands_may_be_in_the_file(typed, rec_set: Path) -> None:
    Path("faceprep.toml").write_text("det_size = 320\n")
    assert typed("rec2folder", rec_set, "out").status == 0


def test_a_wrong_variable_is_named(typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEPREP_WORKERS", "many")
    done = typed("rec2folder", "a", "b")
    assert done.status == 2
    assert "Invalid value for '--workers'" in done.err
    assert "It comes from FACEPREP_WORKERS." in done.err


def test_required_and_repeated_options(typed, face_folder: Path) -> None:
    Path("faceprep.toml").write_text(
        "[manifest]\nseed = 1\n[score]\ndrop-below = ['laplacian_variance=20', 'contrast=1']\n"
    )
    assert typed("manifest", face_folder, "a.csv").status == 0
    assert typed("score", face_folder, "s.parquet").status == 0
    assert Path("s.plan.jsonl").exists() or list(Path().glob("*plan*"))


def test_json_is_typed_only() -> None:
    assert [variables_of("embed", name) for name in ONLY_TYPED] == [[], []]


@pytest.mark.parametrize("text", ["tool = 5", "[tool]\nfaceprep = 5"])
def test_a_project_with_no_table_of_defaults(typed, text: str) -> None:
    Path("pyproject.toml").write_text(text)
    done = typed("rec2folder", "a", "b")
    assert done.status == 2 and "is not a table: found 5" in done.err


def test_a_project_without_defaults(typed, rec_set: Path) -> None:
    Path("pyproject.toml").write_text("[project]\nname = 'mine'\n")
    assert typed("rec2folder", rec_set, "out").status == 0


@pytest.mark.parametrize(
    ("variable", "value", "words", "ending"),
    [
        ("MIN_SCORE", "7", "extract-photos . out", "--min-score comes from FACEPREP_MIN_SCORE."),
        ("SHARD", "7", "convert . out", "--shard comes from FACEPREP_SHARD."),
        ("RAY_ADDRESS", "a:1", "convert . out", "--ray-address comes from FACEPREP_RAY_ADDRESS."),
        (
            "EMBED_EMBEDDER",
            "foo",
            "embed . a.npz",
            "--embedder comes from FACEPREP_EMBED_EMBEDDER.",
        ),
        ("EMBEDDER", "a.onnx", "embed set a.npz", "--embedder comes from FACEPREP_EMBEDDER."),
    ],
)
def test_an_error_of_a_job_says_where_its_value_comes_from(
    typed, variable: str, value: str, words: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it names the option or the value; also where the job raises it in its run."""
    Path("set/a").mkdir(parents=True)
    Path("set/a/1.jpg").write_bytes(b"not decoded")
    monkeypatch.setenv(f"FACEPREP_{variable}", value)
    refused = typed(*words.split())
    assert refused.status in (1, 2)
    assert refused.err.splitlines()[-1].endswith(ending)


def test_an_error_of_a_job_names_the_file_of_its_value(typed, rec_set: Path) -> None:
    Path("faceprep.toml").write_text("limit = 2\n")
    assert typed("rec2folder", rec_set, "out").status == 0
    Path("faceprep.toml").write_text("limit = 3\n")
    refused = typed("rec2folder", rec_set, "out")
    assert "--limit 2 then, 3 now" in refused.err
    assert refused.err.endswith(" --limit comes from faceprep.toml.\n")
    refused = typed("rec2folder", rec_set, "out", "--limit", 4)
    assert "--limit 2 then, 4 now" in refused.err
    assert "comes from" not in refused.err, "it was typed"
