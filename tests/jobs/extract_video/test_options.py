"""Options of extract-video about detectors and crops, on drawn videos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceprep import Align, Request, SerialRunner, run_job
from faceprep.core.arrays import Pixels
from faceprep.core.errors import SourceError
from faceprep.core.faces import Faces
from faceprep.models.detectors.detector import SizedDetector
from faceprep.steps import embed_options
from faceprep.steps.find_faces import FaceFinder
from faceprep.video.siw_boxes import face_lines
from faceprep.vision.codec import decode
from tests.videos import SIDE, PatchDetector, PatchVideo, extract, film, numbers, rows


class LenientDetector(PatchDetector):
    """A detector that is sure of every patch."""

    fingerprint = "lenient"

    def _find(self, image: Pixels) -> Faces:
        faces = super()._find(image)
        return Faces(faces.boxes, faces.landmarks, np.maximum(faces.scores, 0.9))


@dataclass(frozen=True)
class FlooredVideo(PatchVideo):
    """`extract-video` on drawn patches with --min-face and --fallback."""

    def finder(self, detector: str | None = None) -> FaceFinder:
        chosen = LenientDetector() if detector == "lenient" else PatchDetector()
        return FaceFinder(SizedDetector(chosen, min_face=self.min_face), self.min_score)


def test_a_missing_pack_of_the_track_embedder_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[str] = []
    monkeypatch.setattr(embed_options, "download_pack", wanted.append)
    video = film(tmp_path / "v.mp4", "r")
    options: dict[str, Any] = {"by_track": True, "track_embedder": "dlib-resnet"}
    extract(video, tmp_path / "without", **options)
    assert not wanted
    extract(video, tmp_path / "with", download=True, **options)
    assert wanted == ["dlib-resnet"]


def test_patches_of_frames_and_again_from_the_table(tmp_path: Path) -> None:
    video = film(tmp_path / "v.mp4", "rr")
    extract(video, tmp_path / "out", template="patch4-80x60")
    run_job(
        Align(faces=tmp_path / "out" / "faces.parquet", template="patch4-80x60"),
        Request((video,), tmp_path / "again"),
        SerialRunner(),
    )
    for number in range(2):
        data = (tmp_path / "out" / "v" / f"{number}.png").read_bytes()
        assert decode(data).shape == (80, 60, 3)
        assert (tmp_path / "again" / "v" / f"{number}.png").read_bytes() == data
        below_the_number = decode(data)[20:].reshape(-1, 3)
        assert (below_the_number.max(axis=1) > 20).all(), "nothing is padded"


def test_boxes_at_the_edge_are_clipped(tmp_path: Path) -> None:
    video = film(tmp_path / "v.mov", "r")
    (tmp_path / "v.face").write_bytes(face_lines([(-20, -10, 40, 50)]))
    extract(video, tmp_path / "out", original_clip=True)
    extract(video, tmp_path / "padded")
    clipped = decode((tmp_path / "out_original" / "v" / "0.png").read_bytes())
    padded = decode((tmp_path / "padded_original" / "v" / "0.png").read_bytes())
    assert clipped.shape == (50, 40, 3) and padded.shape == (60, 60, 3)
    np.testing.assert_array_equal(clipped, padded[10:, 20:])


def test_small_faces_are_dropped(tmp_path: Path) -> None:
    video = film(tmp_path / "v.mp4", "rR")
    for min_face, n_faces in ((0, [1, 2]), (SIDE // 2 + 5, [1, 1]), (SIDE + 10, [0, 0])):
        output = tmp_path / f"{min_face}"
        run_job(
            FlooredVideo(min_face=min_face, all_faces=True),
            Request((video,), output),
            SerialRunner(),
        )
        found = [row["frame"] for row in rows(output)]
        assert [found.count(number) for number in range(2)] == n_faces


def test_a_second_detector_looks_where_the_first_finds_nothing(tmp_path: Path) -> None:
    video = film(tmp_path / "v.mp4", "rb.")
    job = FlooredVideo(fallback="lenient")
    summary = run_job(job, Request((video,), tmp_path / "out"), SerialRunner())
    assert summary.by_status == {"no_face": 1, "ok": 2}
    assert numbers(tmp_path / "out" / "v") == [0, 1]
    found = [str(row["detector"]).partition("/")[0] for row in rows(tmp_path / "out")]
    assert found == ["patches", "lenient"]


@pytest.mark.parametrize(
    ("name", "found"),
    [("a.jpg", "a single image"), ("a.TAR", r"a \.tar file"), ("a.parquet", r"a \.parquet file")],
)
def test_a_source_of_another_kind_is_refused(name: str, found: str, tmp_path: Path) -> None:
    """A file whose suffix says nothing may be a video."""
    video = film(tmp_path / "v.mp4", "r")
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SourceError, match=f"expected videos, found {found}.*extract-photos takes"):
        extract([video, tmp_path / name], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert extract(video.rename(tmp_path / "clip"), tmp_path / "out").ok == 1
