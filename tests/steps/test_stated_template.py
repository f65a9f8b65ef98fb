"""Crops of another template than the model takes are refused, by the table beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faceprep.core.errors import OptionError, SourceError
from faceprep.core.job import Job
from faceprep.core.types import Request
from faceprep.jobs.clean_identities import CleanIdentities
from faceprep.jobs.embed.job import Embed
from faceprep.jobs.exclude_people import ExcludePeople
from faceprep.jobs.merge_identities import MergeIdentities
from faceprep.jobs.score import Score
from faceprep.jobs.search import Search
from faceprep.jobs.verify.job import Verify
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.steps.stated_template import find_stated_templates
from faceprep.tables.faces import FaceRow, FacesWriter
from tests.color_people import RED, color_embedders, paint
from tests.merging import embed, source
from tests.tiny_models import save_heads

__all__ = ["color_embedders", "source"]
pytestmark = pytest.mark.usefixtures("color_embedders")


def state(folder: Path, *templates: str) -> Path:
    """Write a table of faces that states these templates."""
    with (folder / "faces.parquet").open("wb") as file, FacesWriter(file) as writer:
        for n, template in enumerate(templates):
            numbers = [0.0] * 4, [0.0] * 10, 1.0, [0.0] * 6
            writer.add(FaceRow(f"{n}", "a.jpg", (9, 9), *numbers, "d", template, f"a/{n}.png"))
    return folder


def run(job: Job, *places: Path) -> int:
    return run_job(job, Request(places[:-1], places[-1]), SerialRunner()).ok


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Return a set of crops that states nothing."""
    paint(tmp_path / "other" / "x" / "1.png", RED)
    return tmp_path / "other"


COMMANDS: dict[str, Callable[..., Any]] = {
    "embed": lambda src, other, out, **o: run(Embed(**o), src, out / "o.npz"),
    "merge": lambda src, other, out, **o: run(MergeIdentities(**o), src, out),
    "clean": lambda src, other, out, **o: run(CleanIdentities(**o), src, out),
    "probes": lambda src, other, out, **o: run(Search(**o), src, other, out / "o.csv"),
    "gallery": lambda src, other, out, **o: run(Search(**o), other, src, out / "o.csv"),
    "exclude": lambda src, other, out, **o: run(ExcludePeople(**o), src, other, out),
    "excluded": lambda src, other, out, **o: run(ExcludePeople(**o), other, src, out),
    "verify": lambda src, other, out, **o: Verify(**o).look([src]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_another_template_is_refused_until_it_is_named(
    name: str, source: Path, other: Path, tmp_path: Path
) -> None:
    state(source, "dlib-150", "dlib-150")
    out = tmp_path / "out"
    expected = r"faces\.parquet: .*expected arcface-112, found dlib-150\. Add --crops dlib-150"
    with pytest.raises(SourceError, match=expected):
        COMMANDS[name](source, other, out, embedder="colors")
    assert COMMANDS[name](source, other, out, embedder="colors", crops="dlib-150")


@pytest.mark.parametrize("template", ["arcface-112", "arcface-224"])
def test_the_same_template_in_any_size_is_taken(
    template: str, source: Path, tmp_path: Path
) -> None:
    assert run(Embed(embedder="colors"), state(source, template), tmp_path / "o.npz") == 9


def test_crops_given_are_taken_with_a_warning(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = Embed(embedder="colors", crops="arcface-112")
    assert run(job, state(source, "dlib-150"), tmp_path / "o.npz") == 9
    assert "the crops are dlib-150" in caplog.text


@pytest.mark.parametrize(
    ("templates", "remedy"),
    [
        (("box1.5-256",), r"add crops=box1\.5-256 to --embedder"),
        (("arcface-112", "dlib-150", "ffhq-256"), "so that all crops have one"),
    ],
)
def test_the_remedy_is_one_that_works(
    templates: tuple[str, ...], remedy: str, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=remedy):
        run(Embed(embedder="colors"), state(source, *templates), tmp_path / "o.npz")


def test_a_table_of_something_else_states_nothing(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (source / "faces.parquet").write_bytes(b"PAR1")
    assert run(Embed(embedder="colors"), source, tmp_path / "o.npz") == 9
    assert "The template of the crops is not checked" in caplog.text
    caplog.clear()
    state(source, "mine")
    assert run(Embed(embedder="colors"), source, tmp_path / "again.npz") == 9
    assert "faces.parquet: unknown template 'mine': expected" in caplog.text


def test_a_scorer_gets_the_crops_that_it_takes(source: Path, tmp_path: Path) -> None:
    net = save_heads(tmp_path / "net.onnx", {"logits": 4})
    state(source, "arcface-112")
    spec = f"{net}:mean=0,std=255,read=softmax/1"
    with pytest.raises(SourceError, match=r"than net takes: expected box1\.5-112, .*leave crops="):
        run(Score(model=(f"{spec},crops=box1.5-112",)), source, tmp_path / "o.parquet")
    assert run(Score(model=(f"{spec},crops=arcface-112",)), source, tmp_path / "o.parquet") == 9


OPTIONS = [
    {"embedder": "colors"},
    {"crops": "dlib-150"},
    {"size": "112"},
    {"require_gpu": True},
    {"relative_to": Path()},
]


@pytest.mark.parametrize("given", OPTIONS, ids=lambda given: next(iter(given)))
@pytest.mark.parametrize("name", ["merge", "clean", "probes", "exclude", "verify"])
def test_options_without_an_effect_on_embeddings_are_refused(
    name: str, given: dict[str, Any], source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if name == "verify" and "embedder" in given:
        given = {"embedder": ("colors",)}
    ours, theirs = (embed(source, tmp_path / f"{each}.npz") for each in ("ours", "theirs"))
    typed = next(iter(given)).replace("_", "-")
    with pytest.raises(OptionError, match=f"--{typed} has no effect on the embeddings in"):
        COMMANDS[name](ours, theirs, tmp_path / "out", **given)


def test_they_are_taken_where_images_are_embedded_too(
    source: Path, other: Path, tmp_path: Path
) -> None:
    ours = embed(source, tmp_path / "ours.npz")
    with pytest.raises(OptionError, match="vectors of one model"):  # not: has no effect
        COMMANDS["probes"](ours, other, tmp_path / "out", embedder="colors")


@pytest.mark.parametrize("name", ["merge", "clean", "embed"])
def test_an_unknown_embedder_is_named_before_the_output(
    name: str, source: Path, other: Path, tmp_path: Path
) -> None:
    COMMANDS[name](source, other, tmp_path / "out", embedder="colors")
    with pytest.raises(OptionError, match="unknown embedder 'nobody'"):
        COMMANDS[name](source, other, tmp_path / "out", embedder="nobody")


def test_an_unknown_second_opinion_is_named_at_once() -> None:
    with pytest.raises(OptionError, match="unknown embedder 'nobody'"):
        MergeIdentities(second_opinion="nobody")


def test_the_table_above_a_part_of_the_output_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state(tmp_path, "box1.5-112")
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert find_stated_templates(tmp_path / "a") == ["box1.5-112"]
    assert find_stated_templates(tmp_path / "a" / "b") == []
    monkeypatch.chdir(tmp_path / "a")
    assert find_stated_templates(Path()) == ["box1.5-112"]
    paint(tmp_path / "a" / "0.png", RED)
    with pytest.raises(SourceError, match="faces.parquet: the crops have another template"):
        run(Embed(), tmp_path / "a", tmp_path / "o.npz")
