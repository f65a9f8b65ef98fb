"""Crops to vectors: whatever their size, in any batches, one Outcome an image."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep.core import large_arrays
from faceprep.core.embeddings import Model
from faceprep.core.errors import OptionError
from faceprep.core.types import Outcome
from faceprep.run.ledger import ShardSink
from faceprep.run.places import Places
from faceprep.sets.image_set import Sample
from faceprep.steps.embed_crops import FittedCrop, embed_loads, load_file, load_parts, sample_loads
from faceprep.steps.embed_options import EmbedOptions
from faceprep.synthetic import encode_face
from faceprep.vision.codec import encode
from tests.tiny_models import DIM, expected, random_crops, save_onnx


@pytest.fixture()
def options(tmp_path: Path) -> EmbedOptions:
    """A tiny embedder of arcface-112, whose vectors are means of cells."""
    return EmbedOptions(str(save_onnx(tmp_path / "net.onnx")), device="cpu")


def changed(options: EmbedOptions, **others: Any) -> EmbedOptions:
    return EmbedOptions(options.embedder, device="cpu", **others)


def test_crops_of_the_embedders_own_template_stay_as_they_are(options: EmbedOptions) -> None:
    crops = random_crops(70)
    found = options.embed(list(crops))
    assert found.shape == (70, DIM) and np.abs(found - expected(crops)).max() < 1e-4
    assert np.array_equal(found, np.concatenate([options.embed([crop]) for crop in crops])), (
        "in any batches"
    )
    assert options.embed([]).shape == (0, DIM)


def test_larger_crops_are_the_template_enlarged(options: EmbedOptions) -> None:
    crops = random_crops(4)
    large = crops.repeat(2, 1).repeat(2, 2)
    assert np.abs(options.embed(list(large)) - options.embed(list(crops))).max() < 0.05
    by_name = changed(options, crops="arcface-224").embed(list(large))
    assert np.array_equal(by_name, options.embed(list(large)))


def test_other_templates_are_brought_to_the_embedders(options: EmbedOptions) -> None:
    """The middle of a dlib chip is the middle of an ArcFace crop."""
    crop = np.zeros((150, 150, 3), np.uint8)
    crop[6:96, 28:118] = 255
    found = changed(options, crops="dlib-150").embed([crop])[0].reshape(3, 4, 4)
    assert (found[:, 1:3, 1:3] > 0.9).all() and (found[:, 0] < 0).all()


def test_the_mirror_image_is_averaged(options: EmbedOptions) -> None:
    crops = random_crops(3)
    found = changed(options, flip=True).embed(list(crops))
    assert np.abs(found - (expected(crops) + expected(crops[:, :, ::-1])) / 2).max() < 1e-4
    assert np.allclose(found, changed(options, flip=True).embed(list(crops[:, :, ::-1])), atol=1e-6)


def test_all_that_is_done_is_in_the_fingerprint(options: EmbedOptions) -> None:
    others = [
        {},
        {"flip": True},
        {"crops": "arcface-128"},
        {"mean": "0"},
        {"std": "1,2,3"},
        {"color": "bgr"},
    ]
    prints = [changed(options, **each).model().fingerprint for each in others] + [
        options.model("photos").fingerprint
    ]
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mean", "grey"),
        ("mean", "1,2"),
        ("std", "nan"),
        ("size", "0"),
        ("size", "112x"),
        ("size", "-1"),
        ("size", "x"),
    ],
)
def test_options_that_cannot_be_meant(name: str, value: str) -> None:
    with pytest.raises(OptionError, match=f"--{name}: expected"):
        EmbedOptions(**{name: value})
    with pytest.raises(OptionError, match="unknown template"):
        EmbedOptions(crops="square")
    with pytest.raises(OptionError, match="rgb or bgr"):
        EmbedOptions(color="hsv")


def test_templates_that_cannot_be_brought_are_told_before_the_run(options: EmbedOptions) -> None:
    with pytest.raises(OptionError, match="crops of box1.5-256 cannot be converted to arcface-112"):
        changed(options, crops="box1.5-256").announce()


def test_settings_in_the_spec_are_the_options(options: EmbedOptions) -> None:
    crops, name = list(random_crops(3)), options.embedder
    for spec, given in (
        ("mean=1/2/3,std=4", {"mean": "1,2,3", "std": "4"}),
        ("color=bgr,size=112", {"color": "bgr", "size": "112x112"}),
        ("flip=true", {"flip": True}),
        ("crops=arcface-112", {"crops": "arcface-112"}),
    ):
        by_spec = EmbedOptions(f"{name}:{spec}", device="cpu")
        by_options = changed(options, **given)
        assert by_spec.model().fingerprint == by_options.model().fingerprint
        assert np.array_equal(by_spec.embed(crops), by_options.embed(crops))


def test_a_setting_is_given_once(options: EmbedOptions) -> None:
    with pytest.raises(OptionError, match="--std: expected one value, found std= in --embedder"):
        EmbedOptions(f"{options.embedder}:std=1", std="2")
    assert not EmbedOptions("dlib-resnet:flip=false", flip=True).is_flipped


def test_a_model_may_take_crops_of_a_box(options: EmbedOptions) -> None:
    """The model takes 112 pixels, so the box template is scaled; its own size stays as it is."""
    own = EmbedOptions(f"{options.embedder}:crops=box1.5-256", device="cpu")
    assert (own.source_template, own.open().template) == ("box1.5-256", "box1.5-112")
    crops = random_crops(2)
    large = crops.repeat(2, 1).repeat(2, 2)
    assert np.abs(own.embed(list(large)) - expected(crops)).max() < 0.05
    small = EmbedOptions(f"{options.embedder}:crops=box1.5-112", device="cpu")
    assert np.abs(small.embed(list(crops)) - expected(crops)).max() < 1e-4
    with pytest.raises(OptionError, match="crops of arcface-128: expected the size 112"):
        EmbedOptions(f"{options.embedder}:crops=arcface-128", device="cpu").open()


def test_what_it_runs_on_is_told(options: EmbedOptions, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "faceprep"):
        options.announce()
    runs, takes = caplog.messages
    assert runs == f"{options.embedder} runs on CPU ({options.open().model.fingerprint})"
    assert takes.startswith(
        f"{options.embedder} takes (pixel - 127.5) / 127.5, RGB: the file states"
    )


# Shards


def shard(
    options: EmbedOptions, root: Path, names: list[str], output: Path, id: str = "0"
) -> tuple[Any, ShardSink]:
    output.mkdir(exist_ok=True)
    sink = ShardSink(Places(output), id)
    loads = (partial(load_file, options.fitter(), root, name) for name in names)
    outcomes = list(embed_loads(options, loads, sink))
    sink.commit(outcomes)
    return outcomes, sink


def test_one_outcome_an_image_in_order(options: EmbedOptions, tmp_path: Path) -> None:
    crops = random_crops(100)
    names = []
    for number, crop in enumerate(crops):
        names.append(f"{number % 3}/{number}.png")
        (tmp_path / names[-1]).parent.mkdir(exist_ok=True)
        (tmp_path / names[-1]).write_bytes(encode(crop, ".png"))
    (tmp_path / names[40]).write_bytes(b"no image")
    names[90] = "no/such.png"
    outcomes, sink = shard(options, tmp_path, [*names, "b\udcffd.png"], tmp_path / "out")
    assert [outcome.key for outcome in outcomes] == [*names, "b\udcffd.png"]
    problems = {outcome.key: outcome.status for outcome in outcomes if outcome.status != "ok"}
    assert problems == {
        names[40]: "undecodable",
        "no/such.png": "unreadable",
        "b\udcffd.png": "bad_name",
    }
    found = load_parts(sink, ["0"], Model())
    sound = [i for i in range(100) if i not in (40, 90)]
    assert found.keys == [names[i] for i in sound] and found.identities == [
        str(i % 3) for i in sound
    ]
    assert np.array_equal(found.vectors, options.embed(list(crops[sound])))


def test_vectors_that_are_none_are_named(tmp_path: Path) -> None:
    """Zeros have no direction; what is no number would spoil every comparison."""
    (tmp_path / "black.png").write_bytes(encode(np.zeros((112, 112, 3), np.uint8), ".png"))
    (tmp_path / "some.png").write_bytes(encode(random_crops(1)[0] // 2 + 9, ".png"))
    for last in ("Identity", "Reciprocal"):
        net = str(save_onnx(tmp_path / f"{last}.onnx", last=last))
        names = ["black.png", "some.png"]
        outcomes, sink = shard(
            EmbedOptions(net, device="cpu", mean="0"), tmp_path, names, tmp_path / last
        )
        assert [outcome.status for outcome in outcomes] == ["no_vector", "ok"]
        assert outcomes[0].is_failure and load_parts(sink, ["0"], Model()).keys == ["some.png"]


def test_none_sound_is_an_empty_table(options: EmbedOptions, tmp_path: Path) -> None:
    outcomes, sink = shard(options, tmp_path, ["no.png"], tmp_path / "out")
    assert len(outcomes) == 1 and load_parts(sink, ["0"], Model()).vectors.shape == (0, DIM)
    assert load_parts(sink, [], Model()).vectors.shape == (0, 0)


def test_other_shapes_are_fitted_and_told_once(
    options: EmbedOptions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, shape in (
        ("wide.png", (60, 112)),
        ("square.png", (56, 56)),
        ("almost.png", (112, 111)),
    ):
        (tmp_path / name).write_bytes(encode(np.full((*shape, 3), 200, np.uint8), ".png"))
    names = ["wide.png", "square.png", "almost.png"]
    outcomes, sink = shard(options, tmp_path, names, tmp_path / "out")
    assert [bool(outcome.reason) for outcome in outcomes] == [True, False, False]
    assert outcomes[0] == Outcome(
        "wide.png", "ok", "60 × 112, not of the template's shape: letterboxed with black"
    )
    shard(options, tmp_path, names, tmp_path / "out", "1")
    vectors = load_parts(sink, ["0", "1"], Model()).vectors
    assert caplog.messages == [
        "2 images are not of the shape of arcface-112: letterboxed with black"
    ]
    load_parts(sink, ["1"], Model())
    assert caplog.messages[1:] == [
        "1 image is not of the shape of arcface-112: letterboxed with black"
    ]
    cells = vectors[0].reshape(3, 4, 4)
    assert (cells[:, 1:3] > 0.5).all() and (cells[:, [0, 3]] < 0).all(), "black above and below"


def test_large_sets_are_mapped(
    options: EmbedOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, crop in enumerate(random_crops(5)):
        (tmp_path / f"{number}.png").write_bytes(encode(crop, ".png"))
    for id, names in (("0", ["0.png", "1.png"]), ("1", ["2.png", "3.png", "4.png"])):
        _, sink = shard(options, tmp_path, names, tmp_path / "out", id)
    plain = load_parts(sink, ["0", "1"], Model())
    monkeypatch.setattr(large_arrays, "_JOINED_IN_MEMORY", 1)
    mapped = load_parts(sink, ["0", "1"], Model())
    assert isinstance(mapped.vectors.base, np.memmap) and np.array_equal(
        mapped.vectors, plain.vectors
    )


def test_samples_are_fitted_or_have_an_outcome(options: EmbedOptions) -> None:
    data = encode_face(1, 1)
    samples = [Outcome("a", "missing"), Sample("\udcff/1", "b", data), Sample("c/1", "c", data)]
    known, refused, (crop,) = (load() for load in sample_loads(options.fitter(), samples))
    assert known == [samples[0]]
    assert [each.status for each in refused if isinstance(each, Outcome)] == ["bad_name"]
    assert isinstance(crop, FittedCrop) and (crop.key, crop.identity) == ("c/1", "c")
