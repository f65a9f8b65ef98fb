"""IJB: as the field judges it, on a small set in the layout; images that cannot be used."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_curve

from faceprep.core.errors import SourceError
from faceprep.core.landmarks import ARCFACE_112, estimate_similarity
from faceprep.vision.codec import decode
from tests.embedders import drawn_embedders, plain_vectors, verify
from tests.ijb_set import Face, ijbc

__all__ = ["drawn_embedders", "ijbc"]
pytestmark = pytest.mark.usefixtures("drawn_embedders")


def field_templates(root: Path, faces: list[Face], weighted: bool = True) -> dict[int, np.ndarray]:
    """Pool as InsightFace's evaluation does.

    Raw vectors plus those of the mirror image, times the score; the mean of a medium, the sum of
    the media, scaled to length 1.
    """
    crops = []
    for face in faces:
        pixels = decode((root / "loose_crop" / face.file).read_bytes())
        crops.append(
            cv2.warpAffine(
                pixels, estimate_similarity(face.landmarks[None], ARCFACE_112)[0], (112, 112)
            )
        )
    vectors = plain_vectors(crops)
    if weighted:
        vectors *= np.array([face.score for face in faces])[:, None]
    pooled: dict[int, np.ndarray] = {}
    for template in {face.template for face in faces}:
        rows = [i for i, face in enumerate(faces) if face.template == template]
        media = {faces[i].medium for i in rows}
        total = sum(
            vectors[[i for i in rows if faces[i].medium == medium]].mean(axis=0) for medium in media
        )
        pooled[template] = total / np.linalg.norm(total)
    return pooled


@pytest.mark.parametrize("weighted", [True, False])
def test_ijb_as_the_field_judges_it(ijbc: tuple[Path, list[Face]], weighted: bool) -> None:
    root, faces = ijbc
    pooled = field_templates(root, faces, weighted)
    found = {result["name"]: result for result in verify(root, score_weights=weighted).results}
    assert list(found) == ["IJB-C 1:1", "IJB-C 1:N G1", "IJB-C 1:N G2", "IJB-C 1:N"]
    rows = [
        line.split()
        for line in (root / "meta" / "ijbc_template_pair_label.txt").read_text().splitlines()
    ]
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
    assert (
        found["IJB-C 1:N"]["tpir_at_fpir"]["1e-1"] == pytest.approx(np.mean(hits))
        and np.mean(hits) > 0
    )
    assert found["IJB-C 1:N"]["probes"] == 48


def test_images_of_ijb_that_cannot_be_used(ijbc: tuple[Path, list[Face]], tmp_path: Path) -> None:
    root, _ = Path(shutil.copytree(ijbc[0], tmp_path / "set")), ijbc[1]
    (root / "loose_crop" / "1.jpg").unlink()
    (root / "loose_crop" / "2.jpg").write_bytes(b"not an image")
    points = root / "meta" / "ijbc_name_5pts_score.txt"
    points.write_text(
        points.read_text().replace("\n5.jpg ", "\n5.jpg 1 1 1 1 1 1 1 1 1 1 0.5\n5.jpg ", 1)
    )
    lines = points.read_text().splitlines()
    del lines[5]
    points.write_text("\n".join(lines))
    found = verify(root)
    assert found.as_json()["by_status"] == {
        "ok": 189,
        "unreadable": 1,
        "undecodable": 1,
        "degenerate_landmarks": 1,
    }
    assert (
        "1.jpg: cannot read: No such file" in found.damage[0]
        and "5.jpg: degenerate landmarks" in found.damage[2]
    )
    assert {result["left_out"] for result in found.results} == {0}, (
        "each template has an image left"
    )
    (root / "loose_crop" / "3.jpg").unlink()
    left_out = {result["name"]: result["left_out"] for result in verify(root).results}
    assert left_out["IJB-C 1:1"] > 0, "pairs of the first template, which has no image"
    assert (left_out["IJB-C 1:N G1"], left_out["IJB-C 1:N G2"]) == (1 + 3, 0), (
        "it, and the probes of its person"
    )
    with pytest.raises(SourceError, match="has IJB in a folder below it. Name .*/set."):
        verify(tmp_path)
    shutil.rmtree(root / "loose_crop")
    with pytest.raises(
        SourceError, match="no template has an image that can be used: found .*1.jpg"
    ):
        verify(root)


def test_images_without_weight_are_not_called_damaged(
    ijbc: tuple[Path, list[Face]], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(ijbc[0], tmp_path / "set"))
    (root / "loose_crop" / "1.jpg").write_bytes(b"not an image")
    points = root / "meta" / "ijbc_name_5pts_score.txt"
    lines = points.read_text().splitlines()
    points.write_text("\n".join(f"{line.rpartition(' ')[0]} 0" for line in lines))
    with pytest.raises(SourceError, match="can be used: found images without weight"):
        verify(root)
