"""The contract of every detector in the registry but a user's own class. One that needs a user's
file gets a line in `FILES`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceprep.core.arrays import Pixels
from faceprep.core.errors import FaceprepError
from faceprep.core.faces import N_LANDMARKS, Detector, Faces
from faceprep.core.registry import DETECTORS
from faceprep.models.detectors.detector import DetectorSpec, open_detector, problem_of
from tests.contracts.installed import skip_where_packages_are_missing
from tests.models.mxnet_files import save_retinaface, with_red_cell
from tests.models.scrfd import scrfd_like
from tests.photos import astronaut

FILES: dict[str, Callable[[Path], Path]] = {
    "insightface": lambda folder: scrfd_like(folder / "det.onnx"),
    "mxnet": lambda folder: save_retinaface(folder / "det"),
}
"""Name in the registry -> writes a model in the folder, for detectors that come without weights."""


@pytest.fixture(params=[kind for kind in DETECTORS if kind != "python"], scope="module")
def name(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the value of `--detector`."""
    kind: str = request.param
    skip_where_packages_are_missing(DETECTORS[kind])
    return str(FILES[kind](tmp_path_factory.mktemp(kind))) if kind in FILES else kind


@pytest.fixture(scope="module")
def detector(name: str) -> Detector:
    return open_detector(DetectorSpec(name, "cpu", threads=1))


@pytest.fixture(scope="module")
def images(name: str) -> list[Pixels]:
    """Two with a face and one without, of different sizes; with faces, and of one size, for the
    drawn network.
    """
    if name.endswith(".onnx"):
        return [np.full((64, 64, 3), (red, 0, 0), np.uint8) for red in (255, 235, 215)]
    if name.endswith(".json"):
        black = np.zeros((90, 120, 3), np.uint8)
        return [with_red_cell(), black, with_red_cell(80, 70) // 5 * 4]
    return [astronaut(), np.full((90, 120, 3), 200, np.uint8), astronaut()[:300, 60:400]]


def same(one: Faces, two: Faces) -> bool:
    return all(
        getattr(one, part).tobytes() == getattr(two, part).tobytes()
        for part in ("boxes", "landmarks", "scores")
    )


def test_an_answer_an_image_in_the_order_of_the_images(
    detector: Detector, images: list[Pixels]
) -> None:
    alone = [detector.detect([image])[0] for image in images]
    assert len(alone[0]) and len(alone[2]) and not same(alone[0], alone[2])
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 0]):
        found = detector.detect([images[i] for i in order])
        assert len(found) == 3 and all(
            same(faces, alone[i]) for faces, i in zip(found, order, strict=True)
        )
    assert detector.detect([]) == []


def test_faces_are_arrays_of_floats_the_surest_first(
    detector: Detector, images: list[Pixels]
) -> None:
    for faces in detector.detect(images):
        n = len(faces)
        assert (faces.boxes.shape, faces.landmarks.shape, faces.scores.shape) == (
            (n, 4),
            (n, N_LANDMARKS, 2),
            (n,),
        )
        for part in (faces.boxes, faces.landmarks, faces.scores):
            assert part.dtype == np.float32 and np.isfinite(part).all()
        assert (faces.boxes[:, :2] < faces.boxes[:, 2:]).all()
        assert ((faces.scores > 0) & (faces.scores <= 1)).all() and (
            np.diff(faces.scores) <= 0
        ).all()


def test_the_images_are_not_altered(detector: Detector, images: list[Pixels]) -> None:
    before = [image.copy() for image in images]
    detector.detect(images)
    assert all((image == copy).all() for image, copy in zip(images, before, strict=True))


@pytest.mark.parametrize(
    "image", [np.zeros((0, 9, 3), np.uint8), np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), "f4")]
)
def test_what_is_no_image_is_refused_in_one_line(detector: Detector, image: Pixels) -> None:
    with pytest.raises(ValueError) as caught:
        detector.detect([image])
    assert str(caught.value) == f"image 0: {problem_of(image)}"


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 640), (3, 20), (19, 40), (20, 20), (33, 31), (65, 40), (2, 640), (20000, 3)],
)
def test_odd_shapes_hold_no_face(name: str, detector: Detector, shape: tuple[int, int]) -> None:
    if name.endswith(".onnx"):
        pytest.skip("the drawn network takes one size")
    assert len(detector.detect([np.full((*shape, 3), 128, np.uint8)])[0]) == 0


def test_the_fingerprint_is_stable_and_telling(name: str) -> None:
    def fingerprint(**options: object) -> str:
        spec = DetectorSpec(name, **{"device": "cpu", "threads": 1} | options)  # type: ignore[arg-type]
        return open_detector.__wrapped__(spec).fingerprint

    first = fingerprint()
    assert first == fingerprint() == fingerprint(threads=2), "the same answers"
    others = [
        fingerprint(**each)
        for each in ({"min_score": 0.875}, {"det_size": 320}, {"small_faces": True})
    ]
    assert len({first, *others}) == 4, "other answers"
    assert "\n" not in first


def test_no_two_have_one_fingerprint() -> None:
    names = [name for name, entry in DETECTORS.items() if not entry.usage]
    assert len(
        {open_detector(DetectorSpec(name, "cpu", threads=1)).fingerprint for name in names}
    ) == len(names)


def test_it_says_what_it_runs_on(detector: Detector) -> None:
    assert detector.provider == "CPU"


@pytest.mark.parametrize("kind", FILES)
def test_files_that_are_none_are_one_line(kind: str, tmp_path: Path) -> None:
    skip_where_packages_are_missing(DETECTORS[kind])
    path = FILES[kind](tmp_path)
    path.unlink()
    for data in (None, b"", b"hello"):
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(FaceprepError) as caught:
            open_detector.__wrapped__(DetectorSpec(str(path), "cpu"))
        assert "\n" not in str(caught.value)
