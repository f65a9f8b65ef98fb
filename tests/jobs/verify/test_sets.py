"""Folders of identities: who is enrolled, who is searched for, what cannot be searched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from faceprep.core.errors import OptionError, SourceError
from faceprep.core.types import Request
from faceprep.jobs.convert import Convert
from faceprep.jobs.verify import sets
from faceprep.jobs.verify.job import Verify
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from tests.embedders import drawn, drawn_embedders, plain_vectors, unit, verify

__all__ = ["drawn_embedders"]
pytestmark = pytest.mark.usefixtures("drawn_embedders")


def write_people(root: Path, counts: list[int]) -> Path:
    for person, n in enumerate(counts):
        for image in range(n):
            path = root / f"person {person}" / f"{image}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(drawn(person, image))
    return root


def test_a_folder_is_searched(tmp_path: Path) -> None:
    root = write_people(tmp_path, [4, 2, 1, 5, 1] + [1] * 10)
    (found,) = verify(root, flip=False).results
    assert (found["identities"], found["gallery"], found["gallery_images"]) == (15, 3, 3)
    assert (found["probes"], found["non_mated"]) == (11 - 3, 12)
    assert found["rank"]["1"] <= found["rank"]["5"] == 1.0
    assert found["tpir_at_fpir"]["1e-1"] is not None and found["tpir_at_fpir"]["1e-2"] is None
    (more,) = verify(root, gallery=3).results
    assert (more["gallery"], more["gallery_images"], more["probes"]) == (3, 3 + 1 + 3, 1 + 1 + 2)


@pytest.mark.parametrize(("path", "name"), [(".", "person 0"), ("..", "people"), ("../1", "1")])
def test_the_current_folder_has_its_name(
    path: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_people(tmp_path / "people", [2, 2])
    write_people(root / "1", [2, 2])
    write_people(root / "person 0", [2, 2])
    monkeypatch.chdir(root / "person 0")
    assert verify(Path(path)).results[0]["name"] == name


def test_enrolled_is_the_mean_of_the_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_people(tmp_path, [3] * 8)
    monkeypatch.setattr(sets, "_enrol", lambda draw, people, sound: np.arange(len(sound)) % 3 != 1)
    (found,) = verify(root, gallery=2, flip=False).results
    vectors = unit(plain_vectors([drawn(i // 3, i % 3) for i in range(24)], flip=False)).reshape(
        8, 3, -1
    )
    likeness = vectors[:, 1] @ unit(vectors[:, [0, 2]].mean(axis=1)).T
    ranks = (likeness >= likeness.diagonal()[:, None] - 1e-7).sum(axis=1)
    assert found["rank"] == {str(k): np.mean(ranks <= k) for k in (1, 5, 10, 20)}


def test_the_draw_depends_on_seed_name_and_images_alone(tmp_path: Path) -> None:
    root = write_people(tmp_path / "a", [6, 5, 4])
    first = verify(root, seed=3).results
    assert verify(root, seed=3).results == first
    assert (
        len({json.dumps(verify(root, seed=seed).results[0]["rank"]) for seed in range(6)} | {""})
        > 1
    )
    write_people(tmp_path / "b", [6, 5, 4, 1, 1])
    (grown,) = verify(tmp_path / "b", seed=3).results
    assert grown["rank"] == first[0]["rank"], (
        "strangers change no rank: the same images are enrolled"
    )


def test_folders_that_cannot_be_searched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SourceError, match="neither identities with images nor IJB"):
        verify(tmp_path)
    write_people(tmp_path, [1, 1, 1])
    with pytest.raises(SourceError, match="no identity has two sound images"):
        verify(tmp_path)
    (tmp_path / "person 0" / "damaged.png").write_bytes(b"no image")
    problem = "no identity has two sound images.* 1 left out: person 0/damaged.png: not an image"
    with pytest.raises(SourceError, match=problem):
        verify(tmp_path)
    write_people(tmp_path, [1, 3, 1])
    found = verify(tmp_path)
    assert (found.failed, found.results[0]["gallery"], found.results[0]["left_out"]) == (1, 1, 1)
    assert found.damage[0].startswith("person 0/damaged.png: ")
    (tmp_path / "outside.png").write_bytes(drawn(0, 0))
    assert verify(tmp_path).results == found.results
    assert "images outside identity folders are skipped" in caplog.text
    with pytest.raises(OptionError, match="--gallery: expected 1 or more, found 0"):
        Verify(embedder="colours", gallery=0)


def test_a_container_gives_the_numbers_of_the_folder(tmp_path: Path) -> None:
    root = write_people(tmp_path / "in", [4, 2, 1, 5])
    (wanted,) = verify(root, gallery=2, seed=5).results
    run_job(Convert(), Request((root,), tmp_path / "in.tar"), SerialRunner())
    (found,) = verify(tmp_path / "in.tar", gallery=2, seed=5).results
    assert found | {"name": "in", "path": str(root)} == wanted


def test_what_is_not_a_set_is_named(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    with pytest.raises(SourceError, match="expected a set of images, found a video"):
        verify(tmp_path / "clip.mp4")
    drawn_one = tmp_path / "flat" / "1.png"
    drawn_one.parent.mkdir()
    drawn_one.write_bytes(drawn(0, 0))
    run_job(Convert(), Request((drawn_one.parent,), tmp_path / "flat.tar"), SerialRunner())
    with pytest.raises(SourceError, match="no identities in it"):
        verify(tmp_path / "flat.tar")
