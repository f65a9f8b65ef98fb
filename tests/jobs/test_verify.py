"""verify: bins, folders, IJB; what is left out is named; figures against plain loops and scikit-learn."""

from __future__ import annotations

import functools
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_curve
from sklearn.model_selection import KFold

from faceprep.errors import OptionError, SourceError
from faceprep.jobs.verify import Verification, Verify
from faceprep.judging import folders
from faceprep.synthetic import encode_face
from faceprep.verification.pairs import FARS, judge_pairs
from faceprep.vision.codec import decode, encode
from tests.bins import BINS, BROKEN, DAMAGED, write_bin
from tests.embedders import Colours, drawn_embedders  # noqa: F401
from tests.ijb_set import Face, write_ijb
from tests.photos import package_file
from tests.real import needs_data

pytestmark = pytest.mark.usefixtures("drawn_embedders")


def verify(*paths: Path, embedder: str = "colours", **options: Any) -> Verification:
    return Verify(embedder=embedder, **options)(paths)


drawn = functools.cache(functools.partial(encode_face, suffix=".png"))


def drawn_pairs(n: int = 60) -> tuple[list[bytes], list[bool]]:
    images, same = [], []
    for pair in range(n):
        same.append(pair % 2 == 0)
        people = (pair % 7, pair % 7 if same[-1] else (pair + 3) % 7)
        images += [drawn(person, (5 * pair + i) % 11) for i, person in enumerate(people)]
    return images, same


@pytest.fixture(scope="module")
def pairs_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bin(tmp_path_factory.mktemp("bins") / "drawn.bin", *drawn_pairs())


def plain_vectors(images: list[Any], flip: bool = True) -> np.ndarray:
    embedder = Colours(None)
    pixels = [image if isinstance(image, np.ndarray) else decode(image) for image in images]
    vectors = np.stack([embedder(each[None])[0] for each in pixels]).astype(np.float64)
    return vectors + np.stack([embedder(each[None, :, ::-1])[0] for each in pixels]) if flip else vectors


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# Bins


@pytest.mark.parametrize("flip", [True, False])
def test_a_bin_as_the_field_judges_it(pairs_bin: Path, flip: bool) -> None:
    """Raw vector plus that of the mirror image, brought to length 1; ten folds of KFold; scikit-learn's ROC."""
    images, same = drawn_pairs()
    vectors = unit(plain_vectors(images, flip))
    scores, truth = (vectors[0::2] * vectors[1::2]).sum(axis=1), np.array(same)
    accuracies = []
    for train, test in KFold(10, shuffle=False).split(scores):
        cuts = np.sort(scores[train])[::-1]
        best = cuts[np.argmax([np.mean((scores[train] >= cut) == truth[train]) for cut in cuts])]
        accuracies.append(np.mean((scores[test] >= best - 1e-6) == truth[test]))
    (found,) = verify(pairs_bin, flip=flip).results
    assert (found["name"], found["pairs"], found["left_out"]) == ("drawn", 60, 0)
    assert found["accuracy"] == pytest.approx(np.mean(accuracies), abs=1e-9)
    assert found["std"] == pytest.approx(np.std(accuracies), abs=1e-9)
    far, tar, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert 0.5 < found["tar_at_far"]["1e-1"] == tar[far <= 0.1].max() < 1
    assert found["best_accuracy"] >= found["accuracy"]
    assert np.mean((scores >= found["best_threshold"] - 1e-6) == truth) == found["best_accuracy"]


def test_names_of_the_json(pairs_bin: Path) -> None:
    told = json.loads(json.dumps(verify(pairs_bin).as_json(), allow_nan=False))
    counts = {"command": "verify", "inputs": 60, "ok": 60, "failed": 0, "by_status": {"ok": 60}, "outputs": 0}
    assert {name: told[name] for name in counts} == counts
    assert told["model"].startswith("colours/") and told["model"].endswith("/flip") and told["metric"] == "cosine"
    (result,) = told["results"]
    asked = {"name", "pairs", "accuracy", "std", "threshold", "eer", "tar_at_far", "best_threshold", "best_accuracy"}
    assert asked <= set(result)
    assert tuple(result["tar_at_far"]) == FARS
    assert [result["tar_at_far"][far] is None for far in FARS] == [False, True, True, True, True, True]


def test_the_threshold_is_on_the_scale_of_the_metric(pairs_bin: Path) -> None:
    images, same = drawn_pairs()
    vectors = plain_vectors(images) / 2
    scores = 1 - ((vectors[0::2] - vectors[1::2]) ** 2).sum(axis=1) / 2
    (found,) = verify(pairs_bin, embedder="distances").results
    expected = judge_pairs(scores, same)
    assert expected.best_threshold is not None and expected.best_threshold < 0, "no cosine"
    assert found["best_threshold"] == pytest.approx(expected.best_threshold, abs=1e-3)
    assert found["eer"] == pytest.approx(expected.eer)


def test_images_that_are_the_same_are_embedded_once(pairs_bin: Path, tmp_path: Path) -> None:
    images, same = drawn_pairs()
    verify(pairs_bin, flip=False)
    assert sum(Colours.calls) == len(set(images)) < len(images)
    twice = write_bin(tmp_path / "twice.bin", images * 2, same * 2)
    Colours.calls.clear()
    assert verify(twice, flip=False).results[0]["pairs"] == 120
    assert sum(Colours.calls) == len(set(images))


def test_every_vintage_gives_the_same_figures(tmp_path: Path) -> None:
    images, same = drawn_pairs(30)
    columns = [np.frombuffer(image, np.uint8).reshape(-1, 1) for image in images]
    for name, kind, labels in (("a", images, same), ("b", columns, same), ("c", images, np.array(same))):
        (tmp_path / f"{name}.bin").write_bytes(pickle.dumps((kind, labels)))
    results = verify(*(tmp_path / f"{name}.bin" for name in "abc")).results
    assert [result.pop("name") for result in results] == ["a", "b", "c"]
    assert len({json.dumps({name: value for name, value in each.items() if name != "path"}) for each in results}) == 1


def test_pairs_with_a_damaged_image_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images, same = drawn_pairs()
    sound = verify(write_bin(tmp_path / "sound.bin", images[:20] + images[26:], same[:10] + same[13:])).results[0]
    images[20] = images[25] = b"no image"
    images[22] = images[22][:-40]
    found = verify(write_bin(tmp_path / "damaged.bin", images, same))
    assert (found.failed, found.as_json()["by_status"]) == (3, {"ok": 57, "undecodable": 3})
    assert found.results[0]["left_out"] == 3
    same_figures = set(sound) - {"name", "path", "left_out"}
    assert {name: sound[name] for name in same_figures} == {name: found.results[0][name] for name in same_figures}
    assert "image 20 of pair 10: " in found.damage[0] and found.damage[0].endswith("; pair 10 is left out")
    assert "image 20 of pair 10: " in found.damage[2], "the same bytes as image 25"
    assert [record.getMessage() for record in caplog.records if "left out" in record.getMessage()] == found.damage


def test_vectors_that_are_none(tmp_path: Path) -> None:
    images, same = drawn_pairs()
    images[0] = encode(np.full((112, 112, 3), 128, np.uint8), ".png")
    images[3] = encode(np.full((112, 112, 3), (250, 0, 0), np.uint8), ".png")
    found = verify(write_bin(tmp_path / "a.bin", images, same))
    assert found.as_json()["by_status"] == {"ok": 58, "no_vector": 2}
    assert "image 0 of pair 0: the embedder gives zeros or what is no number; pair 0 is left out" in found.damage[0]
    assert "image 3 of pair 1: " in found.damage[1]


def test_a_broken_bin_is_named_and_the_others_judged(
    pairs_bin: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.bin"
    broken.write_bytes(pickle.dumps(([b"a"], [True])))
    few = write_bin(tmp_path / "few.bin", *drawn_pairs(9))
    found = verify(broken, tmp_path / "none.bin", pairs_bin, few)
    assert [result["name"] for result in found.results] == ["drawn"]
    assert (found.failed, found.as_json()["by_status"]) == (3, {"ok": 60, "broken": 3})
    assert f"{few}: too few pairs for 10 folds: expected 10 or more, found 9" in caplog.text
    assert "two images for every label" in found.damage[0] and "no such file" in found.damage[1]
    with pytest.raises(SourceError, match="two images for every label"):
        verify(broken)
    with pytest.raises(SourceError, match="none of the sets could be judged"):
        verify(broken, few)


def test_sets_of_one_name_are_told_by_their_paths(pairs_bin: Path, tmp_path: Path) -> None:
    other = Path(shutil.copy(pairs_bin, tmp_path / "drawn.bin"))
    assert [result["name"] for result in verify(pairs_bin, other).results] == [str(pairs_bin), str(other)]


def test_images_of_another_shape_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images, same = drawn_pairs(20)
    narrow = [encode(decode(image)[:, :92], ".png") for image in images]
    verify(write_bin(tmp_path / "narrow.bin", narrow, same))
    assert "narrow.bin: 35 of 35 images do not fit, such as " in caplog.text


# Folders


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


def test_enrolled_is_the_mean_of_the_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_people(tmp_path, [3] * 8)
    monkeypatch.setattr(folders, "_enrol", lambda draw, identities, people, sound: np.arange(len(people)) % 3 != 1)
    (found,) = verify(root, gallery=2, flip=False).results
    vectors = unit(plain_vectors([drawn(i // 3, i % 3) for i in range(24)], flip=False)).reshape(8, 3, -1)
    likeness = vectors[:, 1] @ unit(vectors[:, [0, 2]].mean(axis=1)).T
    ranks = (likeness >= likeness.diagonal()[:, None] - 1e-7).sum(axis=1)
    assert found["rank"] == {str(k): np.mean(ranks <= k) for k in (1, 5, 10, 20)}


def test_the_draw_depends_on_seed_name_and_images_alone(tmp_path: Path) -> None:
    root = write_people(tmp_path / "a", [6, 5, 4])
    first = verify(root, seed=3).results
    assert verify(root, seed=3).results == first
    assert len({json.dumps(verify(root, seed=seed).results[0]["rank"]) for seed in range(6)} | {""}) > 1
    write_people(tmp_path / "b", [6, 5, 4, 1, 1])
    (grown,) = verify(tmp_path / "b", seed=3).results
    assert grown["rank"] == first[0]["rank"], "strangers change no rank: the same images are enrolled"


def test_folders_that_cannot_be_searched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SourceError, match="neither identities with images nor IJB"):
        verify(tmp_path)
    write_people(tmp_path, [1, 1, 1])
    with pytest.raises(SourceError, match="no identity has two sound images"):
        verify(tmp_path)
    (tmp_path / "person 0" / "damaged.png").write_bytes(b"no image")
    with pytest.raises(SourceError, match="no identity has two sound images"):
        verify(tmp_path)
    write_people(tmp_path, [1, 3, 1])
    found = verify(tmp_path)
    assert (found.failed, found.results[0]["gallery"], found.results[0]["left_out"]) == (1, 1, 1)
    assert found.damage[0].startswith("person 0/damaged.png: ")
    (tmp_path / "outside.png").write_bytes(drawn(0, 0))
    assert verify(tmp_path).results == found.results
    assert "the images outside the folders of identities are passed over" in caplog.text
    with pytest.raises(OptionError, match="--gallery: expected 1 or more, found 0"):
        Verify(embedder="colours", gallery=0)


# IJB


@pytest.fixture(scope="module")
def ijbc(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Face]]:
    root = tmp_path_factory.mktemp("set") / "IJBC"
    return root, write_ijb(root)


def field_templates(root: Path, faces: list[Face], weighted: bool = True) -> dict[int, np.ndarray]:
    """As InsightFace's evaluation pools: raw vectors plus the mirror image's, times the score; the mean of a medium,
    the sum of the media, brought to length 1."""
    import cv2

    from faceprep.vision.align import ARCFACE_112, estimate_similarity

    crops = []
    for face in faces:
        pixels = decode((root / "loose_crop" / face.file).read_bytes())
        crops.append(cv2.warpAffine(pixels, estimate_similarity(face.landmarks[None], ARCFACE_112)[0], (112, 112)))
    vectors = plain_vectors(crops)
    if weighted:
        vectors *= np.array([face.score for face in faces])[:, None]
    pooled: dict[int, np.ndarray] = {}
    for template in {face.template for face in faces}:
        rows = [i for i, face in enumerate(faces) if face.template == template]
        media = {faces[i].medium for i in rows}
        total = sum(vectors[[i for i in rows if faces[i].medium == medium]].mean(axis=0) for medium in media)
        pooled[template] = total / np.linalg.norm(total)
    return pooled


@pytest.mark.parametrize("weighted", [True, False])
def test_ijb_as_the_field_judges_it(ijbc: tuple[Path, list[Face]], weighted: bool) -> None:
    root, faces = ijbc
    pooled = field_templates(root, faces, weighted)
    found = {result["name"]: result for result in verify(root, score_weights=weighted).results}
    assert list(found) == ["IJB-C 1:1", "IJB-C 1:N G1", "IJB-C 1:N G2", "IJB-C 1:N"]
    rows = [line.split() for line in (root / "meta" / "ijbc_template_pair_label.txt").read_text().splitlines()]
    scores = np.array([pooled[int(a)] @ pooled[int(b)] for a, b, _ in rows])
    far, tar, _ = roc_curve([label == "1" for _, _, label in rows], scores, drop_intermediate=False)
    pairs = found["IJB-C 1:1"]
    assert (pairs["pairs"], pairs["accuracy"]) == (len(rows), None)
    for name in ("1e-1", "1e-2", "1e-3"):
        assert pairs["tar_at_far"][name] == pytest.approx(tar[far <= float(name)].max())
    assert 0.1 < pairs["tar_at_far"]["1e-3"] < 1 and pairs["tar_at_far"]["1e-4"] is None
    person_of = {face.template: face.person for face in faces}
    probes = [template for template in pooled if template % 10 != 3]
    hits = []
    for name, people in (("G1", range(8)), ("G2", range(8, 16))):
        gallery = np.stack([pooled[10 * person + 3] for person in people])
        likeness = np.stack([pooled[template] for template in probes]) @ gallery.T
        person = np.array([person_of[template] for template in probes])
        mated = np.isin(person, people)
        mates = likeness[mated, person[mated] - people[0]]
        first = likeness[mated].argmax(axis=1) == person[mated] - people[0]
        limit = np.sort(likeness[~mated].max(axis=1))[::-1][(~mated).sum() // 10]
        searches = found[f"IJB-C 1:N {name}"]
        assert (searches["gallery"], searches["probes"], searches["non_mated"]) == (8, 24, 24)
        assert searches["rank"]["1"] == first.mean()
        assert searches["tpir_at_fpir"]["1e-1"] == np.mean(first & (mates > limit))
        hits.append(searches["tpir_at_fpir"]["1e-1"])
    assert found["IJB-C 1:N"]["tpir_at_fpir"]["1e-1"] == pytest.approx(np.mean(hits)) and np.mean(hits) > 0
    assert found["IJB-C 1:N"]["probes"] == 48


def test_images_of_ijb_that_cannot_be_used(ijbc: tuple[Path, list[Face]], tmp_path: Path) -> None:
    root, _ = Path(shutil.copytree(ijbc[0], tmp_path / "set")), ijbc[1]
    (root / "loose_crop" / "1.jpg").unlink()
    (root / "loose_crop" / "2.jpg").write_bytes(b"no image")
    points = root / "meta" / "ijbc_name_5pts_score.txt"
    points.write_text(points.read_text().replace("\n5.jpg ", "\n5.jpg 1 1 1 1 1 1 1 1 1 1 0.5\n5.jpg ", 1))
    lines = points.read_text().splitlines()
    del lines[5]
    points.write_text("\n".join(lines))
    found = verify(root)
    assert found.as_json()["by_status"] == {"ok": 189, "unreadable": 1, "undecodable": 1, "degenerate_landmarks": 1}
    assert "1.jpg: cannot read: No such file" in found.damage[0] and "5.jpg: degenerate landmarks" in found.damage[2]
    assert {result["left_out"] for result in found.results} == {0}, "each template has an image left"
    (root / "loose_crop" / "3.jpg").unlink()
    left_out = {result["name"]: result["left_out"] for result in verify(root).results}
    assert left_out["IJB-C 1:1"] > 0, "pairs of the first template, which has no image"
    assert (left_out["IJB-C 1:N G1"], left_out["IJB-C 1:N G2"]) == (1 + 3, 0), "it, and the probes of its person"
    with pytest.raises(SourceError, match="holds IJB in a folder of its own. Name .*/set."):
        verify(tmp_path)
    shutil.rmtree(root / "loose_crop")
    with pytest.raises(SourceError, match="no template has an image that can be used: found .*1.jpg"):
        verify(root)


# All


def test_what_people_read(pairs_bin: Path, ijbc: tuple[Path, list[Face]]) -> None:
    steps: list[tuple[int, int]] = []
    shown = str(
        Verify(embedder="colours")([pairs_bin, ijbc[0]], lambda done, total: steps.append((done, total)))
    ).splitlines()
    assert shown[0].split() == ["set", "pairs", "accuracy", "threshold", "EER", "TAR", "at", "FAR", "best", "of", "all"]
    assert shown[1].startswith("drawn ") and " ± " in shown[1] and " at 1e-1 " in shown[1]
    assert shown[2].startswith("IJB-C 1:1 ") and shown[3] == ""
    assert shown[4].startswith("set ") and shown[7].startswith("IJB-C 1:N ")
    assert len({len(line) for line in shown[:3]}) == len({len(line) for line in shown[4:]}) == 1
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_the_command(
    pairs_bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    from faceprep.cli import main

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["faceprep", "verify", *map(str, words), "--embedder", "colours"])
        return main(), *capsys.readouterr()

    status, out, err = run(pairs_bin, pairs_bin.parent / "drawn.bin", "--json", "--no-flip")
    assert (status, err, out.count("\n")) == (0, "faceprep: colours runs on CPU\n", 1)
    told = json.loads(out)
    assert (len(told["results"]), told["flip"]) == (2, False)
    (tmp_path / "broken.bin").write_bytes(b"broken")
    status, out, err = run(tmp_path / "broken.bin", pairs_bin)
    assert status == 3 and out.startswith("set ") and err.count("broken.bin: not a sound pickle") == 1
    assert run(tmp_path / "broken.bin")[0] == 1
    assert run(tmp_path / "none.bin") == (
        1,
        "",
        f"faceprep: colours runs on CPU\nfaceprep: {tmp_path / 'none.bin'}: no such file or folder. Check the path.\n",
    )
    assert run(pairs_bin, "--gallery", 0)[0] == 2
    assert not list(tmp_path.glob("**/.faceprep"))


def test_nothing_is_changed(pairs_bin: Path) -> None:
    before = pairs_bin.stat().st_mtime_ns, sorted(pairs_bin.parent.iterdir())
    verify(pairs_bin)
    assert (pairs_bin.stat().st_mtime_ns, sorted(pairs_bin.parent.iterdir())) == before


# Real


@needs_data
def test_real_bins_by_dlibs_own_descriptors(tmp_path: Path) -> None:
    """The same figures from dlib itself, on the same chips."""
    dlib = pytest.importorskip("dlib")
    weights = package_file("face_recognition_models", "models/dlib_face_recognition_resnet_model_v1.dat")
    job = Verify(flip=False)
    with (BINS / "py3_bytes.bin").open("rb") as file:
        images, same = (part[:n] for part, n in zip(pickle.load(file, encoding="bytes"), (24, 12), strict=True))
    (found,) = job([write_bin(tmp_path / "some.bin", images, same)]).results
    network, fitter = dlib.face_recognition_model_v1(str(weights)), job.fitter()
    vectors = unit(np.array([network.compute_face_descriptor(fitter(decode(image))) for image in images]))
    expected = judge_pairs((vectors[0::2] * vectors[1::2]).sum(axis=1), same)
    assert found["accuracy"] == pytest.approx(expected.accuracy)
    assert found["eer"] == pytest.approx(expected.eer)
    assert found["best_threshold"] == pytest.approx(expected.best_threshold, abs=1e-5)


@needs_data
def test_real_bins() -> None:
    found = verify(BINS / "py3_bytes.bin", BINS / "numpy_column.bin", DAMAGED, embedder="dlib-resnet")
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
