"""inspect: counts that are true, damage that is named, nothing written."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from faceprep.core.errors import SourceError
from faceprep.core.types import Request
from faceprep.jobs.convert import Convert
from faceprep.jobs.inspect.job import Inspect, Inspection
from faceprep.jobs.manifest import Manifest
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets.recordio.framing import frame_image
from faceprep.synthetic import encode_face, write_folder, write_insightface_rec
from tests.real import DATA, needs_data


def look(path: Path, **options: object) -> Inspection:
    return Inspect(**options).look(path)  # type: ignore[arg-type]


def test_a_rec_set(tmp_path: Path) -> None:
    write_insightface_rec(tmp_path, 4, 3)
    for path in (tmp_path, tmp_path / "train.rec", tmp_path / "train.idx"):
        found = look(path).as_json()
        assert (found["kind"], found["layout"], found["images"], found["identities"]) == (
            "rec",
            "insightface",
            12,
            4,
        )
        assert (found["records"], found["range_records"]) == (17, 4)
        assert found["header"] == {"images": 12, "identity_records": 4}
        assert found["image_sizes"] == {"112x112": 12}
        assert found["per_identity"] == {"min": 3, "median": 3, "max": 3}
        assert (found["damaged"], found["damage"]) == (0, [])
    assert "  min 3, median 3, max 3\n" in str(look(tmp_path)), "an even number of identities"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "property",
        "train.idx",
        "train.rec",
    ]


@needs_data
@pytest.mark.parametrize(
    ("name", "n_images", "line"),
    [
        ("bad_magic_at_record_4", 59, "record 4 at offset 23036: expected the magic 0xced7230a"),
        ("jpeg_damaged_at_record_5", 59, "record 5 at offset 28368: JPEG segment"),
        ("truncated", 36, "record 36 at offset 199280: a length of 5801"),
    ],
)
def test_damage_in_a_rec_is_named(name: str, n_images: int, line: str) -> None:
    found = look(DATA / "mxnet" / "broken" / name)
    assert found.images == n_images
    assert found.damaged == 60 - n_images
    assert line in found.damage[0]
    assert str(found).endswith("\n    4 more") == (found.damaged == 24), "20 of them are shown"


@pytest.mark.parametrize(
    ("ranges", "n_covered"),
    [
        ([(1, 4), (4, 7), (7, 9)], 0),
        ([(1, 4), (4, 6), (7, 9)], 7),
        ([(1, 4), (4, 7), (7, 12)], 11),
        ([(1, 4), (4, 7), (7, math.nan)], 6),
    ],
)
def test_identity_records_that_do_not_fit_the_images(
    ranges: list[tuple[float, float]], n_covered: int, tmp_path: Path
) -> None:
    """A trainer that finds the images of an identity by its record would miss some."""
    labels: list[list[float]] = [[9.0, 12.0], *([float(i // 3)] for i in range(8))]
    records = [
        frame_image(each, encode_face(key, 1) if 0 < key < 9 else b"", key)
        for key, each in enumerate([*labels, *map(list, ranges)])
    ]
    (tmp_path / "train.rec").write_bytes(b"".join(records))
    found = look(tmp_path)
    covered = f"the identity records cover {n_covered} images, the set has 8"
    assert found.contradictions == [covered] * bool(n_covered)
    assert look(tmp_path, limit=2).contradictions == []


def test_a_folder(tmp_path: Path) -> None:
    write_folder(tmp_path, 3, 2)
    (tmp_path / "0" / "notes.txt").write_text("not an image")
    (tmp_path / "1" / "cut.jpg").write_bytes(encode_face(1, 1)[:-30])
    (tmp_path / "2" / "small.png").write_bytes(encode_face(1, 1, ".png"))
    found = look(tmp_path).as_json()
    assert (found["kind"], found["images"], found["identities"], found["files"]) == (
        "folder",
        7,
        3,
        8,
    )
    assert (found["other_files"], found["formats"]) == (1, {".jpg": 6, ".png": 1})
    assert found["damage"] == ["1/cut.jpg: JPEG without its end marker"]


def test_all_other_files_of_a_folder_are_counted(tmp_path: Path) -> None:
    write_folder(tmp_path, 2, 2)
    (tmp_path / "empty").mkdir()
    for name in ("README", "0/.hidden", "1/notes.txt", "empty/person.raw"):
        (tmp_path / name).write_text("not an image")
    assert look(tmp_path).as_json()["other_files"] == 4


def test_images_of_a_folder_without_an_identity_are_counted_as_in_other_sets(
    tmp_path: Path,
) -> None:
    write_folder(tmp_path / "set", 3, 2)
    (tmp_path / "set" / "loose.jpg").write_bytes(encode_face(1, 1))
    for image in (tmp_path / "set" / "2").iterdir():
        image.write_bytes(b"")
    run_job(Convert(), Request(tmp_path / "set", tmp_path / "set.tar"), SerialRunner())
    for name in ("set", "set.tar"):
        found = look(tmp_path / name).as_json()
        assert (found["images"], found["identities"], found["no_identity"]) == (5, 2, 1)
        assert found["per_identity"] == {"min": 2, "median": 2, "max": 2}


def test_deep_decodes(tmp_path: Path) -> None:
    write_folder(tmp_path, 1, 1)
    broken = bytearray(encode_face(0, 1, ".png"))
    broken[200:400] = b"\0" * 200
    (tmp_path / "0" / "broken.png").write_bytes(broken)
    assert look(tmp_path).damaged == 0
    assert look(tmp_path, deep=True).damage == ["0/broken.png: OpenCV cannot decode it"]


def test_limit_and_progress(tmp_path: Path) -> None:
    write_insightface_rec(tmp_path / "set", 4, 3)
    write_folder(tmp_path / "folder", 4, 3)
    for path in tmp_path.iterdir():
        steps: list[tuple[int, int]] = []
        found = Inspect(limit=5).look(path, lambda done, total: steps.append((done, total)))  # noqa: B023
        assert found.images == 5
        assert [done for done, _ in steps] == list(range(1, len(steps) + 1))


@needs_data
def test_bins() -> None:
    found = look(DATA / "bins" / "py3_bytes.bin").as_json()
    assert (found["kind"], found["images"], found["pairs"], found["same"]) == ("bin", 60, 30, 15)
    assert (
        look(DATA / "bins" / "broken" / "one_image_damaged.bin")
        .damage[0]
        .startswith("image 7 of pair 3: ")
    )
    with pytest.raises(SourceError, match="os.system"):
        look(DATA / "bins" / "broken" / "runs_code.bin")


@pytest.mark.parametrize("suffix", [".npz", ".tfrecord", ".parquet", ".csv", ".lst", ".tar"])
def test_manifests(tmp_path: Path, suffix: str) -> None:
    write_folder(tmp_path / "faces", 3, 4)
    out = tmp_path / f"train{suffix}"
    job = Manifest(seed=1, with_images=suffix == ".tfrecord")
    run_job(job, Request((tmp_path / "faces",), out), SerialRunner())
    found = look(out)
    assert (found.images, found.identities, found.damaged) == (12, 3, 0)


def test_what_is_no_container(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    for path, line in (
        (tmp_path, "no images"),
        (tmp_path / "a.txt", "not a kind of file that faceprep knows"),
        (tmp_path / "no", "no such"),
    ):
        with pytest.raises(SourceError, match=line):
            look(path)


def test_what_people_read(tmp_path: Path) -> None:
    write_insightface_rec(tmp_path, 2, 2)
    text = str(look(tmp_path))
    assert "images          4 of 2 identities" in text
    assert "damage          none found by header and end (--deep decodes the images)" in text
    decoded = str(Inspect(deep=True).look(tmp_path))
    assert decoded.endswith("damage          none found")
    write_insightface_rec(tmp_path / "one", 1, 2)
    assert "images          2 of 1 identity\n" in str(look(tmp_path / "one"))
