"""dlib's descriptor: read from its file, the numbers that dlib itself gives, whatever the batch
and the cache.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core import storage
from faceprep.core.arrays import Pixels
from faceprep.core.embeddings import COSINE
from faceprep.core.errors import FaceprepError, OutputError, SourceError
from faceprep.models import cache, weights
from faceprep.models.embedders import dlib_weights
from faceprep.models.embedders.dlib_onnx import build_graph
from faceprep.models.embedders.embedder import EmbedderSpec, open_embedder
from faceprep.models.onnx_session import Runtime
from faceprep.synthetic import draw_face
from faceprep.vision import align
from faceprep.vision.templates import crop_transforms, load_template
from tests import dlib_files
from tests.photos import astronaut

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("face_recognition_models") is None,
    reason="pip install 'faceprep[embed]'",
)


def chips() -> Pixels:
    """Drawn faces, a real one, noise, black and white: 150 × 150."""
    from faceprep.models.detectors.detector import DetectorSpec, open_detector

    image = astronaut()
    faces = open_detector(DetectorSpec(device="cpu", threads=1)).detect([image])[0]
    template = load_template("dlib-150")
    real = align.crop(image, crop_transforms(faces, template)[0], template.size)
    noise = np.random.default_rng(0).integers(0, 256, (150, 150, 3), np.uint8)
    return np.stack(
        [real, *(draw_face(i, 0, 150)[0] for i in range(3)), noise, noise * 0, noise * 0 + 255]
    )


# The weights


@needs_weights
def test_agrees_with_dlib_itself(tmp_path: Path) -> None:
    dlib = pytest.importorskip("dlib")
    (tmp_path / "weights.dat").write_bytes(weights.dlib_resnet())
    own, crops = dlib.face_recognition_model_v1(str(tmp_path / "weights.dat")), chips()
    wanted = np.array([np.array(own.compute_face_descriptor(crop)) for crop in crops])
    found = open_embedder(EmbedderSpec(device="cpu", threads=1)).embed(crops)
    assert found.shape == (len(crops), 128) and found.dtype == np.float32
    assert np.abs(found - wanted).max() < 1e-5


@needs_weights
def test_a_vector_does_not_depend_on_batch_order_and_threads() -> None:
    crops = np.random.default_rng(1).integers(0, 256, (35, 150, 150, 3), np.uint8)
    whole = open_embedder(EmbedderSpec(device="cpu", threads=1)).embed(crops)
    for threads in (1, 2):
        embed = open_embedder(EmbedderSpec(device="cpu", threads=threads)).embed
        assert np.array_equal(
            np.concatenate([embed(crops[:1]), embed(crops[1:4]), embed(crops[4:])]), whole
        )
        assert np.array_equal(embed(crops[::-1])[::-1], whole)
    assert open_embedder(EmbedderSpec(device="cpu", threads=1)).embed(crops[:0]).shape == (0, 128)


@needs_weights
def test_what_it_says_of_itself() -> None:
    embedder = open_embedder(EmbedderSpec(device="cpu", threads=1))
    assert (embedder.template, embedder.dim, embedder.provider) == ("dlib-150", 128, "CPU")
    model = embedder.model
    assert model.fingerprint.startswith("dlib-resnet/") and "dlib-150" in model.fingerprint
    assert model.metric == COSINE and model.undecided_from < model.threshold < model.merge_from
    assert "0.6" in model.origin


# The file


@pytest.mark.parametrize("seed", range(3))
def test_the_graph_is_the_network(seed: int) -> None:
    layers = dlib_files.small_network(seed)
    graph = build_graph(layers, dlib_files.SIDE, dlib_files.MEAN, dlib_files.SCALE)
    crops = np.random.default_rng(seed).integers(
        0, 256, (4, dlib_files.SIDE, dlib_files.SIDE, 3), np.uint8
    )
    found = Runtime("cpu", 1).open(graph).run(crops)[0]
    wanted = np.array([dlib_files.carried_out(layers, crop) for crop in crops])
    assert found.shape == (4, 5) and np.abs(found - wanted).max() < 1e-5


def test_layers_are_read_as_they_were_written() -> None:
    layers = dlib_files.small_network()
    read = list(dlib_weights.read_layers(dlib_files.packed(layers)))
    assert [(layer.kind, list(layer.sizes)) for layer in read] == [
        (layer.kind, list(layer.sizes)) for layer in layers
    ]
    assert all(
        np.array_equal(one.values, two.values) for one, two in zip(read, layers, strict=True)
    )


@needs_weights
def test_the_real_file_has_the_published_layers() -> None:
    data = weights.dlib_resnet()
    layers = list(dlib_weights.read_layers(data))
    kinds = [layer.kind for layer in layers]
    assert kinds.count(dlib_weights.CONVOLUTION) == 29 and kinds.count(dlib_weights.ADD) == 14
    assert 0 <= len(data) - sum(layer.values.nbytes for layer in layers) < 10_000, (
        "nearly all of it is weights"
    )


FILE = dlib_files.packed(dlib_files.small_network())


@given(st.data())
def test_damaged_files_are_one_line_or_another_network(data: st.DataObject) -> None:
    """Never an error of another kind, never numbers from beyond the end."""
    damaged = bytearray(FILE[: data.draw(st.integers(0, len(FILE)))])
    for _ in range(data.draw(st.integers(0, 3)) if damaged else 0):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        layers = list(dlib_weights.read_layers(bytes(damaged)))
        build_graph(layers, dlib_files.SIDE, dlib_files.MEAN, dlib_files.SCALE)
    except SourceError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "sizes", [(4, 5, 5, 0, 2, 0, 0), (4, 5, 0, 2, 2, 0, 0), (4, 50, 50, 2, 2, 0, 0)]
)
def test_windows_that_cannot_be_are_reported(sizes: tuple[int, ...]) -> None:
    layers = dlib_files.small_network()
    layers[0] = dlib_weights.Layer(
        layers[0].kind, np.zeros(4 * 3 * sizes[1] * max(sizes[2], 1) + 4, "f4"), sizes
    )
    with pytest.raises(SourceError, match=r"sizes of a window|a window larger than its image"):
        build_graph(
            list(dlib_weights.read_layers(dlib_files.packed(layers))),
            dlib_files.SIDE,
            dlib_files.MEAN,
            dlib_files.SCALE,
        )


def test_every_cut_inside_a_layer_is_reported() -> None:
    start = FILE.index(b"con_4") + 5
    for end in (start, start + 3, start + 20, start + 900):
        with pytest.raises(SourceError, match="damaged file of a dlib network at byte"):
            list(dlib_weights.read_layers(FILE[:end]))
    with pytest.raises(SourceError, match="not a file of a dlib network"):
        list(dlib_weights.read_layers(b"hello"))


# The cache


def test_what_is_kept_is_made_once_and_again_where_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"graph"

    path = tmp_path / "faceprep" / "a.onnx"
    assert [cache.cached("a.onnx", make) for _ in range(3)] == [b"graph"] * 3 and len(made) == 1
    for damaged in (b"", b"short", path.read_bytes()[:-1], path.read_bytes()[:-1] + b"?"):
        path.write_bytes(damaged)
        assert cache.cached("a.onnx", make) == b"graph"
    assert len(made) == 5 and cache.cached("a.onnx", make) == b"graph" and len(made) == 5
    assert [file.name for file in path.parent.iterdir()] == ["a.onnx"]


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache.cached("a", lambda: b"graph") == b"graph"

    def full(*_: Any, **__: Any) -> None:
        raise OutputError("cannot write: No space left on device")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(storage, "write_file", full)
    assert cache.cached("a", lambda: b"graph") == b"graph"


def test_errors_of_what_is_kept_are_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def fail() -> bytes:
        raise SourceError("damaged")

    with pytest.raises(FaceprepError, match="damaged"):
        cache.cached("a", fail)


def test_a_relative_cache_folder_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The XDG specification says so."""
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert cache.cache_folder() == Path.home() / ".cache" / "faceprep"
