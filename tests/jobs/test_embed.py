"""embed: every source, the same bytes whatever the workers; names, classes and model as they
are to be read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from faceprep.cli.build import command_for
from faceprep.core.errors import (
    FaceprepError,
    MissingExtra,
    OptionError,
    OutputError,
    ResumeError,
    SourceError,
)
from faceprep.core.types import Request
from faceprep.jobs.embed import sources as crop_sources
from faceprep.jobs.embed.job import Embed
from faceprep.jobs.extract_photos import ExtractPhotos
from faceprep.jobs.manifest import Manifest
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets.recordio.framing import frame_image
from faceprep.tables.embeddings import Place, load_embeddings, load_place
from faceprep.vision.codec import encode
from tests.bins import write_bin
from tests.embedding import CROPS, NAMES, WANTED, are_wanted, by_name, crops, net, run
from tests.failures import read_failures
from tests.fakes import results
from tests.real import DATA, needs_data
from tests.tiny_models import DIM, expected, save_onnx

__all__ = ["crops", "net"]


# Sources


def test_a_folder(crops: Path, tmp_path: Path, net: str) -> None:
    summary = run(crops, tmp_path / "out.npz", net)
    assert (summary.inputs, summary.ok, summary.outputs) == (12, 12, 1)
    arrays = np.load(tmp_path / "out.npz")
    assert arrays["image_names"].tolist() == [
        f"{crops}/{name}" for name in sorted(NAMES, key=lambda name: name)
    ]
    assert arrays["image_classes"].tolist() == sorted([0, 1, 2] * 4) and arrays[
        "identities"
    ].tolist() == ["10", "9", "b"]
    found = load_embeddings(tmp_path / "out.npz")
    assert are_wanted(by_name(found)) and found.model == Embed(embedder=net, device="cpu").model()
    assert load_place(tmp_path / "out.npz") == Place(str(crops), f"{crops}/")


def test_a_flat_folder_and_a_limit(crops: Path, tmp_path: Path, net: str) -> None:
    assert run(crops / "b", tmp_path / "out.npz", net, request={"limit": 3}).inputs == 3
    found = load_embeddings(tmp_path / "out.npz")
    assert (found.keys, found.identities) == ([f"{i}.png" for i in range(3)], ["."] * 3)


def test_parquet_in_several_files(crops: Path, tmp_path: Path, net: str) -> None:
    assert run(crops, tmp_path / "out.parquet", net, shards=3, fp16=True).outputs == 3
    assert sorted(path.name for path in tmp_path.glob("*.parquet")) == [
        f"out-0000{i}-of-00003.parquet" for i in range(3)
    ]
    assert (
        pq.read_schema(tmp_path / "out-00000-of-00003.parquet").field("embeddings").type.value_type
        == "halffloat"
    )
    found = by_name(load_embeddings(tmp_path / "out-00000-of-00003.parquet"))
    assert all(np.allclose(found[name], WANTED[name], atol=2e-3) for name in NAMES)


def test_the_vectors_join_a_manifest_by_name(crops: Path, tmp_path: Path, net: str) -> None:
    run(crops, tmp_path / "out.npz", net)
    manifest = Manifest(seed=3, embeddings=tmp_path / "out.npz")
    run_job(manifest, Request((crops,), tmp_path / "train.npz"), SerialRunner())
    arrays = np.load(tmp_path / "train.npz")
    names = [name.removeprefix(f"{crops}/") for name in arrays["image_names"].tolist()]
    assert are_wanted(dict(zip(names, arrays["embeddings"], strict=True)))


def test_a_verification_set(tmp_path: Path, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crop_sources, "_SHARD", 4)
    images = [encode(crop, ".png") for crop in CROPS[:10]]
    images[3] = b"no image"
    source = write_bin(tmp_path / "lfw.bin", images, [True, False, True, False, True])
    summary = run(source, tmp_path / "out.npz", net)
    assert summary.by_status == {"ok": 9, "undecodable": 1}
    found = load_embeddings(tmp_path / "out.npz")
    assert are_wanted(
        by_name(found), {f"{i // 2}_{i % 2}": expected(CROPS)[i] for i in range(10) if i != 3}
    )
    assert load_place(tmp_path / "out.npz").root == str(tmp_path / "lfw.bin")
    assert run(tmp_path / "lfw.bin", tmp_path / "few.npz", net, request={"limit": 7}).inputs == 7


def test_records(tmp_path: Path, net: str, rec_set: Path) -> None:
    assert run(rec_set, tmp_path / "out.npz", net).ok == 30, (
        "not the header, not the records of identities"
    )
    found = load_embeddings(tmp_path / "out.npz")
    assert found.keys == [f"{(i - 1) // 5}/{i}" for i in range(1, 31)]
    assert found.identities == [str(i // 5) for i in range(30)]
    assert run(rec_set / "train.rec", tmp_path / "few.npz", net, request={"limit": 7}).inputs == 7
    assert np.array_equal(load_embeddings(tmp_path / "few.npz").vectors, found.vectors[:7])


def test_damaged_records_are_named(tmp_path: Path, net: str) -> None:
    labels = [3.0, float("nan"), 3.0, 0.5]
    images = [encode(crop, ".png") for crop in CROPS[:4]]
    images[2] = b"no image"
    records = [
        frame_image([label], image, i)
        for i, (label, image) in enumerate(zip(labels, images, strict=True))
    ]
    (tmp_path / "a.rec").write_bytes(b"".join(records) + b"\xff" * 16)
    offsets = np.cumsum([0, *map(len, records)]).tolist()
    (tmp_path / "a.idx").write_text("".join(f"{i}\t{offset}\n" for i, offset in enumerate(offsets)))
    summary = run(tmp_path / "a.rec", tmp_path / "out.npz", net)
    assert summary.by_status == {"bad_label": 1, "bad_record": 1, "ok": 2, "undecodable": 1}
    found = load_embeddings(tmp_path / "out.npz")
    assert (found.keys, found.identities) == (["3/0", "0.5/3"], ["3", "0.5"])


@pytest.mark.parametrize("name", ["a.txt", "a"])
def test_what_cannot_be_embedded(tmp_path: Path, net: str, name: str) -> None:
    (tmp_path / name).write_bytes(b"hello")
    with pytest.raises(SourceError, match="a set of images"):
        run(tmp_path / name, tmp_path / "out.npz", net)
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match="no images in it"):
        run(tmp_path / "none", tmp_path / "out.npz", net)


# Runs


def test_same_bytes_whatever_the_workers(
    crops: Path, tmp_path: Path, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crop_sources, "_SHARD", 5)
    for name, workers in (("one", 0), ("two", 2)):
        (tmp_path / name).mkdir()
        run(crops, tmp_path / name / "out.npz", net, workers)
        run(crops, tmp_path / name / "out.parquet", net, workers, shards=2)
    assert results(tmp_path / "one") == results(tmp_path / "two")


def test_a_run_goes_on_where_it_stopped(
    crops: Path, tmp_path: Path, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crop_sources, "_SHARD", 5)
    whole = tmp_path / "whole"
    whole.mkdir()
    run(crops, whole / "out.npz", net)
    read, shards = crop_sources.read_shard, []

    def stop(shard: Any, *more: Any) -> Iterator[Any]:
        shards.append(shard.id)
        if len(shards) == 2:
            raise KeyboardInterrupt
        return read(shard, *more)

    monkeypatch.setattr(crop_sources, "read_shard", stop)
    with pytest.raises(FaceprepError, match="1 of 3 shards done"):
        run(crops, tmp_path / "out.npz", net)
    assert not (tmp_path / "out.npz").exists()
    run(crops, tmp_path / "out.npz", net)
    assert shards == ["000000", "000001", "000001", "000002"]
    assert (tmp_path / "out.npz").read_bytes() == (whole / "out.npz").read_bytes()


def test_another_model_under_the_same_name_is_not_mixed_in(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crop_sources, "_SHARD", 5)
    path = save_onnx(tmp_path / "net.onnx")
    run(crops, tmp_path / "out.npz", str(path))
    from faceprep.models.embedders.embedder import open_embedder

    save_onnx(path, last="Neg")
    open_embedder.cache_clear()
    with pytest.raises(ResumeError):
        run(crops, tmp_path / "out.npz", str(path))


def test_bad_images_are_named_and_cost_no_other(crops: Path, tmp_path: Path, net: str) -> None:
    (tmp_path / "crops" / "a").mkdir(parents=True)
    for name, data in (
        ("1.png", (crops / NAMES[0]).read_bytes()),
        ("2.png", b""),
        ("3.jpg", b"text"),
    ):
        (tmp_path / "crops" / "a" / name).write_bytes(data)
    (tmp_path / "crops" / "a" / os.fsdecode(b"\xff.png")).write_bytes(b"")
    summary = run(tmp_path / "crops", tmp_path / "out.npz", net)
    assert summary.by_status == {"bad_name": 1, "ok": 1, "undecodable": 2}
    assert load_embeddings(tmp_path / "out.npz").keys == ["a/1.png"]
    failed = {row["input"] for row in read_failures(tmp_path / "out.npz")}
    assert failed >= {"a/2.png", "a/3.jpg"}


def test_a_place_whose_name_is_no_text_is_refused(crops: Path, tmp_path: Path, net: str) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    (folder / "1.png").write_bytes((crops / NAMES[0]).read_bytes())
    with pytest.raises(
        SourceError, match="a file of embeddings cannot hold this path. Rename the folder"
    ):
        run(folder, tmp_path / "out.npz", net)


def test_csv_and_its_model(crops: Path, tmp_path: Path, net: str) -> None:
    summary = run(crops, tmp_path / "out.csv", net)
    assert summary.outputs == 2 and (tmp_path / "out.csv.model.json").is_file()
    found = load_embeddings(tmp_path / "out.csv")
    assert are_wanted(by_name(found)) and found.model == Embed(embedder=net, device="cpu").model()
    assert load_place(tmp_path / "out.csv").root == str(crops)


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".csv"])
def test_vectors_of_length_1(crops: Path, tmp_path: Path, net: str, suffix: str) -> None:
    run(crops, tmp_path / f"out{suffix}", net, unit=True)
    found = load_embeddings(tmp_path / f"out{suffix}")
    unit = {name: vector / np.linalg.norm(vector) for name, vector in WANTED.items()}
    assert are_wanted(by_name(found), unit)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)


def test_refused_outputs_and_options(crops: Path, tmp_path: Path, net: str) -> None:
    with pytest.raises(OptionError, match=r"OUT.parquet or OUT.csv, found the suffix '.txt'"):
        run(crops, tmp_path / "out.txt", net)
    with pytest.raises(OptionError, match="--shards"):
        run(crops, tmp_path / "out.npz", net, shards=2)
    with pytest.raises(OptionError, match="--shards"):  # before it opens the model
        run(crops, tmp_path / "out.parquet", str(tmp_path / "none.onnx"), shards=1000)
    with pytest.raises(OptionError, match="--shards"):
        run(crops, tmp_path / "out.parquet", net, shards=0)
    with pytest.raises(
        OptionError, match="--shards: expected at most 12, so that no file is empty"
    ):
        run(crops, tmp_path / "out.parquet", net, shards=13)
    with pytest.raises(OutputError, match="the output would be inside the input"):
        run(crops, crops / "out.npz", net)
    with pytest.raises(OptionError, match="--relative-to"):
        run(crops, tmp_path / "out.npz", net, relative_to=tmp_path)
    with pytest.raises(OptionError, match="unknown embedder 'arcface'"):
        run(crops, tmp_path / "out.npz", "arcface")
    assert not list(tmp_path.glob("out*"))


def test_a_missing_package_is_told_once(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    (tmp_path / "net.pt").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match="TorchScript needs PyTorch .* pip install torch"):
        run(crops, tmp_path / "out.npz", str(tmp_path / "net.pt"))


def test_on_the_command_line(crops: Path, tmp_path: Path, net: str) -> None:
    arguments = [
        str(crops),
        str(tmp_path / "out.npz"),
        "--embedder",
        net,
        "--runner",
        "serial",
        "--json",
        "--flip",
    ]
    arguments += [
        "--mean",
        "127.5",
        "--std",
        "128",
        "--color",
        "bgr",
        "--size",
        "112",
        "--crops",
        "arcface-112",
    ]
    done = CliRunner().invoke(command_for("embed"), arguments, standalone_mode=False)
    assert not done.exception and done.return_value == 0
    told = json.loads(done.stdout)
    assert (told["command"], told["inputs"], told["ok"]) == ("embed", 12, 12)
    model = load_embeddings(tmp_path / "out.npz").model
    assert model.fingerprint.endswith("/mean127.5/std128/bgr/of-arcface-112/flip")


# Real faces


@needs_data
@pytest.mark.parametrize("name", ["py2_byte_strings", "py3_bytes", "numpy_uint8"])
def test_real_verification_sets(name: str, tmp_path: Path) -> None:
    summary = run(DATA / "bins" / f"{name}.bin", tmp_path / "out.npz", "dlib-resnet")
    assert (
        summary.ok == summary.inputs > 0
        and load_embeddings(tmp_path / "out.npz").vectors.shape[1] == 128
    )


@needs_data
def test_the_registration_desk(tmp_path: Path) -> None:
    """The same people under several numbers: all pairs come apart at the model's own thresholds."""
    source, faces = DATA / "photos" / "registration", tmp_path / "faces"
    run_job(
        ExtractPhotos(device="cpu", select="largest"), Request((source,), faces), SerialRunner()
    )
    truth = json.loads((DATA / "photos" / "registration_truth.json").read_text())["same_person"]
    person = {number: row for row, numbers in enumerate(truth) for number in numbers}
    for name, at, options in (
        ("crops", faces, {}),
        ("photos", source, {"faces": faces / "faces.parquet"}),
    ):
        run(at, tmp_path / f"{name}.npz", "dlib-resnet", **options)
        found = load_embeddings(tmp_path / f"{name}.npz")
        units = found.vectors / np.linalg.norm(found.vectors, axis=1, keepdims=True)
        likeness, people = (
            units @ units.T,
            np.array([person[identity] for identity in found.identities]),
        )
        same = people[:, None] == people
        apart = ~np.eye(len(people), dtype=bool)
        assert likeness[same & apart].min() > found.model.merge_from
        assert likeness[~same].max() < found.model.undecided_from


def test_vectors_have_as_many_numbers_as_the_embedder_says(net: str) -> None:
    assert Embed(embedder=net, device="cpu").open().dim == DIM
