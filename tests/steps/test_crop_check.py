"""Photos that are not crops are refused before anything is embedded; crops pass."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep.core import registry
from faceprep.core.errors import SourceError
from faceprep.core.registry import Entry
from faceprep.core.types import Buffer, Request
from faceprep.jobs.clean_identities import CleanIdentities
from faceprep.jobs.merge_identities import MergeIdentities
from faceprep.run.engine import run_job
from faceprep.run.processes import ProcessRunner
from faceprep.run.serial import SerialRunner
from faceprep.synthetic import draw_face
from faceprep.tables.plan import read_plan
from faceprep.vision import codec
from faceprep.vision.codec import decode, encode
from tests.color_people import RED, color_embedders, paint
from tests.merging import call_merge, decided, merge, source
from tests.real import DATA, needs_data

__all__ = ["color_embedders", "source"]
pytestmark = pytest.mark.usefixtures("color_embedders")


@pytest.fixture
def photos(source: Path) -> Path:
    """Return the folders with people under two names, each image in a photo of 8 × 20 pixels."""
    for path in source.glob("*/*"):
        pixels = decode(path.read_bytes())
        path.write_bytes(encode(np.hstack([pixels, pixels[:, :6], pixels[:, :6]]), ".png"))
    return source


def test_photos_are_refused_with_the_way_out(photos: Path, tmp_path: Path) -> None:
    expected = r"not crops of arcface-112: .* 9 of 9 .* 'a/1.png': 8 × 20 .*extract-photos"
    with pytest.raises(SourceError, match=expected):
        merge(photos, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(SourceError, match=expected):
        run_job(
            CleanIdentities(embedder="colors"), Request((photos,), tmp_path / "out"), SerialRunner()
        )


@pytest.mark.parametrize("stated", [{"crops": "arcface-112"}, {"threshold": 0.9}])
def test_stated_crops_are_judged_without_a_verdict(
    stated: dict[str, Any], photos: Path, tmp_path: Path
) -> None:
    summary = merge(photos, tmp_path / "out", **stated)
    assert summary.details["merged"] == 0 and summary.details["undecided"] >= 4
    assert {verdict for *_, verdict in decided(tmp_path / "out")} == {"undecided"}
    decisions = read_plan(tmp_path / "out" / "plan.jsonl")[1]
    assert "not crops of the stated template" in next(iter(decisions)).reason


def test_undecided_drops_are_not_counted_as_dropped(photos: Path, tmp_path: Path) -> None:
    job = CleanIdentities(embedder="colors", min_images=2, crops="arcface-112")
    summary = run_job(job, Request((photos,), tmp_path / "out"), SerialRunner())
    assert "0 moved, 0 dropped, 5 undecided" in job.sentence(summary.details)


def test_a_few_odd_images_are_fitted(source: Path, tmp_path: Path) -> None:
    odd = source / "a" / "1.png"
    odd.write_bytes(encode(np.full((8, 20, 3), RED, np.uint8), ".png"))
    assert merge(source, tmp_path / "out").details["identities"] == 7


def test_crops_of_another_template_pass_under_its_name(source: Path, tmp_path: Path) -> None:
    for path in source.glob("*/*"):
        high = np.repeat(decode(path.read_bytes()), 14, axis=0)
        path.write_bytes(encode(np.repeat(high, 12, axis=1), ".png"))
    assert merge(source, tmp_path / "out", crops="arcface-112x96").details["merged"] == 3


@needs_data
def test_square_photos_are_refused_by_the_places_of_their_faces(tmp_path: Path) -> None:
    for path in sorted((DATA / "photos" / "registration").glob("*/*"))[:6]:
        pixels = decode(path.read_bytes())
        side = min(pixels.shape[:2])
        square = tmp_path / "photos" / path.parent.name / f"{path.stem}.jpg"
        square.parent.mkdir(parents=True, exist_ok=True)
        square.write_bytes(encode(np.ascontiguousarray(pixels[:side, :side]), ".jpg", 90))
    with pytest.raises(SourceError, match=r"examined faces are not where the template has them"):
        merge(tmp_path / "photos", tmp_path / "out")


def test_drawn_faces_and_flat_colours_are_not_doubted(tmp_path: Path) -> None:
    for number in range(4):
        path = tmp_path / "set" / f"{number}" / "drawn.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(encode(draw_face(number, 0)[0], ".png"))
        paint(tmp_path / "set" / f"{number}" / "flat.png", (250 - 60 * number, 60 * number, 0))
    merge(tmp_path / "set", tmp_path / "out", threshold=0.999)


def test_the_command_line_says_it_in_one_line(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call_merge(monkeypatch, photos, tmp_path / "out") == 1
    (line,) = [each for each in capsys.readouterr().err.splitlines() if "not crops" in each]
    assert "--crops" in line


@dataclass(frozen=True)
class InWorkers(MergeIdentities):
    """Its workers know the embedder, and have a decoder that crashes."""

    def warm_up(self) -> None:
        registry.EMBEDDERS["colors"] = Entry("tests.color_people:Colors")
        real = codec.decode_noted

        def crash(data: Buffer) -> Any:
            if bytes(data).endswith(b"abort"):
                os.abort()
            return real(data)

        codec.decode_noted = crash


def test_an_image_that_crashes_a_decoder_is_not_examined_in_the_driver(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (source / "a" / "1.png").open("ab") as file:
        file.write(b"abort")

    def refuse(data: Buffer) -> Any:
        pytest.fail("decoded in the driver")

    monkeypatch.setattr(codec, "decode_noted", refuse)
    job, request = InWorkers(embedder="colors"), Request((source,), tmp_path / "out")
    assert run_job(job, request, ProcessRunner(2)).failed == 1
    rows = (tmp_path / "out" / "failures.csv").read_text()
    assert "a/1.png: the worker was killed by SIGABRT" in rows
