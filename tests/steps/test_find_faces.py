"""Faces from decoded images: minimum score, turns, refinement, options."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.arrays import Pixels
from faceprep.core.cpu import take_share
from faceprep.core.errors import OptionError
from faceprep.core.faces import Faces
from faceprep.models.detectors.detector import DetectorSpec, SizedDetector
from faceprep.models.refine.refiner import Refined
from faceprep.steps.find_faces import FaceFinder, FaceOptions
from tests.flat_faces import Flat, FlatDetector, flat_detectors, paint

__all__ = ["flat_detectors"]


def finder(min_score: float = 0.8) -> FaceFinder:
    return FaceFinder(SizedDetector(FlatDetector(None), sure_score=min_score), min_score)


# FaceFinder


@given(st.lists(st.integers(0, 100), max_size=4), st.integers(0, 100))
def test_sure_faces_and_why_there_is_none(hundredths: list[int], least: int) -> None:
    image = paint(*(Flat(10 + 70 * i, 60, 50, score / 100) for i, score in enumerate(hundredths)))
    (found,) = finder(least / 100).find([image])
    sure = sorted(
        (score / 100 for score in hundredths if np.float32(score / 100) >= least / 100),
        reverse=True,
    )
    assert found.faces.scores.tolist() == pytest.approx(sure)
    if sure:
        assert (found.status, found.reason, found.note) == ("ok", "", "")
    elif hundredths:
        told = f"the highest score is {max(hundredths) / 100:.2f}, below {least / 100:g}"
        assert (found.status, found.reason) == ("low_score", told)
    else:
        assert (found.status, found.reason) == ("no_face", "no face found")


class Shy(FlatDetector):
    """Sure of a face only where there is a border around the image."""

    def detect(self, images: list[Pixels]) -> list[Faces]:  # type: ignore[override]
        return [
            Faces(
                faces.boxes, faces.landmarks, faces.scores * (1 if image[0, 0].sum() == 0 else 0.6)
            )
            for image, faces in zip(images, super().detect(images), strict=True)
        ]


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.9, ("ok", "found only with a border: the face fills the image")), (0.7, ("low_score", ""))],
)
def test_a_second_look_where_no_face_is_sure(score: float, expected: tuple[str, str]) -> None:
    image = paint(Flat(30, 40, 60, score), size=(200, 240))
    (found,) = FaceFinder(SizedDetector(Shy(None), sure_score=0.8), 0.8).find([image])
    assert (found.status, found.note) == expected
    if found.note:
        assert np.abs(found.faces.boxes[0] - (30, 40, 90, 100)).max() <= 1, "in pixels of the image"


def test_the_second_look_is_spared_where_a_face_is_sure() -> None:
    detector = FlatDetector(None)
    seen: list[int] = []
    find = detector._find
    detector._find = lambda image: (seen.append(image.shape[1]), find(image))[1]  # type: ignore[method-assign,func-returns-value]
    FaceFinder(SizedDetector(detector, sure_score=0.8), 0.8).find(
        [paint(Flat(30, 40)), paint(Flat(30, 40, score=0.5))]
    )
    assert seen == [320, 320, 256 + 2 * 64]


def test_a_batch_is_as_its_images_alone_and_what_is_none_fails_alone() -> None:
    images = [
        paint(Flat(30, 40)),
        paint(),
        np.zeros((5, 5), np.uint8),
        paint(Flat(90, 40), Flat(190, 40, 30)),
    ]
    together = finder().find(images)
    assert [found.status for found in together] == ["ok", "no_face", "undecodable", "ok"]
    for image, found in zip(images, together, strict=True):
        (alone,) = finder().find([image])
        assert alone[1:] == found[1:] and (alone.faces.boxes == found.faces.boxes).all()
    assert finder().find([]) == []


class Shift:
    """A refiner that moves landmarks by a pixel, and keeps those of faces of 30 pixels."""

    fingerprint = "shift/v1"

    def __init__(self) -> None:
        self.seen: list[int] = []

    def refine(self, images: Sequence[Pixels], faces: Sequence[Faces]) -> list[Refined]:
        self.seen += [len(each) for each in faces]
        results = []
        for each in faces:
            large = np.ptp(each.boxes[:, ::2], axis=1) > 30
            moved = Faces(each.boxes, each.landmarks + large[:, None, None], each.scores)
            names = tuple("onet" if is_large else "" for is_large in large)
            seen = np.full((len(each), 4), np.nan)
            results.append(Refined(moved, names, large.astype(np.float32), seen))
        return results


def test_faces_are_refined_in_their_order() -> None:
    images = [paint(), paint(Flat(10, 40), Flat(90, 40, 30, 0.95), Flat(190, 40, 50, 0.85))]
    plain, refiner = SizedDetector(FlatDetector(None), sure_score=0.8), Shift()
    before = FaceFinder(plain, 0.8).find(images)
    after = FaceFinder(plain, 0.8, refiner).find(images)  # type: ignore[arg-type]
    assert before[0][1:] == after[0][1:] and before[1].refiners is None
    moved = after[1].faces.landmarks - before[1].faces.landmarks
    assert after[1].refiners == ("", "onet", "onet") and moved[:, 0, 0].tolist() == [0, 1, 1]
    assert (after[1].faces.boxes == before[1].faces.boxes).all() and refiner.seen == [3]
    taken = after[1].take([2, 0])
    assert taken.refiners == ("onet", "") and taken.onet_scores is not None
    assert taken.onet_scores.tolist() == [1, 0] and len(taken.faces) == 2


@pytest.mark.parametrize(("most", "n_seen"), [(1, 1), (2, 2), (3, 2), (None, 2)])
def test_only_faces_that_can_be_cropped_are_refined(most: int | None, n_seen: int) -> None:
    image = paint(Flat(10, 40, score=0.97, degenerate=True), Flat(90, 40), Flat(190, 40))
    refiner = Shift()
    finder = FaceFinder(SizedDetector(FlatDetector(None), sure_score=0.8), 0.8, refiner)  # type: ignore[arg-type]
    (found,) = finder.find([image], most)
    assert refiner.seen == [n_seen] and len(found.faces) == 3
    assert finder.fingerprint.endswith("/shift/v1")


# FaceOptions


def test_the_detector_reports_low_scores_too(flat_detectors: None) -> None:
    spec = FaceOptions(detector="flat", min_score=0.9, det_size=320, small_faces=True).spec()
    assert spec == DetectorSpec(
        "flat", det_size=320, small_faces=True, min_score=0.5, sure_score=0.9
    )
    assert FaceOptions(min_score=0.2).spec("other").min_score == 0.2
    options = FaceOptions(detector="flat", refine=False)
    assert options.finder("other").fingerprint.startswith("OtherDetector")


def test_a_worker_s_detector_has_its_share_of_the_cores(
    flat_detectors: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = []
    monkeypatch.setattr(
        "faceprep.steps.find_faces.open_detector",
        lambda spec: specs.append(spec) or SizedDetector(FlatDetector(None)),
    )
    monkeypatch.setenv("FACEPREP_CORES", "7")
    options = FaceOptions(detector="flat", refine=False, turns="0")
    options.finder()
    take_share(3)
    options.finder()
    assert [spec.threads for spec in specs] == [7, 3]


@pytest.mark.parametrize("min_score", [0.0, 0.009, 0.01, 0.8])
def test_a_minimum_score_for_everything_is_warned_of(
    min_score: float, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FaceOptions, "finder", lambda *_: finder())
    FaceOptions(min_score=min_score).announce()
    assert ("hundreds of places in an image for faces" in caplog.text) == (min_score < 0.01)


@pytest.mark.parametrize(
    "wrong", [{"min_score": 1.5}, {"det_size": 8}, {"template": "face"}, {"turns": "90"}]
)
def test_options_that_cannot_be_meant(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        FaceOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("det_size", 31, "--det-size: expected 32 or more, found 31"),
        ("min_face", -1, "--min-face: expected 0 or more, found -1"),
        ("min_score", 1.5, "--min-score: expected 0 to 1, found 1.5"),
        ("min_score", -0.1, "--min-score: expected 0 to 1, found -0.1"),
        ("turns", "90", "--turns: expected auto, 0, all, found '90'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    option: str, value: object, expected: str
) -> None:
    with pytest.raises(OptionError, match=f"^invalid {expected}"):
        FaceOptions(**{option: value})  # type: ignore[arg-type]
