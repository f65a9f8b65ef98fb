"""manifest: every format from one folder, the same bytes however it is run, and clear words where it cannot."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from faceprep.errors import FaceprepError, OptionError, OutputError, ResumeError, SourceError
from faceprep.formats import class_map, lists, manifest_cuts, manifests, npz, parquet, tfrecord, webdataset
from faceprep.formats.manifest_parts import Part
from faceprep.jobs.manifest import Manifest
from faceprep.run.engine import run_job
from faceprep.run.processes import ProcessRunner
from faceprep.run.serial import SerialRunner
from faceprep.synthetic import encode_face, write_folder
from faceprep.types import Outcome, Request, Runner, Summary
from tests.real import DATA, needs_data

SUFFIXES = (".npz", ".tfrecord", ".parquet", ".csv", ".lst", ".tar")
JPEG, PNG = encode_face(1, 1), encode_face(1, 1, ".png")
Row = tuple[str, int]
KINDS = (("live", 1), ("spoof", 2))


def run(source: Path, output: Path, runner: Runner | None = None, overwrite: bool = False, **options: Any) -> Summary:
    request = Request((source,), output, overwrite=overwrite, limit=options.pop("limit", None))
    return run_job(Manifest(**{"seed": 1} | options), request, runner or SerialRunner())


def failures(output: Path) -> dict[str, str]:
    """Input -> status."""
    with (output.parent / ".faceprep" / output.name / "failures.csv").open(newline="") as file:
        return {row["input"]: row["status"] for row in csv.DictReader(file)}


def rows(path: Path) -> list[Row]:
    """(name as written, class) of every entry of a manifest; the key in place of the name for .tar."""
    if path.suffix == ".npz":
        arrays = npz.load_manifest(path)
        return list(zip(arrays["image_names"].tolist(), arrays["image_classes"].tolist(), strict=True))
    if path.suffix == ".tfrecord":
        examples: list[Any] = list(tfrecord.read_examples(path))
        return [(each["image_names"][0].decode(), each["image_classes"][0]) for each in examples]
    if path.suffix == ".parquet":
        return [(row["image_names"], row["image_classes"]) for row in parquet.read_rows(path)]
    if path.suffix == ".tar":
        return [(sample.key, int(sample.files["cls"])) for sample in webdataset.read_samples(path)]
    read = lists.read_csv if path.suffix == ".csv" else lists.read_lst
    return [(row.name, int(row.label)) for row in read(path)]


def files(root: Path) -> dict[str, str]:
    """Name -> hash of what a user sees in a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.iterdir() if path.is_file()}


def make(root: Path, *names: str, data: bytes = JPEG) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


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
    assert class_map.load(out / "classes.csv") == [(i, str(i), 3) for i in range(4)]


def test_the_order_is_the_same_in_every_format(face_folder: Path, tmp_path: Path) -> None:
    orders = set()
    for suffix in SUFFIXES:
        run(face_folder, tmp_path / "out" / f"a{suffix}", relative_to=face_folder)
        orders.add(tuple(name.removesuffix(".jpg") for name, _ in rows(tmp_path / "out" / f"a{suffix}")))
    assert len(orders) == 1


def test_keras_insightface_keys(face_folder: Path, out: Path) -> None:
    run(face_folder, out / "a.npz")
    with np.load(out / "a.npz") as arrays:
        assert sorted(arrays) == ["image_classes", "image_names"], "a third key would be taken for embeddings"
        assert arrays["image_names"].dtype.kind == "U"
        assert arrays["image_classes"].dtype == np.int64


def test_columns_of_the_lists(tmp_path: Path, out: Path) -> None:
    source = make(tmp_path / "set", "b c/x, y.jpg")
    for suffix in (".csv", ".lst", ".parquet"):
        run(source, out / f"a{suffix}", relative_to=tmp_path)
    assert (out / "a.csv").read_text() == 'image_names,image_classes,identity\n"set/b c/x, y.jpg",0,b c\n'
    assert (out / "a.lst").read_text() == "0\t0\tset/b c/x, y.jpg\n"
    row = {"image_names": "set/b c/x, y.jpg", "image_classes": 0, "identity": "b c"}
    assert list(parquet.read_rows(out / "a.parquet")) == [row]


def test_images_in_a_tfrecord(face_folder: Path, out: Path) -> None:
    run(face_folder, out / "a.tfrecord", with_images=True)
    found = [(each["image_raw"][0], each["label"][0]) for each in tfrecord.read_examples(out / "a.tfrecord")]
    expected = [((face_folder / f"{i}/{k}.jpg").read_bytes(), i) for i in range(4) for k in range(3)]
    assert sorted(found) == sorted(expected)  # type: ignore[type-var]


def test_a_tar_as_webdataset_reads_it(tmp_path: Path, out: Path) -> None:
    source = make(tmp_path / "set", "a.b/c.d.jpg", "a.b/e.JPEG", "twins/1.jpg", data=JPEG)
    make(source, "twins/1.png", "a.b/wrong.jpg", data=PNG)
    run(source, out / "a.tar")
    with tarfile.open(out / "a.tar") as archive:
        names = archive.getnames()
    expected = ["a.b/c%2Ed.jpg", "a.b/e.jpg", "a.b/wrong.png", "twins/1%2Ejpg.jpg", "twins/1%2Epng.png"]
    assert sorted(names[::2]) == expected, "the suffix is what the bytes say"
    assert names[1::2] == [name.rpartition(".")[0] + ".cls" for name in names[::2]]
    for sample in webdataset.read_samples(out / "a.tar"):
        assert sample.files.get("jpg", JPEG) == JPEG
        assert int(sample.files["cls"]) == (0 if sample.key.startswith("a.b") else 1)


# Embeddings


def embeddings_of(source: Path, path: Path, prefix: str = "", dtype: type = np.float32) -> dict[str, np.ndarray]:
    names = [f"{prefix}{image.relative_to(source)}" for image in sorted(source.rglob("*.jpg"))]
    vectors = np.random.default_rng(1).standard_normal((len(names), 5)).astype(dtype)
    np.savez(path, image_names=np.array(names), image_classes=np.zeros(len(names)), embeddings=vectors)
    return {name.removeprefix(prefix): vector for name, vector in zip(names, vectors, strict=True)}


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_embeddings_are_joined_by_name(
    face_folder: Path, tmp_path: Path, out: Path, absolute: bool, dtype: type
) -> None:
    vectors = embeddings_of(face_folder, tmp_path / "e.npz", f"{face_folder}/" if absolute else "", dtype)
    for suffix in (".npz", ".tfrecord", ".parquet"):
        run(face_folder, out / f"a{suffix}", embeddings=tmp_path / "e.npz", relative_to=face_folder)
    arrays = npz.load_manifest(out / "a.npz")
    expected = np.array([vectors[name] for name in arrays["image_names"]])
    np.testing.assert_array_equal(arrays["embeddings"], expected, strict=True)
    examples: list[Any] = list(tfrecord.read_examples(out / "a.tfrecord"))
    for each in examples:
        assert each["embeddings"] == [vectors[each["image_names"][0].decode()].tobytes()]
    about = {name: examples[0][name] for name in ("classes", "emb_shape", "total", "use_fp16")}
    assert about == {"classes": [4], "emb_shape": [5], "total": [12], "use_fp16": [int(dtype is np.float16)]}
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
    assert len(npz.load_manifest(out / "a.npz")["embeddings"]) == 2


# Splits, shards, classes


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_share_of_the_images_for_validation(face_folder: Path, out: Path, suffix: str) -> None:
    run(face_folder, out / f"a{suffix}", val_fraction=0.25)
    train, val = rows(out / f"a{suffix}"), rows(out / f"a_val{suffix}")
    assert (len(train), len(val)) == (9, 3)
    assert not set(train) & set(val)
    assert {label for _, label in train} == {0, 1, 2, 3}
    assert [row.images for row in class_map.load(out / "classes.csv")] == [3, 3, 3, 3]


def test_whole_identities_for_validation(face_folder: Path, out: Path) -> None:
    run(face_folder, out / "a.csv", val_fraction=0.5, split_by="identity", relative_to=face_folder)
    identity = {row.number: row.name for row in class_map.load(out / "classes.csv")}
    train, val = ({label for _, label in rows(out / name)} for name in ("a.csv", "a_val.csv"))
    assert (train, val) == ({0, 1}, {2, 3}), "the classes of the training set are dense"
    for name, label in rows(out / "a.csv") + rows(out / "a_val.csv"):
        assert identity[label] == name.split("/")[0]


def test_too_few_images_for_the_split_are_said(tmp_path: Path, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = make(tmp_path / "set", "a/1.jpg", "a/2.jpg", "b/1.jpg")
    run(source, out / "a.csv", val_fraction=0.9)
    assert "the validation set has 1 images, not 3" in caplog.text
    (source / "a/2.jpg").unlink()
    with pytest.raises(SourceError, match="every class has one image only"):
        run(source, out / "b.csv", val_fraction=0.5)
    with pytest.raises(SourceError, match="2 identities cannot be split"):
        run(source, out / "b.csv", val_fraction=0.9, split_by="identity")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_shards_hold_together_what_one_file_holds(face_folder: Path, out: Path, suffix: str) -> None:
    run(face_folder, out / f"a{suffix}", val_fraction=0.25)
    run(face_folder, out / f"b{suffix}", val_fraction=0.25, shards=4)
    names = [f"b-{i:05d}-of-00004{suffix}" for i in range(4)], [f"b_val-{i:05d}-of-00003{suffix}" for i in range(3)]
    for whole, shards in zip((f"a{suffix}", f"a_val{suffix}"), names, strict=True):
        assert [row for name in shards for row in rows(out / name)] == rows(out / whole)
    assert set(files(out)) == {f"a{suffix}", f"a_val{suffix}", *names[0], *names[1], "classes.csv"}
    if suffix == ".tfrecord":
        first: list[Any] = [next(tfrecord.read_examples(out / name)) for name in names[0]]
        assert [each["total"] for each in first] == [[9]] * 4, "of the whole set"


def test_classes_are_dense_and_in_the_peers_order(tmp_path: Path, out: Path) -> None:
    run(make(tmp_path / "numbers", "10/1.jpg", "9/1.jpg", "007/1.jpg"), out / "a.csv")
    assert [row.name for row in class_map.load(out / "classes.csv")] == ["007", "9", "10"]
    (out / "classes.csv").unlink()
    run(make(tmp_path / "text", "10/1.jpg", "9/1.jpg", "0_0_1/1.jpg", "x/y/1.jpg"), out / "b.csv")
    assert [row.name for row in class_map.load(out / "classes.csv")] == ["0_0_1", "10", "9", "x/y"]


def test_small_identities_are_left_out_and_counted(tmp_path: Path, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    source = make(tmp_path / "set", "a/1.jpg", "a/2.jpg", "b/1.jpg", "c/1.jpg", "c/2.jpg")
    summary = run(source, out / "a.csv", min_images=2)
    assert (summary.inputs, summary.failed, summary.by_status) == (5, 0, {"few_images": 1, "ok": 4})
    assert class_map.load(out / "classes.csv") == [(0, "a", 2), (1, "c", 2)]
    assert "left out 1 identities (1 images) with fewer than 2 images" in caplog.text


def test_limit(face_folder: Path, out: Path) -> None:
    assert run(face_folder, out / "a.csv", limit=4, relative_to=face_folder).inputs == 4
    assert sorted(rows(out / "a.csv")) == [("0/0.jpg", 0), ("0/1.jpg", 0), ("0/2.jpg", 0), ("1/0.jpg", 1)]


# A SiW-like tree


def siw_crops(root: Path) -> Path:
    """One crop where each video of SiW was, or of a tree that is laid out like it."""
    names = [f"{split}/{kind}/00{n}/00{n}-1-{k}" for split in ("Train", "Test") for kind, k in KINDS for n in (3, 4)]
    if (DATA / "siw_like").is_dir():
        videos = (DATA / "siw_like").rglob("*.mov")
        names = [video.relative_to(DATA / "siw_like").as_posix().removesuffix(".mov") for video in videos]
    return make(root, *(f"{name}/0.png" for name in names), data=PNG)


@pytest.mark.parametrize("rule", ["live=0,spoof=1", "re:/(live|spoof)(?=/)"])
def test_classes_by_rule(tmp_path: Path, out: Path, rule: str) -> None:
    source = siw_crops(tmp_path / "crops")
    make(source, "Train/odd/1/0.png", "Train/live/spoof/0.png", data=PNG)
    summary = run(source, out / "a.csv", label_rule=rule, relative_to=source)
    found = rows(out / "a.csv")
    assert summary.ok == len(found) >= 7
    assert all(label == int("/spoof/" in name) for name, label in found)
    assert failures(out / "a.csv") == {"Train/odd/1/0.png": "no_label", "Train/live/spoof/0.png": "ambiguous_label"}
    counts = Counter(label for _, label in found)
    assert class_map.load(out / "classes.csv") == [(0, "live", counts[0]), (1, "spoof", counts[1])]


def test_a_rule_reads_flat_folders_too(tmp_path: Path, out: Path) -> None:
    source = make(tmp_path / "flat", "003-1.jpg", "003-2.jpg", "11-1.jpg")
    run(source, out / "a.csv", label_rule=r"re:^(\d+)-", relative_to=source)
    assert sorted(rows(out / "a.csv")) == [("003-1.jpg", 0), ("003-2.jpg", 0), ("11-1.jpg", 1)]
    assert [row.name for row in class_map.load(out / "classes.csv")] == ["003", "11"]


@needs_data
def test_real_photos(out: Path) -> None:
    summary = run(DATA / "orl", out / "a.tar", val_fraction=0.1)
    assert (summary.ok, len(rows(out / "a.tar")), len(rows(out / "a_val.tar"))) == (200, 180, 20)
    assert [row.name for row in class_map.load(out / "classes.csv")][:3] == ["s1", "s10", "s11"]


# Bad images, bad names


@pytest.mark.parametrize(("suffix", "options"), [(".tar", {}), (".tfrecord", {"with_images": True})])
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
    assert class_map.load(out / "classes.csv") == [(0, "a", 2), (1, "b", 1), (2, "c", 0)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_that_cannot_be_written(tmp_path: Path, out: Path, suffix: str) -> None:
    source = make(tmp_path / "set", "a/1.jpg", "a/t\tab.jpg", "a/new\nline.jpg", "b/ä 'b', \"c\".jpg", "stray.jpg")
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
    assert [row.name for row in class_map.load(out / "classes.csv")] == ["a", "b"]


# The same bytes


OPTIONS = {"shards": 3, "val_fraction": 0.2}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_bytes_with_any_number_of_workers(face_folder: Path, tmp_path: Path, suffix: str) -> None:
    found = []
    for number, runner in enumerate((SerialRunner(), ProcessRunner(1), ProcessRunner(3))):
        run(face_folder, tmp_path / str(number) / f"a{suffix}", runner, **OPTIONS)
        found.append(files(tmp_path / str(number)))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 3 + 2 + 1, "training, validation, classes"
    run(face_folder, tmp_path / "other" / f"a{suffix}", seed=2, **OPTIONS)
    assert files(tmp_path / "other") != found[0]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_parts_join_to_what_one_part_holds(
    face_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    vectors: dict[str, Any] = {}
    if suffix in (".npz", ".tfrecord", ".parquet"):
        embeddings_of(face_folder, tmp_path / "e.npz")
        vectors = {"embeddings": tmp_path / "e.npz"}
    run(face_folder, tmp_path / "one" / f"a{suffix}", **vectors)
    for name in ("_LISTED", "_LOADED"):
        monkeypatch.setattr(manifest_cuts, name, 5)
    run(face_folder, tmp_path / "parts" / f"a{suffix}", **vectors)
    one, parts = files(tmp_path / "one"), files(tmp_path / "parts")
    if suffix == ".parquet":  # its row groups are its parts
        assert list(parquet.read_rows(tmp_path / "parts/a.parquet")) == list(
            parquet.read_rows(tmp_path / "one/a.parquet")
        )
        del one["a.parquet"], parts["a.parquet"]
    assert parts == one


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_shard_that_failed_is_made_up_for(
    face_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(manifest_cuts, "_LISTED", 5)
    monkeypatch.setattr(manifest_cuts, "_LOADED", 5)
    run(face_folder, tmp_path / "whole" / f"a{suffix}", val_fraction=0.1)
    output, form = tmp_path / "cut" / f"a{suffix}", manifests.FORMATS[suffix]
    begun: list[str] = []

    def write(part: Part) -> Iterator[Outcome]:
        begun.append(part.shard.id)
        if part.shard.id == "000001" and begun.count("000001") == 1:
            raise ValueError("poisoned")
        return form.write(part)

    with mock.patch.dict(manifests.FORMATS, {suffix: replace(form, write=write)}):
        with pytest.raises(OutputError, match="1 of 4 shards crashed"):
            run(face_folder, output, val_fraction=0.1)
        assert not {output.name, "classes.csv"} & set(files(output.parent)), "nothing is joined yet"
        begun[:] = ["000001"]
        again = run(face_folder, output, val_fraction=0.1)
    assert begun == ["000001", "000001"], "only what was missing"
    assert again.by_status == {"ok": 12}
    assert files(output.parent) == files(tmp_path / "whole")


def test_a_changed_source_is_not_gone_on_with(tmp_path: Path, out: Path) -> None:
    source = make(tmp_path / "set", "a/1.jpg")
    run(source, out / "a.tar")
    assert run(source, out / "a.tar").ok == 1
    make(source, "a/1.jpg", data=PNG)
    with pytest.raises(ResumeError, match="the input has changed"):
        run(source, out / "a.tar")
    assert run(source, out / "a.tar", overwrite=True).ok == 1
    assert next(webdataset.read_samples(out / "a.tar")).files["png"] == PNG


# Two manifests in one folder


def test_manifests_of_the_same_classes_share_the_map(tmp_path: Path, out: Path) -> None:
    source = make(tmp_path / "set", "a/1.jpg", "b/1.jpg")
    make(source, "b/zero.jpg", data=b"")
    run(source, out / "a.npz")
    before = files(out)
    run(source, out / "b.tar")
    assert files(out) == before | {"b.tar": files(out)["b.tar"]}
    run(source, out / "b.tar")
    run(source, out / "b.tar", overwrite=True)
    run(source, out / "a.npz")
    assert (out / "classes.csv").read_text() == "class,name,images\n0,a,1\n1,b,2\n"
    run(source, out / "a.npz", overwrite=True)
    assert files(out) == before | {"b.tar": files(out)["b.tar"]}


def test_manifests_of_other_classes_do_not(tmp_path: Path, out: Path) -> None:
    source = make(tmp_path / "set", "a/1.jpg", "a/2.jpg", "b/1.jpg")
    run(source, out / "a.csv")
    with pytest.raises(OutputError, match=r"classes.csv: exists already"):
        run(source, out / "b.csv", min_images=2)
    assert set(files(out)) == {"a.csv", "classes.csv"}
    run(source, out / "b.csv", min_images=2, overwrite=True)
    assert class_map.load(out / "classes.csv") == [(0, "a", 2)]


# What cannot be


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"seed": None}, "the images are shuffled. Give a --seed."),
        ({"shards": 0}, "--shards: expected 1 or more, found 0"),
        ({"min_images": 0}, "--min-images: expected 1 or more, found 0"),
        ({"val_fraction": -0.1}, "--val-fraction: expected 0 or more, found -0.1"),
        ({"val_fraction": 1.0}, "--val-fraction: expected less than 1, found 1.0"),
        ({"val_fraction": float("nan")}, "--val-fraction: expected 0 or more, found nan"),
        ({"label_rule": "x"}, "--label-rule is no rule"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], why: str) -> None:
    with pytest.raises(OptionError) as error:
        Manifest(**{"seed": 1} | options)
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "kind", "why"),
    [
        ("a.foo", {}, OptionError, "'a.foo': expected .npz .tfrecord .parquet .csv .lst .tar, found the suffix '.foo'"),
        ("a", {}, OptionError, "found no suffix"),
        ("a.npz", {"with_images": True}, OptionError, "--with-images: a .npz manifest holds no images"),
        ("a.csv", {"embeddings": Path("e.npz")}, OptionError, "--embeddings: a .csv manifest holds none"),
        ("a.tfrecord", {"embeddings": Path("e"), "with_images": True}, OptionError, "two layouts of .tfrecord"),
        ("a.csv", {"shards": 13}, OptionError, "--shards: expected 12 or fewer, the images there are, found 13"),
        ("a.csv", {"relative_to": Path("/nowhere")}, OptionError, "--relative-to: expected a folder that"),
        ("a.npz", {"embeddings": Path("/no.npz")}, SourceError, "/no.npz: cannot open: No such file"),
        (
            "a.csv",
            {"label_rule": "x=0,y=1"},
            SourceError,
            "none of 12 images can be used, the first because of 0/0.jpg",
        ),
        ("a.csv", {"min_images": 4}, SourceError, "0: 3 images, --min-images asks for 4"),
    ],
)
def test_combinations_that_cannot_be(
    face_folder: Path, out: Path, name: str, options: dict[str, Any], kind: type[FaceprepError], why: str
) -> None:
    with pytest.raises(kind) as error:
        run(face_folder, out / name, **options)
    assert why in str(error.value)
    assert "\n" not in str(error.value)
    assert not out.exists(), "no trace"


def test_sources_that_cannot_be(tmp_path: Path, out: Path) -> None:
    (tmp_path / "empty").mkdir()
    file = make(tmp_path, "file.jpg") / "file.jpg"
    make(tmp_path / "notes", "a/readme.txt")
    make(tmp_path / "flat", "1.jpg")
    for source, why in (
        (tmp_path / "none", "no such file or folder"),
        (tmp_path / "empty", "no images in this folder"),
        (file, "no such folder"),
        (tmp_path / "notes", "no images in this folder"),
        (tmp_path / "flat", "none of 1 images can be used, the first because of 1.jpg: lies in no identity folder"),
    ):
        with pytest.raises(SourceError, match=why):
            run(source, out / "a.npz")
    assert not out.exists()


def test_the_input_is_left_alone(tmp_path: Path) -> None:
    source = make(tmp_path / "set", "a/1.jpg")
    with pytest.raises(OutputError, match="the output would lie in the input"):
        run(source, source / "a.npz")
    assert os.listdir(source) == ["a"]


def test_on_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path / "set", 2, 2)
    make(tmp_path / "set", "0/zero.jpg", data=b"")
    assert command("manifest", tmp_path / "set", tmp_path / "a.npz") == 2
    assert "--seed" in capfd.readouterr().err
    assert command("manifest", tmp_path / "set", tmp_path / "a.foo", "--seed", 1) == 2
    assert command("manifest", tmp_path / "none", tmp_path / "a.npz", "--seed", 1) == 1
    capfd.readouterr()
    assert command("manifest", tmp_path / "set", tmp_path / "a.tar", "--seed", 1, "--runner", "serial", "--json") == 3
    told = json.loads(capfd.readouterr().out)
    assert (told["inputs"], told["ok"], told["failed"], told["outputs"]) == (5, 4, 1, 2)


def command(*words: object) -> int:
    from faceprep.cli import main

    with mock.patch("sys.argv", ["faceprep", *map(str, words)]):
        return main()
