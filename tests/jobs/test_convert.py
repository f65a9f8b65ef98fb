"""convert: any set to any container and back; nothing is lost without a word."""

from __future__ import annotations

import csv
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core import registry
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.types import Outcome, Request, Summary
from faceprep.jobs.convert import Convert
from faceprep.run.engine import run_job
from faceprep.run.processes import ProcessRunner
from faceprep.run.serial import SerialRunner
from faceprep.sets.containers import index_set
from faceprep.sets.image_set import Sample
from faceprep.sets.recordio.framing import frame_image, frame_with_header
from faceprep.sets.recordio.records import HEADER, MAGIC
from faceprep.synthetic import encode_face
from tests.fakes import is_state

LIST_SUFFIXES = (".npz", ".csv", ".lst", ".txt")
WRITABLE = {name: entry for name, entry in registry.CONTAINERS.items() if entry.writer}
TARGETS = [f"out{(*entry.suffixes, '')[0]}" for entry in WRITABLE.values()]
HOLDERS = [name for name in TARGETS if name not in ("out.bin", *(f"out{s}" for s in LIST_SUFFIXES))]
"""Outputs that hold images one by one."""


def convert(source: Path, target: Path, limit: int | None = None, **options: object) -> Summary:
    job = Convert(**{"allow_loss": True} | options)  # type: ignore[arg-type]
    return run_job(job, Request((source,), target, limit=limit), SerialRunner())


def load(path: Path, scratch: Path) -> list[tuple[str, str, bytes]]:
    """Return (key, identity, bytes) of every image."""
    with index_set(path, scratch) as images:
        found = list(images.read(range(len(images))))
    assert not [each for each in found if isinstance(each, Outcome)]
    return [
        (each.key, each.identity, bytes(each.data)) for each in found if isinstance(each, Sample)
    ]


def shards_of(target: Path) -> Path:
    """Return what a reader is given: the output, or its folder where it has several files."""
    return target if target.exists() else target.parent


def tree(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not is_state(path.name)
    }


@pytest.mark.parametrize("target", HOLDERS)
@pytest.mark.parametrize("shards", [1, 3])
def test_images_and_identities_survive(
    target: str, shards: int, rec_set: Path, tmp_path: Path
) -> None:
    before = load(rec_set, tmp_path / "before")
    output = tmp_path / "here" / target
    summary = convert(rec_set, output, shards=shards if "." in target else None)
    assert (summary.inputs, summary.ok, summary.failed) == (30, 30, 0)
    after = load(shards_of(output), tmp_path / "after")
    assert [each[1:] for each in after] == [each[1:] for each in before]
    back = tmp_path / "back"
    convert(shards_of(output), back)
    convert(rec_set, tmp_path / "direct")
    assert sorted(tree(back).values()) == sorted(tree(tmp_path / "direct").values())


@pytest.mark.parametrize("target", TARGETS)
def test_any_number_of_workers_writes_the_same_bytes(
    target: str, face_folder: Path, tmp_path: Path
) -> None:
    one, many = tmp_path / "one" / target, tmp_path / "many" / target
    convert(face_folder, one)
    job = Convert(allow_loss=True)
    run_job(job, Request((face_folder,), many), ProcessRunner(2))
    assert tree(one.parent) == tree(many.parent)


@pytest.mark.parametrize("target", [name for name in TARGETS if "." in name])
def test_a_seed_shuffles(target: str, face_folder: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / str(number) / target for number in range(3)]
    for output, seed in zip(outputs, (None, 1, 1), strict=True):
        convert(face_folder, output, seed=seed)
    assert tree(outputs[1].parent) == tree(outputs[2].parent) != tree(outputs[0].parent)
    kept, shuffled = (
        [data for _, _, data in load(output, tmp_path / f"{i}")]
        for i, output in enumerate(outputs[:2])
    )
    assert sorted(kept) == sorted(shuffled) and kept != shuffled


def test_a_rec_from_a_rec_is_the_same_bytes(rec_set: Path, tmp_path: Path) -> None:
    convert(rec_set, tmp_path / "a.rec")
    convert(tmp_path / "a.rec", tmp_path / "b.rec")
    assert (tmp_path / "a.rec").read_bytes() == (tmp_path / "b.rec").read_bytes()
    assert (tmp_path / "a.idx").read_bytes() == (tmp_path / "b.idx").read_bytes()


IDS = st.integers(0, 2**63).filter(lambda id: MAGIC not in (id & 0xFFFFFFFF, id >> 32))
"""Numbers that are no reason to cut the record."""


@given(labels=st.lists(st.floats(0, 9, width=32), min_size=1, max_size=4), number=IDS, second=IDS)
def test_headers_of_records_survive(
    labels: list[float], number: int, second: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("headers")
    header = HEADER.pack(len(labels), 0, number, second) + struct.pack(f"<{len(labels)}f", *labels)
    record = frame_with_header(header, encode_face(1, 1))
    (folder / "in.rec").write_bytes(record)
    (folder / "in.idx").write_text("5\t0\n")
    convert(folder / "in.rec", folder / "out.rec")
    assert (folder / "out.rec").read_bytes() == record
    assert (folder / "out.idx").read_text() == "5\t0\n"


def test_what_would_be_lost_is_named_before_it_starts(face_folder: Path, tmp_path: Path) -> None:
    named = tmp_path / "named"
    (named / "ann").mkdir(parents=True)
    (named / "ann" / "first.jpg").write_bytes(encode_face(1, 1))
    with pytest.raises(SourceError, match="names of the images and the names of the identities"):
        convert(named, tmp_path / "a.rec", allow_loss=False)
    assert not (tmp_path / "a.rec").exists()
    convert(named, tmp_path / "a.tar", allow_loss=False)
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "a.rec").write_bytes(frame_image([1, 2, 3], encode_face(1, 1), 0))
    with pytest.raises(SourceError, match="cannot hold 3 labels of an image"):
        convert(labels, tmp_path / "folder", allow_loss=False)
    second = tmp_path / "second.rec"
    record = bytearray(frame_image([1], encode_face(1, 1), 0))
    record[24] = 7
    second.write_bytes(record)
    with pytest.raises(SourceError, match="the second ids of its records"):
        convert(second, tmp_path / "second.tar", allow_loss=False)
    convert(second, tmp_path / "again.rec", allow_loss=False)


def test_a_damaged_image_is_left_out_and_named(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(encode_face(1, len(name)))
    (tmp_path / "in" / "a" / "2.jpg").write_bytes(encode_face(1, 1)[:200])
    for target in (name for name in TARGETS if name != "out.bin"):
        output = tmp_path / target.replace(".", "_") / target
        summary = convert(tmp_path / "in", output)
        assert (summary.ok, summary.by_status) == (2, {"ok": 2, "undecodable": 1})
        assert len(load(output, tmp_path / f"index_{target}")) == 2
        if "." in target:
            with output.with_name("out_classes.csv").open(newline="") as file:
                rows = list(csv.DictReader(file))
            assert [(row["name"], row["images"]) for row in rows] == [("a", "1"), ("b", "1")]


@pytest.mark.parametrize("target", ["a.rec", "a.tar", "a.tfrecord", "a.parquet"])
def test_a_set_is_read_although_all_images_of_a_shard_were_damaged(
    target: str, face_folder: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(face_folder, tmp_path / "in")
    for path in (source / "2").iterdir():
        path.write_bytes(b"")
    summary = convert(source, tmp_path / "shards" / target, shards=4)
    assert summary.by_status == {"ok": 9, "undecodable": 3}
    back = convert(tmp_path / "shards", tmp_path / "back")
    names = {path.parent.name for path in tmp_path.glob("back/*/*")}
    assert (back.ok, names) == (9, {"0", "1", "3"})


def test_names_that_differ_in_the_suffix_alone_stay_two_images(tmp_path: Path) -> None:
    for suffix in (".jpg", ".png"):
        (tmp_path / "in" / "a").mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / "a" / f"1{suffix}").write_bytes(encode_face(1, 1, suffix=suffix))
    for target in (name for name in TARGETS if name != "out.bin"):
        output = tmp_path / target.replace(".", "_") / target
        convert(tmp_path / "in", output)
        assert len({key for key, _, _ in load(output, tmp_path / f"index_{target}")}) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shards": 0}, "--shards"),
        ({"shards": 31}, "at most 30"),
        ({"shards": 2, "shard_size": 2}, "exclude each other"),
    ],
)
def test_options_that_make_no_sense(
    options: dict[str, int], said: str, rec_set: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=said):
        convert(rec_set, tmp_path / "a.tar", **options)


def test_unknown_suffixes_are_refused(rec_set: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"'a.mp4' is not a set that convert writes"):
        convert(rec_set, tmp_path / "a.mp4")
    with pytest.raises(OptionError, match="a folder has no order"):
        convert(rec_set, tmp_path / "out", seed=1)
    with pytest.raises(OptionError, match="--shards: a folder is not divided into files"):
        convert(rec_set, tmp_path / "out", shards=3)
    with pytest.raises(OptionError, match="--shard-size: a folder is not divided"):
        convert(rec_set, tmp_path / "out", shard_size=1000)


def test_the_size_of_shards(rec_set: Path, tmp_path: Path) -> None:
    """A .tar takes much more than its images, and a list much less than its files."""
    folders = tmp_path / "folders"
    convert(rec_set, folders)
    for suffix in ("rec", "tar", "tfrecord", "parquet"):
        convert(folders, tmp_path / f"a.{suffix}")
        size = (tmp_path / f"a.{suffix}").stat().st_size
        convert(folders, tmp_path / suffix / f"a.{suffix}", shard_size=size // 3)
        shards = [path.stat().st_size for path in (tmp_path / suffix).glob(f"a[-_]*.{suffix}")]
        assert len(shards) in (3, 4, 5)
        assert max(shards) < 1.25 * size / 3
    convert(folders, tmp_path / "a.csv", shard_size=30_000)
    assert (tmp_path / "a.csv").is_file()


def test_an_index_needs_no_lists(rec_set: Path, tmp_path: Path) -> None:
    with index_set(rec_set, tmp_path / "index") as images:
        assert isinstance(images.index.places.base.base, np.memmap)
        assert images.keys(0, 2) == ["0/1", "0/2"]
        assert images.index.identities[:] == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize("target", [name for name in HOLDERS if name != "out.rec"])
def test_images_without_identity_stay_so(target: str, tmp_path: Path) -> None:
    for name in ("a/1.jpg", "2.jpg"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_face(1, 1))
    convert(tmp_path / "in", tmp_path / target)
    found = load(tmp_path / target, tmp_path / "index")
    assert sorted(identity for _, identity, _ in found) == ["", "a"]


@pytest.mark.parametrize("target", ["out.tar", "out.rec", "out.tfrecord", "out.parquet"])
@pytest.mark.parametrize("shards", [1, 3])
def test_a_shuffle_in_two_passes_writes_the_same_bytes(
    target: str, shards: int, tmp_path: Path
) -> None:
    source = tmp_path / "set.rec"
    with source.open("wb") as rec, source.with_suffix(".idx").open("wb") as idx:
        for key in range(300):
            data = b"P5 1 1 255\n%d" % key if key % 50 else b"not an image"
            labels = (
                (key // 7, key + 0.5) if key % 3 else (float("nan") if key == 99 else key // 7,)
            )
            idx.write(b"%d\t%d\n" % (key, rec.tell()))
            rec.write(frame_image(labels, data, key))
    direct, spilled = tmp_path / "direct", tmp_path / "spilled"
    options = {"seed": 3, "shards": shards}
    one = convert(source, direct / target, **options)
    two = convert(source, spilled / target, memory=1, **options)
    assert (one.inputs, one.failed, one.by_status) == (two.inputs, two.failed, two.by_status)
    n_bad = int(target != "out.rec")  # a .rec keeps the NaN
    expected = {"bad_label": n_bad, "ok": 294 - n_bad, "undecodable": 6}
    assert one.by_status == {status: n for status, n in expected.items() if n}
    first, second = (
        {path.name: path.read_bytes() for path in folder.glob("out*")}
        for folder in (direct, spilled)
    )
    assert first == second and len(first) >= shards
    failures = [Path(str(each.details["failures"])).read_text() for each in (one, two)]
    assert failures[0] == failures[1]
