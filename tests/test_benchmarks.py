"""The benchmarks: the texts hold what the results say, and the runner measures a topic."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import texts
from benchmarks.results import RESULTS, Results, load_results
from benchmarks.topics import HERE, TOPICS, fill_words, script_of, sentence_of
from faceprep.models.embedders.dlib_resnet import ORIGIN
from tests.real import ROOT

_HELPERS = {
    "figures",
    "follow_speed",
    "landmark_faces",
    "machine",
    "passages",
    "results",
    "scale",
    "texts",
    "timing",
    "topics",
}


def test_every_text_is_what_the_results_generate() -> None:
    """Run `python -m benchmarks.texts` where this fails."""
    for path, text in texts.pages(load_results(RESULTS)).items():
        assert path.read_text() == text, path.name


def test_the_origin_of_the_thresholds_says_what_was_measured() -> None:
    results = load_results(RESULTS)
    att = "thresholds > att, 199 images of 20 people"
    desk = "thresholds > registration, 16 images of 5 people, cosine"
    at_least = f"{att}, cosine > at least 0.92"
    figures = (
        f"at most {{{att}, cosine > highest, different people > similarity}};",
        f"{{{at_least} > pairs of one person:%}}",
        f"{{{at_least} > pairs of different people:%}}",
        f"at most {{{att}, angles > to its own centre > highest}} degrees",
        f"{{{att}, angles > to other centres > median}} from others",
        f"has at least {{{desk} > lowest, one person > similarity}},",
        f"at most {{{desk} > highest, different people > similarity}};",
    )
    for figure in map(results.fill, figures):
        assert figure in ORIGIN, figure


def test_every_topic_has_a_script_a_sentence_and_a_result() -> None:
    scripts = {path.stem for path in HERE.glob("*.py")} - _HELPERS - {"__init__", "__main__"}
    assert {script_of(name).stem for name in TOPICS} == scripts
    assert [name for name in TOPICS if not sentence_of(name).endswith(".")] == []
    assert {path.stem for path in RESULTS.glob("*.json")} == set(TOPICS)


def test_scripts_print_no_figures_of_their_own() -> None:
    """Figures go through `show_table`, so that the runner records them."""
    printing = []
    for name in TOPICS:
        for node in ast.walk(ast.parse(script_of(name).read_text())):
            text = ast.unparse(node)
            is_print = isinstance(node, ast.Call) and text.startswith("print(")
            if is_print and ":." in text and "stderr" not in text:
                printing.append(f"{name}: {text}")
    assert printing == []


def test_words_with_missing_places_are_left_out() -> None:
    assert fill_words("--dir {dir} [--x {mxnet}] -q", {"dir": "/d"}) == (
        ["--dir", "/d", "-q"],
        ["mxnet"],
    )
    with pytest.raises(KeyError, match="data"):
        fill_words("{data} -q", {})


def test_a_reference_without_a_figure_is_named() -> None:
    table = {"title": "t", "note": "2 items", "rows": {"a": {"seconds": 1234.5, "share": 0.017}}}
    results = Results({"x": {"tables": [table]}})
    assert results.fill("{x > t > a > seconds} s, {x > t > note}") == "1,234 s, 2 items"
    assert results.fill("{x > t > a > share:%} of {x > t > note}") == "1.7 % of 2 items"
    with pytest.raises(LookupError, match="x > t > b > seconds"):
        results.number("x > t > b > seconds")


def test_the_runner_measures_a_topic_and_names_what_is_missing(tmp_path: Path) -> None:
    words = ["tar-index", "turns", "--quick", "--dir", tmp_path, "--results", tmp_path / "results"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "turns: left out: `{data}` needs --data" in done.stdout
    (path,) = (tmp_path / "results").iterdir()
    result = json.loads(path.read_text())
    assert {"cores", "processor", "memory_gib"} <= set(result["machine"])
    assert "numpy" in result["versions"] and len(result["load"]) == 2
    assert result["tables"][0]["rows"]["faceprep, index"]["seconds"] > 0
    assert "faceprep, index" in done.stdout


def test_an_unknown_topic_is_one_line() -> None:
    words = [sys.executable, "-m", "benchmarks", "convrt"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "unknown topic 'convrt'" in done.stderr.splitlines()[-1]
