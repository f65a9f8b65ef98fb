"""The contract of every embedder in the registry but a user's own class. One that needs a user's
file gets a line in `FILES`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep.core.arrays import Pixels
from faceprep.core.embeddings import COSINE, EUCLIDEAN, Embedder, load_model
from faceprep.core.errors import FaceprepError, OptionError
from faceprep.core.registry import EMBEDDERS
from faceprep.models.detectors import insightface as insightface_pack
from faceprep.models.embedders.embedder import EmbedderSpec, find_kind, open_embedder
from faceprep.models.files.preparation import InputOptions
from faceprep.vision.templates import load_template
from tests.contracts.installed import skip_where_packages_are_missing
from tests.models.mxnet_files import save_embedder
from tests.tiny_models import (
    keras_model,
    random_crops,
    save_onnx,
    save_saved_model,
    save_tflite,
    save_torchscript,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # TensorFlow's own are many
FILES: dict[str, Callable[[Path], object]] = {
    "onnx": lambda folder: save_onnx(folder / "net.onnx"),
    "mxnet": lambda folder: save_embedder(folder / "net"),
    "keras": lambda folder: keras_model().save(folder / "net.keras"),
    "savedmodel": lambda folder: save_saved_model(folder / "net"),
    "tflite": lambda folder: save_tflite(folder / "net.tflite"),
    "torchscript": lambda folder: save_torchscript(folder / "net.pt"),
    "insightface": lambda folder: save_onnx(folder / "w600k_r50.onnx"),
}
"""Name in the registry -> writes a model into the folder, for embedders that come without
weights.
"""


@pytest.fixture(params=[kind for kind in EMBEDDERS if kind != "python"], scope="module")
def name(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the value of `--embedder`."""
    kind: str = request.param
    skip_where_packages_are_missing(EMBEDDERS[kind])
    with pytest.MonkeyPatch.context() as patch:
        if kind not in FILES:
            yield kind
            return
        folder = tmp_path_factory.mktemp(kind)
        FILES[kind](folder)
        patch.setattr(insightface_pack, "pack_folder", lambda pack: folder)
        yield "insightface:tiny" if kind == "insightface" else str(max(folder.iterdir()))


@pytest.fixture(scope="module")
def embedder(name: str) -> Embedder:
    return open_embedder(EmbedderSpec(name, "cpu", threads=1))


@pytest.fixture(scope="module")
def crops(embedder: Embedder) -> Pixels:
    """Of the size of the template: what it names there is."""
    height, width = load_template(embedder.template).size
    assert height == width
    return random_crops(5, height)


def test_vectors_are_rows_of_floats(embedder: Embedder, crops: Pixels) -> None:
    vectors = embedder.embed(crops)
    assert (
        vectors.shape == (5, embedder.dim)
        and vectors.dtype == np.float32
        and np.isfinite(vectors).all()
    )
    assert len(np.unique(vectors, axis=0)) == 5, "other crops, other vectors"
    assert (
        embedder.embed(crops[:0]).shape == (0, embedder.dim)
        and embedder.embed(crops[:0]).dtype == np.float32
    )


def test_a_vector_does_not_depend_on_its_batch(embedder: Embedder, crops: Pixels) -> None:
    whole = embedder.embed(crops)
    assert np.array_equal(embedder.embed(crops), whole)
    assert np.array_equal(embedder.embed(crops[::-1])[::-1], whole)
    assert np.array_equal(
        np.concatenate([embedder.embed(crops[:1]), embedder.embed(crops[1:])]), whole
    )


def test_the_crops_are_not_altered(embedder: Embedder, crops: Pixels) -> None:
    before = crops.copy()
    embedder.embed(crops)
    assert (crops == before).all()


def test_what_it_says_of_itself(embedder: Embedder) -> None:
    model = embedder.model
    assert embedder.provider == "CPU"
    assert (
        model.metric in (COSINE, EUCLIDEAN)
        and model.undecided_from <= model.threshold <= model.merge_from
    )
    assert 0 < model.outlier_angle < 180
    assert model.origin, "where the thresholds come from"
    assert load_model(model.as_json()) == model and "\n" not in model.as_json()


def test_the_fingerprint_is_stable_and_telling(name: str, embedder: Embedder) -> None:
    again = functools.partial(open_embedder.__wrapped__, EmbedderSpec(name, "cpu", threads=2))
    assert again().model.fingerprint == embedder.model.fingerprint, "the same vectors"
    assert embedder.template in embedder.model.fingerprint
    if find_kind(name)[1]:
        for given in ({"mean": (1.0,)}, {"std": (2.0,)}, {"color": "bgr"}):
            other = open_embedder.__wrapped__(
                EmbedderSpec(name, "cpu", threads=1, input_options=InputOptions(**given))
            )  # type: ignore[arg-type]
            assert other.model.fingerprint != embedder.model.fingerprint, "other vectors"
    else:
        with pytest.raises(OptionError, match="its own normalisation"):
            open_embedder.__wrapped__(
                EmbedderSpec(name, "cpu", input_options=InputOptions(mean=(1.0,)))
            )


def test_files_that_are_none_are_one_line(name: str, tmp_path: Path) -> None:
    kind, source = find_kind(name)
    if not EMBEDDERS[kind].suffixes:
        pytest.skip("comes with its package, or lies in a folder")
    path = tmp_path / Path(source).name
    for data in (None, b"", b"hello"):
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(FaceprepError, match=path.name) as caught:
            open_embedder.__wrapped__(EmbedderSpec(str(path), "cpu"))
        assert "\n" not in str(caught.value)
