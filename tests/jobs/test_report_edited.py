"""`report` of files that a person edited, or that hold no measurements."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceprep import Report
from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.errors import SourceError
from faceprep.identity.distributions import measure
from tests.reports import report


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ("3", "at results\\[0\\]: expected an object, found 3. Save its output again.$"),
        ('{"pairs": 3}', "at results\\[0\\].name: expected a name, found nothing"),
        ('{"name": "x", "pairs": "3"}', 'pairs: expected a whole number of 0 or more, found "3"'),
        ('{"name": "x", "pairs": 3, "accuracy": 97}', "accuracy: expected 0 to 1, or null, found"),
        ('{"name": "x", "pairs": 3, "threshold": 1e308}', "threshold: expected a similarity"),
        ('{"name": "x", "pairs": 3, "eer": NaN}', "JSON \\(NaN is not a number"),
        ('{"name": "x", "pairs": 3, "roc": {"far": 0.5}}', "roc.far: expected a list of rates"),
        ('{"name": "x", "pairs": 3, "roc": []}', "roc: expected an object, found \\[\\]"),
        ('{"name": "x", "rank": {"1": "a"}}', "rank: expected an object of rates"),
        ('{"name": "x", "pairs": 3, "histogram": {"positive": []}}', "expected from, to, and"),
        ('{"name": "x",\n "pairs": 3', "delimiter at character 12 of line 2"),
    ],
)
def test_a_verification_that_a_person_edited(result: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "verify.json"
    path.write_text(f'{{"results": [{result}]}}')
    with pytest.raises(SourceError, match=f"^{path}: not .*{told}"):
        Report().look(path)


@pytest.mark.parametrize(
    ("summary", "told"),
    [
        ([], "summary: expected an object"),
        ({"threshold": 1e308}, "summary.threshold: expected a similarity"),
        ({"likeness": {"images": 3}}, "summary.likeness: expected images, .*, found no of_images"),
        ({"likeness": 3}, "summary.likeness: expected an object, found 3"),
    ],
)
def test_the_header_of_a_plan_that_a_person_edited(
    summary: object, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "plan.jsonl"
    path.write_text(json.dumps({"kind": "plan", "command": "dedupe", "summary": summary or [0]}))
    with pytest.raises(SourceError, match=f"^{path}: not the header of a plan at {told}"):
        Report().look(path)


def test_the_pairs_of_an_identity_with_many_images(tmp_path: Path) -> None:
    """An identity of 100,000 images has five billion pairs."""
    n_pairs = 100_000 * 99_999 // 2
    one = Embeddings(["a/1"], ["a"], np.eye(1, 4, dtype=np.float32), Model())
    likeness = dict(measure(one)) | {"positive": {"pairs": n_pairs, "median": 0.5}}
    header = {"kind": "plan", "summary": {"threshold": 0.7, "likeness": likeness}}
    path = tmp_path / "plan.jsonl"
    path.write_text(json.dumps(header))
    assert report(path)["similarity"]["positive"]["pairs"] == n_pairs
    likeness["positive"] = {"pairs": 0.5}
    path.write_text(json.dumps(header))
    with pytest.raises(SourceError, match="likeness.positive.pairs: expected a whole number"):
        Report().look(path)


@pytest.mark.parametrize("score", ["1e308", "-1e308", "1" + 300 * "0", "3"])
@pytest.mark.parametrize("images", ['"x"', "true", "[]", '["a", 3]', '{"a": 1}', '["a", "b", "c"]'])
def test_decisions_that_a_person_edited(score: str, images: str, tmp_path: Path) -> None:
    evidence = f'{{"person": "x", "images": {images}}}'
    lines = ['{"kind": "plan"}', '{"action": "drop", "subject": "a", "score": -1e308}']
    lines.append(f'{{"action": "drop", "subject": "b", "score": {score}, "evidence": {evidence}}}')
    (tmp_path / "plan.jsonl").write_text("\n".join(lines))
    numbers = report(tmp_path / "plan.jsonl")["plan"]
    assert numbers["decisions"] == 2 and numbers["scores"]["n"] == (score == "3")
    assert numbers["overlap"][0]["images"] is None


def test_a_likeness_that_a_person_edited(tmp_path: Path) -> None:
    (tmp_path / "plan.jsonl").write_text('{"kind": "plan"}\n')
    path = tmp_path / "likeness.jsonl"
    for text in ("", "[]", '{"images": 1', '{"images": 1}', '{"images": "x"}'):
        path.write_text(text)
        with pytest.raises(SourceError, match=f"^{path}: not "):
            Report().look(tmp_path / "plan.jsonl")


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"identity": [["a"]]}, "cannot be read as Parquet: .* Make the file again"),
        ({"path ": ["a"]}, "columns with one name: expected one column path, found 2"),
        ({"smd": [0.5], "smd ": [0.5]}, "columns with one name: expected one column smd, found 2"),
    ],
)
def test_scores_with_odd_columns(columns: dict[str, list[Any]], told: str, tmp_path: Path) -> None:
    """A name that ends in a space stands for a second column of the name."""
    sound = {"path": ["a/1.png"], "identity": ["a"], "laplacian_variance": [3.0]}
    table = pa.table(sound | columns)
    table = table.rename_columns([name.strip() for name in table.column_names])
    pq.write_table(table, tmp_path / "scores.parquet")
    with pytest.raises(SourceError, match=told):
        Report().look(tmp_path / "scores.parquet")


def test_scores_that_are_no_measurements(tmp_path: Path) -> None:
    columns = {"path": ["a/1.png", "a/2.png"], "identity": ["a", "a"]}
    columns |= {"laplacian_variance": [3.0, 1e308], "smd": [1e308, -1e308], "tenengrad": [1.0, 2.0]}
    pq.write_table(pa.table(columns), tmp_path / "scores.parquet")
    measures = report(tmp_path / "scores.parquet")["crops"]["measures"]
    assert {name: stats["n"] for name, stats in measures.items()} == {
        "laplacian_variance": 1,
        "tenengrad": 2,
    }
