"""embed takes faces straight from their photos, by a table of faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from faceprep.core.errors import SourceError
from faceprep.core.types import Request
from faceprep.jobs.convert import Convert
from faceprep.jobs.extract_photos import ExtractPhotos
from faceprep.jobs.extract_video.job import ExtractVideo
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.synthetic import write_video
from faceprep.tables.embeddings import load_embeddings, load_place
from faceprep.tables.faces import FacesWriter, load_faces, rows_of
from faceprep.video.reader import read_frames
from faceprep.vision.codec import encode
from tests.embedding import are_wanted, by_name, net, run
from tests.photos import six_people
from tests.real import DATA, needs_data

__all__ = ["net"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/x/1.png with six faces, and what extract-photos makes of it."""
    root = tmp_path_factory.mktemp("photos")
    (root / "photos" / "x").mkdir(parents=True)
    (root / "photos" / "x" / "1.png").write_bytes(encode(six_people(), ".png"))
    (root / "photos" / "y.png").write_bytes(encode(six_people()[:, :250], ".png"))
    run_job(
        ExtractPhotos(device="cpu", select="all"),
        Request((root / "photos",), root / "faces"),
        SerialRunner(),
    )
    return root


def test_faces_straight_from_their_photos(photos: Path, tmp_path: Path, net: str) -> None:
    table = photos / "faces" / "faces.parquet"
    summary = run(photos / "photos", tmp_path / "out.npz", net, faces=table)
    found, of_crops = load_embeddings(tmp_path / "out.npz"), tmp_path / "crops.npz"
    run(photos / "faces", of_crops, net)
    assert summary.ok == len(found) >= 7 and load_place(tmp_path / "out.npz").root == str(
        photos / "faces"
    )
    assert are_wanted(by_name(found), by_name(load_embeddings(of_crops))), (
        "this embedder has the crops' template"
    )
    assert found.model.fingerprint != load_embeddings(of_crops).model.fingerprint
    assert set(found.identities) == {"x", "."}
    assert (
        run(photos / "photos", tmp_path / "few.npz", net, faces=table, request={"limit": 2}).inputs
        == 2
    )


def test_photos_that_changed_or_are_gone(photos: Path, tmp_path: Path, net: str) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "y.png").write_bytes(encode(six_people(), ".png"))
    summary = run(
        tmp_path / "photos", tmp_path / "out.npz", net, faces=photos / "faces" / "faces.parquet"
    )
    assert summary.ok == 0 and set(summary.by_status) == {"changed", "unreadable"}
    assert len(load_embeddings(tmp_path / "out.npz")) == 0


def test_photos_in_a_container(photos: Path, tmp_path: Path, net: str) -> None:
    run_job(Convert(), Request((photos / "photos",), tmp_path / "photos.tar"), SerialRunner())
    table = photos / "faces" / "faces.parquet"
    for source, output in ((photos / "photos", "files"), (tmp_path / "photos.tar", "set")):
        run(source, tmp_path / f"{output}.npz", net, faces=table)
    found, of_files = (load_embeddings(tmp_path / f"{name}.npz") for name in ("set", "files"))
    assert list(found.keys) == list(of_files.keys)
    assert np.array_equal(found.vectors, of_files.vectors)


def test_frames_of_a_video(photos: Path, tmp_path: Path, net: str) -> None:
    """Two faces of one frame, one that was cut off, and frames that are not there."""
    pytest.importorskip("av")
    (tmp_path / "videos" / "x").mkdir(parents=True)
    video = tmp_path / "videos" / "x" / "clip.mp4"
    write_video(video, 12)
    size = next(iter(read_frames(video))).pixels.shape[:2]
    row = next(rows_of(load_faces(photos / "faces" / "faces.parquet")))
    points = np.array(row.landmarks) * (min(size) / max(row.image_size))
    row = row._replace(image_size=size, landmarks=points.tolist())
    rows = [
        row._replace(source="x/clip.mp4", frame=frame, output=f"x/clip/{name}.png")
        for frame, name in ((3, "3"), (3, "3_1"), (9, "9"), (99, "99"))
    ]
    rows.append(rows[0]._replace(output=None))
    rows.append(rows[0]._replace(output="x/clip/flat.png", landmarks=[[5, 5]] * 5))
    with open(tmp_path / "faces.parquet", "wb") as file, FacesWriter(file) as writer:
        for each in rows:
            writer.add(each)
    summary = run(tmp_path / "videos", tmp_path / "out.npz", net, faces=tmp_path / "faces.parquet")
    found = load_embeddings(tmp_path / "out.npz")
    assert list(found.keys) == [f"x/clip/{name}.png" for name in ("3", "3_1", "9")]
    assert summary.by_status == {"ok": 3, "undecodable": 1, "degenerate_landmarks": 1}
    assert "x/clip/99.png,undecodable,x/clip.mp4: frame 99: it has 12 frames" in (
        tmp_path / ".faceprep" / "out.npz" / "failures.csv"
    ).read_text("utf-8")


@needs_data
def test_frames_of_a_real_video(tmp_path: Path, net: str) -> None:
    """Lossless crops and the frames themselves give the same vectors."""
    pytest.importorskip("av")
    pytest.importorskip("retinaface")
    video = DATA / "video" / "short_hamilton_clip.mp4"
    job = ExtractVideo(frames="uniform:4", by_track=True, device="cpu")
    run_job(job, Request((video,), tmp_path / "crops"), SerialRunner())
    table = tmp_path / "crops" / "faces.parquet"
    run(tmp_path / "crops", tmp_path / "crops.npz", net)
    run(video, tmp_path / "frames.npz", net, faces=table)
    crops, frames = (load_embeddings(tmp_path / f"{name}.npz") for name in ("crops", "frames"))
    assert len(frames) >= 4 and set(frames.identities) == set(crops.identities)
    assert are_wanted(by_name(frames), by_name(crops))


def test_faces_without_a_crop_are_left_out_aloud(
    photos: Path, tmp_path: Path, net: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows = list(rows_of(load_faces(photos / "faces" / "faces.parquet")))
    few = [rows[0], rows[1]._replace(output=None), rows[2]._replace(output="+_multi/x/1.png")]
    for name, kept in (("few", few), ("none", few[1:])):
        with open(tmp_path / f"{name}.parquet", "wb") as file, FacesWriter(file) as writer:
            for row in kept:
                writer.add(row)
    source = photos / "photos"
    assert run(source, tmp_path / "out.npz", net, faces=tmp_path / "few.parquet").ok == 1
    assert "2 faces without a crop in" in caplog.text
    with pytest.raises(SourceError, match="no face of this table has a crop in its folder"):
        run(source, tmp_path / "no.npz", net, faces=tmp_path / "none.parquet")


def test_a_list_of_photos_and_crops_elsewhere(photos: Path, tmp_path: Path, net: str) -> None:
    """--relative-to is the folder of the photos; the crops have absolute names."""
    (tmp_path / "list.txt").write_text("x/1.png\ny.png\n")
    table = photos / "faces" / "faces.parquet"
    run(tmp_path / "list.txt", tmp_path / "a.npz", net, faces=table, relative_to=photos / "photos")
    run(photos / "photos", tmp_path / "b.npz", net, faces=table)
    a, b = (np.load(tmp_path / name) for name in ("a.npz", "b.npz"))
    assert a["image_names"].tolist() == b["image_names"].tolist()


def test_a_table_of_nothing(tmp_path: Path, net: str, photos: Path) -> None:
    table = pq.read_table(photos / "faces" / "faces.parquet")
    pq.write_table(table[:0], tmp_path / "faces.parquet")
    with pytest.raises(SourceError, match="no faces in this table"):
        run(photos / "photos", tmp_path / "out.npz", net, faces=tmp_path / "faces.parquet")
