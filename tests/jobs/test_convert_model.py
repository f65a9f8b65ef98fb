"""`convert-model`: the file is whole or not there, and no other file is written over."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from faceprep import ConvertModel
from faceprep.cli import main
from faceprep.core import staged_file
from faceprep.core.errors import FaceprepError, OptionError, OutputError, SourceError
from faceprep.models.conversion import convert_model
from faceprep.models.embedders.embedder import EmbedderSpec, open_embedder
from tests.models.mxnet_files import (
    EMBEDDER,
    embedder_arrays,
    embedder_vectors,
    params_bytes,
    save_embedder,
    save_retinaface,
    symbol_bytes,
)
from tests.tiny_models import random_crops


def test_the_file_gives_the_vectors_of_the_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "new" / "net.onnx"
    converted = ConvertModel().look(str(save_embedder(tmp_path / "net")), str(out))
    assert str(converted).startswith(f"{out}: data (n, 3, height, width) -> fc1 (n, 32) (")
    crops = random_crops(2)
    vectors = open_embedder(EmbedderSpec(str(out), "cpu", threads=1)).embed(crops)
    np.testing.assert_allclose(vectors, embedder_vectors(crops), rtol=1e-4, atol=1e-4)


def test_a_network_that_does_not_scale_is_given_pixels_as_well(tmp_path: Path) -> None:
    """The .onnx states it: its graph does not show it."""
    steps = [EMBEDDER[2]._replace(inputs=(0,), name="s3"), *EMBEDDER[3:]]
    steps = [steps[0], *(step._replace(inputs=(row,)) for row, step in enumerate(steps[1:], 1))]
    steps[1] = steps[1]._replace(name="s4")
    (tmp_path / "net-symbol.json").write_bytes(symbol_bytes(steps))
    (tmp_path / "net-0000.params").write_bytes(params_bytes(embedder_arrays()))
    ConvertModel().look(tmp_path / "net,0", tmp_path / "net.onnx")
    crops = random_crops(2)
    specs = (f"{tmp_path / 'net'},0", str(tmp_path / "net.onnx"))
    one, other = (
        open_embedder(EmbedderSpec(each, "cpu", threads=1)).embed(crops) for each in specs
    )
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)
    assert np.abs(one).max() > 5, "of pixels, not of numbers around 0"


@pytest.mark.parametrize("quiet", [True, False])
def test_libraries_print_nothing_with_quiet(
    quiet: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """TensorFlow Lite and Keras print to the file descriptor."""

    def convert_loudly(spec: str) -> bytes:
        os.write(2, b"INFO: Created a delegate\n")
        return convert_model(spec)

    monkeypatch.setattr("faceprep.jobs.convert_model.convert_model", convert_loudly)
    places = [str(save_embedder(tmp_path / "net")), str(tmp_path / "a.onnx")]
    monkeypatch.setattr("sys.argv", ["faceprep", "convert-model", *places, *["-q"] * quiet])
    assert main() == 0
    assert ("INFO" in capfd.readouterr().err) is not quiet


def test_both_names_give_the_same_file(tmp_path: Path) -> None:
    symbol = save_embedder(tmp_path / "net")
    outs = [tmp_path / "a.onnx", tmp_path / "no" / ".." / "b.onnx"]
    for spec, out in zip((symbol, tmp_path / "net,0"), outs, strict=True):
        ConvertModel().look(spec, out)
    assert outs[0].read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert not outs[1].parent.exists(), "the path leaves this folder again"


def test_another_file_is_not_written_over(tmp_path: Path) -> None:
    symbol, out = save_embedder(tmp_path / "net"), tmp_path / "net.onnx"
    out.write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"net\.onnx: exists already.*--overwrite"):
        ConvertModel().look(symbol, out)
    assert out.read_bytes() == b"mine"
    ConvertModel(overwrite=True).look(symbol, out)
    first = out.read_bytes()
    assert len(first) > 1000
    ConvertModel().look(symbol, out)
    assert out.read_bytes() == first, "the same command again"


def test_a_stopped_command_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    symbol = save_embedder(tmp_path / "net")
    before = sorted(tmp_path.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(staged_file, "write_all", full)
    with pytest.raises(FaceprepError, match="No space left"):
        ConvertModel().look(symbol, tmp_path / "net.onnx")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("spec", ["net.pt", "net.onnx", "net", "dlib-resnet"])
def test_other_models_are_refused(spec: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="expected an MXNet checkpoint: PREFIX-symbol.json or"):
        ConvertModel().look(Path(spec), tmp_path / "net.onnx")


def test_a_damaged_checkpoint_leaves_nothing(tmp_path: Path) -> None:
    symbol, out = save_embedder(tmp_path / "net"), tmp_path / "net.onnx"
    weights = tmp_path / "net-0000.params"
    weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(SourceError, match=r"net-0000\.params: .* at offset"):
        ConvertModel().look(symbol, out)
    with pytest.raises(OptionError, match=r"expected FILE\.onnx"):
        ConvertModel().look(symbol, tmp_path / "net.pb")
    assert not out.exists()


def test_the_command_prints_one_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_retinaface(tmp_path / "r")
    words = ["convert-model", f"{tmp_path / 'r'},0", str(tmp_path / "r.onnx"), "--json"]
    monkeypatch.setattr("sys.argv", ["faceprep", *words])
    assert main() == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["command"], printed["unit"], printed["ok"]) == ("convert-model", "model", 1)
    assert printed["model_inputs"] == ["data (n, 3, height, width)"]
    assert len(printed["model_outputs"]) == 9
    assert printed["model_outputs"][0] == "scores_stride32 (n, 4, ?, ?)"
