"""manifest: what it writes, in every format, and what it names and leaves out."""

from __future__ import annotations

import os
import tarfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.errors import SourceError
from faceprep.core.io import parquet
from faceprep.sets import class_map, tfrecord, webdataset
from faceprep.tables.embeddings import Place, write_npz, write_parquet
from tests.manifests import (
    JPEG,
    PNG,
    SUFFIXES,
    arrays_of,
    class_map_of,
    embeddings_of,
    failures,
    files,
    make,
    rows,
    run,
)
from tests.real import DATA, needs_data
from tests.set_reading import read_samples

KINDS = (("live", 1), ("spoof", 2))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


# What is written


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_image_once_with_its_class(face_folder: Path, out: Path, suffix: str) -> None:
    summary = run(face_folder, out / f"train{suffix}")
    assert (summary.inputs, summary.ok, summary.outputs) == (12, 12, 2)
    found = rows(out / f"train{suffix}")
    stem = "" if suffix == ".tar" else f"{face_folder}/"
    end = "" if suffix == ".tar" else ".jpg"
    assert sorted(found) == sorted((f"{stem}{i}/{k}{end}", i) for i in range(4) for k in range(3))
    assert found != sorted(found), "shuffled"
    assert class_map.load(class_map_of(out)) == [(i, str(i), 3) for i in range(4)]


def test_the_order_is_the_same_in_every_format(face_folder: Path, tmp_path: Path) -> None:
    orders = set()
    for suffix in SUFFIXES:
        run(face_folder, tmp_path / "out" / f"a{suffix}", relative_to=face_folder)
        orders.add(
            tuple(name.removesuffix(".jpg") for name, _ in rows(tmp_path / "out" / f"a{suffix}"))
        )
    assert len(orders) == 1


def test_keras_insightface_keys(face_folder: Path, out: Path) -> None:
    run(face_folder, out / "a.npz")
    with np.load(out / "a.npz") as arrays:
        assert sorted(arrays) == ["image_classes", "image_names"], (
            "a third key would be taken for embeddings"
        )
        assert arrays["image_names"].dtype.kind == "U"
        assert arrays["image_classes"].dtype == np.int64


def test_columns_of_the_lists(tmp_path: Path, out: Path) -> None:
    source = make(tmp_path / "set", "b c/x, y.jpg")
    for suffix in (".csv", ".lst", ".parquet"):
        run(source, out / f"a{suffix}", relative_to=tmp_path)
    assert (
        out / "a.csv"
    ).read_text() == 'image_names,image_classes,identity\n"set/b c/x, y.jpg",0,b c\n'
    assert (out / "a.lst").read_text() == "0\t0\tset/b c/x, y.jpg\n"
    row = {"image_names": "set/b c/x, y.jpg", "image_classes": 0, "identity": "b c"}
    assert list(parquet.read_rows(out / "a.parquet")) == [row]


def test_images_in_a_tfrecord(face_folder: Path, out: Path) -> None:
    run(face_folder, out / "a.tfrecord", with_images=True)
    found = [
        (each["image_raw"][0], each["label"][0])
        for each in tfrecord.read_examples(out / "a.tfrecord")
    ]
    expected = [
        ((face_folder / f"{i}/{k}.jpg").read_bytes(), i) for i in range(4) for k in range(3)
    ]
    assert sorted(found) == sorted(expected)  # type: ignore[type-var]


def test_a_tar_as_webdataset_reads_it(tmp_path: Path, out: Path) -> None:
    source = make(tmp_path / "set", "a.b/c.d.jpg", "a.b/e.JPEG", "twins/1.jpg", data=JPEG)
    make(source, "a.b/x.png.jpg", data=JPEG)
    make(source, "twins/1.png", "a.b/wrong.jpg", data=PNG)
    run(source, out / "a.tar")
    with tarfile.open(out / "a.tar") as archive:
        names = archive.getnames()
    expected = [
        "a.b/c%2Ed.jpg",
        "a.b/e.jpg",
        "a.b/wrong.png",
        "a.b/x%2Epng%2Ejpg.jpg",
        "twins/1%2Ejpg.jpg",
        "twins/1%2Epng.png",
    ]
    assert sorted(names[::2]) == expected, "the suffix is what the bytes say"
    assert names[1::2] == [name.rpartition(".")[0] + ".cls" for name in names[::2]]
    for sample in webdataset.read_samples(out / "a.tar"):
        assert sample.files.get("jpg", JPEG) == JPEG
        assert int(sample.files["cls"]) == (0 if sample.key.startswith("a.b") else 1)


# Embeddings


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_embeddings_are_joined_by_name(
    face_folder: Path, tmp_path: Path, out: Path, absolute: bool, dtype: type
) -> None:
    vectors = embeddings_of(
        face_folder, tmp_path / "e.npz", f"{face_folder}/" if absolute else "", dtype
    )
    for suffix in (".npz", ".tfrecord", ".parquet"):
        run(face_folder, out / f"a{suffix}", embeddings=tmp_path / "e.npz", relative_to=face_folder)
    arrays = arrays_of(out / "a.npz")
    expected = np.array([vectors[name] for name in arrays["image_names"]])
    np.testing.assert_array_equal(arrays["embeddings"], expected, strict=True)
    examples: list[Any] = list(tfrecord.read_examples(out / "a.tfrecord"))
    for each in examples:
        assert each["embeddings"] == [vectors[each["image_names"][0].decode()].tobytes()]
    about = {name: examples[0][name] for name in ("classes", "emb_shape", "total", "use_fp16")}
    assert about == {
        "classes": [4],
        "emb_shape": [5],
        "total": [12],
        "use_fp16": [int(dtype is np.float16)],
    }
    assert not any(set(about) & set(each) for each in examples[1:]), "the first record only"
    for row in parquet.read_rows(out / "a.parquet"):
        assert row["embeddings"] == vectors[row["image_names"]].tolist()


def test_an_image_without_embedding_is_named(tmp_path: Path, out: Path) -> None:
    source = make(tmp_path / "set", "a/1.jpg", "a/2.jpg")
    embeddings_of(source, tmp_path / "e.npz")
    make(source, "a/3.jpg")
    summary = run(source, out / "a.npz", embeddings=tmp_path / "e.npz")
    assert (summary.ok, summary.failed) == (2, 1)
    assert failures(out / "a.npz") == {"a/3.jpg": "no_embedding"}
    assert len(arrays_of(out / "a.npz")["embeddings"]) == 2


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_faulty_embeddings_are_named(tmp_path: Path, out: Path, suffix: str) -> None:
    source = make(tmp_path / "set", "a/1.jpg", "a/2.jpg", "a/3.jpg")
    names, vectors = ["a/1.jpg", "a/2.jpg", "a/3.jpg", "a/3.jpg"], np.ones((4, 5), np.float32)
    vectors[0, 2], vectors[1] = np.inf, 0
    found = Embeddings(names, ["a"] * 4, vectors, Model())
    if suffix == ".npz":
        with (tmp_path / "e.npz").open("wb") as file:
            write_npz(file, found, Place())
    else:
        write_parquet([partial((tmp_path / "e.parquet").open, "wb")], found, Place())
    summary = run(source, out / "a.npz", embeddings=tmp_path / f"e{suffix}")
    assert (summary.ok, summary.failed) == (1, 3)
    assert summary.others == {"embedding": {"duplicate_name": 1}}
    assert failures(out / "a.npz") == {
        "a/1.jpg": "not_finite",
        "a/2.jpg": "zero_vector",
        "a/3.jpg": "duplicate_name",
    }
    assert len(arrays_of(out / "a.npz")["embeddings"]) == 1


# Splits, shards, classes


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_share_of_the_images_for_validation(face_folder: Path, out: Path, suffix: str) -> None:
    run(face_folder, out / f"a{suffix}", val_fraction=0.25)
    train, val = rows(out / f"a{suffix}"), rows(out / f"a_val{suffix}")
    assert (len(train), len(val)) == (9, 3)
    assert not set(train) & set(val)
    assert {label for _, label in train} == {0, 1, 2, 3}
    assert [row.images for row in class_map.load(class_map_of(out))] == [3, 3, 3, 3]


def test_whole_identities_for_validation(face_folder: Path, out: Path) -> None:
    run(face_folder, out / "a.csv", val_fraction=0.5, split_by="identity", relative_to=face_folder)
    identity = {row.number: row.name for row in class_map.load(class_map_of(out))}
    train, val = ({label for _, label in rows(out / name)} for name in ("a.csv", "a_val.csv"))
    assert (train, val) == ({0, 1}, {2, 3}), "the classes of the training set are dense"
    for name, label in rows(out / "a.csv") + rows(out / "a_val.csv"):
        assert identity[label] == name.split("/")[0]


def test_too_few_images_for_the_split_are_said(
    tmp_path: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = make(tmp_path / "set", "a/1.jpg", "a/2.jpg", "b/1.jpg")
    run(source, out / "a.csv", val_fraction=0.9)
    assert "the validation set has 1 image, not 3" in caplog.text
    (source / "a/2.jpg").unlink()
    with pytest.raises(SourceError, match="every class has one image only"):
        run(source, out / "b.csv", val_fraction=0.5)
    with pytest.raises(SourceError, match="2 groups cannot be split"):
        run(source, out / "b.csv", val_fraction=0.9, split_by="identity")
    (source / "b/1.jpg").unlink()
    with pytest.raises(SourceError, match="1 group cannot be split"):
        run(source, out / "b.csv", val_fraction=0.9, split_by="identity")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_shards_hold_together_what_one_file_holds(
    face_folder: Path, out: Path, suffix: str
) -> None:
    run(face_folder, out / f"a{suffix}", val_fraction=0.25)
    run(face_folder, out / f"b{suffix}", val_fraction=0.25, shards=4)
    names = (
        [f"b-{i:05d}-of-00004{suffix}" for i in range(4)],
        [f"b_val-{i:05d}-of-00003{suffix}" for i in range(3)],
    )
    for whole, shards in zip((f"a{suffix}", f"a_val{suffix}"), names, strict=True):
        assert [row for name in shards for row in rows(out / name)] == rows(out / whole)
    assert set(files(out)) == {
        f"a{suffix}",
        f"a_val{suffix}",
        *names[0],
        *names[1],
        "a_classes.csv",
        "b_classes.csv",
    }
    if suffix == ".tfrecord":
        first: list[Any] = [next(tfrecord.read_examples(out / name)) for name in names[0]]
        assert [each["total"] for each in first] == [[9]] * 4, "of the whole set"


def test_classes_are_dense_and_in_the_peers_order(tmp_path: Path, out: Path) -> None:
    run(make(tmp_path / "numbers", "10/1.jpg", "9/1.jpg", "007/1.jpg"), out / "a.csv")
    assert [row.name for row in class_map.load(class_map_of(out))] == ["007", "9", "10"]
    (class_map_of(out)).unlink()
    run(make(tmp_path / "text", "10/1.jpg", "9/1.jpg", "0_0_1/1.jpg", "x/y/1.jpg"), out / "b.csv")
    assert [row.name for row in class_map.load(class_map_of(out))] == ["0_0_1", "10", "9", "x/y"]


def test_small_identities_are_left_out_and_counted(
    tmp_path: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    source = make(tmp_path / "set", "a/1.jpg", "a/2.jpg", "b/1.jpg", "c/1.jpg", "c/2.jpg")
    summary = run(source, out / "a.csv", min_images=2)
    assert (summary.inputs, summary.failed, summary.by_status) == (5, 0, {"few_images": 1, "ok": 4})
    assert class_map.load(class_map_of(out)) == [(0, "a", 2), (1, "c", 2)]
    assert "left out 1 identity (1 image) with fewer than 2 images" in caplog.text


def test_limit(face_folder: Path, out: Path) -> None:
    assert run(face_folder, out / "a.csv", limit=4, relative_to=face_folder).inputs == 4
    assert sorted(rows(out / "a.csv")) == [
        ("0/0.jpg", 0),
        ("0/1.jpg", 0),
        ("0/2.jpg", 0),
        ("1/0.jpg", 1),
    ]


# A SiW-like tree


def siw_crops(root: Path) -> Path:
    """One crop where each video of SiW was, or of a tree that is laid out like it."""
    names = [
        f"{split}/{kind}/00{n}/00{n}-1-{k}"
        for split in ("Train", "Test")
        for kind, k in KINDS
        for n in (3, 4)
    ]
    if (DATA / "siw_like").is_dir():
        videos = (DATA / "siw_like").rglob("*.mov")
        names = [
            video.relative_to(DATA / "siw_like").as_posix().removesuffix(".mov") for video in videos
        ]
    return make(root, *(f"{name}/0.png" for name in names), data=PNG)


@pytest.mark.parametrize("rule", ["live=0,spoof=1", "re:/(live|spoof)(?=/)"])
def test_classes_by_rule(tmp_path: Path, out: Path, rule: str) -> None:
    source = siw_crops(tmp_path / "crops")
    make(source, "Train/odd/1/0.png", "Train/live/spoof/0.png", data=PNG)
    summary = run(source, out / "a.csv", label_rule=rule, relative_to=source)
    found = rows(out / "a.csv")
    assert summary.ok == len(found) >= 7
    assert all(label == int("/spoof/" in name) for name, label in found)
    assert failures(out / "a.csv") == {
        "Train/odd/1/0.png": "no_label",
        "Train/live/spoof/0.png": "ambiguous_label",
    }
    counts = Counter(label for _, label in found)
    assert class_map.load(class_map_of(out)) == [(0, "live", counts[0]), (1, "spoof", counts[1])]


def test_a_rule_reads_flat_folders_too(tmp_path: Path, out: Path) -> None:
    source = make(tmp_path / "flat", "003-1.jpg", "003-2.jpg", "11-1.jpg")
    run(source, out / "a.csv", label_rule=r"re:^(\d+)-", relative_to=source)
    assert sorted(rows(out / "a.csv")) == [("003-1.jpg", 0), ("003-2.jpg", 0), ("11-1.jpg", 1)]
    assert [row.name for row in class_map.load(class_map_of(out))] == ["003", "11"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_classes_are_the_identities_of_images_outside_a_folder(
    tmp_path: Path, out: Path, suffix: str
) -> None:
    source = make(tmp_path / "flat", "live_1.jpg", "live_2.jpg", "spoof_1.jpg")
    run(source, out / f"a{suffix}", label_rule="re:([a-z]+)_")
    found = read_samples(out / f"a{suffix}")
    wanted = {("live_1.jpg", "live"), ("live_2.jpg", "live"), ("spoof_1.jpg", "spoof")}
    assert {(Path(sample.key).name, sample.identity) for sample in found} == wanted


@needs_data
def test_real_photos(out: Path) -> None:
    summary = run(DATA / "orl", out / "a.tar", val_fraction=0.1)
    assert (summary.ok, len(rows(out / "a.tar")), len(rows(out / "a_val.tar"))) == (200, 180, 20)
    assert [row.name for row in class_map.load(class_map_of(out))][:3] == ["s1", "s10", "s11"]


# Bad images, bad names


@pytest.mark.parametrize(
    ("suffix", "options"), [(".tar", {}), (".tfrecord", {"with_images": True})]
)
def test_bad_images_are_named_and_the_others_kept(
    tmp_path: Path, out: Path, suffix: str, options: dict[str, Any]
) -> None:
    source = make(tmp_path / "set", "a/1.jpg", "a/2.jpg", "b/1.jpg")
    make(source, "a/zero.jpg", "c/zero.jpg", data=b"")
    make(source, "b/text.png", data=b"no image")
    (source / "b/gone.jpg").symlink_to("nowhere")
    summary = run(source, out / f"a{suffix}", **options)
    assert (summary.ok, summary.failed) == (3, 4)
    bad = {"a/zero.jpg": "undecodable", "c/zero.jpg": "undecodable", "b/text.png": "undecodable"}
    assert failures(out / f"a{suffix}") == bad | {"b/gone.jpg": "unreadable"}
    assert class_map.load(class_map_of(out)) == [(0, "a", 2), (1, "b", 1)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_that_cannot_be_written(tmp_path: Path, out: Path, suffix: str) -> None:
    source = make(
        tmp_path / "set",
        "a/1.jpg",
        "a/t\tab.jpg",
        "a/new\nline.jpg",
        "b/ä 'b', \"c\".jpg",
        "stray.jpg",
    )
    try:
        make(source, os.fsdecode(b"a/\xff.jpg"), os.fsdecode(b"\xff/1.jpg"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    run(source, out / f"a{suffix}", relative_to=source)
    bad = {"a/\\udcff.jpg", "\\udcff/1.jpg", "stray.jpg"}
    good = {"a/1.jpg", "a/t\tab.jpg", "a/new\nline.jpg", "b/ä 'b', \"c\".jpg"}
    if suffix == ".lst":
        bad |= {"a/t\tab.jpg", "a/new\nline.jpg"}
    assert set(failures(out / f"a{suffix}")) == bad
    names = {name for name, _ in rows(out / f"a{suffix}")}
    assert {f"{name}.jpg" for name in names} == good if suffix == ".tar" else names == good - bad
    assert [row.name for row in class_map.load(class_map_of(out))] == ["a", "b"]
