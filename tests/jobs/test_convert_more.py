"""convert: what only some containers have: headers of records, pairs, files in lists, captions."""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import OptionError, OutputError, SourceError
from faceprep.core.job import Job
from faceprep.core.types import Request, Summary
from faceprep.jobs.apply import Apply
from faceprep.jobs.convert import Convert
from faceprep.jobs.folder2rec import Folder2Rec
from faceprep.jobs.inspect.job import Inspect
from faceprep.jobs.make_bin import MakeBin
from faceprep.jobs.score import Score
from faceprep.run.engine import run_job
from faceprep.run.preview import preview_job
from faceprep.run.serial import SerialRunner
from faceprep.sets import class_map, webdataset
from faceprep.sets.pairs_bin.container import load_pairs
from faceprep.sets.recordio.framing import frame, frame_image
from faceprep.synthetic import encode_face
from faceprep.tables.plan import write_plan
from tests.bins import FACES, write_bin
from tests.real import DATA, needs_data
from tests.set_reading import member_bytes, read_samples

LISTS = ["out.npz", "out.csv", "out.lst", "out.txt"]
FACE = encode_face(1, 1)


def convert(source: Path, target: Path, limit: int | None = None, **options: object) -> Summary:
    job = Convert(**options)  # type: ignore[arg-type]
    return run_job(job, Request((source,), target, limit=limit), SerialRunner())


def test_the_planned_bytes_are_about_those_written(tmp_path: Path) -> None:
    """A list takes only its names, and a .tar several blocks for each image."""
    faces = tmp_path / "faces"
    for person in range(5):
        (faces / f"{person}").mkdir(parents=True)
        for number in range(20):
            (faces / f"{person}" / f"{number}.jpg").write_bytes(encode_face(person, number))
    convert(faces, tmp_path / "shards" / "a.tar", shards=3)
    for source, name in (
        (faces, "a.tar"),
        (faces, "a.rec"),
        (faces, "a.csv"),
        (tmp_path / "shards", "b.rec"),
    ):
        output = tmp_path / name
        job, request = Convert(allow_loss=True), Request((source,), output)
        planned = preview_job(job, request).details["planned_bytes"]
        run_job(job, request, SerialRunner())
        assert output.stat().st_size / 2 < planned < 3 * output.stat().st_size


def test_a_file_that_is_joined_needs_room_for_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts stay until the whole is complete."""
    (tmp_path / "faces" / "0").mkdir(parents=True)
    for number in range(20):
        (tmp_path / "faces" / "0" / f"{number}.jpg").write_bytes(encode_face(0, number))
    with (tmp_path / "plan.jsonl").open("wb") as file:
        write_plan(file, {"command": "test", "source": str(tmp_path / "faces")}, [])
    jobs: list[tuple[Job, str, str]] = [
        (Convert(allow_loss=True), "faces", "a.rec"),
        (Folder2Rec(), "faces", "b"),
        (Apply(), "plan.jsonl", "c.rec"),
    ]
    for job, source, name in jobs:
        request = Request(tmp_path / source, tmp_path / name)
        n_bytes = preview_job(job, request).details["planned_bytes"]
        with monkeypatch.context() as patch:
            room = SimpleNamespace(f_bavail=3 * n_bytes // 2, f_frsize=1, f_files=0, f_favail=0)
            patch.setattr(os, "statvfs", lambda path, room=room: room)
            with pytest.raises(OutputError, match="not enough space"):
                run_job(job, request, SerialRunner())


# .rec


@st.composite
def record_headers(draw: st.DrawFn) -> bytes:
    """Draw a header: flag, label, ids, labels with any bits; the first is NaN or not negative."""
    flag = draw(st.integers(0, 4))
    first = struct.pack("<f", draw(st.floats(0, 1 << 24, width=32) | st.just(math.nan)))
    more = draw(st.lists(st.binary(min_size=4, max_size=4), min_size=5, max_size=5))
    ids = struct.pack("<QQ", *(draw(st.integers(0, (1 << 64) - 1)) for _ in range(2)))
    if not flag:
        return struct.pack("<I", 0) + first + ids
    return struct.pack("<I", flag) + more[4] + ids + first + b"".join(more[: flag - 1])


@given(headers=st.lists(record_headers(), min_size=1, max_size=4), seed=st.none() | st.just(1))
def test_headers_of_records_keep_every_bit(
    headers: list[bytes], seed: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("headers")
    records = [frame(header + FACE) for header in headers]
    (folder / "in.rec").write_bytes(b"".join(records))
    offsets = [sum(map(len, records[:i])) for i in range(len(records))]
    (folder / "in.idx").write_text("".join(f"{i}\t{at}\n" for i, at in enumerate(offsets, 3)))
    assert not convert(folder / "in.rec", folder / "out.rec", seed=seed).failed
    written = (folder / "out.rec").read_bytes()
    found = {}
    for line in (folder / "out.idx").read_text().splitlines():
        key, at = map(int, line.split())
        found[key] = written[at : at + len(records[key - 3])]
    assert found == dict(enumerate(records, 3))
    assert len(written) == sum(map(len, records))


def test_a_nan_among_the_labels_is_kept_by_a_tar(tmp_path: Path) -> None:
    record = frame_image([1.0, math.nan, 0.5], FACE, 0)
    (tmp_path / "in.rec").write_bytes(record)
    (tmp_path / "in.idx").write_text("7\t0\n")
    convert(tmp_path / "in.rec", tmp_path / "a.tar")
    (found,) = read_samples(tmp_path / "a.tar")
    assert found.labels[::2] == (1.0, 0.5) and math.isnan(found.labels[1])
    with pytest.raises(SourceError, match="cannot hold 3 labels"):
        convert(tmp_path / "a.tar", tmp_path / "a.parquet")


def test_identities_that_float32_rounds_are_named(tmp_path: Path) -> None:
    for name in ("16777216", "16777217"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / f"{name}.jpg").write_bytes(FACE)
    with pytest.raises(SourceError, match="names of the identities"):
        convert(tmp_path / "in", tmp_path / "a.rec")
    convert(tmp_path / "in", tmp_path / "a.rec", allow_loss=True)
    assert [each.identity for each in read_samples(tmp_path / "a.rec")] == ["0", "1"]


def test_insightface_sets_come_out_as_they_were(rec_set: Path, tmp_path: Path) -> None:
    convert(rec_set, tmp_path / "train.rec")
    for name in ("train.rec", "train.idx"):
        assert (tmp_path / name).read_bytes() == (rec_set / name).read_bytes()
    convert(rec_set, tmp_path / "folder")
    convert(tmp_path / "folder", tmp_path / "again" / "train.rec")
    assert (tmp_path / "again" / "train.rec").read_bytes() == (rec_set / "train.rec").read_bytes()


def test_shuffled_sets_have_a_header_and_no_identity_records(rec_set: Path, tmp_path: Path) -> None:
    convert(rec_set, tmp_path / "a.rec", seed=1)
    keys = [int(line.split()[0]) for line in (tmp_path / "a.idx").read_text().splitlines()]
    assert keys[0] == 0 and sorted(keys) == list(range(31))
    assert len(read_samples(tmp_path / "a.rec")) == 30
    found = Inspect().look(tmp_path / "a.rec")
    assert found.failed == 0 and found.details["range_records"] == 0
    assert found.details["header"] == {"images": 30, "identity_records": found.identities}


@needs_data
@pytest.mark.parametrize(
    "name", ["insightface", "im2rec", "magic_in_payload", "png_and_padding", "sparse_keys"]
)
def test_what_mxnet_wrote_comes_out_as_it_was(name: str, tmp_path: Path) -> None:
    source = DATA / "mxnet" / name
    convert(source, tmp_path / "train.rec")
    for file in ("train.rec", "train.idx"):
        assert (tmp_path / file).read_bytes() == (source / file).read_bytes()


# .bin


def test_pairs_stay_together(tmp_path: Path) -> None:
    same = [True, False, False, True, True, False]
    source = write_bin(tmp_path / "in.bin", FACES, same)
    convert(source, tmp_path / "a.bin")
    pairs = [(FACES[2 * i], FACES[2 * i + 1], same[i]) for i in range(6)]

    def load(path: Path) -> list[tuple[bytes, bytes, bool]]:
        found = load_pairs(path)
        data = list(map(bytes, found.images))
        return list(zip(data[::2], data[1::2], found.same, strict=True))

    assert load(tmp_path / "a.bin") == pairs
    convert(source, tmp_path / "b.bin", seed=1)
    assert sorted(load(tmp_path / "b.bin")) == sorted(pairs) != load(tmp_path / "b.bin")
    convert(source, tmp_path / "c.bin", shards=4)
    shards = sorted(tmp_path.glob("c-*-of-00004.bin"))
    assert [pair for shard in shards for pair in load(shard)] == pairs


def test_pairs_of_other_sets_show_one_person_if_the_identity_is_one(
    face_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match="the names of the images and the identities"):
        convert(face_folder, tmp_path / "a.bin")
    convert(face_folder, tmp_path / "a.bin", allow_loss=True)
    found = load_pairs(tmp_path / "a.bin")
    assert list(found.same) == [True, False, True, True, False, True]
    with pytest.raises(OptionError, match="--limit: expected a multiple of 2 images, found 3"):
        convert(face_folder, tmp_path / "b.bin", limit=3, allow_loss=True)


def test_sets_without_pairs_are_refused(tmp_path: Path) -> None:
    for name in ("in/a/1.jpg", "in/a/2.jpg", "in/b/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(FACE)
    with pytest.raises(SourceError, match="in pairs: expected a multiple of 2 images, found 3"):
        convert(tmp_path / "in", tmp_path / "a.bin", allow_loss=True)
    (tmp_path / "in" / "1.jpg").write_bytes(FACE)
    with pytest.raises(SourceError, match=r"which pairs show one person.*1 image without one"):
        convert(tmp_path / "in", tmp_path / "a.bin", allow_loss=True)


def test_both_images_of_a_damaged_pair_are_named(tmp_path: Path) -> None:
    faces = [FACES[0], FACES[1][:100], FACES[2], FACES[3]]
    summary = convert(write_bin(tmp_path / "in.bin", faces, [True, True]), tmp_path / "a.bin")
    assert summary.by_status == {"no_partner": 1, "ok": 2, "undecodable": 1}
    assert list(map(bytes, load_pairs(tmp_path / "a.bin").images)) == faces[2:]


# Lists


@pytest.mark.parametrize("target", LISTS)
@pytest.mark.parametrize("shards", [1, 3])
def test_lists_name_the_files(target: str, shards: int, tmp_path: Path) -> None:
    for i, name in enumerate(("1.jpg", "ann/2.jpg", "ann/3.jpg", "bob c/2.jpg")):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(encode_face(1, i))
    before = read_samples(tmp_path / "in")
    convert(tmp_path / "in", tmp_path / "lists" / target, shards=shards)
    parts = sorted((tmp_path / "lists").glob(f"out*{Path(target).suffix}"))
    parts = [part for part in parts if "classes" not in part.name]
    assert len(parts) == shards
    after = [each for part in parts for each in read_samples(part)]
    assert [each.key for each in after] == [f"{tmp_path}/in/{each.key}" for each in before]
    assert [each.identity for each in after] == [each.identity for each in before]
    assert [each.data for each in after] == [each.data for each in before]
    if shards == 1:
        convert(parts[0], tmp_path / "back")
        assert read_samples(tmp_path / "back") == before


@pytest.mark.parametrize("target", LISTS)
def test_names_below_a_folder(target: str, face_folder: Path, tmp_path: Path) -> None:
    base = face_folder.parent
    convert(face_folder, tmp_path / target, relative_to=base)
    with pytest.raises(OptionError, match="--relative-to: expected a folder that holds all images"):
        convert(face_folder, tmp_path / "no" / target, relative_to=tmp_path)
    convert(tmp_path / target, tmp_path / "back", relative_to=base)
    assert [each.data for each in read_samples(tmp_path / "back")] == [
        each.data for each in read_samples(face_folder)
    ]


def test_a_name_that_leads_outside_needs_relative_to(face_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(FACE)
    path = tmp_path / "lists" / "a.txt"
    path.write_text("../a/1.jpg 0\n")
    with pytest.raises(SourceError, match=r"outside its folder.*--relative-to"):
        convert(path, tmp_path / "a.tar")
    path.write_text("a/1.jpg 0\n")
    convert(path, tmp_path / "a.tar", relative_to=tmp_path)
    assert [each.data for each in read_samples(tmp_path / "a.tar")] == [FACE]


def test_other_commands_read_such_a_list(face_folder: Path, tmp_path: Path) -> None:
    path = convert(face_folder, tmp_path / "lists" / "a.csv", relative_to=face_folder).output
    request = Request((Path(str(path)),), tmp_path / "a.parquet")
    drop = ("laplacian_variance=1e9",)
    assert run_job(Score(), request, SerialRunner()).ok == 0
    request = Request((Path(str(path)),), tmp_path / "b.parquet")
    assert run_job(Score(relative_to=face_folder, drop_below=drop), request, SerialRunner()).ok
    plan = Request((tmp_path / "b.plan.jsonl",), tmp_path / "kept")
    assert run_job(Apply(), plan, SerialRunner()).by_status == {"dropped": 12}
    request = Request((Path(str(path)),), tmp_path / "a.bin")
    assert run_job(MakeBin(pairs=20, seed=1, relative_to=face_folder), request, SerialRunner()).ok


def test_images_that_are_not_files_have_no_list(rec_set: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="found a rec set. Convert it to a folder first"):
        convert(rec_set, tmp_path / "a.csv", allow_loss=True)


@pytest.mark.parametrize("target", ["out.lst", "out.txt"])
def test_names_that_break_lines_are_named_first(target: str, tmp_path: Path) -> None:
    for name in ("in/a/1.jpg", "in/a/2\n.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(FACE)
    with pytest.raises(SourceError, match=r"cannot hold the name '.*/in/a/2.*n\.jpg'"):
        convert(tmp_path / "in", tmp_path / target)
    summary = convert(tmp_path / "in", tmp_path / target, allow_loss=True)
    assert summary.by_status == {"bad_name": 1, "ok": 1}
    assert [each.key for each in read_samples(tmp_path / target)] == [f"{tmp_path}/in/a/1.jpg"]


@pytest.mark.parametrize(
    ("first", "beside"),
    [
        (("30", "45", "30"), False),
        (("-1", "1", "1"), False),
        (("-1.5", "0.25", "3"), False),
        (("1234567890123456781", "1234567890123456782", "0"), False),
        (("1", "0", "2"), True),
    ],
)
def test_the_first_of_several_labels_of_a_list_stays(
    tmp_path: Path, first: tuple[str, ...], beside: bool
) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(FACE)
    rows = "".join(f"{i}\t{first[i]}\t0.5\t{tmp_path}/{'abc'[i]}.jpg\n" for i in range(3))
    (tmp_path / "in.lst").write_text(rows)
    convert(tmp_path / "in.lst", tmp_path / "out.lst")
    assert (tmp_path / "out.lst").read_text() == rows
    assert (tmp_path / "out_classes.csv").exists() == beside
    assert [(each.identity, each.labels) for each in read_samples(tmp_path / "out.lst")] == [
        (each.identity, each.labels) for each in read_samples(tmp_path / "in.lst")
    ]


@pytest.mark.parametrize("label", [2**53 + 1, -(2**60) - 1, 12345678901234567891, 10**61 + 1, 7])
def test_further_whole_labels_are_exact(label: int, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(FACE)
    (tmp_path / "b.jpg").write_bytes(FACE)
    rows = f"0\t0\t0.5\t{tmp_path}/a.jpg\n1\t1\t{label}\t{tmp_path}/b.jpg\n"
    (tmp_path / "in.lst").write_text(rows)
    for source, target in (("in.lst", "out.lst"), ("in.lst", "out.tar"), ("out.tar", "again.tar")):
        convert(tmp_path / source, tmp_path / target)
        assert [each.labels for each in read_samples(tmp_path / target)] == [(0, 0.5), (1, label)]


def test_a_label_that_is_too_large_for_a_rec_costs_its_image(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(FACE)
    rows = "0\t0\t3.4e38\ta.jpg\n1\t0\t-1e39\tb.jpg\n2\t0\tinf\tc.jpg\n"
    (tmp_path / "in.lst").write_text(rows)
    summary = convert(tmp_path / "in.lst", tmp_path / "out.rec", allow_loss=True)
    assert summary.by_status == {"bad_label": 1, "ok": 2}
    labels = [each.labels[1] for each in read_samples(tmp_path / "out.rec")]
    assert labels == [pytest.approx(3.4e38), math.inf]


def test_several_labels_of_named_classes_keep_the_names(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jpg").write_bytes(FACE)
    (tmp_path / "in.lst").write_text("0\t0\t0.5\ta.jpg\n1\t1\t0.5\tb.jpg\n")
    (tmp_path / "in_classes.csv").write_text("class,name,images\n0,007,1\n1,100,1\n")
    convert(tmp_path / "in.lst", tmp_path / "out.lst")
    assert [(each.identity, each.labels) for each in read_samples(tmp_path / "out.lst")] == [
        ("007", (0, 0.5)),
        ("100", (1, 0.5)),
    ]


# .tar


@pytest.mark.parametrize("n", [2, 40])
def test_other_files_of_a_sample_stay_in_a_tar(n: int, tmp_path: Path) -> None:
    about = json.dumps({"label": 0, "age": 30}).encode()
    files = {"jpg": FACE, "cls": b"0", "json": about, "txt": b"a caption"}
    members = [
        member_bytes(f"ann/{number:03}.{name}", data)
        for number in range(n)
        for name, data in files.items()
    ]
    (tmp_path / "a.tar").write_bytes(b"".join(members) + webdataset.END)
    convert(tmp_path / "a.tar", tmp_path / "b.tar")
    for one, two in zip(
        read_samples(tmp_path / "a.tar"), read_samples(tmp_path / "b.tar"), strict=True
    ):
        assert (one.key, one.extra) == (two.key, two.extra) and one.extra["txt"] == b"a caption"
    with pytest.raises(SourceError, match="cannot hold the other files of the samples"):
        convert(tmp_path / "a.tar", tmp_path / "folder")


def test_a_class_map_outlives_every_restart(face_folder: Path, tmp_path: Path) -> None:
    source = shutil.copytree(face_folder, tmp_path / "set")
    request = Request((source,), tmp_path / "out.tar")
    people = sorted(path.name for path in source.iterdir())
    for overwrite in (False, True, True, False, True):
        run_job(Convert(), replace(request, overwrite=overwrite), SerialRunner())
        rows = class_map.load(tmp_path / "out_classes.csv")
        assert sorted(row.name for row in rows) == people
    shutil.rmtree(source / people.pop(0))
    run_job(Convert(), replace(request, overwrite=True), SerialRunner())
    rows = class_map.load(tmp_path / "out_classes.csv")
    assert sorted(row.name for row in rows) == people
