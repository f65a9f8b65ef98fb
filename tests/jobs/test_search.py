"""search: sets and embeddings on either side, killed runs, faults that are named, reports."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.io.csv import csv_bytes
from faceprep.core.types import Request, Summary
from faceprep.identity.search import find_closest
from faceprep.identity.vectors import prepare
from faceprep.jobs.convert import Convert
from faceprep.jobs.inspect.job import Inspect
from faceprep.jobs.report import Report
from faceprep.jobs.search import Search
from faceprep.run.engine import run_job
from faceprep.run.preview import preview_job
from faceprep.run.serial import SerialRunner
from faceprep.tables.embeddings import Place, write_npz
from faceprep.tables.matches import Match, is_matches, read_matches
from tests.color_people import BLACK, GREEN, ORANGE, RED, Colors, color_embedders, paint
from tests.fakes import before_changes, killed_before, start, status_of, tree
from tests.merging import SET, source
from tests.merging import embed as embed_colors
from tests.reports import report

__all__ = ["color_embedders", "source"]
pytestmark = pytest.mark.usefixtures("color_embedders")


NAMED = replace(Colors.model, fingerprint="colors/of-arcface-112")


def embed(source: Path, file: Path, **changed: Any) -> Path:
    return embed_colors(source, file, **{"model": NAMED} | changed)


def search(
    probes: Path, gallery: Path, output: Path, limit: int | None = None, **options: Any
) -> Summary:
    if probes.suffix != ".npz" or gallery.suffix != ".npz":
        options = {"embedder": "colors"} | options
    job = Search(**options)
    return run_job(job, Request((probes, gallery), output, limit=limit), SerialRunner())


@pytest.fixture
def probes(tmp_path: Path) -> Path:
    for name, color in {"x.png": RED, "y.png": ORANGE, "z.png": GREEN}.items():
        paint(tmp_path / "probes" / name, color)
    return tmp_path / "probes"


def test_the_columns(probes: Path, source: Path, tmp_path: Path) -> None:
    before = tree(source)
    summary = search(probes, source, tmp_path / "out.csv", top=2)
    assert (summary.unit, summary.inputs, summary.ok, summary.failed) == ("probe", 3, 3, 0)
    assert summary.others == {"gallery image": {"ok": 9}}
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["probe", "rank", "identity", "similarity", "image", "margin"]
    assert [(row["probe"], row["rank"]) for row in rows[::2]] == [
        ("x.png", "1"),
        ("y.png", "1"),
        ("z.png", "1"),
    ]
    assert {row["identity"] for row in rows[:2]} == {"a", "b"}
    assert (rows[2]["identity"], rows[2]["image"]) == ("d", "d/1.png")
    assert (rows[4]["identity"], rows[4]["image"]) == ("c", "c/1.png")
    assert float(rows[2]["margin"]) == pytest.approx(
        float(rows[2]["similarity"]) - float(rows[3]["similarity"])
    )
    assert tree(source) == before


def test_a_dry_run_counts_the_probes(source: Path, probes: Path, tmp_path: Path) -> None:
    vectors = embed(source, tmp_path / "vectors.npz")
    for first, second, n in ((probes, source, 3), (vectors, source, 9), (vectors, vectors, 9)):
        job = Search() if second == vectors else Search(embedder="colors")
        planned = preview_job(job, Request((first, second), tmp_path / "out.csv"))
        assert (planned.unit, planned.inputs) == ("probe", n)


@pytest.mark.parametrize("kind", ["folder", "npz", "tar"])
def test_a_set_in_itself_finds_each_image_first(
    kind: str, source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = source
    if kind == "npz":
        path = embed(source, tmp_path / "set.npz")
    elif kind == "tar":
        path = tmp_path / "set.tar"
        run_job(Convert(), Request((source,), path), SerialRunner())
    search(path, path, tmp_path / "out.parquet", top=1)
    rows = list(read_matches(tmp_path / "out.parquet"))
    assert len(rows) == 9 and all(row.probe == row.image for row in rows)
    assert "the same set, so each probe finds itself first" in caplog.text


def test_another_embedder_in_the_same_output(source: Path, probes: Path, tmp_path: Path) -> None:
    """What a process has loaded of one model is not taken for that of another."""
    search(probes, source, tmp_path / "out.csv")
    request = Request((probes, source), tmp_path / "out.csv", overwrite=True)
    run_job(Search(embedder="brightness"), request, SerialRunner())
    assert {row.similarity for row in read_matches(tmp_path / "out.csv")} == {1.0}


def test_both_tables_hold_the_same(source: Path, probes: Path, tmp_path: Path) -> None:
    for name in ("out.csv", "out.parquet"):
        search(probes, source, tmp_path / name, top=10**12)
        assert is_matches(tmp_path / name)
    one, other = (list(read_matches(tmp_path / name)) for name in ("out.csv", "out.parquet"))
    assert one == other and isinstance(one[0], Match) and one[6].margin is None


def test_the_cut_into_shards_changes_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = embed(source, tmp_path / "set.npz")
    search(file, source, tmp_path / "whole.csv")
    monkeypatch.setattr("faceprep.jobs.search._SHARD", 2)
    search(file, source, tmp_path / "cut.csv")
    assert (tmp_path / "cut.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    search(file, source, tmp_path / "four.csv", limit=4)
    whole, four = (list(read_matches(tmp_path / f"{name}.csv")) for name in ("whole", "four"))
    assert four == [row for row in whole if row.probe in list(SET)[:4]]


def test_faulty_embeddings_are_named_and_counted(source: Path, tmp_path: Path) -> None:
    vectors = np.array(list(SET.values()), np.float32)
    vectors[1], vectors[2] = np.nan, 0
    file = embed(source, tmp_path / "set.npz", vectors=vectors, keys=[*list(SET)[:-1], "a/1.png"])
    gallery = shutil.copy(file, tmp_path / "gallery.npz")
    summary = search(file, Path(gallery), tmp_path / "out.csv")
    wanted = {"not_finite": 1, "zero_vector": 1, "duplicate_name": 1}
    assert summary.inputs == 9 and summary.ok == 6 and summary.failed == 6
    assert summary.others == {"gallery image": wanted}
    failures = Path(summary.details["failures"]).read_text()
    assert "b/1.png,not_finite" in failures and "b/2.png,zero_vector" in failures
    assert failures.count("a/1.png,duplicate_name,another embedding before it") == 2
    assert {row.probe for row in read_matches(tmp_path / "out.csv")} == {
        name for name in list(SET)[:-1] if name not in ("b/1.png", "b/2.png")
    }


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_a_set_in_itself_is_read_and_named_once(
    kind: str, source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "faceprep")
    paint(source / "a" / "black.png", BLACK)
    (source / "notes.txt").write_text("mine")
    path = source
    if kind == "npz":
        path = embed(source, tmp_path / "set.npz", names=SET | {"a/black.png": (0, 0, 0)})
    link = tmp_path / f"link{path.suffix}"
    link.symlink_to(path)
    summary = search(path, link, tmp_path / "out.csv")
    assert (summary.inputs, summary.ok, summary.failed, summary.others) == (10, 9, 1, {})
    assert Path(summary.details["failures"]).read_text().count("a/black.png,") == 1
    assert caplog.text.count("1 .txt") == (kind == "folder")


@pytest.mark.parametrize(("limit", "others"), [(4, {"gallery image": {"ok": 6}}), (12, {})])
def test_the_first_images_of_a_set_in_itself_are_embedded_once(
    limit: int,
    others: dict[str, dict[str, int]],
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "faceprep")
    monkeypatch.setattr("faceprep.steps.embedded_sets._SHARD", 2)
    paint(source / "a" / "black.png", BLACK)
    (source / "notes.txt").write_text("mine")
    search(source, source, tmp_path / "whole.csv")
    before = caplog.text
    summary = search(source, source, tmp_path / "first.csv", limit=limit)
    assert (summary.inputs, summary.failed, summary.others) == (min(limit, 10), 1, others)
    assert caplog.text.removeprefix(before).count("1 .txt") == 1
    whole, first = (list(read_matches(tmp_path / f"{name}.csv")) for name in ("whole", "first"))
    probes = sorted({row.probe for row in whole}, key=[*SET].index)[: limit - 1]
    assert first == [row for row in whole if row.probe in probes]


def test_damaged_images_are_named(source: Path, probes: Path, tmp_path: Path) -> None:
    (probes / "bad.png").write_bytes(b"text")
    paint(source / "a" / "black.png", BLACK)
    summary = search(probes, source, tmp_path / "out.csv")
    assert (summary.inputs, summary.ok, summary.failed) == (4, 3, 2)
    assert summary.others["gallery image"] == {"ok": 9, "no_vector": 1}


def test_images_without_an_identity_are_people_of_their_own(
    source: Path, probes: Path, tmp_path: Path
) -> None:
    search(source, probes, tmp_path / "out.csv", top=1)
    first = next(read_matches(tmp_path / "out.csv"))
    assert (first.identity, first.image) == ("x.png", "x.png")


def test_vectors_of_two_models_are_not_compared(source: Path, tmp_path: Path) -> None:
    file = embed(source, tmp_path / "set.npz")
    other = embed(source, tmp_path / "other.npz", model=replace(Colors.model, fingerprint="x"))
    with pytest.raises(OptionError, match="compared: .* found colors.* and x"):
        search(file, other, tmp_path / "out.csv")
    narrow = embed(source, tmp_path / "narrow.npz", vectors=np.ones((9, 2), np.float32))
    with pytest.raises(SourceError, match="expected 3, found 2"):
        search(file, narrow, tmp_path / "out.csv")


@pytest.mark.parametrize(
    ("options", "name", "told"),
    [({"top": 0}, "o.csv", "--top: expected 1 or more"), ({}, "o.txt", "the suffix '.txt'")],
)
def test_options_that_cannot_be(
    options: dict[str, Any], name: str, told: str, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=told):
        search(source, source, tmp_path / name, **options)


def test_a_killed_run_resumes_to_the_same_bytes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceprep.jobs.search._SHARD", 4)
    file = embed(source, tmp_path / "set.npz")
    search(file, file, tmp_path / "whole.csv")
    for change in (8, 14, 20):
        output = tmp_path / f"{change}.csv"

        def act(change: int = change, output: Path = output) -> None:
            with before_changes(killed_before(change)):
                search(file, file, output)

        assert status_of(start(act)) == -signal.SIGKILL
        search(file, file, output)
        assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()
        assert not os.path.exists(f"{output}.tmp")


def crowd(n: int, path: Path) -> Embeddings:
    """People of five images each."""
    random = np.random.default_rng(7)
    centres = np.repeat(random.standard_normal((-(-n // 5), 32)), 5, axis=0)[:n]
    vectors = (centres + 0.5 * random.standard_normal((n, 32))).astype(np.float32)
    names = [f"{i // 5:05d}" for i in range(n)]
    embeddings = Embeddings([f"{name}/{i}" for i, name in enumerate(names)], names, vectors, MODEL)
    with path.open("wb") as file:
        write_npz(file, embeddings, Place())
    return embeddings


MODEL = Model("crowd")


def test_an_approximate_search_reaches_the_recall_that_it_reports(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    embeddings = crowd(3000, tmp_path / "set.npz")
    summary = search(tmp_path / "set.npz", tmp_path / "set.npz", tmp_path / "out.csv", top=1)
    options = {"top": 1, "approximate": True}
    summary = search(tmp_path / "set.npz", tmp_path / "set.npz", tmp_path / "near.csv", **options)
    assert summary.details["recall_at_1"] >= 0.99
    figures = json.loads((tmp_path / "near.csv.recall.json").read_bytes())
    assert figures["recall_at_1"] == summary.details["recall_at_1"]
    exact, near = (list(read_matches(tmp_path / name)) for name in ("out.csv", "near.csv"))
    pairs = zip(exact, near, strict=True)
    assert np.mean([one.identity == other.identity for one, other in pairs]) >= 0.99
    vectors = prepare(embeddings)
    assert len(exact) == len(find_closest(vectors, vectors, 1).probes)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_an_approximate_search_of_a_small_gallery_is_whole_and_quiet(
    n: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("faiss")
    path = tmp_path / "set.npz"
    crowd(n, path)
    summary = search(path, path, tmp_path / "near.csv", top=1, approximate=True)
    assert summary.ok == n and summary.details["recall_at_1"] == 1
    assert "clustering" not in "".join(capfd.readouterr())


def test_report_shows_pictures_of_both_sets(source: Path, probes: Path, tmp_path: Path) -> None:
    search(probes, source, tmp_path / "out.csv", top=2)
    numbers = report(tmp_path / "out.csv")
    assert numbers["matches"]["probes"] == 3 and numbers["matches"]["rows"] == 6
    page = (tmp_path / "out.csv.report.html").read_text()
    assert page.count('<img alt="probe ') == 3 and page.count('<img alt="gallery ') == 6
    search(embed(source, tmp_path / "a.npz"), source, tmp_path / "b.parquet", top=1)
    page = Path(tmp_path / "b.parquet.report.html")
    report(tmp_path / "b.parquet")
    assert page.read_text().count('<img alt="probe ') == 9


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("similarity", np.inf, "a finite similarity"),
        ("similarity", np.nan, "a finite similarity"),
        ("similarity", 1e308, "a finite similarity"),
        ("margin", -np.inf, "a finite margin, or none"),
    ],
)
def test_a_table_that_a_person_edited(
    suffix: str, column: str, value: float, expected: str, source: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"out{suffix}"
    search(source, source, path, top=1)
    first, *rows = read_matches(path)
    changed = [first._replace(**{column: value}), *rows]
    with path.open("wb") as file:
        if suffix == ".csv":
            file.write(csv_bytes(first._fields, changed))
        else:
            pq.write_table(pa.Table.from_pylist([row._asdict() for row in changed]), file)
    place = "line 2" if suffix == ".csv" else "row 1"
    with pytest.raises(SourceError, match=f"not a row .* at {place}: expected .*{expected}"):
        Report().look(path)
    with pytest.raises(SourceError, match="not a row of a table of matches"):
        Inspect().look(path)


def test_a_parquet_table_with_columns_of_other_types(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    row = {"probe": "a", "rank": "1", "identity": "a", "similarity": 1.0, "image": "a"}
    for changed in ({}, {"rank": 1, "probe": 3}, {"rank": 1, "image": None}):
        pq.write_table(pa.Table.from_pylist([row | changed | {"margin": 0.5}]), path)
        with pytest.raises(SourceError, match="not a row of a table of matches at row 1"):
            Report().look(path)
