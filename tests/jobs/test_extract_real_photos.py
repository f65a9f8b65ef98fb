"""extract-photos with real weights: every encoding, groups, bad files, workers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from faceprep import ExtractPhotos, ProcessRunner, Request, SerialRunner, run_job
from faceprep.core.arrays import Pixels
from faceprep.vision.codec import decode, encode
from tests.fakes import tree
from tests.flat_faces import flat_detectors
from tests.photos import astronaut
from tests.real import DATA, ROOT, needs_data, needs_mtcnn

pytest.importorskip("onnxruntime")
pytest.importorskip("retinaface")
__all__ = ["flat_detectors"]
JOB = ExtractPhotos()
PHOTOS = DATA / "photos"
BAD = (
    "bomb_60000x60000.png",
    "one_pixel.png",
    "text.jpg",
    "truncated.jpg",
    "very_wide.png",
    "zero_bytes.jpg",
)


def crops_of(output: Path) -> dict[str, Pixels]:
    """Crop by the name of its photo, for photos with one face."""
    table = pq.read_table(output / "faces.parquet").to_pylist()
    single = [row for row in table if not row["output"].startswith("+")]
    return {row["source"]: decode((output / row["output"]).read_bytes()) for row in single}


def difference(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(float) - other).mean())


def grey(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))


# With what a package ships


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One portrait in several sizes and encodings, one photo without anybody, one of two
    people, one broken.
    """
    root = tmp_path_factory.mktemp("portraits")
    whole = astronaut()
    (root / "a" / "b").mkdir(parents=True)
    for name, size in (
        ("a/large.png", 512),
        ("a/small.jpg", 200),
        ("a/b/c.bmp", 300),
        ("top.webp", 400),
    ):
        ok, data = cv2.imencode(Path(name).suffix, cv2.resize(whole, (size, size))[..., ::-1])
        assert ok
        (root / name).write_bytes(data)
    (root / "a" / "two.png").write_bytes(encode(np.hstack([whole, whole[:, ::-1]]), ".png"))
    (root / "a" / "nobody.png").write_bytes(encode(whole[350:, :150], ".png"))
    (root / "a" / "cut.png").write_bytes((root / "a" / "large.png").read_bytes()[:5000])
    return root


def test_two_processes_write_the_bytes_of_one(
    portraits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceprep.jobs.extract_photos._SHARD", 2)
    for number, runner in enumerate((SerialRunner(), ProcessRunner(2))):
        summary = run_job(JOB, Request((portraits,), tmp_path / str(number) / "out"), runner)
        assert summary.by_status == {"many_faces": 1, "no_face": 1, "ok": 4, "undecodable": 1}
    assert tree(tmp_path / "0") == tree(tmp_path / "1")
    assert (tmp_path / "0/out_none/a/nobody.png").read_bytes() == (
        portraits / "a/nobody.png"
    ).read_bytes()
    crops = crops_of(tmp_path / "0" / "out")
    for name in ("a/small.jpg", "a/b/c.bmp", "top.webp"):
        large = crops["a/large.png"]
        assert difference(crops[name], large) < min(
            20, difference(crops[name], large[:, ::-1]) / 2
        ), name


def crops_of_single(portrait: Pixels, folder: Path, job: ExtractPhotos = JOB) -> Pixels:
    """The crop of one photo."""
    folder.mkdir()
    (folder / "a.png").write_bytes(encode(portrait, ".png"))
    run_job(job, Request((folder,), folder.with_name(f"{folder.name} out")), SerialRunner())
    return crops_of(folder.with_name(f"{folder.name} out"))["a.png"]


def test_a_red_patch_beside_the_face_stays_red(tmp_path: Path) -> None:
    portrait = astronaut()
    portrait[60:160, 290:330] = (255, 0, 0)
    crop = crops_of_single(portrait, tmp_path / "src", replace(JOB, template="box2-112")).astype(
        int
    )
    red = (crop[..., 0] > 240) & (crop[..., 1:] < 15).all(axis=2)
    assert red.sum() > 300


def test_crops_as_jpeg(tmp_path: Path) -> None:
    """They are the crops that PNG keeps, at the quality that is asked for."""
    source = tmp_path / "src"
    source.mkdir()
    (source / "a.png").write_bytes(encode(astronaut(), ".png"))
    run_job(JOB, Request((source,), tmp_path / "png"), SerialRunner())
    (plain,) = crops_of(tmp_path / "png").values()
    sizes = []
    for quality in (30, 95):
        output = tmp_path / str(quality)
        job = replace(JOB, format="jpg", quality=quality)
        run_job(job, Request((source,), output), SerialRunner())
        data = (output / "a_0.jpg").read_bytes()
        assert data.startswith(b"\xff\xd8") and not list(output.glob("*.png"))
        assert difference(crops_of(output)["a.png"], plain) < 6
        sizes.append(len(data))
    assert sizes[0] < sizes[1]


@needs_mtcnn
def test_mtcnn_as_the_fallback(tmp_path: Path, flat_detectors: None) -> None:
    by_first = crops_of_single(astronaut(), tmp_path / "first", replace(JOB, detector="mtcnn"))
    by_fallback = crops_of_single(
        astronaut(), tmp_path / "then", replace(JOB, detector="flat", fallback="mtcnn")
    )
    assert (by_first == by_fallback).all()
    assert difference(by_first, crops_of_single(astronaut(), tmp_path / "retinaface")) < 15


# With the real photos


@needs_data
def test_the_same_face_in_every_encoding(tmp_path: Path) -> None:
    source = tmp_path / "odd"
    shutil.copytree(PHOTOS / "odd", source, ignore=shutil.ignore_patterns(*BAD))
    summary = run_job(JOB, Request((source,), tmp_path / "out"), SerialRunner())
    assert (summary.ok, summary.failed, summary.inputs) == (17, 0, 17)
    crops = crops_of(tmp_path / "out")
    plain = crops.pop("two.dots.in.name.jpg")
    assert crops.pop("rgba_32bit.png").std() > 30, "another person"
    for name, crop in crops.items():
        if name.startswith("gray"):
            assert difference(grey(crop), grey(plain)) < 6 and np.ptp(crop, axis=2).max() == 0, name
        else:
            assert difference(crop, plain) < (15 if name.startswith("palette") else 4), name
    assert {name for name, crop in crops.items() if (crop == plain).all()} == {
        "UPPER.JPG",
        "jpeg_named.png",
        "名前 with spaces é.jpg",
    }
    names = {path.name for path in (tmp_path / "out").glob("*_0.png")}
    assert {
        "palette.gif_0.png",
        "palette.png_0.png",
        "grayscale.jpg_0.png",
        "two.dots.in.name_0.png",
    } < names
    table = pq.read_table(tmp_path / "out" / "faces.parquet").to_pylist()
    points = {
        row["source"]: np.array(row["landmarks"]) for row in table if row["image_height"] == 561
    }
    assert len(points) == 16
    for name, landmarks in points.items():
        assert np.abs(landmarks - points["UPPER.JPG"]).max() < 4, (
            f"{name}: not the same place in the photo as seen"
        )


@needs_data
def test_bad_files_are_named_quickly_and_in_little_memory(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    for name in BAD:
        shutil.copy(PHOTOS / "odd" / name, tmp_path / "bad" / name)
    program = (
        "import json, resource, sys, time; from pathlib import Path\n"
        "from faceprep import ExtractPhotos, Request, SerialRunner, run_job\n"
        "job = ExtractPhotos(); job.finder()\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before, started = peak(), time.process_time()\n"
        "summary = run_job(job, Request((Path('bad'),), Path('out')), SerialRunner())\n"
        "seconds = time.process_time() - started\n"
        "print(json.dumps([dict(summary.by_status), seconds, (peak() - before) "
        "/ 1024]))\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
    )
    by_status, seconds, megabytes = json.loads(done.stdout)
    assert by_status == {"undecodable": 6} and done.stderr == ""
    assert seconds < 5 and megabytes < 60
    told = (tmp_path / "out/failures.csv").read_text()
    for name, reason in zip(
        BAD,
        ("too large", "too small", "not an image", "end marker", "too small", "no bytes"),
        strict=True,
    ):
        assert any(line.startswith(name) and reason in line for line in told.splitlines()), name
    assert not (tmp_path / "out_none").exists()


@needs_data
def test_groups(tmp_path: Path) -> None:
    summary = run_job(JOB, Request((PHOTOS / "groups",), tmp_path / "out"), SerialRunner())
    assert summary.by_status == {"many_faces": 2, "no_face": 1, "ok": 1} and summary.failed == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["ivan_0.png"]
    several = sorted(path.name for path in (tmp_path / "out_multi").iterdir())
    assert several[:2] == ["couple_0.png", "couple_1.png"] and len(several) >= 2 + 4
    (copy,) = (tmp_path / "out_none").iterdir()
    assert copy.read_bytes() == (PHOTOS / "groups" / "no-faces.jpg").read_bytes()


@needs_data
@pytest.mark.parametrize("det_size", [640, 2048])
def test_a_large_detection_size_finds_the_same_people(det_size: int, tmp_path: Path) -> None:
    job = replace(JOB, det_size=det_size, select="all")
    run_job(job, Request((PHOTOS / "groups",), tmp_path / "out"), SerialRunner())
    table = pq.read_table(tmp_path / "out" / "faces.parquet").to_pylist()
    people = Counter(row["source"] for row in table)
    assert people == {"couple.jpg": 2, "ivan.jpg": 1, "selfie-many-people.jpg": 6}
    assert {row["refiner"] for row in table} <= {"onet", "retinaface"}


@needs_data
@pytest.mark.parametrize("select", ["largest", "score", "center", "all"])
def test_select_in_groups(select: str, tmp_path: Path) -> None:
    job = replace(JOB, select=select)
    assert run_job(job, Request((PHOTOS / "groups",), tmp_path / "out"), SerialRunner()).ok == 3
    assert not (tmp_path / "out_multi").exists()
    table = pq.read_table(tmp_path / "out" / "faces.parquet").to_pylist()
    assert (len(table) > 6) if select == "all" else (len(table) == 3)


@needs_data
def test_pgm_of_identities(tmp_path: Path) -> None:
    people = [DATA / "orl" / name for name in ("s1", "s2")]
    for person in people:
        shutil.copytree(person, tmp_path / "orl" / person.name)
    summary = run_job(JOB, Request((tmp_path / "orl",), tmp_path / "out"), ProcessRunner(2))
    assert summary.ok >= 19 and summary.failed == 0
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == {"s1", "s2"}
