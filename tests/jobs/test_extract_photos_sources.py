"""extract-photos of several sources: photos and folders of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from faceprep import ExtractPhotos, Request, run_job
from faceprep.core.errors import OutputError, SourceError
from tests.command import faceprep
from tests.failures import failure_lines
from tests.fakes import expect_same_after_kills, tree
from tests.flat_faces import flat_detectors, save
from tests.flat_photos import ONE, TWO, files, photos, rows, run

__all__ = ["flat_detectors", "photos"]
pytestmark = pytest.mark.usefixtures("flat_detectors")


def test_two_folders_and_a_photo(photos: Path, tmp_path: Path) -> None:
    """Each photo has the name that it has below its own source."""
    save(tmp_path / "more" / "cleo" / "1.png", *ONE)
    save(tmp_path / "more" / "cleo" / "2.png", *TWO)
    (tmp_path / "more" / "notes.txt").write_text("notes")
    save(tmp_path / "me.png", *ONE)
    before = tree(tmp_path / "more")
    sources = [tmp_path / "me.png", photos, tmp_path / "more"]
    summary = run(sources, tmp_path / "out")
    assert (summary.inputs, summary.details["skipped"]) == (10, {".txt": 1})
    assert tree(tmp_path / "more") == before
    crops = {"me_0.png", "flat_0.png", "ann/one_0.png", "cleo/1_0.png"}
    assert files(tmp_path / "out") == {"faces.parquet", *crops}
    assert files(tmp_path / "out_multi") >= {"ann/two_0.png", "cleo/2_0.png"}
    assert [row[0] for row in failure_lines(tmp_path / "out")] == ["bob/bad.jpg", "bob/point.png"]
    found = [row["source"] for row in rows(tmp_path / "out")]
    assert found == ["me.png", "flat.png", "ann/one.png", *2 * ["ann/two.bmp"]] + [
        "cleo/1.png",
        *2 * ["cleo/2.png"],
    ]


def test_several_sources_killed_and_started_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceprep.jobs.extract_photos._SHARD", 2)
    save(tmp_path / "me.png", *ONE)
    sources = [tmp_path / "me.png", photos]
    expect_same_after_kills(lambda output: run(sources, output), tmp_path, 5)


def test_photos_that_differ_in_their_suffix_keep_it(tmp_path: Path) -> None:
    save(tmp_path / "1" / "a.png", *ONE)
    save(tmp_path / "2" / "a.bmp", *ONE)
    run([tmp_path / "1", tmp_path / "2"], tmp_path / "out")
    assert files(tmp_path / "out") == {"faces.parquet", "a.png_0.png", "a.bmp_0.png"}


def test_an_identity_of_two_sources_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "1" / "ann" / "a.png", *ONE)
    save(tmp_path / "2" / "ann" / "b.png", *ONE)
    save(tmp_path / "2" / "bob" / "c.png", *ONE)
    run([tmp_path / "1", tmp_path / "2"], tmp_path / "out")
    assert "1 identity is in several sources and will be written as one: ann" in caplog.text
    assert files(tmp_path / "out") > {"ann/a_0.png", "ann/b_0.png", "bob/c_0.png"}


def test_two_photos_for_one_output_are_refused(tmp_path: Path) -> None:
    one, other = tmp_path / "1" / "a.png", tmp_path / "2" / "a.png"
    save(one, *ONE)
    save(other, *ONE)
    for sources in ([one.parent, other.parent], [one, other.parent], [one, other]):
        with pytest.raises(SourceError, match="two photos would have the same output") as told:
            run(sources, tmp_path / "out")
        assert str(one) in str(told.value) and str(other) in str(told.value)
    assert not (tmp_path / "out").exists()


def test_sources_and_places_that_are_refused(photos: Path, tmp_path: Path) -> None:
    save(tmp_path / "more" / "1.png", *ONE)
    with pytest.raises(OutputError, match="the output would be inside the input"):
        run([tmp_path / "more", photos], photos / "out")
    (tmp_path / "empty").mkdir()
    for name, told in (("gone", "no such file"), ("empty", "no photos in this folder")):
        with pytest.raises(SourceError, match=rf"{name}: {told}"):
            run([photos, tmp_path / name], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_on_the_command_line(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "again")
    done = faceprep("extract-photos", "photos", "again", "out", "--json", cwd=tmp_path)
    assert done.returncode == 1 and "two photos would have the same output" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("second", ["photos", "photos/ann", "photos/ann/../ann/1.png", "link"])
def test_no_photo_is_taken_twice(second: str, tmp_path: Path) -> None:
    (tmp_path / "photos" / "ann").mkdir(parents=True)
    (tmp_path / "photos" / "ann" / "1.png").write_bytes(b"not looked at")
    (tmp_path / "link").symlink_to("photos/ann")
    sources = (tmp_path / "photos", tmp_path / second)
    with pytest.raises(
        SourceError, match=r"(named twice|lies in another one).* Name each photo once"
    ):
        run_job(ExtractPhotos(), Request(sources[::-1], tmp_path / "out"))
    assert not list((tmp_path / "out").glob("*.png"))
