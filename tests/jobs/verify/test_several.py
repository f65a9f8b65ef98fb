"""verify: several embedders, saved embeddings, strangers, scores of pairs, reports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from faceprep.cli import main
from faceprep.core.errors import OptionError, OutputError, SourceError
from faceprep.core.io.csv import CsvReader
from faceprep.core.types import Request
from faceprep.jobs.embed.job import Embed
from faceprep.jobs.verify.job import Verify
from faceprep.jobs.verify.sets import Draw, _hold_out
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.tables.embeddings import load_embeddings
from tests.bins import write_bin
from tests.embedders import Colours, drawn, drawn_bin, drawn_embedders, verify
from tests.ijb_set import write_ijb
from tests.jobs.verify.test_sets import write_people
from tests.reports import report

__all__ = ["drawn_bin", "drawn_embedders"]
pytestmark = pytest.mark.usefixtures("drawn_embedders")


def embed(source: Path, output: Path) -> Path:
    job = Embed(embedder="colours", flip=True)
    run_job(job, Request((source,), output), SerialRunner())
    return output


def without(result: dict[str, object], *names: str) -> dict[str, object]:
    return {key: value for key, value in result.items() if key not in names}


def test_embedders_side_by_side(drawn_bin: Path) -> None:
    found = Verify(embedder=("colours", "distances")).look([drawn_bin])  # type: ignore[arg-type]
    assert found.embedder == "colours, distances" and len(found.results) == 2
    for result in found.results:
        (alone,) = verify(drawn_bin, embedder=str(result["embedder"])).results
        assert result == alone
    rows = str(found).splitlines()
    assert [row.partition("  ")[0] for row in rows[1:]] == ["drawn, colours", "drawn, distances"]


def test_saved_embeddings_give_the_figures_of_their_set(tmp_path: Path) -> None:
    root = write_people(tmp_path / "set", [4, 12, 1, 5, 2])
    wanted = verify(root, gallery=2, seed=3, strangers=0.2)
    for name in ("a.npz", "a.parquet", "a.csv"):
        file = embed(root, tmp_path / name)
        Colours.calls.clear()
        found = verify(file, gallery=2, seed=3, strangers=0.2)
        assert not Colours.calls and found.by_status == wanted.by_status
        assert found.model == "colours/of-arcface-112/flip" == wanted.model
        places = ("name", "path", "embedder")
        assert without(found.results[0], *places) == without(wanted.results[0], *places)


def test_ijb_from_saved_embeddings(tmp_path: Path) -> None:
    root = tmp_path / "IJBC"
    faces = write_ijb(root)
    file = embed(root, tmp_path / "ijbc.npz")
    saved = load_embeddings(file)
    assert len(saved) == len(faces) and saved.keys[0].startswith("loose_crop/")
    assert list(saved.identities) == [str(face.template) for face in faces]
    Colours.calls.clear()
    found, wanted = verify(file), verify(root)
    assert [without(one, "path", "embedder") for one in found.results] == [
        without(one, "path", "embedder") for one in wanted.results
    ]
    request = Request((root,), tmp_path / "few.npz", len(faces) - 5)
    run_job(Embed(embedder="colours"), request, SerialRunner())
    few = verify(tmp_path / "few.npz")
    assert few.failed == 5 and "has no embedding" in few.damage[0]


FAULTS = {"not_finite": np.nan, "zero_vector": 0.0}


def damage_rows(file: Path, rows: Sequence[int]) -> list[str]:
    """Make one vector NaN and one zero; return the names of their images."""
    with np.load(file) as arrays:
        changed = dict(arrays)
    for row, value in zip(rows, FAULTS.values(), strict=True):
        changed["embeddings"][row] = value
    np.savez(file, **changed)
    return [str(load_embeddings(file).keys[row]) for row in rows]


@pytest.mark.parametrize("is_ijb", [False, True])
def test_faulty_rows_of_saved_embeddings_are_named(is_ijb: bool, tmp_path: Path) -> None:
    root = tmp_path / "IJBC"
    if is_ijb:
        write_ijb(root)
    else:
        write_people(root, [3] * 5)
    file = embed(root, tmp_path / "a.npz")
    n = len(load_embeddings(file))
    keys = damage_rows(file, [2, 7])
    found = verify(file)
    assert found.by_status == {"ok": n - 2} | dict.fromkeys(FAULTS, 1)
    for key, damage in zip(keys, found.damage, strict=True):
        assert damage.startswith(f"{key}: its vector ") and damage.endswith(f", in {file}")
    if not is_ijb:
        assert found.results[0]["left_out"] == 2


def test_embeddings_without_an_identity_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = embed(write_people(tmp_path / "set", [3] * 5), tmp_path / "a.npz")
    with np.load(file) as arrays:
        changed = dict(arrays)
    changed["identities"] = np.array(["", *changed["identities"][1:]])
    np.savez(file, **changed)
    found = verify(file)
    assert (found.by_status, found.results[0]["identities"]) == ({"ok": 12}, 4)
    assert f"{file}: 3 images without an identity are skipped" in caplog.text


def test_one_identity_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (found,) = verify(write_people(tmp_path / "set", [4])).results
    assert found["notes"][0].startswith("one class only: one identity is enrolled")
    assert "set: one class only" in caplog.text


def test_strangers_are_held_out(tmp_path: Path) -> None:
    root = write_people(tmp_path, [2] * 10)
    (found,) = verify(root, strangers=0.3).results
    assert (found["gallery"], found["probes"], found["non_mated"]) == (7, 7, 6)
    assert found["tpir_at_fpir"]["1e-1"] is None
    few = "TPIR at FPIR is not known: expected at least 10 probes without a mate, found 6"
    assert found["notes"] == [few]
    (found,) = verify(root, strangers=0.5).results
    assert found["tpir_at_fpir"]["1e-1"] is not None and found["notes"] == []
    (found,) = verify(root).results
    assert found["non_mated"] == 0 and "--strangers" in found["notes"][0]
    names = [f"p{i}" for i in range(50)]
    held = _hold_out(Draw(1, 5, 0.4), names)
    order = np.random.default_rng(1).permutation(50)
    assert held.sum() == 20
    assert (_hold_out(Draw(1, 5, 0.4), [names[i] for i in order]) == held[order]).all()
    assert (_hold_out(Draw(1, 6, 0.4), names) != held).any()
    with pytest.raises(SourceError, match="--strangers holds out every identity with two sound"):
        verify(root, strangers=0.99)
    with pytest.raises(OptionError, match="--strangers: expected 0 or more, less than 1, found 1"):
        Verify(embedder="colours", strangers=1)  # type: ignore[arg-type]


def scores_in(path: Path) -> list[list[str]]:
    if path.suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
        return [[str(cell) for cell in row.values()] for row in rows]
    with path.open("rb") as file:
        header, *rows = CsvReader(file, path)
    assert header == ["set", "embedder", "first", "second", "same", "similarity"]
    return rows


def test_scores_of_every_pair(drawn_bin: Path, tmp_path: Path) -> None:
    people = write_people(tmp_path / "set", [3, 2, 1])
    job = Verify(embedder="colours", scores=tmp_path / "s.csv")  # type: ignore[arg-type]
    printed = job.look([drawn_bin, people]).as_json()
    assert (printed["outputs"], printed["output"]) == (1, str(tmp_path / "s.csv"))
    Verify(embedder="colours", scores=tmp_path / "s.parquet").look([drawn_bin, people])  # type: ignore[arg-type]
    rows = scores_in(tmp_path / "s.csv")
    assert len(rows) == 60 + 4
    assert rows[17][:5] == ["drawn", "colours", "17_0", "17_1", "0"]
    probes = [row for row in rows if row[0] == "set"]
    assert sorted(row[4] for row in probes) == ["0", "1", "1", "1"]
    for row in probes:
        assert (row[4] == "1") == (row[2].rpartition("/")[0] == row[3])
    table = scores_in(tmp_path / "s.parquet")
    assert [row[:4] for row in table] == [row[:4] for row in rows]
    assert [float(row[5]) for row in table] == [float(row[5]) for row in rows]
    (found, _) = verify(drawn_bin, people).results
    accepted = [float(row[5]) >= found["best_threshold"] for row in rows[:60]]
    right = np.mean([a == (row[4] == "1") for a, row in zip(accepted, rows, strict=False)])
    assert right == found["best_accuracy"]
    with pytest.raises(OptionError, match="--scores: expected FILE.csv or FILE.parquet"):
        Verify(embedder="colours", scores=tmp_path / "s.txt")  # type: ignore[arg-type]


def test_scores_make_no_folder_that_their_path_leaves_again(
    drawn_bin: Path, tmp_path: Path
) -> None:
    Verify(embedder="colours", scores=tmp_path / "no" / ".." / "s.csv").look([drawn_bin])  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.glob("[ns]*")] == ["s.csv"]


@pytest.mark.parametrize(
    ("name", "problem"), [("taken.csv", "is a folder"), ("a.bin/s.csv", "a file is in the way")]
)
def test_a_bad_place_for_scores_is_refused_before_the_work(
    name: str, problem: str, drawn_bin: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken.csv").mkdir()
    (tmp_path / "a.bin").write_bytes(b"a file")
    Colours.calls.clear()
    with pytest.raises(OutputError, match=problem):
        Verify(embedder="colours", scores=tmp_path / name).look([drawn_bin])  # type: ignore[arg-type]
    assert not Colours.calls


@pytest.mark.parametrize("same", [True, False])
def test_a_set_of_one_class_says_so(
    same: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = [drawn(i % 3, i) for i in range(40)]
    path = write_bin(tmp_path / "one.bin", images, [same] * 20)
    (found,) = verify(path).results
    assert found["eer"] is None and found["notes"][0].startswith("one class only")
    assert "one: one class only" in caplog.text


def test_too_few_pairs_of_two_people_are_noted(tmp_path: Path) -> None:
    images = [drawn(i % 3, i) for i in range(40)]
    path = write_bin(tmp_path / "few.bin", images, [True, False] * 6 + [True] * 8)
    (found,) = verify(path).results
    few = "TAR at FAR is not known: expected at least 10 pairs of two people, found 6"
    assert found["tar_at_far"]["1e-1"] is None and few in found["notes"]


def test_report_draws_curves_and_histograms(
    drawn_bin: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    people = write_people(tmp_path / "set", [2] * 12)
    words: Sequence[object] = (
        *("faceprep", "verify", drawn_bin, people, "--embedder", "colours"),
        *("--embedder", "distances", "--strangers", "0.5", "--json"),
    )
    monkeypatch.setattr("sys.argv", [str(word) for word in words])
    assert main() == 0
    (tmp_path / "v.json").write_text(capsys.readouterr().out)
    assert len(report(tmp_path / "v.json")["verification"]["results"]) == 4
    page = (tmp_path / "v.json.report.html").read_text()
    for title in ("ROC:", "DET:", "CMC:", "DIR:", "Scores of drawn, colours", "set, distances"):
        assert title in page
    assert json.loads((tmp_path / "v.json").read_text())["embedder"] == "colours, distances"


def test_damaged_embeddings_are_named(drawn_bin: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"text")
    with pytest.raises(SourceError, match=r"bad.npz"):
        verify(tmp_path / "bad.npz")
    assert verify(tmp_path / "bad.npz", drawn_bin).failed == 1


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("bad.csv", b"image_names,\xff,e0\n", "not a CSV file"),
        ("bad.npz", b"text", "not a zip file"),
        ("bad.parquet", b"text", "cannot be read as Parquet"),
    ],
)
def test_damaged_embeddings_need_no_model(
    name: str, data: bytes, problem: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=problem):
        Verify(embedder=(str(tmp_path / "none.onnx"),)).look([tmp_path / name])


def test_a_damaged_model_name_costs_one_set(tmp_path: Path) -> None:
    sound = embed(write_people(tmp_path / "set", [2, 2]), tmp_path / "a.npz")
    (tmp_path / "b.csv").write_text("image_names,e0\n0/1.png,1\n")
    (tmp_path / "b.csv.model.json").write_text("{")
    found = verify(tmp_path / "b.csv", sound)
    assert found.failed == 1 and "b.csv.model.json: not JSON" in found.damage[0]


def test_scores_do_not_go_into_the_set(face_folder: Path) -> None:
    job = Verify(embedder="colours", scores=face_folder / "s.csv")  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="would be inside the input"):
        job.look([face_folder])
    assert not (face_folder / "s.csv").exists()


def test_a_refusal_names_the_faulty_rows(tmp_path: Path) -> None:
    file = embed(write_people(tmp_path / "set", [2]), tmp_path / "a.npz")
    damage_rows(file, [0, 1])
    problem = "none of its vectors can be compared. 2 left out, such as .* not finite"
    with pytest.raises(SourceError, match=problem):
        verify(file)
