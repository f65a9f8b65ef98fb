"""extract-photos: the place of each photo and crop, with detectors of flat faces and no weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.faces import Faces
from faceprep.jobs.extract_photos import choose, name_crops
from faceprep.run.ledger import Ledger
from faceprep.run.places import Places
from faceprep.vision.codec import decode, encode
from tests.failures import failure_lines
from tests.fakes import opened, tree
from tests.flat_faces import Flat, FlatDetector, flat_detectors, paint, save
from tests.flat_photos import JOB, ONE, files, photos, rows, run

__all__ = ["flat_detectors", "photos"]
pytestmark = pytest.mark.usefixtures("flat_detectors")


# Where things go


def test_each_kind_has_its_place(photos: Path, tmp_path: Path) -> None:
    before = tree(photos)
    summary = run(photos, tmp_path / "out")
    assert tree(photos) == before
    assert files(tmp_path) - {f"photos/{name}" for name in files(photos)} == {
        "out/faces.parquet",
        "out/flat_0.png",
        "out/ann/one_0.png",
        "out_multi/ann/two_0.png",
        "out_multi/ann/two_1.png",
        "out_none/ann/young/low.png",
        "out_none/bob/none.png",
        "out_none/bob/point.png",
    }
    kinds = {
        "degenerate_landmarks": 1,
        "low_score": 1,
        "many_faces": 1,
        "no_face": 1,
        "ok": 2,
        "undecodable": 1,
    }
    assert (summary.inputs, summary.failed, summary.outputs, summary.by_status) == (7, 2, 8, kinds)
    for name in ("ann/young/low.png", "bob/none.png", "bob/point.png"):
        assert (tmp_path / "out_none" / name).read_bytes() == (photos / name).read_bytes()
    assert failure_lines(tmp_path / "out") == [
        [
            "bob/bad.jpg",
            "undecodable",
            "bob/bad.jpg: not an image: it begins with 6e 6f 20 70 68 6f 74 6f",
        ],
        [
            "bob/point.png",
            "degenerate_landmarks",
            "degenerate landmarks: they all lie within 0.0 pixels",
        ],
    ]


def test_the_table_says_where_each_crop_comes_from(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "out")
    table = {row["output"]: row for row in rows(tmp_path / "out")}
    names = ["flat_0.png", "ann/one_0.png", "+_multi/ann/two_0.png", "+_multi/ann/two_1.png"]
    assert list(table) == names, "in the order of the photos, the surest face first"
    row = table["+_multi/ann/two_0.png"]
    assert (row["source"], row["key"], row["frame"]) == ("ann/two.bmp", "+_multi/ann/two_0", None)
    assert (row["image_height"], row["image_width"], row["template"]) == (240, 320, "arcface-112")
    assert [row[name] for name in ("x1", "y1", "x2", "y2")] == [200, 80, 290, 170]
    assert row["score"] == pytest.approx(0.97) and str(row["detector"]).startswith("FlatDetector/")
    assert np.allclose(
        row["transform"], [112 / 90, 0, -200 * 112 / 90, 0, 112 / 90, -80 * 112 / 90], atol=1e-3
    )
    crop = decode((tmp_path / "out_multi/ann/two_0.png").read_bytes())
    assert crop.shape == (112, 112, 3) and (crop[10:100, 10:100] == (250, 0, 97)).all(), (
        "red stays red"
    )


def test_crops_of_one_and_of_several_faces_have_the_format(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "out", replace(JOB, format="jpg"))
    found = {row["output"]: row["key"] for row in rows(tmp_path / "out")}
    assert found == {
        "flat_0.jpg": "flat_0",
        "ann/one_0.jpg": "ann/one_0",
        "+_multi/ann/two_0.jpg": "+_multi/ann/two_0",
        "+_multi/ann/two_1.jpg": "+_multi/ann/two_1",
    }
    assert files(tmp_path / "out") == {"faces.parquet", "flat_0.jpg", "ann/one_0.jpg"}
    assert files(tmp_path / "out_multi") == {"ann/two_0.jpg", "ann/two_1.jpg"}
    for name in ("out/ann/one_0.jpg", "out_multi/ann/two_1.jpg"):
        assert decode((tmp_path / name).read_bytes()).shape == (112, 112, 3)


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_a_red_patch_stays_red(suffix: str, tmp_path: Path) -> None:
    pixels = paint(Flat(100, 80, 60))
    pixels[140:150, 100:110] = (255, 30, 20)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / f"a{suffix}").write_bytes(encode(pixels, suffix))
    run(tmp_path / "src", tmp_path / "out", replace(JOB, template="box2-128"))
    crop = decode((tmp_path / "out" / "a_0.png").read_bytes()).astype(int)
    red = crop[(crop[..., 0] > 200) & (crop[..., 1] > 20) & (crop[..., 2] < 60)]
    assert len(red) > 60 and abs(red.mean(axis=0) - (255, 30, 20)).max() < 5


@pytest.mark.parametrize(
    ("select", "expected"),
    [("largest", [0.9]), ("score", [0.99]), ("center", [0.85]), ("all", [0.99, 0.9, 0.85])],
)
def test_select(select: str, expected: list[float], tmp_path: Path) -> None:
    faces = [Flat(10, 10, 40, 0.99), Flat(200, 100, 110, 0.9), Flat(130, 90, 50, 0.85)]
    save(tmp_path / "src" / "a.png", *faces)
    summary = run(tmp_path / "src", tmp_path / "out", replace(JOB, select=select))
    assert summary.by_status == {"ok": 1} and not (tmp_path / "out_multi").exists()
    assert [row["score"] for row in rows(tmp_path / "out")] == pytest.approx(expected)
    assert files(tmp_path / "out") == {
        "faces.parquet",
        *(f"a_{i}.png" for i in range(len(expected))),
    }


@given(st.permutations(range(4)), st.sampled_from(["largest", "score", "center"]))
def test_the_choice_does_not_depend_on_the_order(order: Sequence[int], select: str) -> None:
    boxes = np.array([(0, 0, 10, 10), (50, 50, 90, 99), (20, 20, 30, 30), (5, 60, 25, 90)])
    faces = Faces(boxes, np.zeros((4, 5, 2)), np.array([0.9, 0.8, 0.99, 0.85]))
    shuffled = faces.take(order)
    one, other = choose(faces, select, (100, 50)), choose(shuffled, select, (100, 50))
    assert len(one) == 1 and (faces.boxes[one] == shuffled.boxes[other]).all()


def test_fallback(tmp_path: Path) -> None:
    """Only for photos in which the first finds no sure face with sound landmarks; what neither
    finds keeps the first one's reason.
    """
    source = tmp_path / "src"
    save(source / "both.png", Flat(40, 50), Flat(200, 80, for_other=True))
    save(source / "second.png", Flat(200, 80, for_other=True))
    save(source / "low.png", Flat(40, 50, score=0.6), Flat(200, 80, for_other=True))
    save(source / "neither.png", Flat(40, 50, score=0.6), Flat(200, 80, score=0.3, for_other=True))
    save(source / "point.png", Flat(40, 50, degenerate=True), Flat(200, 80, for_other=True))
    save(source / "points.png", Flat(40, 50, degenerate=True))
    summary = run(source, tmp_path / "out", replace(JOB, fallback="other"))
    assert summary.by_status == {"degenerate_landmarks": 1, "low_score": 1, "ok": 4}
    found = {row["source"]: str(row["detector"]).split("/")[0] for row in rows(tmp_path / "out")}
    assert found == {
        "both.png": "FlatDetector",
        "low.png": "OtherDetector",
        "point.png": "OtherDetector",
        "second.png": "OtherDetector",
    }
    assert files(tmp_path / "out_none") == {"neither.png", "points.png"}


def test_a_face_that_fills_the_photo_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = FlatDetector._find
    monkeypatch.setattr(
        FlatDetector, "_find", lambda self, image: find(self, image * (image[0, 0, 0] == 0))
    )
    save(tmp_path / "src" / "a.png", Flat(0, 0, 240), size=(240, 240))
    run(tmp_path / "src", tmp_path / "out")
    opened(tmp_path / "out")
    (outcome,) = Ledger(Places(tmp_path / "out")).outcomes("000000")
    assert outcome[:3] == ("a.png", "ok", "found only with a border: the face fills the image")


# Names


def test_names_that_would_collide_keep_their_suffix(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp", "b.c.png", "b.png", "A.png"):
        save(tmp_path / "src" / "x" / name, *ONE)
    run(tmp_path / "src", tmp_path / "out")
    crops = {"a.png_0", "a.bmp_0", "b.c_0", "b_0", "A_0"}
    assert files(tmp_path / "out") == {"faces.parquet", *(f"x/{name}.png" for name in crops)}


@given(
    st.sets(
        st.from_regex(r"([ab]{1,2}/)?[ab]{1,2}(\.png|\.jpg|\.png\.jpg|_0\.png)", fullmatch=True)
    )
)
def test_names_of_crops_are_all_different(paths: set[str]) -> None:
    names = name_crops(sorted(paths))
    assert list(names) == sorted(paths) and len(set(names.values())) == len(paths)
    for path, name in names.items():
        stem = path.rpartition(".")[0]
        assert name in (path, stem)
        if sum(other.rpartition(".")[0] == stem or other == stem for other in paths) == 1:
            assert name == stem


def test_a_name_that_is_no_text_is_named(tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", *ONE)
    (tmp_path / "src" / os.fsdecode(b"\xff.png")).write_bytes(
        (tmp_path / "src" / "a.png").read_bytes()
    )
    save(tmp_path / "src" / os.fsdecode(b"\xfe") / "a.png", *ONE)
    assert run(tmp_path / "src", tmp_path / "out").by_status == {"bad_name": 2, "ok": 1}
    assert [row[1:] for row in failure_lines(tmp_path / "out")] == [
        ["bad_name", "\\xff.png: the name of the file is not UTF-8; rename the file"],
        ["bad_name", "\\xfe/a.png: the name of the folder is not UTF-8; rename the folder"],
    ]


def test_a_single_photo_may_have_its_output_beside_it(tmp_path: Path) -> None:
    save(tmp_path / "me.png", *ONE)
    save(tmp_path / "you.png", *ONE)
    assert run(tmp_path / "me.png", tmp_path / "out").inputs == 1
    assert files(tmp_path / "out") == {"faces.parquet", "me_0.png"}


def test_one_bad_photo_fails_alone(tmp_path: Path) -> None:
    """Place the bad photo in the middle of a batch and of a shard."""
    for i in range(40):
        save(tmp_path / "src" / f"{i:02d}.png", *ONE)
    good = (tmp_path / "src" / "00.png").read_bytes()
    (tmp_path / "src" / "03.png").write_bytes(good[:300])
    (tmp_path / "src" / "33.png").write_bytes(b"")
    (tmp_path / "src" / "35.png").unlink()
    os.symlink("nowhere", tmp_path / "src" / "35.png")
    summary = run(tmp_path / "src", tmp_path / "out")
    assert summary.by_status == {"ok": 37, "undecodable": 2, "unreadable": 1}
    assert {row[0] for row in failure_lines(tmp_path / "out")} == {"03.png", "33.png", "35.png"}
    assert len(rows(tmp_path / "out")) == 37


def test_files_of_phones_and_cameras_are_read_or_named(tmp_path: Path) -> None:
    save(tmp_path / "src" / "ana" / "1.png", *ONE)
    jpeg = encode(decode((tmp_path / "src/ana/1.png").read_bytes()), ".jpg")
    files_of = {"bob/2.JFIF": jpeg, "bob/2.mpo": jpeg, "cara/3.HEIC": b"?", "dan/4.tga": b"?"}
    files_of |= {"eve/5.DNG": b"II*\0", "ana/notes.txt": b"?", "fay/clip.mp4": b"?"}
    for name, data in files_of.items():
        (tmp_path / "src" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "src" / name).write_bytes(data)
    summary = run(tmp_path / "src", tmp_path / "out")
    assert summary.by_status == {"ok": 3, "undecodable": 3}
    assert {row[0] for row in failure_lines(tmp_path / "out")} == {
        "cara/3.HEIC",
        "dan/4.tga",
        "eve/5.DNG",
    }
    assert summary.details["skipped"] == {".mp4": 1, ".txt": 1}


def test_limit(photos: Path, tmp_path: Path) -> None:
    assert run(photos, tmp_path / "out", limit=3).inputs == 3
