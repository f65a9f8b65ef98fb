"""`--json` prints one object on stdout, also where a command fails."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from faceprep.cli import main
from faceprep.core import registry
from faceprep.core.embeddings import Embeddings, Model
from faceprep.tables.embeddings import Place, write_npz


def run(
    words: list[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["faceprep", *map(str, words)])
    status = main()
    return status, capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "exit_status", "part"),
    [
        (["rec2folder", "missing", "out"], 1, "missing"),
        (["rec2folder"], 2, "SRC"),
        (["manifest", "src", "out.npz"], 2, "--seed"),
        (["inspect", "missing"], 1, "missing"),
    ],
)
def test_a_failure_is_an_object(
    words: list[object],
    exit_status: int,
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out = run([*words, "--json"], monkeypatch, capsys)
    printed = json.loads(out)
    assert (status, printed["command"]) == (exit_status, words[0])
    assert part in printed["error"]
    assert {printed[name] for name in ("unit", "output", "failures")} == {None}
    assert {printed[name] for name in ("inputs", "ok", "failed", "outputs", "seconds")} == {0}
    assert printed["by_status"] == {}
    assert run(words, monkeypatch, capsys) == (exit_status, ""), "without --json stdout is empty"


def test_a_word_behind_two_dashes_is_no_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["rec2folder", "missing", "--", "--json"], monkeypatch, capsys) == (1, "")


def test_a_summary_names_its_unit(
    rec_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["rec2folder", rec_set, tmp_path / "out", "--runner", "serial", "--json", "-q"]
    status, out = run(words, monkeypatch, capsys)
    printed = json.loads(out)
    assert (status, printed["unit"], printed["inputs"]) == (0, "img", 30)


def test_a_run_that_stops_counts_what_it_did(
    rec_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / "set"
    shutil.copytree(rec_set, source)
    with open(source / "train.rec", "r+b") as file:
        file.seek(8000)
        file.write(bytes(4000))
    words = ["rec2folder", source, tmp_path / "out", "--max-failures", 0]
    status, out = run([*words, "--runner", "serial", "--json", "-q"], monkeypatch, capsys)
    printed = json.loads(out)
    assert (status, printed["unit"]) == (1, "img")
    assert "--max-failures allows 0" in printed["error"]
    assert printed["inputs"] == printed["ok"] + printed["failed"]
    assert printed["ok"] > 0
    assert Path(printed["failures"]).read_text().count("\n") == 1 + printed["failed"]


KEYS = {"command", "unit", "inputs", "ok", "failed", "by_status", "outputs", "seconds"} | {
    "output",
    "failures",
}


@pytest.mark.parametrize("command", registry.COMMANDS)
def test_every_command_has_the_same_keys_where_it_fails(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    n_places = len(registry.COMMANDS[command].usage.split())
    words = [command, *["missing"] * n_places, "--json"]
    if command in ("models", "doctor"):
        words += ["--no-such-option"]
    status, out = run(words, monkeypatch, capsys)
    printed = json.loads(out)
    assert status in (1, 2)
    assert set(printed) >= KEYS | {"error"}
    assert printed["command"] == command
    assert list(tmp_path.iterdir()) == [], "a refused run leaves nothing"


def test_every_kind_of_command_has_the_same_keys_where_it_succeeds(
    rec_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Runs share one object, so some of them stand for all; each other command is tried."""
    monkeypatch.chdir(tmp_path)
    table = Embeddings(list("abcd"), list("xxyy"), np.eye(4, dtype=np.float32), Model("m"))
    with Path("e.npz").open("wb") as file:
        write_npz(file, table, Place(""))
    for line, unit, n in (
        (f"inspect {rec_set}", "img", 30),
        ("models", "model", None),
        ("doctor", None, 0),
        (f"rec2folder {rec_set} out --runner serial", "img", 30),
        ("report out", "output", 1),
        ("verify e.npz", "img", 4),
    ):
        status, out = run([*line.split(), "--json", "-q"], monkeypatch, capsys)
        printed = json.loads(out)
        assert status == 0, line
        assert set(printed) >= KEYS and "error" not in printed, line
        assert (printed["command"], printed["unit"]) == (line.split()[0], unit)
        assert n is None or printed["inputs"] == n, line
        assert printed["inputs"] == printed["ok"] + printed["failed"], line
