"""Faces that share a photo or a frame are neither merged nor moved together without a person."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceprep.core.types import ACCEPTED, DROP, MERGE, MOVE, UNDECIDED, Decision, Request
from faceprep.jobs.clean_identities import CleanIdentities
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.steps.shared_frames import hold_shared_frames, hold_shared_moves
from faceprep.tables.faces import FaceRow, FacesWriter
from tests import merging
from tests.color_people import GREEN, RED, color_embedders, paint

__all__ = ["color_embedders"]

TRACKS = {
    ("a.mp4", "a/0"): range(10),
    ("a.mp4", "a/1"): range(10, 20),
    ("a.mp4", "a/2"): range(15, 30),
    ("b.mp4", "b/0"): range(30),
}


def write_tracks(root: Path, has_tracks: bool = True) -> str:
    root.mkdir(exist_ok=True)
    with (root / "faces.parquet").open("wb") as file, FacesWriter(file) as writer:
        for (source, folder), numbers in TRACKS.items():
            for frame in numbers:
                track = int(folder[-1]) if has_tracks else None
                row = FaceRow(
                    f"{folder}/{frame}", source, (9, 9), [0] * 4, [0] * 10, 1, [0] * 6, "d", "t"
                )
                writer.add(row._replace(output=f"{row.key}.png", frame=frame, track=track))
    return str(root)


def merge(subject: str, into: str, score: float) -> Decision:
    return Decision(MERGE, subject, into, score, "alike", ACCEPTED)


def held(decisions: list[Decision]) -> list[str]:
    return [each.subject for each in decisions if each.verdict == UNDECIDED]


def test_two_tracks_of_a_frame_are_held_back(tmp_path: Path) -> None:
    source = write_tracks(tmp_path / "set")
    found = hold_shared_frames([merge("a/1", "a/2", 0.99), merge("a/0", "a/2", 0.98)], source)
    assert [each.subject for each in found] == ["a/0", "a/1"] and held(found) == ["a/1"]
    assert found[1].reason == "alike; but both are in frame 15 of one video"


def test_the_table_above_a_part_of_the_output_counts(tmp_path: Path) -> None:
    part = Path(write_tracks(tmp_path / "set")) / "a"
    part.mkdir()
    link = tmp_path / "link"
    link.symlink_to(part)
    for path in (part, link):
        found = hold_shared_frames([merge("1", "2", 0.99), merge("0", "2", 0.98)], str(path))
        assert held(found) == ["1"]
    move = Decision(MOVE, "1/15.png", "2", 0.9, "alike", ACCEPTED)
    assert held(hold_shared_moves([move], str(part))) == ["1/15.png"]


def test_another_file_of_that_name_above_the_set_says_nothing(tmp_path: Path) -> None:
    merges = [merge("1", "2", 0.99)]
    (tmp_path / "faces.parquet").write_bytes(b"a set of that name")
    (tmp_path / "set").mkdir()
    assert hold_shared_frames(merges, str(tmp_path / "set")) == merges


def test_a_third_identity_does_not_bring_them_together(tmp_path: Path) -> None:
    source = write_tracks(tmp_path / "set")
    merges = [merge("a/0", "b/0", 0.97), merge("a/1", "b/0", 0.98), merge("a/2", "b/0", 0.99)]
    assert held(hold_shared_frames(merges, source)) == ["a/1"]
    assert held(hold_shared_frames(merges[::-1], source)) == ["a/1"]


def test_frames_count_without_tracks(tmp_path: Path) -> None:
    source = write_tracks(tmp_path / "set", has_tracks=False)
    merges = [merge("a/1", "a/2", 0.99), merge("a/0", "b/0", 0.98)]
    assert held(hold_shared_frames(merges, source)) == ["a/1"]


def test_sets_without_a_table_are_as_before(tmp_path: Path) -> None:
    merges = [merge("a/1", "a/2", 0.99), Decision(DROP, "a/0/1.png")]
    assert hold_shared_frames(merges, str(tmp_path)) == merges


def test_two_faces_of_a_photo_are_two_people(tmp_path: Path) -> None:
    """The groom and the bride are on one photo; the same name elsewhere is another photo."""
    crops = {
        "groom/w_0": "w.jpg",
        "bride/w_1": "w.jpg",
        "guest/x_0": "x.jpg",
        "other/w_0": "y/w.jpg",
    }
    with (tmp_path / "faces.parquet").open("wb") as file, FacesWriter(file) as writer:
        for key, source in crops.items():
            row = FaceRow(key, source, (9, 9), [0] * 4, [0] * 10, 1, [0] * 6, "d", "t")
            writer.add(row._replace(output=f"{key}.png"))
    merges = [
        merge("groom", "bride", 0.99),
        merge("guest", "bride", 0.98),
        merge("other", "bride", 0.97),
    ]
    found = hold_shared_frames(merges, str(tmp_path))
    assert held(found) == ["groom"]
    assert found[2].reason == "alike; but both are in one photo"


@pytest.mark.usefixtures("color_embedders")
def test_merge_identities_uses_the_table(tmp_path: Path) -> None:
    source = tmp_path / "set"
    write_tracks(source)
    for folder in ("a/1", "a/2"):
        for number in (15, 16):
            paint(source / folder / f"{number}.png", RED)
    merging.merge(source, tmp_path / "out")
    assert merging.decided(tmp_path / "out") == [("merge", "a/2", "a/1", UNDECIDED)]


# Moves


def write_photos(root: Path, photos: dict[str, str]) -> str:
    """Write a table of `photos`: crop -> photo."""
    root.mkdir(exist_ok=True)
    with (root / "faces.parquet").open("wb") as file, FacesWriter(file) as writer:
        for output, source in photos.items():
            key = output.removesuffix(".png")
            row = FaceRow(key, source, (9, 9), [0] * 4, [0] * 10, 1, [0] * 6, "d", "t")
            writer.add(row._replace(output=output))
    return str(root)


def move(subject: str, into: str) -> Decision:
    return Decision(MOVE, subject, into, 50.0, "alike", ACCEPTED)


def test_a_face_is_not_moved_to_the_other_one_of_its_photo(tmp_path: Path) -> None:
    photos = {"groom/w_0.png": "w.jpg", "bride/w_1.png": "w.jpg", "guest/x.png": "x.jpg"}
    source = write_photos(tmp_path / "set", photos)
    moves = [move("groom/w_0.png", "bride"), move("guest/x.png", "bride")]
    found = hold_shared_moves(moves, source)
    assert held(found) == ["groom/w_0.png"]
    assert found[0].reason == "alike; but bride has another face of one photo"
    assert hold_shared_moves(moves, str(tmp_path)) == moves


def test_two_faces_of_a_photo_change_places(tmp_path: Path) -> None:
    source = write_photos(tmp_path / "set", {"a/0.png": "w.jpg", "b/0.png": "w.jpg"})
    moves = [move("a/0.png", "b"), move("b/0.png", "a")]
    assert hold_shared_moves(moves, source) == moves
    gone = [move("a/0.png", "b"), Decision(DROP, "b/0.png")]
    assert hold_shared_moves(gone, source) == gone


def test_a_face_that_stays_keeps_others_out_in_any_order(tmp_path: Path) -> None:
    """Both faces of w.jpg are to go to c; so b/0 stays in b, and d/0 cannot go there."""
    photos = {"a/0.png": "w.jpg", "b/0.png": "w.jpg", "d/0.png": "w.jpg"}
    source = write_photos(tmp_path / "set", photos)
    moves = [move("a/0.png", "c"), move("b/0.png", "c"), move("d/0.png", "b")]
    assert len(held(hold_shared_moves(moves, source))) == 3
    assert len(held(hold_shared_moves(moves[::-1], source))) == 3


@pytest.mark.usefixtures("color_embedders")
def test_clean_identities_uses_the_table(tmp_path: Path) -> None:
    """The green face among the red ones is in the same photo as one of the green ones."""
    source = tmp_path / "set"
    for number in range(9):
        paint(source / "red" / f"{number}.png", RED)
        paint(source / "green" / f"{number}.png", GREEN)
    paint(source / "red" / "w_1.png", GREEN)
    write_photos(source, {"red/w_1.png": "w.jpg", "green/0.png": "w.jpg"})
    job = CleanIdentities(embedder="colors")
    run_job(job, Request((source,), tmp_path / "out"), SerialRunner())
    assert merging.decided(tmp_path / "out") == [("move", "red/w_1.png", "green", UNDECIDED)]
