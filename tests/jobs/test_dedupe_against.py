"""dedupe --against: no image of a test set stays, whatever container the test set is in, and no
other goes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep import Request, run_job
from faceprep.core.arrays import Pixels, Thumbnails
from faceprep.core.errors import OptionError
from faceprep.core.types import ACCEPTED, REFUSED, Outcome
from faceprep.jobs.convert import Convert
from faceprep.pages.review.gallery import LEAD, Gallery
from faceprep.pages.review.thumbnails import make_thumbnail
from faceprep.sets.pairs_bin.container import load_pairs
from faceprep.sets.recordio.framing import frame_image
from faceprep.synthetic import draw_face
from faceprep.tables.plan import write_plan
from faceprep.vision.codec import decode, encode
from faceprep.vision.perceptual_hash import compute_gradients, summarize_image
from tests.bins import write_bin
from tests.deduping import crops, plan_of, run, write
from tests.failures import read_failures
from tests.real import DATA, needs_data

__all__ = ["crops"]


def test_no_image_of_a_test_set_stays(crops: Path, tmp_path: Path) -> None:
    """Whatever its identity and its quality, and only those."""
    tests = write(
        tmp_path / "test",
        {"z/1.jpg": encode(draw_face(ord("a"), 0)[0], ".jpg", 70), "z/bad.jpg": b"hello"},
    )
    summary = run(crops, tmp_path / "out", against=(tests,))
    judged, decisions = plan_of(tmp_path / "out")
    gone = [each for each in decisions if each.reason.startswith("test image")]
    assert {each.subject for each in gone} == {
        f"a/0{end}" for end in (".png", "_same.png", "_q80.jpg", "_half.png", "_mirror.png")
    }
    assert {each.evidence["kept"] for each in gone} == {str(tests / "z" / "1.jpg")}
    assert {each.verdict for each in gone} == {ACCEPTED} and judged["found"]["against"] == 5
    assert summary.by_status == {"dropped": 13, "ok": 4, "undecodable": 2}
    assert f"{tests}: z/bad.jpg: not an image" in failures(tmp_path / "out")


def failures(output: Path) -> str:
    return "\n".join(row["reason"] for row in read_failures(output))


def test_verification_sets_and_recs_as_test_sets(crops: Path, tmp_path: Path) -> None:
    jpegs = {identity: encode(draw_face(ord(identity), 0)[0], ".jpg", 90) for identity in "ab"}
    images = [encode(draw_face(70, 1)[0], ".jpg"), jpegs["a"]]
    write_bin(tmp_path / "set.bin", images, [False])
    same = (crops / "b" / "0_q80.jpg").read_bytes()
    (tmp_path / "set.rec").write_bytes(
        frame_image([0.0], jpegs["a"], 7) + frame_image([1.0], same, 8)
    )
    run(crops, tmp_path / "out", against=(tmp_path / "set.bin", tmp_path / "set.rec"))
    told = {each.subject: each.reason for each in plan_of(tmp_path / "out")[1]}
    assert told["a/0.png"].startswith(f"test image: a copy of {tmp_path}/set.bin: image 1")
    assert told["b/0_q80.jpg"].startswith(
        f"test image: the same bytes as {tmp_path}/set.rec: record 8 at offset"
    )
    assert told["b/0.png"].startswith("test image: a copy of")


@pytest.mark.parametrize("name", ["test", "set.bin", "set.rec", "set.tar", "set.csv"])
def test_the_image_of_a_test_set_can_be_shown(crops: Path, tmp_path: Path, name: str) -> None:
    """As `review` and `report` show it beside the image that is dropped."""
    face = encode(draw_face(ord("a"), 0)[0], ".jpg", 70)
    folder = write(tmp_path / "test", {"0/1.jpg": face, "0/2.jpg": face})
    if name != folder.name:
        run_job(Convert(allow_loss=True), Request(folder, tmp_path / name))
    run(crops, tmp_path / "out", against=(tmp_path / name,))
    judged, decisions = plan_of(tmp_path / "out")
    gone = [each for each in decisions if each.reason.startswith("test image")]
    gallery = Gallery(judged, tmp_path / "scratch")
    shown = [make_thumbnail(gallery.path_of(each, LEAD, each.evidence["kept"])) for each in gone]
    gallery.close()
    assert len(gone) == 5 and not any(isinstance(each, Outcome) for each in shown)


def test_a_refused_drop_stays_refused_however_the_plan_names_the_test_image(
    crops: Path, tmp_path: Path
) -> None:
    """Plans of 0.2.0 name an image of a container as the reason does."""
    write_bin(tmp_path / "set.bin", [(crops / "a" / "0.png").read_bytes()] * 2, [False])
    options: dict[str, Any] = {"against": (tmp_path / "set.bin",), "exact_only": True}
    run(crops, tmp_path / "first", **options)
    header, decisions = plan_of(tmp_path / "first")
    for way in ("as now", "as before"):
        refused = [each._replace(verdict=REFUSED) for each in decisions]
        if way == "as before":
            names = [each.reason.partition("same bytes as ")[2] for each in refused]
            refused = [
                each._replace(evidence={"kept": name})
                for each, name in zip(refused, names, strict=True)
            ]
        with (tmp_path / "plan.jsonl").open("wb") as file:
            write_plan(file, header, refused)
        run(crops, tmp_path / way, **options, verdicts=tmp_path / "plan.jsonl")
        again = [
            each for each in plan_of(tmp_path / way)[1] if each.reason.startswith("test image")
        ]
        assert {each.verdict for each in again} == {REFUSED}, way


def test_against_bytes_only(crops: Path, tmp_path: Path) -> None:
    tests = write(tmp_path / "test", {"1.png": (crops / "a" / "0.png").read_bytes()})
    run(crops, tmp_path / "out", against=(tests,), exact_only=True)
    assert plan_of(tmp_path / "out")[0]["found"] == {
        "exact": 2,
        "near": 0,
        "against": 2,
        "conflicts": 0,
        "damaged": 1,
    }


def test_a_source_that_is_its_own_test_set_is_refused(crops: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(crops)
    for tests in (crops, tmp_path / "link"):
        with pytest.raises(OptionError, match=r"^--against is SRC itself, so all images would"):
            run(crops, tmp_path / "out", against=(tests,))
    assert not (tmp_path / "out").exists()


def test_a_warning_where_nothing_is_left(
    crops: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_job(Convert(), Request(crops, tmp_path / "copy.tar"))
    for name in ("out", "out.tar"):
        caplog.clear()
        summary = run(crops, tmp_path / name, against=(tmp_path / "copy.tar",))
        assert summary.by_status == {"dropped": 17, "undecodable": 1}
        assert "all images are dropped (18), the first one a/" in caplog.text


def test_an_empty_test_set_changes_nothing(
    crops: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "none").mkdir()
    run(crops, tmp_path / "out", against=(tmp_path / "none",), plan_only=True)
    assert plan_of(tmp_path / "out")[0]["found"]["against"] == 0
    assert "none: --against: no images in it, so it drops nothing" in caplog.text


# Real images


@needs_data
def test_verification_sets_made_of_the_same_photos(tmp_path: Path) -> None:
    """Theirs are 112 × 112 and JPEG, the source's 92 × 112 and not compressed: all are found,
    and no other.
    """
    path = DATA / "bins" / "py3_bytes.bin"
    run(DATA / "orl", tmp_path / "out", workers=2, against=(path,), plan_only=True)
    tested = thumbnails([decode(bytes(image)) for image in load_pairs(path).images])
    photos = sorted((DATA / "orl").glob("*/*.pgm"))
    own = thumbnails([decode(photo.read_bytes()) for photo in photos])
    agreement = compute_gradients(own) @ compute_gradients(tested).T
    expected = {
        f"{p.parent.name}/{p.name}"
        for p, row in zip(photos, agreement, strict=True)
        if row.max() > 0.999
    }
    assert len(expected) > 20
    assert {each.subject for each in plan_of(tmp_path / "out")[1]} == expected


def thumbnails(images: list[Pixels]) -> Thumbnails:
    return np.stack([summarize_image(image).thumbnail for image in images])
