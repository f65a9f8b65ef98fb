"""score: a row a crop, the same bytes whatever the workers; plans delete nothing; one bad image
is an Outcome.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from faceprep.cli.build import command_for
from faceprep.core.errors import OptionError, OutputError, SourceError
from faceprep.core.types import REFUSED, Request, Summary
from faceprep.jobs import score
from faceprep.jobs.score import Score, plan_drops
from faceprep.run.engine import run_job
from faceprep.run.processes import ProcessRunner
from faceprep.run.serial import SerialRunner
from faceprep.sets.folder import find_identities
from faceprep.sets.listing import list_images
from faceprep.steps.listed_set import fingerprint_of
from faceprep.synthetic import draw_face
from faceprep.tables.plan import read_plan, write_plan
from faceprep.vision.codec import decode, encode
from faceprep.vision.pose import estimate_pose
from faceprep.vision.quality import MEASURES, measure_crop
from tests.failures import read_failures
from tests.fakes import results
from tests.heads import turned_head

BAD = {"empty.png": b"", "text.jpg": b"hello", "cut.jpg": encode(draw_face(1, 1)[0], ".jpg")[:900]}


def run(
    source: Path, output: Path, workers: int = 0, limit: int | None = None, **options: Any
) -> Summary:
    runner = ProcessRunner(workers) if workers else SerialRunner()
    return run_job(Score(**options), Request((source,), output, limit=limit), runner)


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 people with 4 crops each, every second one blurred."""
    root = tmp_path_factory.mktemp("crops")
    for identity in "abc":
        (root / identity).mkdir()
        for image in range(4):
            pixels = draw_face(ord(identity), image)[0]
            pixels = cv2.GaussianBlur(pixels, (0, 0), 3) if image % 2 else pixels
            (root / identity / f"{image}.png").write_bytes(encode(pixels, ".png"))
    return root


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def test_one_row_a_crop_with_all_measures(crops: Path, tmp_path: Path) -> None:
    summary = run(crops, tmp_path / "out.parquet")
    assert summary.inputs == summary.ok == 12 and summary.outputs == 1
    rows = rows_of(tmp_path / "out.parquet")
    assert [row["path"] for row in rows] == [
        f"{identity}/{image}.png" for identity in "abc" for image in range(4)
    ]
    assert list(rows[0]) == ["path", "identity", "height", "width", *MEASURES]
    for row in rows:
        assert row["identity"] == row["path"][0] and (row["height"], row["width"]) == (112, 112)
        expected = measure_crop(decode((crops / row["path"]).read_bytes()))
        assert {name: row[name] for name in MEASURES} == expected


def test_same_bytes_whatever_the_workers(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "_SHARD", 5)
    for name, workers in (("one", 0), ("two", 2)):
        (tmp_path / name).mkdir()
        run(crops, tmp_path / name / "out.parquet", workers, drop_below=("smd=5",))
    assert results(tmp_path / "one") == results(tmp_path / "two")


def test_a_flat_folder_and_a_limit(crops: Path, tmp_path: Path) -> None:
    assert run(crops / "a", tmp_path / "out.parquet", limit=3).inputs == 3
    assert [(row["path"], row["identity"]) for row in rows_of(tmp_path / "out.parquet")] == [
        (f"{image}.png", "") for image in range(3)
    ]


def test_bad_images_are_named_and_cost_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "crops" / "a"
    folder.mkdir(parents=True)
    for name, data in (BAD | {"good.png": encode(draw_face(1, 1)[0], ".png")}).items():
        (folder / name).write_bytes(data)
    summary = run(tmp_path / "crops", tmp_path / "out.parquet")
    assert summary.by_status == {"ok": 1, "undecodable": 3}
    assert [row["path"] for row in rows_of(tmp_path / "out.parquet")] == ["a/good.png"]
    failed = {row["input"] for row in read_failures(tmp_path / "out.parquet")}
    assert failed == {f"a/{name}" for name in BAD}


def test_a_name_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "crops").mkdir()
    for name in (b"\xff.png", b"a.png"):
        (tmp_path / "crops" / os.fsdecode(name)).write_bytes(encode(draw_face(1, 1)[0], ".png"))
    assert run(tmp_path / "crops", tmp_path / "out.parquet").by_status == {"bad_name": 1, "ok": 1}


def test_an_identity_that_is_no_text_costs_its_images_alone(tmp_path: Path) -> None:
    identities = pa.array([b"\xff\xfe", b"b"]).view(pa.string())
    image = encode(draw_face(1, 1)[0], ".png")
    columns = {"key": ["1", "2"], "identity": identities, "image": [image, image]}
    pq.write_table(pa.table(columns), tmp_path / "set.parquet")
    counts = run(tmp_path / "set.parquet", tmp_path / "out.parquet").by_status
    assert counts == {"bad_name": 1, "ok": 1}


def test_none_sound_is_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / "a.png").write_bytes(b"")
    assert run(tmp_path / "crops", tmp_path / "out.parquet", drop_below=("smd=5",)).failed == 1
    assert rows_of(tmp_path / "out.parquet") == []
    assert list(read_plan(tmp_path / "out.plan.jsonl")[1]) == []


# Plans


def test_plan_names_the_blurred_ones_and_deletes_nothing(crops: Path, tmp_path: Path) -> None:
    before = results(crops)
    summary = run(
        crops, tmp_path / "out.parquet", drop_below=("laplacian_variance=200", "brightness=1")
    )
    assert summary.outputs == 2 and results(crops) == before
    judged, decisions = read_plan(tmp_path / "out.plan.jsonl")
    table = (tmp_path / "out.parquet").read_bytes()
    assert dict(judged) | {"digest": ""} == {
        "kind": "plan",
        "digest": "",
        "command": "score",
        "source": str(crops),
        "fingerprint": fingerprint_of(crops, list_images(find_identities(crops))),
        "table": "out.parquet",
        "sha256": hashlib.sha256(table).hexdigest(),
        "options": {"drop_below": ["laplacian_variance=200", "brightness=1"]},
    }
    scores = {row["path"]: row["laplacian_variance"] for row in rows_of(tmp_path / "out.parquet")}
    found = list(decisions)
    assert summary.details["dropped"] == len(found) == 6
    assert Score().sentence(summary.details) == "the plan drops 6 images; apply carries it out"
    assert {decision.subject for decision in found} == {
        path for path, value in scores.items() if value < 200
    }
    assert {decision.subject for decision in found} == {
        f"{identity}/{i}.png" for identity in "abc" for i in (1, 3)
    }
    for decision in found:
        value = scores[decision.subject]
        assert decision.action == "drop" and decision.score == value
        assert decision.reason == f"laplacian_variance {value:.3g} < 200"
    line = json.loads((tmp_path / "out.plan.jsonl").read_text().splitlines()[1])
    assert list(line) == ["action", "subject", "score", "reason"]
    reviewed = [found[0]._replace(verdict=REFUSED), *found[1:]]
    with (tmp_path / "out.plan.jsonl").open("wb") as file:
        write_plan(file, judged, reviewed)
    limited = Score(drop_below=("laplacian_variance=200",))
    assert limited.details(tmp_path / "out.parquet") == {"dropped": 5}


def test_reasons_have_no_exponents() -> None:
    values = (1832.4, 99_999.7, 0.00002, 1e300)
    rows = iter([{"path": "a", "tenengrad": value} for value in values])
    reasons = [one.reason for one in plan_drops(rows, ["tenengrad=100000"], ["tenengrad=1e5"])]
    assert reasons[:3] == [
        "tenengrad 1,832 < 100,000",
        "tenengrad 99,999.7 < 100,000",
        "tenengrad 0.00002 < 100,000",
    ]
    assert reasons[3].startswith("tenengrad 1,000,000") and reasons[3].endswith(" > 100,000")


def test_what_is_above_a_limit_is_dropped_too(crops: Path, tmp_path: Path) -> None:
    run(crops, tmp_path / "plain.parquet")
    values = sorted(row["brightness"] for row in rows_of(tmp_path / "plain.parquet"))
    low, high = values[2], values[-3]
    limits = {"drop_below": (f"brightness={low!r}",), "drop_above": (f"brightness={high!r}",)}
    run(crops, tmp_path / "out.parquet", **limits)
    judged, decisions = read_plan(tmp_path / "out.plan.jsonl")
    assert judged["options"] == {name: list(given) for name, given in limits.items()}
    scores = {row["path"]: row["brightness"] for row in rows_of(tmp_path / "out.parquet")}
    found = {decision.subject: decision.reason for decision in decisions}
    assert found.keys() == {path for path, value in scores.items() if value < low or value > high}
    assert all((">" in reason) == (scores[path] > high) for path, reason in found.items())
    with pytest.raises(OptionError, match="--drop-above: expected MEASURE=VALUE"):
        Score(drop_above=("yaw=3",))


@pytest.mark.parametrize(
    "text", ["", "smd", "smd=", "smd=x", "smd=nan", "sharpness=3", "yaw=3", "=4"]
)
def test_limits_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(
        OptionError, match="--drop-below: expected MEASURE=VALUE with one of laplacian_variance"
    ):
        Score(drop_below=(text,))


def test_the_option_may_be_repeated_on_the_command_line(crops: Path, tmp_path: Path) -> None:
    arguments = [str(crops), str(tmp_path / "out.parquet"), "--runner", "serial"]
    arguments += ["--drop-below", "smd=3", "--drop-below", "variance=10"]
    done = CliRunner().invoke(command_for("score"), arguments, standalone_mode=False)
    assert done.return_value == 0 and not done.exception
    assert read_plan(tmp_path / "out.plan.jsonl")[0]["options"] == {
        "drop_below": ["smd=3", "variance=10"]
    }


# Pose


def test_pose_comes_from_the_table_of_faces(
    crops: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    turned = {f"b/{i}.png": turned_head(yaw=20 * i, roll=5 * i) * 2 + 100 for i in range(3)}
    turned |= {"not/there.png": turned_head(), "c/0.png": np.zeros((5, 2))}
    turned |= {"c/1.png": np.full((5, 2), np.inf)}
    heads = {path: head.astype(np.float32) for path, head in turned.items()}
    table = {
        "output": list(heads),
        "landmarks": [list(head.ravel()) for head in heads.values()],
        "score": [1.0] * 6,
    }
    pq.write_table(pa.table(table), tmp_path / "faces.parquet")
    run(crops, tmp_path / "out.parquet", faces=tmp_path / "faces.parquet", drop_below=("roll=-7",))
    rows = {row["path"]: row for row in rows_of(tmp_path / "out.parquet")}
    assert len(rows) == 12
    for path, row in rows.items():
        if path in heads and path[0] != "c":
            pose = estimate_pose(heads[path][None])
            assert (row["roll"], row["lean"], row["yaw"]) == (
                pose.roll[0],
                pose.lean[0],
                pose.yaw[0],
            )
        else:
            assert row["roll"] is row["lean"] is row["yaw"] is None
    assert [decision.subject for decision in read_plan(tmp_path / "out.plan.jsonl")[1]] == [
        "b/2.png"
    ]
    assert "faces.parquet: lacks 7 of 12 images: their pose is left empty" in caplog.text


def test_tables_of_something_else_are_refused(crops: Path, tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"output": ["x.png"], "landmarks": [[0.0] * 10]}), tmp_path / "other.parquet"
    )
    pq.write_table(pa.table({"output": ["a/0.png"]}), tmp_path / "lacking.parquet")
    rows = {"short": [0.0] * 8, "null": None, "hole": [None] * 10}
    for name, landmarks in rows.items():
        column = pa.array([[0.0] * 10, landmarks], pa.list_(pa.float32()))
        table = pa.table({"output": ["a/0.png", "x.png"], "landmarks": column})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    for name, problem in (
        ("other", "is about other images"),
        ("lacking", "not a table of faces: .* found no landmarks"),
        ("short", "cannot be read as Parquet: .* lists are all the expected size"),
        ("null", "a row without landmarks"),
        ("hole", "a row without landmarks"),
        ("text", "cannot be read"),
    ):
        with pytest.raises(SourceError, match=f"{name}.parquet: {problem}"):
            run(crops, tmp_path / "out.parquet", faces=tmp_path / f"{name}.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_refused_outputs_and_sources(crops: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="expected OUT.parquet, found out.csv"):
        run(crops, tmp_path / "out.csv")
    with pytest.raises(OutputError, match="the output would be inside the input"):
        run(crops, crops / "out.parquet")
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match="no images in it"):
        run(tmp_path / "none", tmp_path / "out.parquet")
