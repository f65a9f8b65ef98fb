"""`report`: for each kind of run the numbers are those of its files, counted again by other
means.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from faceprep import Align, ExtractPhotos, Folder2Rec, MergeIdentities, Rec2Folder, Report, Score
from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.errors import SourceError
from faceprep.identity.distributions import measure
from faceprep.synthetic import encode_face
from faceprep.synthetic.video import face_box
from faceprep.tables.embeddings import Place, write_npz
from faceprep.video.siw_boxes import face_lines
from tests import manifests
from tests.flat_faces import Flat, flat_detectors, save
from tests.pages.report.pages import Page
from tests.reports import lopsided, report, run
from tests.videos import SIDE, SIZE, extract, film

__all__ = ["flat_detectors", "lopsided"]
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


def agree(reported: dict[str, Any], values: pd.Series) -> None:
    """Check that `reported` agrees with pandas on the values."""
    assert (reported["n"], reported["missing"]) == (values.count(), values.isna().sum())
    for p in PERCENTILES:
        assert reported[f"p{p}"] == pytest.approx(values.quantile(p / 100), rel=1e-6, abs=1e-9)
    assert [reported["min"], reported["mean"], reported["max"]] == pytest.approx(
        [values.min(), values.mean(), values.max()]
    )
    assert sum(reported["counts"]) == values.count()


def test_rec2folder(rec_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(Rec2Folder(), rec_set, out)
    paths = list(out.glob("*/*.jpg"))
    numbers = report(out)
    assert numbers["run"]["by_status"] == {"ok": 30}
    assert numbers["run"]["shards"] == numbers["run"]["shards_done"]
    counted = Counter(path.parent.name for path in paths)
    assert numbers["identities"]["identities"] == len(counted)
    assert numbers["identities"]["largest"] == dict(counted)
    images = [one for one in numbers["storage"]["by_kind"] if one["suffix"] == ".jpg"]
    assert images == [
        {
            "beside": "",
            "suffix": ".jpg",
            "files": 30,
            "bytes": sum(path.stat().st_size for path in paths),
        }
    ]
    assert numbers["crops"]["crops"] == 30
    assert "projected_bytes" not in numbers["storage"]


def test_tails_of_identities(lopsided: Path, tmp_path: Path) -> None:
    run(Folder2Rec(), lopsided, tmp_path / "out")
    numbers = report(tmp_path / "out")["identities"]
    agree(numbers["per_identity"], pd.Series(range(1, 13)))
    assert numbers["with_at_most"] == {"1": 1, "2": 2, "5": 5, "10": 10}
    assert list(numbers["largest"].values()) == [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]
    assert list(numbers["smallest"].items())[:2] == [("p0", 1), ("p1", 2)]


@pytest.mark.usefixtures("flat_detectors")
def test_photos(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    for n in range(12):
        save(photos / f"p{n % 3}" / f"{n}.png", Flat(40, 50, 50 + 5 * n, 0.85 + n / 100))
    save(photos / "p0" / "many.png", Flat(40, 50), Flat(200, 80))
    save(photos / "p0" / "none.png")
    (photos / "p1" / "broken.png").write_bytes(b"not an image")
    summary = run(ExtractPhotos(detector="flat"), photos, out)
    numbers = report(out)
    assert numbers["run"]["by_status"] == dict(summary.by_status)
    table = pd.read_parquet(out / "faces.parquet")
    agree(numbers["faces"]["score"], table["score"])
    agree(
        numbers["faces"]["side"], np.minimum(table["x2"] - table["x1"], table["y2"] - table["y1"])
    )
    agree(numbers["faces"]["yaw"], table["yaw"])
    assert numbers["identities"]["largest"] == {f"p{n}": 4 for n in range(3)}, (
        "those in out_multi are not of the set"
    )
    kinds = {(one["beside"], one["suffix"]): one["files"] for one in numbers["storage"]["by_kind"]}
    assert kinds == {
        ("", ".png"): 12,
        ("_multi", ".png"): 2,
        ("_none", ".png"): 1,
        ("", ".parquet"): 1,
    }
    failures = numbers["failures"]
    assert (failures["failed"], failures["by_status"]) == (1, {"undecodable": 1})
    assert failures["reasons"][0]["examples"][0]["input"] == "p1/broken.png"
    page = Page(out / "report.html")
    crops = [alt for alt in page.pictures if alt.endswith(".png")]
    assert len(crops) > 4 and all(
        (out / path).is_file() or path.startswith("+_multi/") for path in crops
    )


def test_video(tmp_path: Path) -> None:
    source, out = tmp_path / "videos", tmp_path / "out"
    source.mkdir()
    film(source / "whole.mp4", "r" * 8)
    film(source / "half.mp4", "r.r.r.r.")
    film(source / "empty.mp4", "....")
    film(source / "boxed.mp4", "rr......")
    (source / "boxed.face").write_bytes(
        face_lines([face_box(i, SIZE, (SIDE, SIDE)) for i in range(8)])
    )
    summary = extract(source, out)
    numbers = report(out)
    reported = {
        one["video"]: [one[key] for key in ("frames", "detected", "original", "difference")]
        for one in numbers["videos"]["worst"]
    }
    assert reported == {
        "boxed.mp4": [8, 2, 8, 6],
        "empty.mp4": [4, 0, None, 4],
        "half.mp4": [8, 4, None, 4],
        "whole.mp4": [8, 8, None, 0],
    }
    assert list(reported) == ["boxed.mp4", "empty.mp4", "half.mp4", "whole.mp4"], "the worst first"
    for name, row in reported.items():
        assert len(list((out / name.removesuffix(".mp4")).glob("*.png"))) == row[1]
    assert numbers["videos"]["empty_videos"] == ["empty.mp4"]
    assert (
        numbers["videos"]["detected"]
        == summary.by_status["ok"]
        == len(pd.read_parquet(out / "faces.parquet"))
    )
    assert numbers["videos"]["original"] == len(list((tmp_path / "out_original").glob("*/*.png")))
    assert "identities" not in numbers
    frames = pd.read_parquet(out / "frames.parquet")
    lost = frames[frames["status"] != "ok"]
    assert numbers["videos"]["lost"] == len(lost) == 14
    assert numbers["videos"]["reasons"] == [
        {"status": "no_face", "reason": "no face found", "frames": 14, "example": "boxed.mp4#2"}
    ]
    missing = pd.Series([6, 4, 4, 0])
    agree(numbers["videos"]["missing"], missing)
    assert numbers["videos"]["with_at_least"] == {"1": 3, "2": 3, "5": 1}


def test_every_video_is_in_the_table(tmp_path: Path) -> None:
    source, out = tmp_path / "videos", tmp_path / "out"
    for number in range(23):
        film(source / f"{number:02}.mp4", "r" if number % 2 else "b")
    (source / "broken.mp4").write_text("not a video")
    extract(source, out)
    numbers = report(out)
    reported = numbers["videos"]
    assert [one["video"] for one in reported["all"]][:2] == ["00.mp4", "02.mp4"]
    assert len(reported["all"]) == 24 and len(reported["worst"]) == 20
    states = {one["video"]: one["state"] for one in reported["all"]}
    assert (states["broken.mp4"], states["00.mp4"]) == ("undecodable", "no_face_in_video")
    assert reported["reasons"][0]["reason"] == "the highest score is #, below #"
    page = (out / "report.html").read_text()
    assert all(f"{number:02}.mp4" in page for number in range(23))
    answer = "11 of 23 frames of 24 videos have a face; 13 videos failed."
    assert numbers["answer"]["text"] == answer
    texts = Page(out / "report.html").texts
    assert {"11 of 23 frames ok.", "videos failed", "state"} <= set(texts)
    assert "original" not in texts, "no video has a .face file"


def test_rows_of_face_files_are_no_pictures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, out = tmp_path / "videos", tmp_path / "out"
    source.mkdir()
    film(source / "boxed.mp4", "rrrrrrrr")
    film(source / "empty.mp4", "....")
    rows = face_lines([face_box(i, SIZE, (SIDE, SIDE)) for i in range(8)]).splitlines()
    (source / "boxed.face").write_bytes(b"\n".join([*rows[:5], b"garbage", *rows[6:]]) + b"\n")
    extract(source, out)
    run(Align(faces=out / "faces.parquet"), source, tmp_path / "aligned")
    caplog.clear()
    numbers = report(out)
    assert numbers["answer"]["text"].endswith("have a face; 1 .face row and 1 video failed.")
    (step,) = [one for one in Page(out / "report.html").texts if one.startswith("1 .face row (")]
    assert step == "1 .face row (bad face row): row 5: 'garbage': not four numbers"
    assert report(tmp_path / "aligned")["marks"]["examples"], "frames are shown for align too"
    assert not caplog.messages


def test_manifest(lopsided: Path, tmp_path: Path) -> None:
    manifests.run(lopsided, tmp_path / "train.npz", min_images=3)
    numbers = report(tmp_path / "train.npz")
    with np.load(tmp_path / "train.npz") as manifest:
        counted = np.bincount(manifest["image_classes"])
    agree(numbers["identities"]["per_identity"], pd.Series(counted))
    assert (tmp_path / "train.npz.report.html").is_file()
    assert numbers["answer"]["text"] == "75 images of 10 identities written; none failed."
    split = {"min_images": 3, "val_fraction": 0.2}
    manifests.run(lopsided, tmp_path / "part.npz", **split)
    part = report(tmp_path / "part.npz")["answer"]["text"]
    expected = "75 of 78 inputs are ok, and part.npz has 60 images of 10 identities; none failed."
    assert part == expected


def test_scores(lopsided: Path, tmp_path: Path) -> None:
    table = tmp_path / "scores.parquet"
    run(Score(drop_below=("laplacian_variance=500",)), lopsided, table)
    numbers = report(table)
    agree(numbers["crops"]["laplacian_variance"], pd.read_parquet(table)["laplacian_variance"])
    edges, counts = (numbers["crops"]["brightness"][key] for key in ("edges", "counts"))
    for n, low, high in zip(counts, edges, edges[1:], strict=False):
        question = (
            f"select count(*) from '{table}' where brightness >= {low} and brightness < {high}"
        )
        assert n == duckdb.sql(question).fetchall()[0][0]
    asked = f"select identity, count(*) from '{table}' group by 1 order by 2 desc limit 10"
    assert numbers["identities"]["largest"] == dict(duckdb.sql(asked).fetchall())
    decided = len((tmp_path / "scores.plan.jsonl").read_text().splitlines()) - 1
    assert numbers["plan"]["decisions"] == decided > 0
    crops = [
        alt
        for alt in Page(tmp_path / "scores.parquet.report.html").pictures
        if alt.endswith(".jpg")
    ]
    assert crops and all((lopsided / path).is_file() for path in crops), (
        "shown from where they were measured"
    )


def test_scores_of_an_identity_folder(lopsided: Path, tmp_path: Path) -> None:
    """A folder that no run made, with its table."""
    run(Score(), lopsided, tmp_path / "scores.parquet")
    numbers = report(lopsided, scores=tmp_path / "scores.parquet", output=tmp_path / "looked.html")
    assert numbers["identities"]["images"] == numbers["crops"]["crops"] == 78
    assert not (lopsided / "report.html").exists()


def embeddings(tmp_path: Path, model: Model) -> tuple[Path, Embeddings]:
    drawn = np.random.default_rng(1)
    people = np.repeat(np.arange(12), 5)
    vectors = (drawn.normal(size=(12, 16))[people] + 0.4 * drawn.normal(size=(60, 16))).astype(
        np.float32
    )
    names = [f"p{person:02d}" for person in people]
    made = Embeddings([f"{name}/{n}.png" for n, name in enumerate(names)], names, vectors, model)
    with open(tmp_path / "vectors.npz", "wb") as file:
        write_npz(file, made, Place())
    return tmp_path / "vectors.npz", made


def test_embeddings(tmp_path: Path) -> None:
    path, made = embeddings(tmp_path, Model("m", threshold=0.55, origin="measured here"))
    numbers = report(path)["similarity"]
    unit = made.vectors / np.linalg.norm(made.vectors, axis=1, keepdims=True)
    rows, columns = np.triu_indices(60, 1)
    likeness, same = (
        (unit @ unit.T)[rows, columns],
        np.array(made.identities)[rows] == np.array(made.identities)[columns],
    )
    assert (
        numbers["positive"]["pairs"] == same.sum() and numbers["negative"]["pairs"] == (~same).sum()
    )
    assert numbers["positive"]["median"] == pytest.approx(np.median(likeness[same]), abs=0.01)
    assert numbers["negative"]["median"] == pytest.approx(np.median(likeness[~same]), abs=0.01)
    assert (numbers["threshold"], numbers["threshold_origin"]) == (0.55, "measured here")
    svg = next(
        data
        for alt, data in Page(tmp_path / "vectors.npz.report.html").pictures.items()
        if "Similarity" in alt
    )
    assert b"threshold 0.55" in svg


def test_plan(tmp_path: Path) -> None:
    _, made = embeddings(tmp_path, Model("m"))
    summary = {"threshold": 0.7, "images": 60, "likeness": dict(measure(made))}
    decisions = [
        {"action": "merge", "subject": f"p{n:02d}", "into": "p00", "score": 0.6 + n / 50}
        for n in range(1, 9)
    ] + [
        {"action": "merge", "subject": "p09", "into": "p10", "score": 0.65, "verdict": "undecided"}
    ]
    plan = tmp_path / "merged" / "plan.jsonl"
    plan.parent.mkdir()
    lines = [{"kind": "plan", "command": "merge-identities", "summary": summary}, *decisions]
    plan.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for out in (plan, plan.parent):
        numbers = report(out)
        assert numbers["plan"]["by_action"] == [
            {"action": "merge", "verdict": "accepted", "decisions": 8},
            {"action": "merge", "verdict": "undecided", "decisions": 1},
        ]
        assert numbers["plan"]["scores"]["max"] == 0.76
        assert numbers["plan"]["most_merged"] == {"p00": 8}
        assert numbers["similarity"]["positive"] == summary["likeness"]["positive"]  # type: ignore[index]
        assert numbers["similarity"]["threshold"] == 0.7


def test_merge(tmp_path: Path) -> None:
    """A real run: its plan, its set, and how alike its images are."""
    root = tmp_path / "set"
    path, made = embeddings(tmp_path, Model("m"))
    for key in made.keys:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(encode_face(1, 1, ".png"))
    close = Embeddings(
        made.keys, made.identities, made.vectors[np.arange(60) % 30].copy(), made.model
    )
    with open(path, "wb") as file:
        write_npz(file, close, Place(root=str(root)))
    out = tmp_path / "merged"
    summary = run(MergeIdentities(), path, out)
    numbers = report(out)
    decisions = [json.loads(line) for line in (out / "plan.jsonl").read_text().splitlines()][1:]
    counted = Counter((one["action"], one.get("verdict", "accepted")) for one in decisions)
    assert counted[("merge", "accepted")] == 6
    assert {
        (one["action"], one["verdict"]): one["decisions"] for one in numbers["plan"]["by_action"]
    } == counted
    assert numbers["run"]["inputs"] == summary.inputs
    assert numbers["run"]["shards"] == numbers["run"]["shards_done"]
    on_disk = Counter(image.parent.name for image in out.glob("*/*.png"))
    assert numbers["identities"]["largest"] == dict(on_disk)
    assert numbers["identities"]["images"] == 60
    assert numbers["similarity"]["positive"]["pairs"] == 12 * 10


def test_verification(tmp_path: Path) -> None:
    roc = {
        "far": [0.0, 0.01, 0.1, 1.0],
        "tar": [0.2, 0.9, 0.97, 1.0],
        "threshold": [None, 0.5, 0.4, -1.0],
    }
    pairs = {
        "pairs": 6000,
        "accuracy": 0.97,
        "std": 0.01,
        "threshold": 0.45,
        "eer": 0.03,
        "roc": roc,
        "tar_at_far": {"1e-2": 0.9, "1e-6": None},
    }
    searches = {
        "name": "folder",
        "probes": 180,
        "rank": {"1": 0.92, "5": None},
        "tpir_at_fpir": {"1e-1": 0.5},
    }
    reported = {
        "command": "verify",
        "embedder": "x",
        "results": [{"name": "$lfw_<b>", **pairs}, searches],
    }
    (tmp_path / "verify.json").write_text(json.dumps(reported))
    numbers = report(tmp_path / "verify.json")
    assert numbers["verification"]["results"] == reported["results"]
    page = Page(tmp_path / "verify.json.report.html")
    roc_svg, det_svg = (
        next(d for alt, d in page.pictures.items() if alt.startswith(kind))
        for kind in ("ROC", "DET")
    )
    assert b"$lfw_&lt;b&gt;" in roc_svg and b"false rejects" in det_svg
    assert {"97.00%", "90.00%", "-", "92.00%", "50.00%"} <= set(page.texts)
    (tmp_path / "other.json").write_text('{"results": 3}')
    with pytest.raises(SourceError, match="not what verify --json prints"):
        Report().look(tmp_path / "other.json")
