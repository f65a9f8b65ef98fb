"""`report` on outputs of every kind: unfinished, hostile, damaged, in shards, of a table alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faceprep import Convert, ExtractPhotos, Folder2Rec, Rec2Folder, Report, Score
from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.errors import MissingExtra, OptionError, SourceError
from faceprep.sets.recordio.records import MAGIC_BYTES
from faceprep.synthetic import encode_face, write_folder
from faceprep.tables.embeddings import Place, write_npz
from tests.fakes import opened
from tests.flat_faces import Flat, flat_detectors, save
from tests.pages.report.pages import Page
from tests.reports import lopsided, report, run

__all__ = ["flat_detectors", "lopsided"]


def test_unfinished_run_is_projected(
    rec_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceprep.jobs.rec2folder._SHARD", 5)
    out = tmp_path / "out"
    run(Rec2Folder(), rec_set, out)
    whole = report(out)
    pages = sorted((opened(out) / "ledger").glob("0*.jsonl"))
    for page in pages[len(pages) // 2 :]:
        page.unlink()
    half = report(out)
    assert (half["run"]["shards"], half["run"]["shards_done"]) == (len(pages), len(pages) // 2)
    assert half["storage"]["projected_bytes"] == half["storage"]["bytes"] * len(pages) / (
        len(pages) // 2
    )
    assert half["storage"]["bytes"] < whole["storage"]["bytes"]
    assert "not finished" in (out / "report.html").read_text()


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a&b;'",
    "$\\frac{$",
    "—ß人",
]


def test_hostile_names(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for n, name in enumerate(HOSTILE):
        (root / name.replace("/", "∕")).mkdir(parents=True)
        (root / name.replace("/", "∕") / "<b>1.jpg").write_bytes(encode_face(n, 1))
    (root / os.fsdecode(b"\xff")).mkdir()
    (root / os.fsdecode(b"\xff") / "1.jpg").write_bytes(encode_face(1, 1))
    (root / "tab\tand\x01").mkdir()
    (root / "tab\tand\x01" / "1.jpg").write_bytes(encode_face(1, 2))
    (root / "p").mkdir()
    (root / "p" / "<script>bad.jpg").write_bytes(b"not an image")
    run(Folder2Rec(), root, tmp_path / "out")
    numbers = report(tmp_path / "out")
    assert {name.replace("/", "∕") for name in HOSTILE} <= set(numbers["identities"]["largest"])
    page = Page(tmp_path / "out" / "report.html").judge()
    assert "<script>alert(1)<∕script>" in page.texts, "as text"
    assert {"p/<script>bad.jpg", "tab·and·/1.jpg"} <= set(page.texts), "both failed"


def test_crops_are_taken_from_the_output_only(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(encode_face(1, 1, ".png"))
    out = tmp_path / "out"
    out.mkdir()
    known = {name: [1.0] for name in ("x1", "y1")} | {name: [60.0] for name in ("x2", "y2")}
    known |= {"score": [0.9], "roll": [0.0], "yaw": [0.0]}
    for path in ("../secret.png", str(secret), "+_x/../secret.png"):
        pd.DataFrame(known | {"output": [path]}).to_parquet(out / "faces.parquet")
        numbers = report(out)
        assert numbers["faces"]["faces"] == 1
        assert not [alt for alt in Page(out / "report.html").pictures if alt.endswith("secret.png")]


@pytest.mark.usefixtures("flat_detectors")
def test_a_photo_whose_name_is_not_utf8_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "photos" / os.fsdecode(b"\xff")
    folder.mkdir(parents=True)
    save(folder / os.fsdecode(b"\xe9.png"), Flat(40, 40))
    run(ExtractPhotos(), tmp_path / "photos", tmp_path / "out")
    found = Report().look(tmp_path / "out").as_json()
    assert found["pictures_left_out"]["count"] == 0
    page = Page(tmp_path / "out" / "report.html").judge()
    assert [alt for alt in page.pictures if alt.endswith("as it was given")]


def test_the_answer_names_what_the_page_leaves_out(rec_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(Rec2Folder(), rec_set, out)
    assert Report().look(out).as_json()["pictures_left_out"] == {"count": 0, "such_as": []}
    for name in ("0/1.jpg", "0/2.jpg"):
        (out / name).write_bytes(b"damaged")
    found = Report().look(out).as_json()["pictures_left_out"]
    assert found["count"] == 2 and found["such_as"][0].startswith("0/1.jpg: not an image")


def test_no_run_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "set", 1, 1)
    with pytest.raises(SourceError, match="nothing to report: no faceprep run is recorded here"):
        Report().look(tmp_path / "set")
    monkeypatch.chdir(tmp_path / "set")
    for place in ("/", "."):
        with pytest.raises(SourceError, match="nothing to report"):
            Report().look(place)
    with pytest.raises(SourceError, match="no such file or folder"):
        Report().look(tmp_path / "none")
    with pytest.raises(OptionError, match="--output is an HTML file"):
        Report(output=tmp_path / "a.txt").look(tmp_path / "set")
    command = [sys.executable, "-m", "faceprep", "report", str(tmp_path / "set")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("bad.csv", b"image_names,e0,e0\n", "columns with one name at line 1"),
        ("bad.npz", b"text", "not a zip file"),
        ("bad.npz", bytes(257) + b"ustar", r"the file is a \.tar"),
        ("bad.csv", MAGIC_BYTES + bytes(16), r"the file is a \.rec"),
        ("bad.txt", b"PAR1" + bytes(16), r"the file is a \.parquet"),
    ],
)
def test_files_that_are_no_embeddings_are_named(
    name: str, data: bytes, problem: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=problem):
        Report().look(tmp_path / name)


def test_the_same_bytes_each_time(rec_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(Rec2Folder(), rec_set, out)
    pages = []
    for _ in range(2):
        command = [sys.executable, "-m", "faceprep", "report", str(out), "--json"]
        reported = json.loads(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout
        )
        pages.append([Path(reported[name]).read_bytes() for name in ("output", "numbers")])
    assert pages[0] == pages[1]
    again = run(Rec2Folder(), rec_set, out)
    assert again.details["done_before"] == 30, "a report is in nobody's way"


def test_without_matplotlib(rec_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(Rec2Folder(), rec_set, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'faceprep\[report\]'"):
        Report().look(tmp_path / "out")


def test_damaged_notes_are_skipped(
    rec_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceprep.jobs.rec2folder._SHARD", 5)
    out = tmp_path / "out"
    run(Rec2Folder(), rec_set, out)
    n_inputs = report(out)["run"]["inputs"]
    pages = sorted((opened(out) / "ledger").glob("0*.jsonl"))
    pages[0].write_bytes(pages[0].read_bytes()[:20])
    assert 0 < report(out)["run"]["inputs"] < n_inputs
    (out / ".faceprep" / "run.json").write_text("[")
    assert report(out)["run"]["command"] == ""


@pytest.mark.parametrize("name", ["out.tar", "out.parquet", "out.rec", "out"])
def test_an_output_of_any_kind(name: str, lopsided: Path, tmp_path: Path) -> None:
    run(Convert(allow_loss=True), lopsided, tmp_path / name)
    numbers = report(tmp_path / name)
    assert (numbers["identities"]["identities"], numbers["identities"]["images"]) == (12, 78)
    assert numbers["crops"]["crops"] == 78
    target = tmp_path / name / "report.html"
    if (tmp_path / name).is_file():
        target = tmp_path / f"{name}.report.html"
    assert target.read_text().count("data:image/jpeg") > 0


def test_a_set_in_shards(lopsided: Path, tmp_path: Path) -> None:
    run(Convert(shards=3), lopsided, tmp_path / "out.tar")
    whole, shard = (report(tmp_path / name) for name in ("out.tar", "out-00000-of-00003.tar"))
    assert whole["identities"] == shard["identities"] and whole["crops"] == shard["crops"]
    assert whole["run"]["inputs"] == shard["run"]["inputs"] == 78


def test_scores_of_a_container_have_pictures(lopsided: Path, tmp_path: Path) -> None:
    run(Convert(), lopsided, tmp_path / "in.tar")
    run(Score(), tmp_path / "in.tar", tmp_path / "s.parquet")
    report(tmp_path / "s.parquet")
    page = tmp_path / "s.parquet.report.html"
    assert "data:image/jpeg" in page.read_text()


@pytest.mark.usefixtures("flat_detectors")
def test_a_table_of_faces_alone(tmp_path: Path) -> None:
    save(tmp_path / "src" / "ann" / "1.png", Flat(40, 50, 60))
    job = ExtractPhotos(detector="flat")
    run(job, tmp_path / "src", tmp_path / "out")
    whole, table = (report(path) for path in (tmp_path / "out", tmp_path / "out/faces.parquet"))
    assert table["faces"] == whole["faces"] and table["crops"] == whole["crops"]


def test_embeddings_have_a_table_of_identities(tmp_path: Path) -> None:
    rows = np.array([[1, 0], [3, 4], [0, 1]], np.float32)
    with (tmp_path / "e.npz").open("wb") as file:
        write_npz(file, Embeddings(["a/1", "a/2", "b/1"], ["a", "a", "b"], rows, Model()), Place())
    made = Report().look(tmp_path / "e.npz")
    numbers = json.loads(made.numbers_path.read_bytes())
    assert numbers["identity_similarity"]["within"]["n"] == 1
    table = tmp_path / "e.npz.report.identities.csv"
    assert made.as_json()["tables"] == [str(table)] and made.as_json()["outputs"] == 3
    assert str(made).endswith(f".report.json and {table}")
    text = table.read_text()
    assert text == "identity,images,within,nearest,similarity\na,2,0.6,b,0.4\nb,1,,a,0.4\n"


@pytest.mark.parametrize("kind", ["folder", ".tar"])
def test_tables_of_another_set(
    kind: str, lopsided: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_folder(tmp_path / "other", 3, 2)
    looked_at = lopsided
    if kind == ".tar":
        looked_at = tmp_path / "set.tar"
        run(Convert(), lopsided, looked_at)
    for source, n_warnings in ((lopsided, 0), (tmp_path / "other", 2)):
        scores, vectors = (tmp_path / f"{source.name}{suffix}" for suffix in (".parquet", ".npz"))
        run(Score(), source, scores)
        keys = [path.relative_to(source).as_posix() for path in source.glob("*/*.*")]
        made = Embeddings(keys, ["a"] * len(keys), np.eye(len(keys), dtype=np.float32), Model())
        with vectors.open("wb") as file:
            write_npz(file, made, Place())
        caplog.clear()
        report(looked_at, scores=scores, embeddings=vectors, output=tmp_path / "a.html")
        assert caplog.text.count("most of its names are not in the set") == n_warnings


@pytest.mark.parametrize("column", ["path", "identity"])
def test_a_table_of_scores_that_lacks_a_column(lopsided: Path, tmp_path: Path, column: str) -> None:
    table = tmp_path / "scores.parquet"
    run(Score(), lopsided, table)
    pd.read_parquet(table).drop(columns=column).to_parquet(table)
    with pytest.raises(SourceError, match=f"lacks {column}: expected the columns path, identity"):
        Report(scores=table, output=tmp_path / "r.html").look(lopsided)
