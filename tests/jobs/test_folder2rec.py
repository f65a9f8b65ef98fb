"""folder2rec: its sets are read by faceprep and by MXNet; the shuffle depends on the seed alone."""

from __future__ import annotations

import csv
import hashlib
import os
from pathlib import Path

import pytest

from faceprep.core.errors import OptionError, OutputError, SourceError
from faceprep.core.types import Request, Runner, Summary
from faceprep.jobs import folder2rec
from faceprep.jobs.folder2rec import Folder2Rec
from faceprep.jobs.inspect.job import Inspect
from faceprep.jobs.manifest import Manifest
from faceprep.jobs.rec2folder import Rec2Folder
from faceprep.run.engine import run_job
from faceprep.run.processes import ProcessRunner
from faceprep.run.serial import SerialRunner
from faceprep.sets.folder import Identity, read_identity
from faceprep.sets.recordio import index as rec_index
from faceprep.sets.recordio.entries import read_entries
from faceprep.sets.recordio.records import MAGIC_BYTES, ImageRecord, RecordFile
from faceprep.synthetic import encode_face, write_folder, write_insightface_rec
from faceprep.vision import codec
from tests.fakes import is_state
from tests.real import needs_mxnet
from tests.sets.recordio.test_records import mxnet_reads

SERIAL = SerialRunner()


def pack(source: Path, target: Path, runner: Runner = SERIAL, **options: object) -> Summary:
    limit = options.pop("limit", None)
    return run_job(Folder2Rec(**options), Request((source,), target, limit=limit), runner)  # type: ignore[arg-type]


def records(folder: Path) -> dict[int, ImageRecord]:
    paths = rec_index.find_rec(folder)
    rec_index.write_index(paths, folder / "copy")
    entries = read_entries(folder / "copy")
    with RecordFile(paths.rec) as file:
        read = list(file.read_images(entries[1::2].tolist()))
    assert all(isinstance(record, ImageRecord) for record in read)
    return dict(zip(entries[0::2].tolist(), read, strict=True))  # type: ignore[arg-type]


def is_output(path: Path) -> bool:
    return path.is_file() and not is_state(path.name)


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if is_output(path)}


def write_tricky(root: Path) -> None:
    """Images with the magic inside, odd lengths, names and identities of several kinds."""
    for i, identity in enumerate(["Zoë", "a b", "c"]):
        (root / identity).mkdir(parents=True)
        for j in range(3):
            filling = MAGIC_BYTES * j + b"x" * (i + j)
            (root / identity / f"{j}.x.jpg").write_bytes(encode_face(i, j) + filling)


def test_there_and_back_is_the_same_file(tmp_path: Path) -> None:
    write_insightface_rec(tmp_path / "set", 12, 3)
    run_job(Rec2Folder(), Request((tmp_path / "set",), tmp_path / "folders"), SERIAL)
    summary = pack(tmp_path / "folders", tmp_path / "back")
    for name in ("train.rec", "train.idx", "property"):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "set" / name).read_bytes()
    assert (summary.ok, summary.outputs) == (36, 5)


@pytest.mark.parametrize("layout", ["insightface", "flat"])
def test_payloads_and_labels_survive(tmp_path: Path, layout: str) -> None:
    write_tricky(tmp_path / "folders")
    pack(tmp_path / "folders", tmp_path / "set", layout=layout, seed=3)
    with (tmp_path / "set" / "classes.csv").open(newline="") as file:
        names = {int(row["class"]): row["name"] for row in csv.DictReader(file)}
    assert names == {0: "Zoë", 1: "a b", 2: "c"}
    images = [record for record in records(tmp_path / "set").values() if record.image]
    found = sorted((names[int(record.labels[0])], bytes(record.image)) for record in images)
    expected = (
        (path.parent.name, path.read_bytes()) for path in (tmp_path / "folders").rglob("*.jpg")
    )
    assert found == sorted(expected)


def test_the_insightface_layout(tmp_path: Path) -> None:
    write_folder(tmp_path / "folders", 11, 2)
    pack(tmp_path / "folders", tmp_path / "set")
    read = records(tmp_path / "set")
    assert read[0].has_no_image and read[0].labels == (23.0, 34.0)
    assert [read[key].labels[0] for key in range(1, 23)] == [
        label for label in range(11) for _ in range(2)
    ]
    assert [read[key].id for key in range(34)] == list(range(34))
    ranges = [read[key].labels for key in range(23, 34)]
    assert ranges == [(float(first), float(first + 2)) for first in range(1, 23, 2)]
    assert (tmp_path / "set" / "property").read_text() == "11,112,112"
    lines = (tmp_path / "set" / "train.lst").read_text().splitlines()
    assert lines[:3] == ["1\t0/0.jpg\t0", "1\t0/1.jpg\t0", "1\t1/0.jpg\t1"]
    assert lines[-1] == "1\t10/1.jpg\t10"


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(OptionError, match="^invalid --layout: expected insightface or flat"):
        Folder2Rec(layout="plain")


def test_the_flat_layout(tmp_path: Path) -> None:
    write_folder(tmp_path / "folders", 6, 5)
    pack(tmp_path / "folders", tmp_path / "set", layout="flat", seed=1)
    read = records(tmp_path / "set")
    assert sorted(read) == list(range(30)) == [record.id for record in read.values()]
    labels = [int(record.labels[0]) for record in read.values()]
    assert labels != sorted(labels)
    for key, line in enumerate((tmp_path / "set" / "train.lst").read_text().splitlines()):
        number, label, name = line.split("\t")
        assert (int(number), int(label)) == (key, labels[key])
        assert (tmp_path / "folders" / name).read_bytes() == bytes(read[key].image)


def test_the_shuffle_depends_on_the_seed_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "folders", 8, 25)
    pack(tmp_path / "folders", tmp_path / "one", layout="flat", seed=5)
    pack(tmp_path / "folders", tmp_path / "workers", ProcessRunner(3), layout="flat", seed=5)
    monkeypatch.setattr(folder2rec, "_SPILL", 1)  # shards of 64: several spills, several merges
    pack(tmp_path / "folders", tmp_path / "pieces", layout="flat", seed=5)
    pack(tmp_path / "folders", tmp_path / "other", layout="flat", seed=6)
    assert (
        outputs(tmp_path / "one") == outputs(tmp_path / "workers") == outputs(tmp_path / "pieces")
    )
    assert outputs(tmp_path / "one")["train.rec"] != outputs(tmp_path / "other")["train.rec"]


def test_pieces_and_workers_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tricky(tmp_path / "folders")
    pack(tmp_path / "folders", tmp_path / "one")
    monkeypatch.setattr(folder2rec, "_SHARD", 2)
    pack(tmp_path / "folders", tmp_path / "pieces")
    assert outputs(tmp_path / "one") == outputs(tmp_path / "pieces")


@pytest.mark.parametrize("layout", ["insightface", "flat"])
def test_bad_images_are_named_and_the_keys_stay_dense(tmp_path: Path, layout: str) -> None:
    write_folder(tmp_path / "folders", 4, 3)
    (tmp_path / "folders" / "1" / "1.jpg").write_bytes(b"")
    (tmp_path / "folders" / "2" / "0.jpg").write_bytes(b"text")
    (tmp_path / "folders" / "3" / "tab\t.jpg").write_bytes(encode_face(3, 9))
    summary = pack(tmp_path / "folders", tmp_path / "set", layout=layout, seed=1)
    assert summary.by_status == {"bad_name": 1, "ok": 10, "undecodable": 2}
    failures = (tmp_path / "set" / "failures.csv").read_text()
    assert "1/1.jpg,undecodable,1/1.jpg: no bytes at all" in failures
    read = records(tmp_path / "set")
    assert sorted(read) == list(range(15 if layout == "insightface" else 10))
    if layout == "insightface":
        assert [read[key].labels for key in range(11, 15)] == [
            (1.0, 4.0),
            (4.0, 6.0),
            (6.0, 8.0),
            (8.0, 11.0),
        ]


def test_limit(tmp_path: Path) -> None:
    write_folder(tmp_path / "folders", 4, 3)
    assert pack(tmp_path / "folders", tmp_path / "set", limit=5).ok == 5
    assert [len(record.image) > 0 for record in records(tmp_path / "set").values()].count(True) == 5


def test_other_files_in_the_target_stay(tmp_path: Path) -> None:
    write_folder(tmp_path / "folders", 2, 2)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "lfw.bin").write_bytes(b"pairs")
    pack(tmp_path / "folders", tmp_path / "set")
    assert (tmp_path / "set" / "lfw.bin").read_bytes() == b"pairs"
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "train.rec").write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists already"):
        pack(tmp_path / "folders", tmp_path / "foreign")
    assert (tmp_path / "foreign" / "train.rec").read_bytes() == b"precious"


def test_what_cannot_be_packed(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--seed"):
        Folder2Rec(layout="flat")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no images"):
        pack(tmp_path / "empty", tmp_path / "set")
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "1.jpg").write_bytes(encode_face(1, 1))
    with pytest.raises(SourceError, match="outside of any identity"):
        pack(tmp_path / "loose", tmp_path / "set")


@pytest.mark.parametrize("layout", ["insightface", "flat"])
def test_a_stray_image_and_a_name_that_is_not_text_stop_nothing(
    tmp_path: Path, layout: str
) -> None:
    write_folder(tmp_path / "folders", 3, 2)
    pack(tmp_path / "folders", tmp_path / "sound", layout=layout, seed=4)
    (tmp_path / "folders" / "loose.jpg").write_bytes(encode_face(1, 1))
    bad = os.fsencode(tmp_path / "folders") + b"/0\xff"
    os.mkdir(bad)
    for name in (b"/1.jpg", b"/2.jpg"):
        Path(os.fsdecode(bad + name)).write_bytes(encode_face(5, 5))
    for runner in (SERIAL, ProcessRunner(2)):
        target = tmp_path / f"set{runner is SERIAL}"
        summary = pack(tmp_path / "folders", target, runner, layout=layout, seed=4)
        assert summary.by_status == {"bad_name": 2, "no_identity": 1, "ok": 6}
        assert (summary.inputs, summary.failed) == (9, 3)
        text = (target / "failures.csv").read_text()
        assert "loose.jpg: outside of any identity folder" in text
        assert r",0\xff/1.jpg: the name of the folder is not UTF-8" in text
        assert outputs(target) == outputs(tmp_path / "sound")
    listed = run_job(
        Manifest(seed=1), Request((tmp_path / "folders",), tmp_path / "list" / "a.csv"), SERIAL
    )
    assert listed.by_status == summary.by_status
    classes = (tmp_path / "list" / "a_classes.csv").read_bytes()
    assert classes == outputs(tmp_path / "sound")["classes.csv"]


@pytest.mark.parametrize("layout", ["insightface", "flat"])
@pytest.mark.parametrize("lost", [{"1"}, {"0", "2"}, {"4"}, {"0", "1", "3", "4"}])
def test_an_identity_without_a_sound_image_leaves_no_hole(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    layout: str,
    lost: set[str],
) -> None:
    """The set is that of the folder without it, but for the ids, which count what was found."""
    monkeypatch.setattr(folder2rec, "_SHARD", 3)
    write_folder(tmp_path / "folders", 5, 2)
    tricky = encode_face(9, 9) + b"x" * 3 + MAGIC_BYTES * 3
    (tmp_path / "folders" / "3" / "0.jpg").write_bytes(tricky)
    for name in lost:
        for path in (tmp_path / "folders" / name).iterdir():
            path.write_bytes(b"not an image")
    summary = pack(tmp_path / "folders", tmp_path / "set", layout=layout, seed=1)
    assert summary.by_status == {"ok": 10 - 2 * len(lost), "undecodable": 2 * len(lost)}
    kept = [name for name in "01234" if name not in lost]
    found = [record for record in records(tmp_path / "set").values() if record.image]
    rows = list(csv.DictReader((tmp_path / "set" / "classes.csv").read_text().splitlines()))
    assert [(row["class"], row["name"], row["images"]) for row in rows] == [
        (str(number), name, "2") for number, name in enumerate(kept)
    ]
    assert (tmp_path / "set" / "property").read_text() == f"{len(kept)},112,112"
    assert sorted((kept[int(record.labels[0])], bytes(record.image)) for record in found) == sorted(
        (name, path.read_bytes())
        for name in kept
        for path in (tmp_path / "folders" / name).iterdir()
    )
    lines = [line.split("\t") for line in (tmp_path / "set" / "train.lst").read_text().splitlines()]
    for one, two, three in lines:
        name, label = (two, three) if layout == "insightface" else (three, two)
        assert kept[int(label)] == name.partition("/")[0] and one.isdigit()
    assert "no sound image and no class number" in caplog.text
    if layout == "insightface":
        assert Inspect().look(tmp_path / "set").failed == 0


def test_a_folder_without_one_sound_image(tmp_path: Path) -> None:
    write_folder(tmp_path / "folders", 2, 2)
    for path in (tmp_path / "folders").rglob("*.jpg"):
        path.write_bytes(b"")
    summary = pack(tmp_path / "folders", tmp_path / "set")
    assert (summary.ok, summary.failed) == (0, 4)
    assert (tmp_path / "set" / "classes.csv").read_text() == "class,name,images\n"


def test_property_states_a_size_only_if_all_images_have_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_folder(tmp_path / "folders", 2, 2)
    small = codec.decode(encode_face(7, 7))[:96, :80]
    (tmp_path / "folders" / "1" / "small.png").write_bytes(codec.encode(small, ".png"))
    pack(tmp_path / "folders", tmp_path / "set")
    assert (tmp_path / "set" / "property").read_text() == "2,0,0"
    assert "4 of 112x112, 1 of 96x80" in caplog.text


def test_an_identity_is_listed_once_for_all_its_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "folders", 2, 40)
    listed: list[str] = []

    def count(root: Path, name: str) -> Identity:
        listed.append(name)
        return read_identity(root, name)

    monkeypatch.setattr(folder2rec, "read_identity", count)
    monkeypatch.setattr(folder2rec, "_SHARD", 4)
    assert pack(tmp_path / "folders", tmp_path / "set").ok == 80
    assert listed == ["0", "1"]


def test_more_images_than_float32_counts_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "folders", 4, 3)
    monkeypatch.setattr(folder2rec, "EXACT_FLOATS", 10)
    with pytest.raises(SourceError, match="--layout flat"):
        pack(tmp_path / "folders", tmp_path / "set")
    assert pack(tmp_path / "folders", tmp_path / "set", layout="flat", seed=1).ok == 12


@needs_mxnet
@pytest.mark.parametrize("layout", ["insightface", "flat"])
def test_mxnet_reads_the_set(tmp_path: Path, layout: str) -> None:
    write_tricky(tmp_path / "folders")
    pack(tmp_path / "folders", tmp_path / "set", layout=layout, seed=2)
    ours = [
        [
            key,
            record.flag,
            list(map(float, record.labels)),
            record.id,
            hashlib.sha256(record.image).hexdigest(),
        ]
        for key, record in records(tmp_path / "set").items()
    ]
    assert mxnet_reads(tmp_path / "set") == ours
