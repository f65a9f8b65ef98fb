"""extract-video --track-embedder: tracks of one person get one number, people who meet do not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep import ExtractVideo, Request, SerialRunner, run_job
from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.errors import OptionError
from faceprep.jobs.extract_video.track_joining import choose_samples, join_tracks
from faceprep.synthetic.video import VideoStyle
from tests.embedders import Colours, drawn_embedders
from tests.fakes import results
from tests.videos import PatchVideo, film, rows

__all__ = ["drawn_embedders"]
LETTERS = "rrrrrr........rrrrrr........RRRRRR"
"""One person three times; the last time, another is there too."""


@dataclass(frozen=True)
class Tracks(PatchVideo):
    """A video of several pieces, or of one."""

    refine: bool = False
    by_track: bool = True
    all_faces: bool = True


@dataclass(frozen=True)
class Pieces(Tracks):
    piece_s: ClassVar[float] = 0.2


def run(source: Path, output: Path, kind: type[Tracks] = Tracks, **options: Any) -> list[int]:
    run_job(kind(**options), Request((source,), output), SerialRunner())
    return [row["track"] for row in rows(output)]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("in") / "v.mp4", LETTERS, VideoStyle(b_frames=2))


@pytest.mark.usefixtures("drawn_embedders")
def test_tracks_that_are_alike_get_one_number(video: Path, tmp_path: Path) -> None:
    assert set(run(video, tmp_path / "plain")) == {0, 1, 2, 3}
    joined = run(video, tmp_path / "joined", track_embedder="colours")
    assert set(joined) == {0, 1}
    for row in rows(tmp_path / "joined"):
        assert row["output"] == f"v/{row['track']}/{row['frame']}.png"
        assert (tmp_path / "joined" / row["output"]).is_file()


@pytest.mark.usefixtures("drawn_embedders")
def test_faces_without_an_embedding_are_counted(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def embed(self: Colours, crops: np.ndarray) -> np.ndarray:
        return np.full((len(crops), self.dim), np.nan, np.float32)

    monkeypatch.setattr(Colours, "embed", embed)
    assert set(run(video, tmp_path / "out", track_embedder="colours")) == {0, 1, 2, 3}
    assert "v.mp4: 20 of 20 faces have an embedding that is zero or not finite" in caplog.text


@pytest.mark.usefixtures("drawn_embedders")
@pytest.mark.parametrize("options", [{}, {"detect_every": "5"}, {"all_faces": False}])
def test_the_same_bytes_whatever_the_pieces(
    video: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    run(video, tmp_path / "whole", track_embedder="colours", **options)
    run(video, tmp_path / "pieces", Pieces, track_embedder="colours", **options)
    assert results(tmp_path / "whole") == results(tmp_path / "pieces")


FACES = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 12)), min_size=1, max_size=40, unique=True
)


@given(faces=FACES, directions=st.lists(st.integers(0, 1), min_size=7, max_size=7))
def test_tracks_that_share_a_frame_stay_apart(
    faces: list[tuple[int, int]], directions: list[int]
) -> None:
    used = sorted({track for track, _ in faces})
    tracks = np.array([used.index(track) for track, _ in faces])
    frames = np.array([frame for _, frame in faces])
    people = np.eye(2, dtype=np.float32)[[directions[track] for track in tracks]]
    names = [f"{track:09d}" for track in tracks]
    embeddings = Embeddings([str(row) for row in range(len(faces))], names, people, Model("m"))
    numbers = join_tracks(embeddings, tracks, frames)
    assert sorted(set(numbers.tolist())) == list(range(numbers.max() + 1))
    together = {(number, frame) for number, frame in zip(numbers[tracks], frames, strict=True)}
    assert len(together) == len(faces)
    for track in range(len(used)):
        same = np.flatnonzero(numbers == numbers[track])
        assert len({directions[each] for each in same.tolist()}) == 1


def test_unsure_tracks_are_no_evidence() -> None:
    tracks = np.array([0] * 8 + [1] * 8 + [2] * 2)
    are_sure = np.array([True] * 8 + [True] * 3 + [False] * 5 + [True] * 2)
    scores = np.linspace(0.8, 0.9, 18)
    assert choose_samples(tracks, scores, are_sure).tolist() == [3, 4, 5, 6, 7]


def test_it_needs_tracks() -> None:
    with pytest.raises(OptionError, match="^--track-embedder needs --by-track"):
        ExtractVideo(track_embedder="dlib-resnet")
