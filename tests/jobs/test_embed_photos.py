"""embed takes faces straight from their photos, by a table of faces."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceprep.core.errors import SourceError
from faceprep.core.types import Request
from faceprep.jobs.extract_photos import ExtractPhotos
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.tables.embeddings import load_embeddings, load_place
from faceprep.vision.codec import encode
from tests.embedding import are_wanted, by_name, run
from tests.photos import six_people
from tests.tiny_models import save_onnx


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_onnx(tmp_path_factory.mktemp("net") / "net.onnx"))


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


def test_tables_of_videos_and_of_nothing(tmp_path: Path, net: str, photos: Path) -> None:
    table = pq.read_table(photos / "faces" / "faces.parquet")
    place = table.schema.get_field_index("frame")
    of_video = table.set_column(
        place, table.schema.field("frame"), pa.array(range(len(table)), pa.int64())
    )
    pq.write_table(of_video, tmp_path / "faces.parquet")
    with pytest.raises(
        SourceError, match="faces of videos: expected faces of photos. Embed the crops themselves"
    ):
        run(photos / "photos", tmp_path / "out.npz", net, faces=tmp_path / "faces.parquet")
    pq.write_table(table[:0], tmp_path / "faces.parquet")
    with pytest.raises(SourceError, match="no images in it"):
        run(photos / "photos", tmp_path / "out.npz", net, faces=tmp_path / "faces.parquet")
