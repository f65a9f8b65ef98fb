"""ONNX files from TFLite and Keras give what the interpreter of TFLite gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceprep import ConvertModel
from faceprep.core.errors import FaceprepError, SourceError
from faceprep.models.conversion import convert_model
from faceprep.models.embedders.embedder import EmbedderSpec, open_embedder
from faceprep.models.onnx_session import Runtime
from faceprep.models.tflite.operators import OPERATORS
from tests.real import DATA, needs_data
from tests.tiny_models import random_crops
from tests.warm_python import WarmPython

interpreter = pytest.importorskip("ai_edge_litert.interpreter")

WRITE = """
import sys
import numpy as np
import tensorflow as tf

weights = lambda *shape: np.random.default_rng(1).normal(size=shape).astype("f4") / 3
nn, image = tf.nn, lambda x: tf.reshape(x, (-1, 8, 8, 4))
OPERATIONS = {
    "same": lambda x: nn.conv2d(x, weights(3, 3, 4, 6), 2, "SAME"),
    "valid": lambda x: nn.relu6(nn.conv2d(x, weights(3, 2, 4, 6), (1, 2), "VALID")),
    "dilated": lambda x: nn.conv2d(x, weights(3, 3, 4, 6), 1, "SAME", dilations=2),
    "grouped": lambda x: nn.conv2d(x, weights(3, 3, 2, 6), 1, "SAME"),
    "depthwise": lambda x: nn.depthwise_conv2d(x, weights(3, 3, 4, 2), (1, 2, 2, 1), "SAME"),
    "dense": lambda x: nn.relu(tf.reshape(x, (-1, 256)) @ weights(256, 5) + weights(5)),
    "dense of rows": lambda x: tf.linalg.matmul(x, weights(4, 5)),
    "pools": lambda x: nn.max_pool2d(nn.avg_pool2d(x, 3, 2, "SAME"), 2, 1, "VALID"),
    "activations": lambda x: nn.leaky_relu(x, 0.1) + nn.elu(x) * tf.tanh(x) - tf.sigmoid(x),
    "swish": lambda x: x * nn.relu6(x + 3) / 6,
    "prelu": lambda x: nn.relu(x) + weights(4) * (x - tf.abs(x)) * 0.5,
    "softmax": lambda x: nn.softmax(x * 2),
    "unit": lambda x: nn.l2_normalize(tf.reshape(x, (-1, 256)), 1),
    "means": lambda x: tf.reduce_mean(x, (1, 2)) + tf.reduce_sum(x, (1, 2)) / 64,
    "highest": lambda x: tf.reduce_max(x, 3, keepdims=True) - tf.reduce_mean(x, 3, keepdims=True),
    "roots": lambda x: tf.sqrt(tf.abs(x)) * tf.math.rsqrt(x * x + 1) + tf.exp(-x),
    "powers": lambda x: tf.square(x) + tf.math.squared_difference(x, 2.0) + tf.abs(x) ** 1.5,
    "limits": lambda x: tf.maximum(tf.minimum(x, 0.5), weights(4)) / (1 + tf.abs(x)),
    "pads": lambda x: tf.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0))) + 0.0,
    "pads of ones": lambda x: tf.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)), constant_values=1.0),
    "layout": lambda x: tf.transpose(x, (0, 3, 1, 2)) * 1.5,
    "joined": lambda x: tf.concat((x, x * 2, nn.relu(x)), 3),
    "parts": lambda x: x[:, 1:7:2, ::2, 1] + x[:, 0:3, -1, None, 2] * 0.5,
    "last": lambda x: x[..., -1] + tf.squeeze(x[:, :, :, :1], 3),
    "stacked": lambda x: tf.expand_dims(tf.stack((x, x * 2), 1), 1),
    "flat": lambda x: tf.keras.layers.Flatten()(x) * 2,
    "compared": lambda x: tf.where(x > 0.2, x, 1.0) * tf.cast(x <= 1.0, tf.float32),
}


def as_lite(work):
    call = tf.function(work, input_signature=[tf.TensorSpec((None, 8, 8, 4), tf.float32)])
    return tf.lite.TFLiteConverter.from_concrete_functions([call.get_concrete_function()], call)


for name, work in OPERATIONS.items():
    with open(f"{sys.argv[1]}/{name}.tflite", "wb") as file:
        file.write(as_lite(work).convert())
half = as_lite(OPERATIONS["same"])
half.optimizations, half.target_spec.supported_types = [tf.lite.Optimize.DEFAULT], [tf.float16]
integers = as_lite(OPERATIONS["same"])
integers.optimizations = [tf.lite.Optimize.DEFAULT]
integers.representative_dataset = lambda: [[weights(1, 8, 8, 4)]]
fft = as_lite(lambda x: tf.cumsum(x, 1))
for name, converter in (("half", half), ("integers", integers), ("unknown", fft)):
    with open(f"{sys.argv[1]}/{name}.tflite", "wb") as file:
        file.write(converter.convert())
print(" ".join(name.replace(" ", "_") for name in OPERATIONS))
"""
CONVERT = """
import sys
from pathlib import Path
from faceprep import ConvertModel
from tests.tiny_models import keras_model
folder = Path(sys.argv[1])
model = keras_model()
for name in ("net.h5", "net.keras"):
    model.save(folder / name)
model.export(folder / "saved", verbose=False)
print("begin")
made = [
    ConvertModel().look(folder / name, folder / f"{name}.onnx")
    for name in ("net.h5", "net.keras", "saved")
]
print(len(made))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, tensorflow: WarmPython) -> Path:
    folder = tmp_path_factory.mktemp("tflite")
    tensorflow.run(WRITE, folder)
    return folder


def run_lite(path: Path, values: np.ndarray) -> np.ndarray:
    lite = interpreter.Interpreter(model_path=str(path))
    lite.resize_tensor_input(lite.get_input_details()[0]["index"], values.shape)
    lite.allocate_tensors()
    lite.set_tensor(lite.get_input_details()[0]["index"], values)
    lite.invoke()
    return lite.get_tensor(lite.get_output_details()[0]["index"])


def run_onnx(model: bytes, values: np.ndarray) -> np.ndarray:
    session = Runtime("cpu").open(model).session
    return session.run(None, {session.get_inputs()[0].name: values})[0]


def test_each_operator_gives_what_the_interpreter_gives(files: Path) -> None:
    values = np.random.default_rng(3).normal(size=(3, 8, 8, 4)).astype(np.float32)
    paths = [path for path in files.glob("*.tflite") if path.stem not in ("integers", "unknown")]
    assert len(paths) == 28
    for path in paths:
        wanted, found = run_lite(path, values), run_onnx(convert_model(str(path)), values)
        assert found.shape == wanted.shape, path.stem
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5, err_msg=path.stem)


def test_what_cannot_be_exact_is_refused(files: Path, tmp_path: Path) -> None:
    for name, reason in (("integers", "quantised"), ("unknown", "CUMSUM")):
        with pytest.raises(SourceError, match=reason) as raised:
            ConvertModel().look(files / f"{name}.tflite", tmp_path / "out.onnx")
        assert str(files / f"{name}.tflite") in str(raised.value)
        assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("n_bytes", [0, 7, 8, 100, 1000])
def test_a_cut_file_is_one_line(n_bytes: int, files: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes((files / "same.tflite").read_bytes()[:n_bytes])
    with pytest.raises(FaceprepError) as raised:
        ConvertModel().look(path, tmp_path / "out.onnx")
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)


def test_a_converted_embedder_gives_the_same_vectors(
    tmp_path: Path, tensorflow: WarmPython
) -> None:
    """Keras's files and SavedModel; the .onnx states what pixels they take."""
    printed = tensorflow.run(CONVERT, tmp_path).splitlines()
    assert printed[-2:] == ["begin", "3"], "nothing else is on stdout"
    crops = random_crops(3)
    vectors = [
        open_embedder(EmbedderSpec(str(tmp_path / f"{name}.onnx"), "cpu", threads=1)).embed(crops)
        for name in ("net.h5", "net.keras", "saved")
    ]
    for each in vectors[1:]:
        np.testing.assert_allclose(each, vectors[0], rtol=1e-4, atol=1e-5)


@needs_data
def test_a_real_network_gives_the_vectors_of_its_file(tmp_path: Path) -> None:
    source, out = DATA / "models" / "MobileFaceNet.tflite", tmp_path / "net.onnx"
    converted = ConvertModel().look(source, out)
    assert f"{converted}".startswith(f"{out}: input (n, 112, 112, 3) -> embeddings (n, 192) (")
    crops = random_crops(3)
    one, other = (
        open_embedder(EmbedderSpec(str(path), "cpu", threads=1)).embed(crops)
        for path in (source, out)
    )
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@needs_data
def test_a_real_network_with_two_outputs(tmp_path: Path) -> None:
    source = DATA / "models" / "FaceAntiSpoofing.tflite"
    converted = ConvertModel().look(source, tmp_path / "net.onnx")
    assert len(converted.outputs) == 2


def test_the_operators_are_those_of_the_schema() -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    assert vars(schema.BuiltinOperator).keys() >= OPERATORS.keys()
