"""Pieces of a video: cuts at key frames that cover every wanted frame once, and a packed index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.synthetic.video import VideoStyle, read_number, write_video
from faceprep.video.index import VideoIndex
from faceprep.video.pieces import (
    cut_video,
    index_video,
    pack_index,
    read_outline,
    unpack_index,
    within,
)
from faceprep.video.reader import VideoReader
from faceprep.video.sampling import ALL_FRAMES, parse_frames


def index_of(n: int, keyframes: list[int], has_stamps: bool = True) -> VideoIndex:
    stamps = np.arange(n, dtype=np.int64) * 512
    keys = np.array(sorted({0, *keyframes}), np.int64)
    return VideoIndex(stamps, 1 / 15360, has_stamps, keys, n, n, int(stamps[-1]), 0)


KEYS = st.lists(st.integers(0, 299), max_size=30)
CHOICES = st.sampled_from(["all", "every:7", "uniform:5", "pair", "pair:faces", "keyframes"])


@given(keys=KEYS, text=CHOICES, piece_s=st.floats(0.05, 20), segment=st.integers(1, 40))
def test_pieces_hold_every_wanted_frame_once(
    keys: list[int], text: str, piece_s: float, segment: int
) -> None:
    index, choice = index_of(300, keys), parse_frames(text)
    spans = cut_video(index, choice, piece_s, segment)
    pieces = [list(within(choice, span).numbers(index.times, index.keyframes)) for span in spans]
    whole = list(choice.numbers(index.times, index.keyframes))
    assert [number for piece in pieces for number in piece] == whole
    assert [span.n_wanted for span in spans] == [len(piece) for piece in pieces]
    firsts = {-(-key // segment) * segment for key in index.keyframes.tolist()}
    assert all(pieces) and {span.first for span in spans} <= firsts
    seconds = [(span.stop - span.first) / 30 for span in spans[:-1]]
    longest = max(np.diff([*index.keyframes.tolist(), 300])) / 30
    assert all(each <= piece_s + longest + segment / 30 + 1e-6 for each in seconds)


def test_what_cannot_be_cut_is_one_piece() -> None:
    for index in (index_of(300, [100, 200], has_stamps=False), index_of(300, [])):
        assert [span[:2] for span in cut_video(index, ALL_FRAMES, 1.0)] == [(0, 300)]
    none = parse_frames("all", start=99.0)
    assert cut_video(index_of(300, [100]), none, 1.0) == [(0, 300, 0)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_a_known_index_gives_the_frames_of_its_piece(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v{suffix}"
    write_video(path, 60, style=VideoStyle(b_frames=2 * (suffix != ".webm")))
    known = unpack_index(pack_index(*index_video(str(path))))
    spans = cut_video(known[0], ALL_FRAMES, 0.5)
    assert len(spans) > 2
    for span in spans:
        with VideoReader(path, 2, known) as reader:
            frames = list(reader.frames(within(ALL_FRAMES, span)))
        assert [frame.number for frame in frames] == list(range(span.first, span.stop))
        assert [read_number(frame.pixels) for frame in frames] == [f.number for f in frames]


def test_an_outline_is_about_right(tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv", ".avi", ".webm"):
        path = tmp_path / f"v{suffix}"
        write_video(path, 60)
        outline = read_outline(str(path))
        assert abs(outline.n_frames - 60) <= 2 and abs(outline.seconds - 2) < 0.2
        assert abs(outline.count_wanted(parse_frames("every:10")) - 6) <= 1


def test_a_damaged_index_is_refused() -> None:
    with pytest.raises(SourceError, match="damaged index"):
        unpack_index(b"{}\n")
