"""Any ArcFace-style ONNX file: layout, size, normalisation as the file or the caller says; one
line where it cannot.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep.core.errors import FaceprepError, OptionError, SourceError
from faceprep.models.detectors import insightface as insightface_pack
from faceprep.models.embedders.embedder import EmbedderSpec, find_kind, open_embedder
from faceprep.models.embedders.insightface import find_embedder, read_manifest
from faceprep.models.files.preparation import InputOptions
from tests.tiny_models import DIM, expected, onnx_model, random_crops, save_onnx

CROPS = random_crops(5)


def embedded(path: Path, crops: Any = CROPS, **options: Any) -> Any:
    return open_embedder(
        EmbedderSpec(str(path), device="cpu", input_options=InputOptions(**options))
    ).embed(crops)


def close(found: Any, wanted: Any) -> bool:
    return found.shape == wanted.shape and bool(
        np.abs(found - wanted).max() < 1e-4 * max(np.abs(wanted).max(), 1)
    )


@pytest.mark.parametrize(
    "shape", [("n", 3, 112, 112), ("n", 112, 112, 3), (None, 3, None, None), (1, 3, 112, 112)]
)
def test_layouts_and_batches(tmp_path: Path, shape: Any) -> None:
    path = save_onnx(tmp_path / "net.onnx", shape=shape)
    embedder = open_embedder(EmbedderSpec(str(path), device="cpu"))
    assert (embedder.template, embedder.dim, embedder.provider) == ("arcface-112", DIM, "CPU")
    assert close(embedder.embed(CROPS), expected(CROPS))
    assert embedder.embed(CROPS[:0]).shape == (0, DIM)


def test_a_vector_does_not_depend_on_its_batch(tmp_path: Path) -> None:
    crops, path = random_crops(40), save_onnx(tmp_path / "net.onnx")
    whole = embedded(path, crops)
    assert np.array_equal(
        whole, np.concatenate([embedded(path, crops[i : i + 1]) for i in range(40)])
    )


def test_half_precision(tmp_path: Path) -> None:
    path = save_onnx(tmp_path / "net.onnx", half=True)
    found = embedded(path)
    assert found.dtype == np.float32 and np.abs(found - expected(CROPS)).max() < 1e-2


def test_normalisation_as_given(tmp_path: Path) -> None:
    path = save_onnx(tmp_path / "net.onnx")
    assert close(embedded(path, mean=(0.0,), std=(255.0,)), expected(CROPS, 0, 255))
    mean, std = (123.0, 116.0, 103.0), (58.0, 57.0, 56.0)
    assert close(embedded(path, mean=mean, std=std), expected(CROPS, mean, std))
    assert close(
        embedded(path, mean=mean, std=std, color="bgr"),
        expected(CROPS[..., ::-1], mean[::-1], std[::-1]),
    )


def test_normalisation_from_the_files_metadata(tmp_path: Path) -> None:
    stated = {"mean": "0", "std": "[1, 2, 4]", "color": "BGR", "size": "112x112"}
    path = save_onnx(tmp_path / "net.onnx", metadata=stated, shape=("n", 3, None, None))
    assert close(embedded(path), expected(CROPS[..., ::-1], 0, (4, 2, 1)))
    assert close(embedded(path, mean=(8.0,), color="rgb"), expected(CROPS, 8, (1, 2, 4)))


def test_a_graph_that_normalises_itself_gets_pixels(tmp_path: Path) -> None:
    path = save_onnx(tmp_path / "net.onnx", own_scale=(127.5, 1 / 128))
    assert close(embedded(path), expected(CROPS, 127.5, 128))


def test_normalisation_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    path = save_onnx(tmp_path / "net.onnx", shape=("n", 3, None, None))
    other = save_onnx(tmp_path / "other.onnx", shape=("n", 3, 112, 112))
    given: list[dict[str, Any]] = [
        {},
        {"mean": (0.0,)},
        {"std": (128.0,)},
        {"color": "bgr"},
        {"size": (224, 224)},
    ]
    specs = [
        EmbedderSpec(str(path), device="cpu", input_options=InputOptions(**each)) for each in given
    ] + [EmbedderSpec(str(other), device="cpu")]
    prints = [open_embedder(spec).model.fingerprint for spec in specs]
    assert len(set(prints)) == len(prints)
    assert open_embedder(specs[4]).template == "arcface-224"
    threads = EmbedderSpec(str(path), device="cpu", threads=1)
    assert open_embedder(threads).model.fingerprint == prints[0]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"hello", "not a model that ONNX Runtime can open"),
        (
            onnx_model(("n", 1, 112, 112)),
            "not a model of face crops: expected one input .n, 3, height, width.",
        ),
    ],
)
def test_files_that_are_no_embedder(tmp_path: Path, data: bytes, problem: str) -> None:
    (tmp_path / "net.onnx").write_bytes(data)
    with pytest.raises(SourceError, match=f"net.onnx: {problem}") as caught:
        embedded(tmp_path / "net.onnx")
    assert "\n" not in str(caught.value)


def test_bad_metadata_and_sizes_are_named(tmp_path: Path) -> None:
    for stated in ({"mean": "grey"}, {"color": "hsv"}, {"size": "large"}, {"std": "1,2"}):
        path = save_onnx(tmp_path / f"{next(iter(stated))}.onnx", metadata=stated)
        with pytest.raises(
            SourceError, match=f"{path.name}: the file's metadata has a bad {next(iter(stated))}"
        ):
            embedded(path)
    with pytest.raises(
        OptionError, match="--size or size=: expected 112x112, which the model has, found 224x224"
    ):
        embedded(save_onnx(tmp_path / "net.onnx"), size=(224, 224))
    with pytest.raises(OptionError, match="--std"):
        embedded(tmp_path / "net.onnx", std=(0.0,))
    with pytest.raises(SourceError, match=r"no.onnx: no such file"):
        embedded(tmp_path / "no.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "folder.onnx").mkdir()
    for name, found in (("pipe", "neither a file nor a folder"), ("folder", "a folder")):
        with pytest.raises(SourceError, match=f"not a model: expected .*, found {found}"):
            embedded(tmp_path / f"{name}.onnx")


def test_a_gpu_that_is_not_there_is_reported(tmp_path: Path) -> None:
    path = save_onnx(tmp_path / "net.onnx")
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(FaceprepError, match="no GPU can be used"):
            open_embedder(EmbedderSpec(str(path), require_gpu=True))


# Names


def test_names_of_embedders(tmp_path: Path) -> None:
    assert find_kind("Net.ONNX") == ("onnx", "Net.ONNX")
    assert find_kind("a.h5")[0] == find_kind("a.keras")[0] == "keras"
    assert find_kind("a.tflite")[0] == "tflite" and find_kind("a.pt")[0] == "torchscript"
    assert find_kind(str(tmp_path)) == ("savedmodel", str(tmp_path))
    for name in (
        "",
        "dlib",
        "onnx",
        "insightface",
        "insightface:",
        "dlib-resnet:x",
        "no/such/folder",
        "keras:x",
    ):
        with pytest.raises(OptionError, match="unknown embedder"):
            find_kind(name)


def test_dlib_takes_no_normalisation() -> None:
    with pytest.raises(OptionError, match="dlib-resnet has its own normalisation"):
        open_embedder(EmbedderSpec(input_options=InputOptions(mean=(1.0,))))


def test_packs_of_insightface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("det_10g", "2d106det", "genderage", "1k3d68"):
        (tmp_path / f"{name}.onnx").write_bytes(b"")
    with pytest.raises(SourceError, match="no single embedder in this pack"):
        find_embedder(tmp_path)
    save_onnx(tmp_path / "w600k_r50.onnx")
    monkeypatch.setattr(insightface_pack, "pack_folder", lambda pack: tmp_path)
    embedder = open_embedder(EmbedderSpec("insightface:tiny", device="cpu"))
    assert close(embedder.embed(CROPS), expected(CROPS)) and embedder.model.fingerprint.startswith(
        "w600k_r50/"
    )
    save_onnx(tmp_path / "glintr100.onnx")
    with pytest.raises(SourceError, match="Name the .onnx file itself"):
        find_embedder(tmp_path)


def test_packs_with_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs from insightface 2 on have a manifest."""
    monkeypatch.setattr(insightface_pack, "pack_folder", lambda pack: tmp_path / pack)
    for name, how, wanted in (
        ("embedded", "embedded", expected(CROPS, 0, 1)),
        ("scaled", {"mean": 10, "std": 20.0}, expected(CROPS, 10, 20)),
        ("silent", None, expected(CROPS)),
    ):
        (tmp_path / name / "models").mkdir(parents=True)
        save_onnx(tmp_path / name / "models" / "a.onnx")
        save_onnx(tmp_path / name / "models" / "verify.onnx", last="Neg")
        named: dict[str, Any] = {"file": "models/a.onnx"} | ({"preprocessing": how} if how else {})
        (tmp_path / name / "manifest.json").write_text(
            json.dumps({"tasks": {"recognition": named}})
        )
        assert close(
            open_embedder(EmbedderSpec(f"insightface:{name}", device="cpu")).embed(CROPS), wanted
        )
    manifest = tmp_path / "silent" / "manifest.json"
    for text in (
        "no json",
        "[]",
        '{"tasks": {"recognition": {}}}',
        '{"tasks": {"recognition": {"file": "../a.onnx"}}}',
    ):
        manifest.write_text(text)
        with pytest.raises(
            SourceError, match=r"manifest.json: (not a manifest of a pack|names a file outside)"
        ):
            read_manifest(tmp_path / "silent")
    manifest.write_text('{"tasks": {"detection": {"file": "d.onnx"}}}')
    assert read_manifest(tmp_path / "silent") is None


def test_a_graph_of_bytes_gets_pixels(tmp_path: Path) -> None:
    path = save_onnx(tmp_path / "net.onnx", whole=True)
    assert close(embedded(path), expected(CROPS, 0, 1))
    with pytest.raises(OptionError, match="net.onnx takes bytes. Leave out mean and std"):
        embedded(path, mean=(127.5,))
