"""Files of Keras and TensorFlow give the vectors that the same model gives in memory."""

from __future__ import annotations

import importlib.util
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep.core.errors import FaceprepError, MissingExtra, SourceError
from faceprep.models.embedders.embedder import EmbedderSpec, open_embedder
from faceprep.models.files.preparation import InputOptions
from tests.tiny_models import DIM, expected, keras_model, random_crops

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
    ),
    pytest.mark.filterwarnings("ignore"),  # TensorFlow's own are many
]
CROPS = random_crops(5)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same model as .h5, .keras, SavedModel and .tflite, of floats and of bytes."""
    import tensorflow as tf

    root, model = tmp_path_factory.mktemp("models"), keras_model()
    paths = {
        "h5": root / "net.h5",
        "keras": root / "net.keras",
        "saved": root / "saved",
        "tflite": root / "net.tflite",
    }
    model.save(paths["h5"])
    model.save(paths["keras"])
    model.export(paths["saved"], verbose=False)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    paths["tflite"].write_bytes(converter.convert())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [(crop[None].astype("f4") - 127.5) / 128] for crop in random_crops(20)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    paths["bytes"] = root / "bytes.tflite"
    paths["bytes"].write_bytes(converter.convert())
    return paths


@pytest.mark.parametrize("kind", ["h5", "keras", "saved", "tflite"])
def test_the_vectors_of_the_model(models: dict[str, Path], kind: str) -> None:
    embedder = open_embedder(EmbedderSpec(str(models[kind]), device="cpu", threads=1))
    assert (embedder.template, embedder.dim, embedder.provider) == ("arcface-112", DIM, "CPU")
    found = embedder.embed(CROPS)
    assert (
        found.dtype == np.float32 and np.abs(found - expected(CROPS, 127.5, 128, True)).max() < 1e-5
    )
    assert np.array_equal(embedder.embed(CROPS[3:]), found[3:])
    other = open_embedder(
        EmbedderSpec(
            str(models[kind]),
            device="cpu",
            threads=1,
            input_options=InputOptions(std=(1.0,), color="bgr"),
        )
    )
    assert np.abs(other.embed(CROPS) - expected(CROPS[..., ::-1], 127.5, 1, True)).max() < 1e-3
    assert other.model.fingerprint != embedder.model.fingerprint


def test_a_tflite_of_bytes_has_its_scale(models: dict[str, Path]) -> None:
    found = open_embedder(EmbedderSpec(str(models["bytes"]), device="cpu")).embed(CROPS)
    assert np.abs(found - expected(CROPS, 127.5, 128, True)).max() < 0.02


@pytest.mark.parametrize("name", ["net.h5", "net.keras", "net.tflite", "folder"])
def test_what_is_no_model_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(FaceprepError):
        open_embedder(EmbedderSpec(str(path), device="cpu"))
    if name == "folder":
        path.mkdir()
    file = path / "saved_model.pb" if name == "folder" else path
    file.write_bytes(b"hello, no model here")
    with pytest.raises(
        SourceError, match=f"{name}: not a model that TensorFlow( Lite)? can open"
    ) as caught:
        open_embedder(EmbedderSpec(str(path), device="cpu"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_file_is_refused_before_it_is_loaded(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    model = keras.Sequential(
        [
            keras.Input((112, 112, 3)),
            keras.layers.Lambda(lambda x: x[:, 0, 0]),
            keras.layers.Flatten(),
        ]
    )
    model.save(tmp_path / f"net{suffix}")
    monkeypatch.setattr(keras.models, "load_model", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(SourceError, match="holds code, .* found a Lambda layer") as caught:
        open_embedder(EmbedderSpec(str(tmp_path / f"net{suffix}"), device="cpu"))
    assert "\n" not in str(caught.value)


def test_code_that_a_file_names_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(models["keras"]) as sound:
        files = {name: sound.read(name) for name in sound.namelist()}
    config = json.loads(files["config.json"])
    run = {"module": "os", "class_name": "function", "config": "system"}
    config["config"]["layers"][1]["config"]["activation"] = [[run]]
    files["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    with pytest.raises(SourceError, match="holds code, .* found os.function"):
        open_embedder(EmbedderSpec(str(tmp_path / "net.keras"), device="cpu"))


def test_a_gpu_that_is_not_there_is_reported(models: dict[str, Path]) -> None:
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        for kind in ("keras", "tflite"):
            with pytest.raises(FaceprepError, match="no GPU can be used"):
                open_embedder(EmbedderSpec(str(models[kind]), require_gpu=True))


def test_what_is_not_installed_is_named(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'faceprep\[tensorflow\]'"):
        open_embedder(
            EmbedderSpec(
                str(models["keras"]), device="cpu", input_options=InputOptions(size=(1, 1))
            )
        )


def test_mean_of_three_channels(models: dict[str, Path]) -> None:
    mean: Any = (120.0, 110.0, 100.0)
    found = open_embedder(
        EmbedderSpec(str(models["keras"]), device="cpu", input_options=InputOptions(mean=mean))
    ).embed(CROPS)
    assert np.abs(found - expected(CROPS, mean, 128, True)).max() < 1e-5


@pytest.mark.parametrize("form", ["keras", "saved", "tflite"])
def test_a_model_that_scales_pixels_itself_gets_pixels(form: str, tmp_path: Path) -> None:
    """Its layers divide and subtract; TFLite's converter keeps them before a pool."""
    import keras
    import tensorflow as tf

    image = keras.Input((112, 112, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    cells = keras.layers.AveragePooling2D(28)(scaled)
    model = keras.Model(image, keras.layers.Flatten()(cells))
    path = tmp_path / {"keras": "net.keras", "saved": "net", "tflite": "net.tflite"}[form]
    if form == "keras":
        model.save(path)
    elif form == "saved":
        model.export(path, verbose=False)
    else:
        path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    found = open_embedder(EmbedderSpec(str(path), device="cpu")).embed(CROPS)
    assert np.abs(found - expected(CROPS, 127.5, 127.5, True)).max() < 1e-4
