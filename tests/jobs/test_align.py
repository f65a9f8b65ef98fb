"""align: the crops of an extract command again, from its table alone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from faceprep import Align, Convert, ExtractPhotos, ExtractVideo, ProcessRunner, Request, run_job
from faceprep.cli import main
from faceprep.core.errors import OptionError, OutputError, ResumeError, SourceError
from faceprep.core.faces import Faces
from faceprep.core.landmarks import ARCFACE_112
from faceprep.tables.faces import FaceRow, load_faces
from faceprep.vision.align import crop
from faceprep.vision.codec import decode
from faceprep.vision.templates import crop_transforms, load_template
from tests.aligning import SERIAL, align, extracted, rows_at, table_at
from tests.command import imported
from tests.failures import failure_lines
from tests.fakes import expect_same_after_kills, results, tree
from tests.flat_faces import Flat, flat_detectors, save
from tests.real import DATA, needs_data

__all__ = ["extracted", "flat_detectors"]


# The same again, and otherwise


def test_the_same_template_gives_the_same_bytes(extracted: Path) -> None:
    summary = align(
        extracted / "src", extracted / "again", Align(extracted / "first" / "faces.parquet")
    )
    assert (summary.inputs, summary.ok, summary.outputs) == (8, 8, 9)
    assert results(extracted / "again") == results(extracted / "first"), "crops and table"
    assert results(extracted / "again_multi") == results(extracted / "first_multi")
    assert not (extracted / "again_none").exists()


def test_another_template_and_format(extracted: Path) -> None:
    faces = extracted / "first" / "faces.parquet"
    summary = align(
        extracted / "src", extracted / "out", Align(faces, template="box1.5-64", format="jpg")
    )
    assert summary.ok == 8
    assert {name for name in results(extracted / "out_multi") if "." in name} == {
        "ann/two_0.jpg",
        "ann/two_1.jpg",
    }
    before, after = rows_at(faces), rows_at(extracted / "out" / "faces.parquet")
    for old, new in zip(before, after, strict=True):
        assert (new.key, new.source, new.score, new.roll) == (
            old.key,
            old.source,
            old.score,
            old.roll,
        )
        assert (new.template, new.output) == ("box1.5-64", f"{old.key}.jpg")
        faces_ = Faces(new.box[None], new.landmarks[None], [new.score])
        assert (new.transform == crop_transforms(faces_, load_template("box1.5-64"))[0]).all()
        path = extracted / (
            new.output.replace("+", "out") if new.output.startswith("+") else f"out/{new.output}"
        )
        photo = decode((extracted / "src" / new.source).read_bytes())
        difference = decode(path.read_bytes()).astype(int) - crop(photo, new.transform, (64, 64))
        assert np.abs(difference).mean() < 8, "but for what JPEG loses"


def test_to_and_fro_is_where_it_began(extracted: Path) -> None:
    first = extracted / "first"
    align(
        extracted / "src",
        extracted / "large",
        Align(first / "faces.parquet", template="arcface-224"),
    )
    align(extracted / "src", extracted / "again", Align(extracted / "large" / "faces.parquet"))
    assert results(extracted / "again") == results(first)


@needs_data
def test_crops_of_real_photos_again(tmp_path: Path) -> None:
    pytest.importorskip("retinaface")
    for folder in ("groups", "odd"):
        source, first, again = (
            DATA / "photos" / folder,
            tmp_path / folder / "first",
            tmp_path / folder / "again",
        )
        run_job(ExtractPhotos(), Request((source,), first), SERIAL)
        assert align(source, again, Align(first / "faces.parquet")).failed == 0
        assert results(again) == results(first)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_workers_write_the_bytes_of_one_process(
    n_workers: int, extracted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceprep.steps.table_faces._PHOTOS", 2)
    job = Align(extracted / "first" / "faces.parquet", template="arcface-128")
    align(extracted / "src", extracted / "serial" / "out", job)
    align(extracted / "src", extracted / "workers" / "out", job, ProcessRunner(n_workers))
    assert tree(extracted / "serial") == tree(extracted / "workers")


def test_no_detector_is_loaded(extracted: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from faceprep import Align, Request, SerialRunner, run_job\n"
        "run_job(Align(Path('first/faces.parquet')), Request((Path('src'),), Path('out')), "
        "SerialRunner())"
    )
    heavy = {"onnxruntime", "onnx", "retinaface", "av"}
    assert imported(program, heavy, extracted) == ("", [])


def test_killed_and_started_again(extracted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faceprep.steps.table_faces._PHOTOS", 2)

    job = Align(extracted / "first" / "faces.parquet")
    expect_same_after_kills(
        lambda output: align(extracted / "src", output, job), extracted / "runs", 10
    )


@pytest.mark.parametrize("name", ["src.tar", "src.parquet", "src.zip"])
def test_photos_in_a_container(name: str, extracted: Path) -> None:
    if name.endswith(".zip"):
        shutil.make_archive(str(extracted / "src"), "zip", extracted / "src")
    else:
        run_job(Convert(), Request((extracted / "src",), extracted / name), SERIAL)
    faces = extracted / "first" / "faces.parquet"
    summary = align(extracted / name, extracted / "again", Align(faces))
    assert (summary.inputs, summary.ok) == (8, 8)
    assert results(extracted / "again") == results(extracted / "first")
    assert results(extracted / "again_multi") == results(extracted / "first_multi")


def test_a_container_without_some_photos(extracted: Path) -> None:
    source, faces = extracted / "src", extracted / "first" / "faces.parquet"
    (source / "ann" / "two.png").unlink()
    run_job(Convert(), Request((source,), extracted / "src.tar"), SERIAL)
    assert align(extracted / "src.tar", extracted / "out", Align(faces)).failed == 2
    assert failure_lines(extracted / "out")[0][1:] == [
        "unreadable",
        f"ann/two.png: not in {extracted / 'src.tar'}",
    ]
    video = rows_at(faces)[0]._replace(frame=3)
    table = table_at(extracted / "video.parquet", [video])
    with pytest.raises(SourceError, match="faces of videos, which a set of images does not hold"):
        align(extracted / "src.tar", extracted / "other", Align(table))
    gone = table_at(extracted / "gone.parquet", [rows_at(faces)[0]._replace(source="x/1.png")])
    with pytest.raises(SourceError, match="is about other images"):
        align(extracted / "src.tar", extracted / "other", Align(gone))
    with pytest.raises(SourceError, match="expected a set of images, found a table of faces"):
        align(faces, extracted / "other", Align(faces))


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".lst", ".txt"])
def test_photos_in_a_list(suffix: str, extracted: Path) -> None:
    """A list may name them by any path, as long as each ends as in the table."""
    faces = extracted / "first" / "faces.parquet"
    run_job(Convert(), Request((extracted / "src",), extracted / f"list{suffix}"), SERIAL)
    for number, names in enumerate(("", "./{}", "src/{}")):
        listed = extracted / f"list{suffix}"
        if names:
            below = extracted if names.startswith("src/") else extracted / "src"
            listed = below / f"own{suffix}.txt"
            photos = sorted(path for path in (extracted / "src").rglob("*.*"))
            texts = [names.format(path.relative_to(extracted / "src")) for path in photos]
            listed.write_text("".join(f"{text}\n" for text in texts))
        assert align(listed, extracted / f"again{number}", Align(faces)).ok == 8
        assert results(extracted / f"again{number}") == results(extracted / "first")


def test_two_photos_of_a_list_that_end_alike_are_not_guessed(extracted: Path) -> None:
    shutil.copytree(extracted / "src" / "ann", extracted / "more" / "ann")
    listed = extracted / "list.txt"
    listed.write_text("src/ann/0.png\nmore/ann/0.png\nsrc/ann/1.png\n")
    summary = align(listed, extracted / "out", Align(extracted / "first" / "faces.parquet"))
    assert (summary.ok, summary.by_status["unreadable"]) == (1, 7)


def test_an_archive_beside_the_photos_is_not_their_source(extracted: Path) -> None:
    run_job(Convert(), Request((extracted / "src" / "ann",), extracted / "src" / "a.tar"), SERIAL)
    summary = align(
        extracted / "src", extracted / "again", Align(extracted / "first" / "faces.parquet")
    )
    assert summary.ok == 8
    assert results(extracted / "again") == results(extracted / "first")


def test_one_photo_is_that_photo_alone(extracted: Path) -> None:
    faces = extracted / "first" / "faces.parquet"
    for photo, n in (("ann/1.png", 1), ("ann/two.png", 2)):
        output = extracted / photo.replace("/", "-")
        assert align(extracted / "src" / photo, output, Align(faces)).inputs == n
    with pytest.raises(SourceError, match="is about other images: expected the images or videos"):
        align(extracted / "src" / "bob" / "none.png", extracted / "none", Align(faces))
    with pytest.raises(SourceError, match="is about other images: expected") as told:
        align(extracted / "first", extracted / "other", Align(faces))
    found = f"found faces of '{rows_at(faces)[0].source}'. Name the photos or videos that the faces"
    assert found in str(told.value)


# Videos


def test_frames_of_a_video(tmp_path: Path) -> None:
    """Their numbers stay true: each frame spells its own."""
    pytest.importorskip("av")
    from faceprep.synthetic import write_video
    from faceprep.video.reader import read_frames

    video = tmp_path / "src" / "a" / "clip.mp4"
    video.parent.mkdir(parents=True)
    write_video(video, 40)
    frames = {frame.number: frame.pixels for frame in read_frames(video)}
    size = frames[0].shape[:2]
    points = ARCFACE_112 + (100, 20)
    known = {
        "detector": "d",
        "template": "t",
        "box": (100, 20, 212, 132),
        "landmarks": points,
        "score": 1.0,
    }
    rows = [
        FaceRow(
            key=f"a/clip/{number}",
            source="a/clip.mp4",
            image_size=size,
            transform=np.zeros((2, 3)),
            output=f"a/clip/{number}.png" if number != 9 else None,
            frame=number,
            time_s=number / 30,
            **known,
        )
        for number in (3, 4, 9, 30, 39, 77)
    ]
    rows += [rows[1]._replace(key="a/clip/4_1", output="a/clip/4_1.png")]
    rows += [
        rows[0]._replace(key="b", source="gone.mp4", output=f"b/{number}.png", frame=number)
        for number in (0, 1)
    ]
    table = table_at(tmp_path / "faces.parquet", rows)
    summary = align(tmp_path / "src", tmp_path / "out", Align(table, template="arcface-112"))
    assert summary.by_status == {"ok": 6, "undecodable": 1, "unreadable": 2}
    for number, output in ((3, "3"), (4, "4"), (4, "4_1"), (30, "30"), (39, "39")):
        found = decode((tmp_path / "out" / "a" / "clip" / f"{output}.png").read_bytes())
        assert np.abs(found.astype(int) - frames[number][20:132, 100:212]).max() <= 1, number
    assert failure_lines(tmp_path / "out")[0] == [
        "a/clip/77",
        "undecodable",
        "a/clip.mp4: frame 77: it has 40 frames",
    ]
    assert {row.time_s for row in rows_at(tmp_path / "out" / "faces.parquet")} == {
        n / 30 for n in (3, 4, 30, 39)
    }


@needs_data
def test_frames_of_a_real_video_again(tmp_path: Path) -> None:
    pytest.importorskip("av")
    pytest.importorskip("retinaface")
    source = DATA / "video" / "short_hamilton_clip.mp4"
    job = ExtractVideo(frames="uniform:4", all_faces=True)
    run_job(job, Request((source,), tmp_path / "first"), SERIAL)
    summary = align(source, tmp_path / "again", Align(tmp_path / "first" / "faces.parquet"))
    assert summary.failed == 0 and summary.ok >= 4
    first = results(tmp_path / "first")
    del first["frames.parquet"]
    assert results(tmp_path / "again") == first


# What is missing, changed or refused


def test_sources_that_are_missing_broken_or_changed(extracted: Path) -> None:
    (extracted / "src/ann/0.png").unlink()
    (extracted / "src/ann/1.png").write_bytes(b"no photo")
    save(extracted / "src/ann/2.png", Flat(40, 50), size=(200, 300))
    summary = align(
        extracted / "src", extracted / "out", Align(extracted / "first" / "faces.parquet")
    )
    assert summary.by_status == {"changed": 1, "ok": 5, "undecodable": 1, "unreadable": 1}
    missing, broken, changed = failure_lines(extracted / "out")
    assert missing[:2] == ["ann/0_0", "unreadable"]
    assert missing[2].startswith("ann/0.png: cannot read")
    assert broken == [
        "ann/1_0",
        "undecodable",
        "ann/1.png: not an image: it begins with 6e 6f 20 70 68 6f 74 6f",
    ]
    reason = "ann/2.png: expected 240 × 320 pixels as in the table, found 200 × 300"
    assert changed == ["ann/2_0", "changed", reason]
    assert len(rows_at(extracted / "out" / "faces.parquet")) == 5


def test_degenerate_faces_are_named_one_by_one(extracted: Path) -> None:
    rows = rows_at(extracted / "first" / "faces.parquet")
    two = [i for i, row in enumerate(rows) if row.source == "ann/two.png"]
    rows[two[0]] = rows[two[0]]._replace(landmarks=np.zeros((5, 2)))
    table = table_at(extracted / "other.parquet", rows)
    assert align(extracted / "src", extracted / "out", Align(table)).by_status == {
        "degenerate_landmarks": 1,
        "ok": 7,
    }
    assert failure_lines(extracted / "out")[0][0] == rows[two[0]].key
    assert align(extracted / "src", extracted / "box", Align(table, template="box1-64")).ok == 8, (
        "needs the box alone"
    )


@pytest.mark.parametrize("template", ["arcface-112", "box1.5-64", "patch2.7-80"])
def test_impossible_faces_are_named_one_by_one(extracted: Path, template: str) -> None:
    """A table of other coordinates would give black crops without a message."""
    rows = rows_at(extracted / "first" / "faces.parquet")
    for place, far in enumerate((5000, -5000)):
        box, points = (np.asarray(each) + far for each in (rows[place].box, rows[place].landmarks))
        rows[place] = rows[place]._replace(landmarks=points, box=box)
    rows[2:5] = [
        row._replace(turn=turn) for row, turn in zip(rows[2:5], (45, -90, 90), strict=True)
    ]
    table = table_at(extracted / "other.parquet", rows)
    align(extracted / "src", extracted / "out", Align(table, template=template))
    expected = ["the face lies beyond the image, which is 320 pixels wide and 240 high"] * 2
    expected += [f"unknown turn: expected 0, 90, 180 or 270, found {n}" for n in (45, -90)]
    found = {key: reason for key, _, reason in failure_lines(extracted / "out")}
    assert [found.pop(row.key) for row in rows[:4]] == expected and not found


def test_limit(extracted: Path) -> None:
    summary = align(
        extracted / "src", extracted / "out", Align(extracted / "first" / "faces.parquet"), limit=3
    )
    assert summary.inputs == 3 and len(rows_at(extracted / "out" / "faces.parquet")) == 3


def test_a_table_that_cannot_be_meant(extracted: Path) -> None:
    rows = rows_at(extracted / "first" / "faces.parquet")
    mixed = table_at(extracted / "mixed.parquet", [rows[0], rows[1], rows[0]])
    with pytest.raises(
        SourceError, match=r"not in order: found ann/0.png in two places\. Sort them by source"
    ):
        align(extracted / "src", extracted / "out", Align(mixed))
    twice = table_at(extracted / "twice.parquet", [rows[0], rows[1]._replace(output="ann/0_0.jpg")])
    with pytest.raises(SourceError, match="two of its rows have the same output"):
        align(extracted / "src", extracted / "out", Align(twice))
    outside = table_at(extracted / "outside.parquet", [rows[0]._replace(output="../../x.png")])
    with pytest.raises(OutputError, match="would leave the output folder"):
        align(extracted / "src", extracted / "new", Align(outside))
    assert not (extracted.parent / "x.png").exists()
    pq.write_table(load_faces(mixed).drop_columns(["landmarks"]), extracted / "lacking.parquet")
    with pytest.raises(SourceError, match="landmarks"):
        align(extracted / "src", extracted / "out2", Align(extracted / "lacking.parquet"))
    with pytest.raises(SourceError, match="No such file"):
        align(extracted / "src", extracted / "out2", Align(extracted / "gone.parquet"))
    with pytest.raises(SourceError, match="no faces"):
        align(
            extracted / "src", extracted / "out2", Align(table_at(extracted / "none.parquet", []))
        )


def test_places_that_are_refused(extracted: Path) -> None:
    first = extracted / "first"
    before = tree(extracted)
    with pytest.raises(OutputError, match="the output would be inside the input"):
        align(extracted / "src", extracted / "src" / "out", Align(first / "faces.parquet"))
    with pytest.raises(OutputError, match="the table lies in the output"):
        align(extracted / "src", first, Align(first / "faces.parquet"), overwrite=True)
    with pytest.raises(ResumeError, match="begun differently"):
        align(extracted / "src", first, Align(first / "faces.parquet"))
    assert tree(extracted) == before


def test_options_that_cannot_be_meant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, message in (
        ({"format": "bmp"}, "--format"),
        ({"quality": 0}, "--quality"),
        ({"template": "x"}, "unknown template"),
    ):
        with pytest.raises(OptionError, match=message):
            replace(Align(Path("faces.parquet")), **wrong)  # type: ignore[arg-type]
    monkeypatch.setattr("sys.argv", ["faceprep", "align", "src", "out"])
    assert main() == 2
    assert "Missing option '--faces'" in capsys.readouterr().err
