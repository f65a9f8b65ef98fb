"""MTCNN: what the package mtcnn itself finds, found without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from faceprep.core.arrays import Pixels
from faceprep.core.boxes import overlaps
from faceprep.core.faces import Faces
from faceprep.models import weights
from faceprep.models.detectors.detector import long_sides
from faceprep.models.detectors.mtcnn import (
    Mtcnn,
    crop_boxes,
    fast_nms,
    make_square,
    pyramid_scales,
    shrink,
)
from faceprep.models.detectors.mtcnn_onnx import mtcnn_graph
from faceprep.models.onnx_session import Network, Runtime
from tests.command import imported
from tests.photos import astronaut, photo, six_people
from tests.real import DATA, needs_data
from tests.turns import points_of_the_day

CPU = Runtime("cpu", threads=1)
PHOTOS = sorted(
    path.relative_to(DATA / "photos").as_posix()
    for folder in ("groups", "registration")
    for path in (DATA / "photos" / folder).rglob("*.jpg")
)
Package = Callable[[Pixels], Faces]


@pytest.fixture(scope="module")
def detector() -> Mtcnn:
    return Mtcnn(CPU)


@pytest.fixture(scope="module")
def package() -> Package:
    """Return the faces that the package finds, neither rounded nor cut off at the edge."""
    pytest.importorskip("tensorflow")
    from mtcnn import MTCNN

    found = MTCNN()

    def detect(image: Pixels) -> Faces:
        rows = np.asarray(
            found.detect_faces(image, fit_to_image=False, box_format="xyxy", output_type="numpy")
        )
        rows = rows.reshape(-1, 16)
        return Faces(rows[:, 1:5], rows[:, 6:].reshape(-1, 2, 5).transpose(0, 2, 1), rows[:, 5])

    return detect


def agree(ours: Faces, theirs: Faces) -> None:
    """IoU of 0.9 and points within 2 pixels, for every face of theirs."""
    if not len(theirs):
        return
    shares = overlaps(theirs.boxes[:, None], ours.boxes)
    best = shares.argmax(axis=1)
    assert (shares.max(axis=1) >= 0.9).all(), shares.max(axis=1)
    assert np.abs(ours.landmarks[best] - theirs.landmarks).max() < 2
    assert np.abs(ours.scores[best] - theirs.scores).max() < 0.01


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("picture", [astronaut, six_people])
def test_finds_what_the_package_finds(
    detector: Mtcnn, package: Package, picture: Callable[[], Pixels]
) -> None:
    image = picture()
    theirs = package(image)
    assert len(theirs)
    agree(detector.detect([image])[0], theirs)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@needs_data
@pytest.mark.parametrize("name", points_of_the_day(PHOTOS, 6))
def test_finds_what_the_package_finds_in_real_photos(
    detector: Mtcnn, package: Package, name: str
) -> None:
    image = photo(name)
    ours, theirs = detector.detect([image])[0], package(image)
    agree(ours, theirs)
    assert len(ours) == len(theirs)


def test_no_tensorflow_is_loaded() -> None:
    program = (
        "import numpy as np; from faceprep.models.detectors.detector import DetectorSpec, "
        "open_detector\n"
        "open_detector(DetectorSpec('mtcnn', 'cpu', threads=1))"
        ".detect([np.zeros((90, 90, 3), np.uint8)])"
    )
    assert imported(program, {"tensorflow", "mtcnn"}) == ("", [])


def test_a_batch_is_as_one_by_one(detector: Mtcnn, monkeypatch: pytest.MonkeyPatch) -> None:
    image = astronaut()
    images = [image, image[:, ::-1].copy(), np.zeros_like(image), image[:300]]
    single = [detector.detect([image])[0] for image in images]
    monkeypatch.setattr(Network, "best_batch", 16)
    for one, together in zip(single, detector.detect(images), strict=True):
        np.testing.assert_allclose(together.boxes, one.boxes, atol=1e-2)
        np.testing.assert_allclose(together.landmarks, one.landmarks, atol=1e-2)
        np.testing.assert_allclose(together.scores, one.scores, atol=1e-4)
    assert [len(faces) for faces in single] == [1, 1, 0, 1]


def test_it_tells_red_from_blue(detector: Mtcnn) -> None:
    image = six_people()
    right, swapped = (
        detector.detect([image])[0],
        detector.detect([np.ascontiguousarray(image[..., ::-1])])[0],
    )
    assert len(right) >= 6
    assert len(swapped) != len(right) or np.abs(swapped.boxes - right.boxes).max() > 1


# The networks, layer by layer in double precision


def network_in_doubles(name: str, x: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    """Compute the heads for one image (height, width, 3) of −1 … 1; Keras's layers written out."""
    layers = iter(
        layer.astype(np.float64) for layer in weights.mtcnn_layers(weights.mtcnn_file(name))
    )
    pools = {"pnet": [2, 0, 0], "rnet": [3, -3, 0], "onet": [3, -3, 2, 0]}[
        name
    ]  # negative: no cut window
    for pool in pools:
        kernel, bias, slope = next(layers), next(layers), next(layers)
        windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(0, 1))
        x = np.einsum("hwcij,ijco->hwo", windows, kernel) + bias
        x = np.where(x > 0, x, slope * x)
        if pool:
            side = abs(pool)
            rows, columns = (-(-n // 2) if pool > 0 else (n - side) // 2 + 1 for n in x.shape[:2])
            x = np.array(
                [
                    [
                        x[2 * i : 2 * i + side, 2 * j : 2 * j + side].max(axis=(0, 1))
                        for j in range(columns)
                    ]
                    for i in range(rows)
                ]
            )
    if name != "pnet":
        kernel, bias, slope = next(layers), next(layers), next(layers)
        x = x.transpose(1, 0, 2).ravel() @ kernel + bias
        x = np.where(x > 0, x, slope * x)
    heads = list(layers)
    return [
        x @ kernel.reshape(kernel.shape[-2:]) + bias
        for kernel, bias in zip(heads[::2], heads[1::2], strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "shape"), [("pnet", (33, 26)), ("rnet", (24, 24)), ("onet", (48, 48))]
)
def test_the_graphs_are_the_layers(name: str, shape: tuple[int, int]) -> None:
    image = astronaut()[60 : 60 + shape[0], 190 : 190 + shape[1]]
    *heads, classes = network_in_doubles(name, (image - 127.5) / 128)
    network = CPU.open(mtcnn_graph(name, weights.mtcnn_layers(weights.mtcnn_file(name))))
    answer = network.run(image[None].astype(np.float32))[0][0]
    answer = answer.transpose(1, 2, 0) if name == "pnet" else answer
    expected = np.concatenate([*heads, classes[..., 1:] - classes[..., :1]], axis=-1)
    np.testing.assert_allclose(answer, expected, atol=1e-4)


# The steps


def test_the_pyramid_ends_where_a_cell_no_longer_fits() -> None:
    for side in (20, 50, 360, 1080):
        scales = pyramid_scales((side, 2 * side), 20)
        assert scales[0] == 0.6 and int(side * scales[-1]) >= 12 > int(side * scales[-1] * 0.709)
    assert pyramid_scales((19, 400), 20) == []


boxes_and_scores = st.integers(0, 40).flatmap(
    lambda n: st.tuples(
        arrays.arrays(np.float32, (n, 4), elements=st.integers(0, 20)),
        arrays.arrays(np.float32, n, elements=st.integers(0, 100).map(lambda x: x / 100)),
    )
)


@settings(max_examples=60)
@given(boxes_and_scores, st.sampled_from([0.3, 0.5, 0.7]), st.booleans())
def test_who_stays(drawn: tuple[Any, Any], limit: float, of_smaller: bool) -> None:
    """Pair by pair; scores are made different, since the order of equals is the sort's."""
    corners, scores = drawn
    boxes = np.hstack([corners[:, :2], corners[:, :2] + corners[:, 2:] + 1])
    scores = scores + np.arange(len(scores), dtype=np.float32) / 10000
    stays = []
    for i, box in enumerate(boxes):
        rivals = False
        for j, other in enumerate(boxes):
            if scores[j] > scores[i]:
                width, height = (
                    min(box[k + 2], other[k + 2]) - max(box[k], other[k]) for k in (0, 1)
                )
                shared = max(width, 0) * max(height, 0)
                own, its = ((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other))
                rivals |= shared / (min(own, its) if of_smaller else own + its - shared) > limit
        if not rivals:
            stays.append(i)
    found = fast_nms(boxes, scores, limit, of_smaller)
    assert sorted(found) == stays
    assert (np.diff(scores[found]) <= 0).all()


def test_many_boxes_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 60, (200, 2))
    boxes = np.hstack([corners, corners + rng.uniform(5, 30, (200, 2))]).astype(np.float32)
    scores = rng.permutation(200).astype(np.float32)
    whole = fast_nms(boxes, scores, 0.4)
    monkeypatch.setattr("faceprep.models.detectors.mtcnn._AT_ONCE", 7)
    assert fast_nms(boxes, scores, 0.4).tolist() == whole.tolist()


def test_squares_keep_their_middle() -> None:
    square = make_square(np.array([[0, 0, 10, 20], [5, 5, 9, 6]], np.float32))
    np.testing.assert_allclose(square, [[-5, 0, 15, 20], [5, 3.5, 9, 7.5]])
    assert make_square(np.empty((0, 4), np.float32)).shape == (0, 4)


def test_crops_of_a_ramp_are_ramps() -> None:
    """Bilinear between pixels, from corner to corner; grey beyond the first and last pixel."""
    ramp = np.broadcast_to(np.arange(100, dtype=np.float32)[None, :, None], (60, 100, 3)).copy()
    crop = crop_boxes(ramp, np.array([[10, 10, 33, 33], [-20, -20, 20, 20]], np.float32), 24)
    np.testing.assert_allclose(
        crop[0, :, :, 0], np.broadcast_to(np.linspace(9.9, 32.67, 24), (24, 24)), atol=0.02
    )
    assert (crop[1, :12, :, 0] == 127.5).all() and (crop[1, :, :12, 0] == 127.5).all()
    assert crop[1, 12, 12, 0] < 1
    assert crop_boxes(ramp, np.empty((0, 4), np.float32), 24).shape == (0, 24, 24, 3)


def test_shrinking_keeps_the_mean() -> None:
    image = np.random.default_rng(0).uniform(0, 255, (60, 90, 3)).astype(np.float32)
    small = shrink(image, 1 / 3)
    assert small.shape == (20, 30, 3)
    np.testing.assert_allclose(small, image.reshape(20, 3, 30, 3, 3).mean(axis=(1, 3)), rtol=1e-4)


@pytest.mark.parametrize("least", [10, 25, 40, 60, 90])
def test_a_minimum_does_not_change_the_larger_faces(detector: Mtcnn, least: int) -> None:
    image = six_people()
    (all_faces,), (faces,) = detector.detect([image]), detector.detect_from([image], least)
    expected, found = (each.take(long_sides(each) >= least) for each in (all_faces, faces))
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.landmarks, expected.landmarks)


def test_small_faces_are_not_searched_for(detector: Mtcnn) -> None:
    (faces,) = detector.detect_from([six_people()], 200)
    assert len(faces) < len(detector.detect([six_people()])[0])
