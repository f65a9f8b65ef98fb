"""merge-identities from files of embeddings: with their images and without, of some, damaged,
of an unknown model.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.errors import OptionError, ResumeError, SourceError
from faceprep.core.types import Decision
from faceprep.tables.embeddings import Place, shard_names, write_parquet
from faceprep.tables.plan import read_plan
from tests.color_people import Colors, color_embedders
from tests.fakes import images, results
from tests.merging import SET, apply, decided, embed, merge, source

__all__ = ["color_embedders", "source"]
pytestmark = pytest.mark.usefixtures("color_embedders")


def test_from_embeddings(source: Path, tmp_path: Path) -> None:
    merge(source, tmp_path / "whole")
    summary = merge(embed(source, tmp_path / "set.npz"), tmp_path / "out")
    assert (summary.inputs, summary.ok) == (9, 9)
    assert images(tmp_path / "out") == images(tmp_path / "whole")
    assert decided(tmp_path / "out") == decided(tmp_path / "whole")
    judged, _ = read_plan(tmp_path / "out" / "plan.jsonl")
    assert judged["model"] == "colors" and "embedder" not in judged["options"]
    apply(tmp_path / "out" / "undo.jsonl", tmp_path / "back")
    assert images(tmp_path / "back") == images(source)


def test_embeddings_of_some_of_the_images(source: Path, tmp_path: Path) -> None:
    some = {name: color for name, color in SET.items() if name != "f/2.png"}
    summary = merge(embed(source, tmp_path / "set.npz", some), tmp_path / "out")
    assert (summary.inputs, summary.by_status) == (9, {"ok": 8, "no_embedding": 1})
    assert (
        Decision("drop", "f/2.png", reason="has no embedding")
        in read_plan(tmp_path / "out" / "plan.jsonl")[1]
    )
    assert "f/2.png" not in images(tmp_path / "out")


def test_all_files_of_embeddings_are_what_a_run_goes_on_with(source: Path, tmp_path: Path) -> None:
    vectors = np.array(list(SET.values()), np.float32)
    names = [name.rpartition("/")[0] for name in SET]
    paths = [tmp_path / name for name in shard_names("set.parquet", 2)]
    for scale in (1, 2):
        found = Embeddings(list(SET), names, vectors * scale, Colors.model)
        write_parquet([partial(path.open, "wb") for path in paths], found, Place())
        if scale == 1:
            first_bytes = paths[0].read_bytes()
            times = paths[0].stat().st_atime_ns, paths[0].stat().st_mtime_ns
            merge(paths[0], tmp_path / "out")
    paths[0].write_bytes(first_bytes)
    os.utime(paths[0], ns=times)
    with pytest.raises(ResumeError, match="the input has changed since this run began"):
        merge(paths[0], tmp_path / "out")


def test_embeddings_without_their_images(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = embed(source, tmp_path / "set.npz")
    source.rename(tmp_path / "elsewhere")
    summary = merge(file, tmp_path / "out")
    assert "is not there: only a plan is written" in caplog.text
    assert (summary.inputs, summary.outputs) == (9, 2)
    assert len(decided(tmp_path / "out")) == 4
    source.mkdir()
    merge(file, tmp_path / "other")
    assert "has none of the images: only a plan is written" in caplog.text
    with pytest.raises(OptionError, match="a second opinion needs the images"):
        merge(file, tmp_path / "second", second_opinion="brightness")


def test_embeddings_of_images_that_are_gone(source: Path, tmp_path: Path) -> None:
    file = embed(source, tmp_path / "set.npz")
    (source / "a" / "1.png").unlink()
    with pytest.raises(
        SourceError, match=r"gone: expected 9 of them, found 1 fewer, such as 'a/1.png'"
    ):
        merge(file, tmp_path / "out")


def test_embeddings_whose_identities_are_no_folders(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    merge(
        embed(source, tmp_path / "set.npz", identities=[f"class {i}" for i in range(9)]),
        tmp_path / "out",
    )
    assert "have other identities than these embeddings: only a plan is written" in caplog.text
    assert ("merge", "class 0", "class 1") not in {line[:3] for line in decided(tmp_path / "out")}
    assert set(results(tmp_path / "out")) == {"plan.jsonl", "likeness.jsonl"}


@pytest.mark.parametrize(("value", "status"), [(np.nan, "not_finite"), (0, "zero_vector")])
def test_vectors_that_cannot_be_compared_are_named_and_dropped(
    value: float, status: str, source: Path, tmp_path: Path
) -> None:
    vectors = np.array(list(SET.values()), np.float32)
    vectors[2] = value
    summary = merge(embed(source, tmp_path / "set.npz", vectors=vectors), tmp_path / "out")
    assert (summary.inputs, summary.by_status) == (9, {"ok": 8, status: 1})
    assert f"b/2.png,{status},its vector" in (tmp_path / "out" / "failures.csv").read_text()
    assert ("drop", "b/2.png", "", "accepted") in decided(tmp_path / "out")
    assert "b/2.png" not in images(tmp_path / "out")


def test_a_name_that_is_there_twice_is_named(source: Path, tmp_path: Path) -> None:
    """The first of its vectors counts, and the image stays."""
    names = [*SET, "c/1.png"]
    vectors = np.array([*SET.values(), SET["a/1.png"]], np.float32)
    identities = [name.rpartition("/")[0] for name in names]
    file = embed(source, tmp_path / "a.npz", keys=names, identities=identities, vectors=vectors)
    summary = merge(file, tmp_path / "out")
    assert summary.by_status == {"ok": 9, "duplicate_name": 1}
    merge(source, tmp_path / "whole")
    assert images(tmp_path / "out") == images(tmp_path / "whole")


def test_no_vector_can_be_compared(source: Path, tmp_path: Path) -> None:
    summary = merge(
        embed(source, tmp_path / "a.npz", vectors=np.zeros((9, 3), "f4")), tmp_path / "o"
    )
    assert (summary.failed, summary.details["images"]) == (9, 0)


def test_vectors_of_nobody_knows_which_model(source: Path, tmp_path: Path) -> None:
    file = embed(source, tmp_path / "set.npz", model=Model())
    with pytest.raises(
        OptionError, match="do not say what model made them: expected --threshold or --far"
    ):
        merge(file, tmp_path / "out")
    assert merge(file, tmp_path / "out", threshold=0.95).details["merged"] == 3


def test_what_has_no_embeddings(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"text")
    (tmp_path / "a.txt").write_bytes(b"text")
    with pytest.raises(SourceError, match=r"a.npz"):
        merge(tmp_path / "a.npz", tmp_path / "out")
    with pytest.raises(SourceError, match=r"a.txt: expected a set of images"):
        merge(tmp_path / "a.txt", tmp_path / "out")
