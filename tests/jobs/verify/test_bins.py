"""Bins: as the field judges them, images once, pairs that are left out."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_curve
from sklearn.model_selection import KFold

from faceprep.core.errors import SourceError
from faceprep.identity.metrics.verification import FARS, judge_pairs
from faceprep.jobs.verify.job import Verify
from faceprep.steps.embed_options import EmbedOptions
from faceprep.vision.codec import decode, encode
from tests.bins import BINS, BROKEN, DAMAGED, write_bin
from tests.embedders import (
    Colours,
    drawn_bin,
    drawn_embedders,
    drawn_pairs,
    plain_vectors,
    unit,
    verify,
)
from tests.photos import package_file
from tests.real import needs_data

__all__ = ["drawn_bin", "drawn_embedders"]
pytestmark = pytest.mark.usefixtures("drawn_embedders")


@pytest.mark.parametrize("flip", [True, False])
def test_a_bin_as_the_field_judges_it(drawn_bin: Path, flip: bool) -> None:
    """Raw vector plus that of the mirror image, brought to length 1; ten folds of KFold;
    scikit-learn's ROC.
    """
    images, same = drawn_pairs()
    vectors = unit(plain_vectors(images, flip))
    scores, truth = (vectors[0::2] * vectors[1::2]).sum(axis=1), np.array(same)
    accuracies = []
    for train, test in KFold(10, shuffle=False).split(scores):
        cuts = np.sort(scores[train])[::-1]
        best = cuts[np.argmax([np.mean((scores[train] >= cut) == truth[train]) for cut in cuts])]
        accuracies.append(np.mean((scores[test] >= best - 1e-6) == truth[test]))
    (found,) = verify(drawn_bin, flip=flip).results
    assert (found["name"], found["pairs"], found["left_out"]) == ("drawn", 60, 0)
    assert found["accuracy"] == pytest.approx(np.mean(accuracies), abs=1e-9)
    assert found["std"] == pytest.approx(np.std(accuracies), abs=1e-9)
    far, tar, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert 0.5 < found["tar_at_far"]["1e-1"] == tar[far <= 0.1].max() < 1
    assert found["best_accuracy"] >= found["accuracy"]
    assert np.mean((scores >= found["best_threshold"] - 1e-6) == truth) == found["best_accuracy"]


def test_names_of_the_json(drawn_bin: Path) -> None:
    told = json.loads(json.dumps(verify(drawn_bin).as_json(), allow_nan=False))
    counts = {
        "command": "verify",
        "inputs": 60,
        "ok": 60,
        "failed": 0,
        "by_status": {"ok": 60},
        "outputs": 0,
    }
    assert {name: told[name] for name in counts} == counts
    assert (
        told["model"].startswith("colours/")
        and told["model"].endswith("/flip")
        and told["metric"] == "cosine"
    )
    (result,) = told["results"]
    asked = {
        "name",
        "pairs",
        "accuracy",
        "std",
        "threshold",
        "eer",
        "tar_at_far",
        "best_threshold",
        "best_accuracy",
    }
    assert asked <= set(result)
    assert tuple(result["tar_at_far"]) == FARS
    assert [result["tar_at_far"][far] is None for far in FARS] == [
        False,
        True,
        True,
        True,
        True,
        True,
    ]


def test_the_threshold_is_on_the_scale_of_the_metric(drawn_bin: Path) -> None:
    images, same = drawn_pairs()
    vectors = plain_vectors(images) / 2
    scores = 1 - ((vectors[0::2] - vectors[1::2]) ** 2).sum(axis=1) / 2
    (found,) = verify(drawn_bin, embedder="distances").results
    expected = judge_pairs(scores, same)
    assert expected.best_threshold is not None and expected.best_threshold < 0, "no cosine"
    assert found["best_threshold"] == pytest.approx(expected.best_threshold, abs=1e-3)
    assert found["eer"] == pytest.approx(expected.eer)


def test_images_that_are_the_same_are_embedded_once(drawn_bin: Path, tmp_path: Path) -> None:
    images, same = drawn_pairs()
    verify(drawn_bin, flip=False)
    assert sum(Colours.calls) == len(set(images)) < len(images)
    twice = write_bin(tmp_path / "twice.bin", images * 2, same * 2)
    Colours.calls.clear()
    assert verify(twice, flip=False).results[0]["pairs"] == 120
    assert sum(Colours.calls) == len(set(images))


def test_every_vintage_gives_the_same_figures(tmp_path: Path) -> None:
    images, same = drawn_pairs(30)
    columns = [np.frombuffer(image, np.uint8).reshape(-1, 1) for image in images]
    for name, kind, labels in (
        ("a", images, same),
        ("b", columns, same),
        ("c", images, np.array(same)),
    ):
        (tmp_path / f"{name}.bin").write_bytes(pickle.dumps((kind, labels)))
    results = verify(*(tmp_path / f"{name}.bin" for name in "abc")).results
    assert [result.pop("name") for result in results] == ["a", "b", "c"]
    assert (
        len(
            {
                json.dumps({name: value for name, value in each.items() if name != "path"})
                for each in results
            }
        )
        == 1
    )


def test_pairs_with_a_damaged_image_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images, same = drawn_pairs()
    sound = verify(
        write_bin(tmp_path / "sound.bin", images[:20] + images[26:], same[:10] + same[13:])
    ).results[0]
    images[20] = images[25] = b"no image"
    images[22] = images[22][:-40]
    found = verify(write_bin(tmp_path / "damaged.bin", images, same))
    assert (found.failed, found.as_json()["by_status"]) == (3, {"ok": 57, "undecodable": 3})
    assert found.results[0]["left_out"] == 3
    same_figures = set(sound) - {"name", "path", "left_out"}
    assert {name: sound[name] for name in same_figures} == {
        name: found.results[0][name] for name in same_figures
    }
    assert "image 20 of pair 10: " in found.damage[0] and found.damage[0].endswith(
        "; pair 10 is left out"
    )
    assert "image 20 of pair 10: " in found.damage[2], "the same bytes as image 25"
    assert [
        record.getMessage() for record in caplog.records if "left out" in record.getMessage()
    ] == found.damage


def test_vectors_that_are_none(tmp_path: Path) -> None:
    images, same = drawn_pairs()
    images[0] = encode(np.full((112, 112, 3), 128, np.uint8), ".png")
    images[3] = encode(np.full((112, 112, 3), (250, 0, 0), np.uint8), ".png")
    found = verify(write_bin(tmp_path / "a.bin", images, same))
    assert found.as_json()["by_status"] == {"ok": 58, "no_vector": 2}
    assert (
        "image 0 of pair 0: the embedder gives zeros or values that are not numbers; pair 0 is"
        in found.damage[0]
    )
    assert "image 3 of pair 1: " in found.damage[1]


def test_a_broken_bin_is_named_and_the_others_judged(
    drawn_bin: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.bin"
    broken.write_bytes(pickle.dumps(([b"a"], [True])))
    few = write_bin(tmp_path / "few.bin", *drawn_pairs(9))
    found = verify(broken, tmp_path / "none.bin", drawn_bin, few)
    assert [result["name"] for result in found.results] == ["drawn"]
    assert (found.failed, found.as_json()["by_status"]) == (3, {"ok": 60, "broken": 3})
    assert f"{few}: too few pairs for 10 folds: expected 10 or more, found 9" in caplog.text
    assert "two images for every label" in found.damage[0] and "no such file" in found.damage[1]
    with pytest.raises(SourceError, match="two images for every label"):
        verify(broken)
    with pytest.raises(SourceError, match="none of the sets could be judged"):
        verify(broken, few)


def test_sets_of_one_name_are_told_by_their_paths(drawn_bin: Path, tmp_path: Path) -> None:
    other = Path(shutil.copy(drawn_bin, tmp_path / "drawn.bin"))
    assert [result["name"] for result in verify(drawn_bin, other).results] == [
        str(drawn_bin),
        str(other),
    ]


def test_images_of_another_shape_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images, same = drawn_pairs(20)
    narrow = [encode(decode(image)[:, :92], ".png") for image in images]
    verify(write_bin(tmp_path / "narrow.bin", narrow, same))
    assert "narrow.bin: 35 of 35 images do not fit, such as " in caplog.text


# Real


@needs_data
def test_real_bins_by_dlibs_own_descriptors(tmp_path: Path) -> None:
    """The same figures from dlib itself, on the same chips."""
    dlib = pytest.importorskip("dlib")
    weights = package_file(
        "face_recognition_models", "models/dlib_face_recognition_resnet_model_v1.dat"
    )
    job = Verify(flip=False)
    with (BINS / "py3_bytes.bin").open("rb") as file:
        images, same = (
            part[:n] for part, n in zip(pickle.load(file, encoding="bytes"), (24, 12), strict=True)
        )
    (found,) = job.look([write_bin(tmp_path / "some.bin", images, same)]).results
    network, fitter = dlib.face_recognition_model_v1(str(weights)), EmbedOptions().fitter()
    vectors = unit(
        np.array([network.compute_face_descriptor(fitter.fit(decode(image))) for image in images])
    )
    expected = judge_pairs((vectors[0::2] * vectors[1::2]).sum(axis=1), same)
    assert found["accuracy"] == pytest.approx(expected.accuracy)
    assert found["eer"] == pytest.approx(expected.eer)
    assert found["best_threshold"] == pytest.approx(expected.best_threshold, abs=1e-5)


@needs_data
def test_real_bins() -> None:
    found = verify(
        BINS / "py3_bytes.bin", BINS / "numpy_column.bin", DAMAGED, embedder="dlib-resnet"
    )
    by_name = {result["name"]: result for result in found.results}
    assert found.as_json()["by_status"] == {"ok": 30 + 30 + 29, "undecodable": 1}
    assert min(result["accuracy"] for result in by_name.values()) >= 0.9
    assert all(0.9 < result["best_threshold"] < 0.96 for result in by_name.values())


@needs_data
@pytest.mark.parametrize("path", sorted(BROKEN.glob("*.bin")), ids=lambda path: path.stem)
def test_real_broken_bins(path: Path) -> None:
    if path != DAMAGED:
        with pytest.raises(SourceError) as caught:
            verify(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
