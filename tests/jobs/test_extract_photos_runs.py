"""extract-photos: runs that are killed, repeated or refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from faceprep.cli import main
from faceprep.core import registry
from faceprep.core.errors import OptionError, OutputError, ResumeError, SourceError
from faceprep.core.registry import Entry
from tests.fakes import expect_same_after_kills, is_state, tree
from tests.flat_faces import flat_detectors
from tests.flat_photos import JOB, files, photos, run

__all__ = ["flat_detectors", "photos"]
pytestmark = pytest.mark.usefixtures("flat_detectors")


# Beginning and beginning again


def test_killed_and_started_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes in all folders, as if it had not been."""
    monkeypatch.setattr("faceprep.jobs.extract_photos._SHARD", 2)

    expect_same_after_kills(lambda output: run(photos, output), tmp_path, 10)
    folders = {name.split("/")[0] for name in tree(tmp_path / "whole")}
    assert folders == {"out", "out_multi", "out_none"}


def test_another_format_or_quality_is_another_run(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "out", replace(JOB, format="jpg"))
    assert run(photos, tmp_path / "out", replace(JOB, format="jpg")).outputs
    with pytest.raises(ResumeError, match="--format 'jpg' then, 'png' now"):
        run(photos, tmp_path / "out")
    with pytest.raises(ResumeError, match="--quality 95 then, 80 now"):
        run(photos, tmp_path / "out", replace(JOB, format="jpg", quality=80))


def test_overwrite_removes_what_the_run_before_wrote_and_nothing_else(
    photos: Path, tmp_path: Path
) -> None:
    run(photos, tmp_path / "out")
    kept = [tmp_path / f"out{ending}" / "ann" / "mine.txt" for ending in ("", "_multi", "_none")]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    summary = run(photos, tmp_path / "out", replace(JOB, select="largest"), overwrite=True)
    assert summary.by_status["ok"] == 3
    assert files(tmp_path / "out_multi") == {"ann/mine.txt"}
    assert files(tmp_path / "out_none") >= {"ann/mine.txt", "bob/none.png"}
    assert files(tmp_path / "out") == {
        "faces.parquet",
        "flat_0.png",
        "ann/mine.txt",
        "ann/one_0.png",
        "ann/two_0.png",
    }


@pytest.mark.parametrize("ending", ["", "_multi", "_none"])
def test_foreign_files_are_refused(ending: str, photos: Path, tmp_path: Path) -> None:
    foreign = tmp_path / f"out{ending}"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(
        OutputError, match=f"out{ending}: the output folder is not empty: it has 'mine.txt'"
    ):
        run(photos, tmp_path / "out")
    assert {
        name: data for name, data in tree(tmp_path).items() if not is_state(name) and name != "out"
    } == {name: data for name, data in before.items() if name != "out"}


def test_places_that_are_refused(photos: Path, tmp_path: Path) -> None:
    before = tree(photos)
    with pytest.raises(OutputError, match="the output would be inside the input"):
        run(photos, photos / "ann" / "out")
    for ending in ("_none", "_multi"):
        source = photos.rename(tmp_path / f"out{ending}")
        with pytest.raises(OutputError, match="the output would overwrite the input"):
            run(source, tmp_path / "out")
        photos = source
    assert tree(photos) == before
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        SourceError,
        match=r"no photos in this folder: expected SRC/PHOTO.jpg or SRC/IDENTITY.*\. extract-video",
    ):
        run(tmp_path / "empty", tmp_path / "faces")


# On the command line


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--detector", "nobody"], 2, "unknown detector 'nobody'"),
        (["--fallback", "nobody"], 2, "unknown detector 'nobody'"),
        (["--template", "arcface-100x90"], 2, "template 'arcface-100x90'"),
        (["--min-score", "2"], 2, "invalid --min-score: expected 0 to 1"),
        (["--quality", "0"], 2, "invalid --quality: expected 1 to 100, found 0"),
        (["--det-size", "9"], 2, "invalid --det-size: expected 32 or more, found 9"),
        (["--device", "gpu"], 2, "invalid --device: expected"),
        (
            ["--detector", "needy"],
            1,
            r"needy needs the package no_such_package. pip install 'faceprep\[detect\]'",
        ),
        (["--detector", "retinaface", "--require-gpu"], 1, "no GPU can be used"),
    ],
)
def test_refused_in_one_line(
    options: list[str],
    status: int,
    message: str,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = photos.with_name("out")
    if "--require-gpu" in options:
        ort = pytest.importorskip("onnxruntime")
        if "CUDAExecutionProvider" in ort.get_available_providers():
            pytest.skip("there may be a GPU")
    monkeypatch.setitem(
        registry.DETECTORS, "needy", Entry("no_such_package:Detector", extra="detect")
    )
    command = ["extract-photos", str(photos), str(output), "--detector", "flat", *options]
    monkeypatch.setattr("sys.argv", ["faceprep", *command, "--runner", "serial"])
    assert main() == status
    printed = capsys.readouterr()
    assert printed.out == "" and re.match(f"faceprep: .*{message}", printed.err.splitlines()[-1]), (
        printed.err
    )
    assert "Traceback" not in printed.err
    assert not output.exists(), "no trace of a run that never began"


def test_unknown_select_is_wrong_usage(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "sys.argv", ["faceprep", "extract-photos", str(photos), "out", "--select", "best"]
    )
    assert main() == 2
    assert (
        "'best' is not one of 'only', 'largest', 'score', 'center', 'all'"
        in capsys.readouterr().err
    )


def test_unknown_format_is_refused() -> None:
    with pytest.raises(OptionError, match="^invalid --format: expected png or jpg, found 'gif'"):
        replace(JOB, format="gif")
