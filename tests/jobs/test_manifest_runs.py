"""manifest: the same bytes however it is run, folders with two of them, clear words where it
cannot be.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from faceprep.core.errors import FaceprepError, OptionError, OutputError, ResumeError, SourceError
from faceprep.core.io import parquet
from faceprep.core.types import Outcome
from faceprep.jobs.manifest import Manifest
from faceprep.run.processes import ProcessRunner
from faceprep.run.serial import SerialRunner
from faceprep.sets import class_map, webdataset
from faceprep.sets.manifests import partition as manifest_cuts
from faceprep.sets.manifests import writers as manifests
from faceprep.sets.manifests.layout import Part
from faceprep.synthetic import write_folder
from tests.manifests import PNG, SUFFIXES, embeddings_of, files, make, run


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


# The same bytes


OPTIONS = {"shards": 3, "val_fraction": 0.2}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_bytes_with_any_number_of_workers(
    face_folder: Path, tmp_path: Path, suffix: str
) -> None:
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
        return form.writer(with_images=suffix == ".tar")(part)

    changed = {"write_images" if suffix == ".tar" else "write": write}
    with mock.patch.dict(manifests.FORMATS, {suffix: replace(form, **changed)}):
        with pytest.raises(OutputError, match="1 of 4 shards crashed"):
            run(face_folder, output, val_fraction=0.1)
        assert not {output.name, "a_classes.csv"} & set(files(output.parent)), (
            "nothing is joined yet"
        )
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


def test_each_manifest_has_a_map_of_its_own(tmp_path: Path, out: Path) -> None:
    source = make(tmp_path / "set", "a/1.jpg", "b/1.jpg")
    make(source, "b/zero.jpg", data=b"")
    run(source, out / "a.npz")
    before = files(out)
    run(source, out / "b.tar")
    assert files(out).keys() - before.keys() == {"b.tar", "b_classes.csv"}
    assert class_map.load(out / "a_classes.csv") == [(0, "a", 1), (1, "b", 1)]
    assert class_map.load(out / "b_classes.csv") == [(0, "a", 1), (1, "b", 1)]
    after = files(out)
    for name, overwrite in (("b.tar", False), ("b.tar", True), ("a.npz", False), ("a.npz", True)):
        run(source, out / name, overwrite=overwrite)
        assert files(out) == after


def test_manifests_of_one_name_share_a_map_of_the_same_classes_only(
    tmp_path: Path, out: Path
) -> None:
    source = make(tmp_path / "set", "a/1.jpg", "a/2.jpg", "b/1.jpg")
    run(source, out / "a.csv")
    run(source, out / "a.lst")
    with pytest.raises(OutputError, match=r"a_classes.csv: exists already"):
        run(source, out / "a.npz", min_images=2)
    assert set(files(out)) == {"a.csv", "a.lst", "a_classes.csv"}
    run(source, out / "b.csv", min_images=2)
    assert class_map.load(out / "b_classes.csv") == [(0, "a", 2)]


# What cannot be


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"seed": None}, "the images are shuffled. Give a --seed."),
        ({"shards": 0}, "--shards: expected 1 or more, found 0"),
        ({"min_images": 0}, "--min-images: expected 1 or more, found 0"),
        ({"val_fraction": -0.1}, "--val-fraction: expected 0 or more, less than 1, found -0.1"),
        ({"val_fraction": 1.0}, "--val-fraction: expected 0 or more, less than 1, found 1"),
        (
            {"val_fraction": float("nan")},
            "--val-fraction: expected 0 or more, less than 1, found nan",
        ),
        ({"label_rule": "x"}, "invalid --label-rule: expected a rule such as"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], why: str) -> None:
    with pytest.raises(OptionError) as error:
        Manifest(**{"seed": 1} | options)
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "kind", "why"),
    [
        (
            "a.foo",
            {},
            OptionError,
            "'a.foo' is not a manifest: expected .npz .tfrecord .parquet .csv .lst .tar, found the "
            "suffix '.foo'",
        ),
        ("a", {}, OptionError, "found no suffix"),
        (
            "a.npz",
            {"with_images": True},
            OptionError,
            "--with-images: a .npz manifest holds no images",
        ),
        (
            "a.csv",
            {"embeddings": Path("e.npz")},
            OptionError,
            "--embeddings: a .csv manifest holds none",
        ),
        (
            "a.tfrecord",
            {"with_images": False},
            OptionError,
            "no trainer reads a .tfrecord of names and classes alone: expected --with-images or "
            "--embeddings",
        ),
        (
            "a.csv",
            {"shards": 13},
            OptionError,
            "--shards: expected at most 12, the number of training images, found 13",
        ),
        (
            "a.csv",
            {"relative_to": Path("/nowhere")},
            OptionError,
            "--relative-to: expected a folder that",
        ),
        (
            "a.npz",
            {"embeddings": Path("/no.npz")},
            SourceError,
            "/no.npz: cannot open: No such file",
        ),
        (
            "a.csv",
            {"label_rule": "x=0,y=1"},
            SourceError,
            "none of 12 images can be used; the first failure is 0/0.jpg",
        ),
        ("a.csv", {"min_images": 4}, SourceError, "0: 3 images, --min-images asks for 4"),
    ],
)
def test_combinations_that_cannot_be(
    face_folder: Path,
    out: Path,
    name: str,
    options: dict[str, Any],
    kind: type[FaceprepError],
    why: str,
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
        (tmp_path / "empty", "no images in it"),
        (file, "expected a set of images, found a single image"),
        (tmp_path / "notes", "no images in it"),
        (
            tmp_path / "flat",
            "none of 1 image can be used; the first failure is 1.jpg: has no identity",
        ),
    ):
        with pytest.raises(SourceError, match=why):
            run(source, out / "a.npz")
    assert not out.exists()


def test_the_input_is_left_alone(tmp_path: Path) -> None:
    source = make(tmp_path / "set", "a/1.jpg")
    with pytest.raises(OutputError, match="the output would be inside the input"):
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
    assert (
        command(
            "manifest",
            tmp_path / "set",
            tmp_path / "a.tar",
            "--seed",
            1,
            "--runner",
            "serial",
            "--json",
        )
        == 3
    )
    told = json.loads(capfd.readouterr().out)
    assert (told["inputs"], told["ok"], told["failed"], told["outputs"]) == (5, 4, 1, 2)


def command(*words: object) -> int:
    from faceprep.cli import main

    with mock.patch("sys.argv", ["faceprep", *map(str, words)]):
        return main()


def test_another_source_where_the_command_runs_in_the_folder_of_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The earlier output is not a part of the other source."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("one", "other")):
        write_folder(Path(name), 2 + number, 3)
        summary = run(Path(name), Path("t.npz"), overwrite=True, check=True)
        assert summary.ok == 3 * (2 + number)
