"""What a set holds besides its images: convert refuses to lose it, and other commands name it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceprep.core.errors import SourceError
from faceprep.core.io.npz import member_of, write_npz
from faceprep.core.types import Request, Summary
from faceprep.jobs.apply import Apply
from faceprep.jobs.convert import Convert
from faceprep.jobs.dedupe.job import Dedupe
from faceprep.jobs.folder2rec import Folder2Rec
from faceprep.jobs.manifest import Manifest
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets import tfrecord, webdataset
from faceprep.sets.image_set import Sample
from faceprep.sets.recordio.framing import frame_image
from faceprep.synthetic import encode_face
from tests.bins import write_bin
from tests.set_reading import member_bytes, read_set

FACES = [encode_face(person, 1) for person in range(3)]
HOLDERS = ["", ".rec", ".tar", ".tfrecord", ".parquet"]
"""Suffixes of containers that hold images one by one."""


def run(job: Any, source: Path, target: Path) -> Summary:
    return run_job(job, Request((source,), target), SerialRunner())


def write_table(path: Path, **columns: Any) -> Path:
    images = [{"bytes": face, "path": f"{i}.jpg"} for i, face in enumerate(FACES)]
    pq.write_table(pa.table({"image": images} | columns), path)
    return path


def write_records(path: Path, *others: Mapping[str, bytes | int]) -> Path:
    """Write a record with a face for each of `others`, its other features."""
    records = []
    for label, other in enumerate(others):
        features = {"image/encoded": FACES[label], "image/class/label": label, **other}
        records.append(tfrecord.frame(tfrecord.encode_example(features)))
    path.write_bytes(b"".join(records))
    return path


def write_samples(path: Path, **others: bytes) -> Path:
    """Write a .tar of one face with these other files by their extensions."""
    files = {"jpg": FACES[0], "cls": b"0"} | others
    members = [member_bytes(f"ann/1.{name}", data) for name, data in files.items()]
    path.write_bytes(b"".join(members) + webdataset.END)
    return path


def write_two_labels(path: Path) -> Path:
    """Write a .rec of one face with two labels and a second id."""
    record = bytearray(frame_image([1, 2], FACES[0], 0))
    record[24] = 7
    path.write_bytes(record)
    return path


def write_ids(path: Path, *ids: int) -> Path:
    """Write a .rec of faces with the keys 1, 2 and so on, and these ids in their headers."""
    content, lines = b"", ""
    for key, own_id in enumerate(ids, 1):
        lines += f"{key}\t{len(content)}\n"
        content += frame_image([key], FACES[key - 1], own_id)
    path.write_bytes(content)
    path.with_suffix(".idx").write_text(lines)
    return path


def refuse(source: Path, target: Path) -> str:
    with pytest.raises(SourceError) as refused:
        run(Convert(), source, target)
    assert not target.exists()
    return str(refused.value)


@pytest.mark.parametrize("suffix", [".tar", ".tfrecord", ".parquet", ""])
def test_ids_of_records_other_than_their_keys_are_named(tmp_path: Path, suffix: str) -> None:
    source = write_ids(tmp_path / "in.rec", 1, 2, 700)
    said = refuse(source, tmp_path / f"out{suffix}")
    assert " the ids of its records, which differ from their keys. Write .rec, or" in said
    for ids in ((1, 2, 3), (0, 0, 0), (0, 2, 0)):
        folder = tmp_path / "".join(map(str, ids))
        folder.mkdir()
        same = write_ids(folder / "in.rec", *ids)
        assert run(Convert(), same, folder / f"out{suffix}").ok == 3


@pytest.mark.parametrize("suffix", HOLDERS)
def test_other_columns_are_named_by_every_container(tmp_path: Path, suffix: str) -> None:
    table = write_table(
        tmp_path / "in.parquet", label=[0, 1, 2], age=[30, 40, 50], caption=["x"] * 3
    )
    said = refuse(table, tmp_path / f"out{suffix}")
    assert "the other columns age and caption. Use --allow-loss." in said
    assert run(Convert(allow_loss=True), table, tmp_path / f"out{suffix}").ok == 3


def test_a_label_that_is_not_read_is_another_column(tmp_path: Path) -> None:
    table = write_table(tmp_path / "in.parquet", identity=list("abc"), label=[[1, 2]] * 3)
    assert "cannot hold the other column label. Use" in refuse(table, tmp_path / "out")


def test_another_part_of_the_images_is_named(tmp_path: Path) -> None:
    image = {"bytes": FACES[0], "path": "1.jpg", "mask": b"x"}
    pq.write_table(pa.table({"image": [image]}), tmp_path / "in.parquet")
    assert "the other column image.mask" in refuse(tmp_path / "in.parquet", tmp_path / "out.tar")


def test_columns_of_any_file_of_a_set_count(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_table(tmp_path / "in/a.parquet", label=[0, 1, 2])
    write_table(tmp_path / "in/b.parquet", label=[0, 1, 2], age=[30, 40, 50])
    assert "the other column age." in refuse(tmp_path / "in", tmp_path / "out.tar")


@pytest.mark.parametrize(
    "columns",
    [
        {"label": [0, 1, 2]},
        {"label": [0.0, None, 2.0]},
        {"identity": ["a", "b", "c"], "label": [0, 1, 2], "key": ["a/1", "b/1", "c/1"]},
        {"label": [0, 1, 2], "file_name": ["1.jpg", "2.jpg", "3.jpg"]},
    ],
)
@pytest.mark.parametrize("suffix", ["", ".tar", ".tfrecord", ".parquet"])
def test_columns_that_are_read_are_no_loss(
    tmp_path: Path, columns: dict[str, Any], suffix: str
) -> None:
    table = write_table(tmp_path / "in.parquet", **columns)
    assert run(Convert(), table, tmp_path / f"out{suffix}").ok == 3


def test_other_features_of_any_record_are_named(tmp_path: Path) -> None:
    records = write_records(tmp_path / "in.tfrecord", {"age": 30}, {}, {"caption": b"x"})
    said = refuse(records, tmp_path / "out.tfrecord")
    assert "tfrecord cannot hold the other features age and caption. Use --allow-loss." in said


@pytest.mark.parametrize("suffix", ["", ".tar", ".tfrecord", ".parquet"])
def test_what_tensorflow_writes_of_an_image_is_no_loss(tmp_path: Path, suffix: str) -> None:
    about: dict[str, bytes | int] = {
        "image/height": 112,
        "image/width": 112,
        "image/channels": 3,
        "image/colorspace": b"RGB",
        "image/format": b"JPEG",
        "image/filename": b"1.jpg",
        "image/class/text": b"ann",
    }
    records = write_records(tmp_path / "in.tfrecord", about)
    assert run(Convert(), records, tmp_path / f"out{suffix}").ok == 1


def test_a_feature_of_two_labels(tmp_path: Path) -> None:
    """Labels 4 and 7, as protobuf packs them, since our writer has one value per feature."""
    entry = b"\x0a\x05label" + b"\x12\x06\x1a\x04\x0a\x02\x04\x07"
    features = b"\x0a" + bytes([len(entry)]) + entry
    example = tfrecord.encode_example({"image_raw": FACES[0]})
    example += b"\x0a" + bytes([len(features)]) + features
    (tmp_path / "in.tfrecord").write_bytes(tfrecord.frame(example))
    said = refuse(tmp_path / "in.tfrecord", tmp_path / "out")
    assert "cannot hold 2 labels of an image. Write .rec .tar, or use --allow-loss." in said
    run(Convert(), tmp_path / "in.tfrecord", tmp_path / "out.tar")
    (found,) = read_set(tmp_path / "out.tar")
    assert isinstance(found, Sample)
    assert found.labels == (4, 7)


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".parquet"])
def test_other_columns_of_a_list_are_named(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "1.jpg").write_bytes(FACES[0])
    path = tmp_path / f"in{suffix}"
    columns = {"image_names": ["1.jpg"], "image_classes": [0], "age": [30]}
    if suffix == ".csv":
        path.write_text("image_names,image_classes,age\n1.jpg,0,30\n")
    elif suffix == ".npz":
        with path.open("wb") as file:
            write_npz(file, [member_of(name, np.array(each)) for name, each in columns.items()])
    else:
        pq.write_table(pa.table(columns), path)
    noun = "array" if suffix == ".npz" else "column"
    assert f"cannot hold the other {noun} age. Use" in refuse(path, tmp_path / "out.lst")


def test_labels_of_a_list_are_named(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(FACES[0])
    (tmp_path / "in.lst").write_text("0\t3\t0.5\t1.jpg\n")
    said = refuse(tmp_path / "in.lst", tmp_path / "out.csv")
    assert "cannot hold 2 labels of an image" in said


def test_only_a_container_that_can_is_suggested(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "in.tar", txt=b"a caption")
    said = refuse(samples, tmp_path / "out")
    assert "folder cannot hold the other files of the samples. Write .tar, or use --a" in said
    write_bin(tmp_path / "in.bin", FACES[:2], [True])
    said = refuse(tmp_path / "in.bin", tmp_path / "out")
    assert "which pairs show one person. Run faceprep bin2folder, or use --allow-loss." in said


# Commands that place images by a plan


@pytest.mark.parametrize("suffix", ["", ".parquet"])
def test_a_plan_names_what_is_lost(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    table = write_table(tmp_path / "in.parquet", label=[0, 1, 2], age=[30, 40, 50])
    kind = f"a {suffix or 'folder'}"
    output = tmp_path / f"out{suffix}"
    assert run(Dedupe(exact_only=True), table, output).ok == 3
    said = f"{table}: {kind} cannot hold the other column age"
    assert [record.getMessage() for record in caplog.records] == [said]
    caplog.clear()
    plan = tmp_path / "out.plan.jsonl" if suffix else output / "plan.jsonl"
    assert run(Apply(), plan, tmp_path / f"applied{suffix}").ok == 3
    assert [record.getMessage() for record in caplog.records] == [said]


def test_a_plan_names_labels_and_files_of_samples(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = write_two_labels(tmp_path / "two.rec")
    samples = write_samples(tmp_path / "in.tar", txt=b"a caption")
    for source in (record, samples):
        run(Dedupe(exact_only=True), source, tmp_path / f"{source.stem}_again{source.suffix}")
        run(Folder2Rec(), source, tmp_path / f"packed_{source.stem}")
        run(Dedupe(exact_only=True), source, tmp_path / source.stem)
    labels = "2 labels of an image and the second ids of its records"
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if "cannot hold" in line] == [
        f"{record}: this .rec cannot hold {labels}",
        f"{record}: a folder cannot hold {labels}",
        f"{samples}: this .rec cannot hold the other files of the samples",
        f"{samples}: a folder cannot hold the other files of the samples",
    ]


def test_a_manifest_names_what_it_leaves_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    columns = {"label": [0, 1, 2], "age": [30, 40, 50]}
    table = write_table(tmp_path / "in.parquet", **columns)
    samples = write_samples(tmp_path / "in.tar", txt=b"a caption")
    for source in (table, samples):
        run(Manifest(seed=1), source, tmp_path / f"out_{source.suffix[1:]}.tar")
    assert [record.getMessage() for record in caplog.records] == [
        f"{table}: a .tar manifest cannot hold the other column age",
        f"{samples}: a .tar manifest cannot hold the other files of the samples",
    ]
    run(Manifest(seed=1), tmp_path / "out_tar.tar", tmp_path / "again.tar")
    assert len(caplog.records) == 2


def test_a_moved_sample_keeps_the_files_that_do_not_state_its_class(tmp_path: Path) -> None:
    samples = write_samples(
        tmp_path / "in.tar", txt=b"a caption", json=json.dumps({"label": 0, "age": 30}).encode()
    )
    plan = {"kind": "plan", "command": "test", "source": str(samples)}
    move = {"action": "move", "subject": "ann/1", "into": "bob"}
    lines = "".join(f"{json.dumps(each)}\n" for each in (plan, move))
    (tmp_path / "a.plan.jsonl").write_text(lines)
    run(Apply(), tmp_path / "a.plan.jsonl", tmp_path / "out.tar")
    (moved,) = read_set(tmp_path / "out.tar")
    assert isinstance(moved, Sample)
    assert (moved.identity, dict(moved.extra)) == ("bob", {"txt": b"a caption"})


@pytest.mark.parametrize("n_bytes", [0, 700, 1024])
def test_what_a_cut_off_archive_lost_is_damage_and_no_loss(n_bytes: int, tmp_path: Path) -> None:
    samples = b"".join(
        webdataset.sample_bytes(f"{person}/{person}", face, ".jpg", person)
        for person, face in enumerate(FACES)
    )
    source = tmp_path / "a.tar"
    source.write_bytes(samples + webdataset.END)
    whole = run(Convert(), source, tmp_path / "whole.rec")
    assert whole.by_status == {"ok": 3}
    source.write_bytes(samples + samples[:n_bytes])
    found = run(Convert(), source, tmp_path / "cut.rec")
    assert found.by_status == {"ok": 3, "unreadable": 1}
    assert read_set(tmp_path / "cut.rec") == read_set(tmp_path / "whole.rec")
