"""TFRecord sets as TensorFlow's own tools name and lay them out."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from faceprep.core.errors import FaceprepError
from faceprep.core.types import Request
from faceprep.jobs.convert import Convert
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets import tfrecord
from faceprep.sets.containers import index_set, kind_of
from faceprep.synthetic import encode_face
from tests.set_reading import read_rows

TRAIN = ["faces-train.tfrecord-00000-of-00002", "faces-train.tfrecord-00001-of-00002"]
ROWS = [(f"{label}/{i}", f"{label}", b"x%d" % i, (label,)) for i, label in enumerate((0, 1, 7, 1))]
Features = dict[str, bytes | int]


def write(path: Path, *examples: Features) -> Path:
    path.write_bytes(b"".join(tfrecord.frame(tfrecord.encode_example(each)) for each in examples))
    return path


def write_datasets(folder: Path, names: list[str]) -> list[Path]:
    """Write the rows as TensorFlow Datasets does, the same number to each file."""
    examples: list[Features] = [{"image": data, "label": label[0]} for *_, data, label in ROWS]
    n = len(ROWS) // len(names)
    return [write(folder / name, *examples[n * i : n * (i + 1)]) for i, name in enumerate(names)]


@pytest.mark.parametrize(
    "names", [TRAIN, ["a.tfrecords"], ["a.TFRec"], ["a-2.tfrec", "b-2.tfrecords"]]
)
def test_names_of_files(names: list[str], tmp_path: Path) -> None:
    paths = write_datasets(tmp_path, names)
    assert read_rows(tmp_path) == ROWS
    if names == TRAIN or len(names) == 1:
        assert [read_rows(path) for path in paths] == [ROWS] * len(paths)


def test_a_family_by_tensorflow_may_lack_a_file_or_have_another_beside_it(tmp_path: Path) -> None:
    first, second = write_datasets(tmp_path, TRAIN)
    write(tmp_path / "faces-test.tfrecord-00000-of-00001", {"image": b"y"})
    with pytest.raises(FaceprepError, match=f"several sets: .* found faces-test.* and {TRAIN[0]}"):
        read_rows(tmp_path)
    assert len(read_rows(second)) == len(ROWS)
    first.unlink()
    with pytest.raises(FaceprepError, match=f"not complete: .* found no {TRAIN[0]}"):
        read_rows(second)


def test_what_tensorflow_datasets_writes_beside_its_files_is_no_surprise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_datasets(tmp_path, TRAIN)
    for name in ("dataset_info.json", "features.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "label.labels.txt").write_text("\n".join(map(str, range(8))))
    with caplog.at_level(logging.WARNING, "faceprep"):
        assert read_rows(tmp_path) == ROWS
    assert not caplog.text


def test_class_names_of_tensorflow_datasets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_datasets(tmp_path, TRAIN)
    names = tmp_path / "label.labels.txt"
    names.write_text("".join(f"p {number}\n" for number in range(7)))
    found = [(key, identity) for key, identity, *_ in read_rows(tmp_path)]
    assert found == [("p 0/0", "p 0"), ("p 1/1", "p 1"), ("7/2", "7"), ("p 1/3", "p 1")]
    names.write_text("p\nq\np\n")
    with caplog.at_level(logging.WARNING, "faceprep"):
        assert read_rows(tmp_path) == ROWS
    assert "label.labels.txt has a name twice, so its names are not used" in caplog.text


def test_class_numbers_of_tensorflow_datasets_are_kept(tmp_path: Path) -> None:
    data = encode_face(0, 0)
    source = write(tmp_path / "a.tfrecord", *({"image": data, "label": i} for i in (1, 0)))
    (tmp_path / "label.labels.txt").write_text("zoe\nann\n")
    output = tmp_path / "out" / "b.parquet"
    run_job(Convert(), Request((source,), output), SerialRunner())
    assert [(row[1], row[3]) for row in read_rows(output)] == [("ann", (1,)), ("zoe", (0,))]


def test_a_label_of_minus_one_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfrecord", {"image": b"x", "label": -1})
    assert read_rows(path) == [("0", "", b"x", ())]


@pytest.mark.parametrize(
    ("features", "unread"),
    [
        ({"image_raw": b"x", "image/encoded": b"y"}, "the other feature image/encoded"),
        ({"image/encoded": b"x", "image": b"y"}, "the other feature image"),
        (
            {"image": b"x", "label": 1, "image/class/label": 2},
            "the other feature image/class/label",
        ),
        ({"image": b"x", "identity": b"a", "image/class/text": b"b"}, "the other feature identity"),
        ({"image": b"x", "label": 1, "image/class/label": 1, "image_classes": 1}, ""),
        ({"image_raw": b"x", "image": b"x"}, ""),
    ],
)
def test_a_feature_that_another_one_replaces(
    features: Features, unread: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.tfrecord", {"image": b"z"}, features)
    assert kind_of(path) == "tfrecord"
    with index_set(path, tmp_path) as images:
        assert images.facts["unread"] == unread
