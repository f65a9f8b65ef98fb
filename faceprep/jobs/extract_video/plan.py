"""The plan of extract-video: the pieces of each video, and an estimate of their output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from faceprep.core import input_faults, storage
from faceprep.core.errors import SourceError
from faceprep.core.os_errors import guard
from faceprep.core.shards import cut_at, whole_stage
from faceprep.core.types import Shard
from faceprep.jobs.extract_video.options import VideoOptions
from faceprep.jobs.extract_video.piece import Piece, known_index
from faceprep.jobs.extract_video.turn import find_video_turn
from faceprep.jobs.extract_video.verdict import Joining
from faceprep.jobs.extract_video.videos import Video
from faceprep.video.pieces import Span, cut_video, index_video, pack_index, read_outline
from faceprep.video.siw_boxes import parse_face_boxes
from faceprep.vision.templates import load_template

_PAIR = 2
_HEAD = 4096
"""Bytes of a `.face` file from which the size of its boxes is estimated."""
_BYTES_PER_PIXEL = {"png": 2.0, "jpg": 0.5}
_MIN_PIECES = 2
"""A video shorter than this many pieces is not cut: indexing its packets would take too long."""


class Plan(NamedTuple):
    """The shards of one video, the shard that joins them, and an estimate of the output."""

    pieces: Sequence[Shard]
    joining: Shard
    n_files: int
    n_bytes: int


class Planner:
    """A planner of the videos of one run; long videos are cut into pieces of `piece_s` seconds."""

    def __init__(self, options: VideoOptions, piece_s: float, scratch: Path) -> None:
        self._options, self._piece_s, self._scratch = options, piece_s, scratch
        self._choice = options.choice()
        height, width = load_template(options.template).size
        self._pixels = height * width

    def plan(self, number: int, root: Path, video: Video) -> Plan:
        """Plan video `number` of the run, and write the index of a long one to the scratch folder.

        A video that cannot be read is one piece, whose shard reports the reason.
        """
        name = f"{number:06d}"
        spans: Sequence[Span] = ()
        path = str(root / video.path)
        try:
            with guard("open", path, SourceError):
                input_faults.replay_opening(path)
            spans, n_wanted = self._cut(path, name)
        except SourceError as error:
            input_faults.note_error(path, error)
            n_wanted = 1
        if len(spans) > 1:
            known = known_index(Piece(video, spans[0], name), self._scratch)
            turn = find_video_turn(self._options, path, known)
            parts = [Piece(video, span, name, turn) for span in spans]
            sizes = [span.n_wanted for span in spans]
        else:
            parts, sizes = [Piece(video)], [n_wanted]
        bounds = pairwise(accumulate(sizes, initial=0))
        shards = [
            replace(shard, payload=part)
            for shard, part in zip(
                cut_at(bounds, root, id_format=name + "-{n:05d}"), parts, strict=True
            )
        ]
        work = Joining(parts[0], tuple(shard.id for shard in shards))
        joining = whole_stage(f"{name}-video", root, 1, work)
        return Plan(shards, joining, *self._estimate(n_wanted, root, video))

    def _cut(self, path: str, name: str) -> tuple[Sequence[Span], int]:
        """Return the pieces of a long video, none of a short one, and the wanted frames in all."""
        outline = read_outline(path)
        if outline.seconds < _MIN_PIECES * self._piece_s:
            return (), outline.count_wanted(self._choice)
        index, cut_off = index_video(path)
        spans = cut_video(index, self._choice, self._piece_s, self._options.segment())
        storage.write_file(self._scratch / name, pack_index(index, cut_off), durable=False)
        return spans, max(sum(span.n_wanted for span in spans), 1)

    def _estimate(self, n_wanted: int, root: Path, video: Video) -> tuple[int, int]:
        """Estimate the files and the bytes of the crops: at most one of each wanted frame.

        With --by-track, crops are written twice: until the tracks are known they lie in a part.
        """
        n_crops = min(n_wanted, _PAIR) if self._choice.is_pair_of_faces else n_wanted
        pixels, n_files = self._pixels, n_crops
        if video.face:
            n_files += n_crops
            pixels += self._box_pixels(root / video.face)
        n_bytes = int(_BYTES_PER_PIXEL[self._options.format] * pixels * n_crops)
        return n_files, n_bytes * (2 if self._options.by_track else 1)

    def _box_pixels(self, path: Path) -> int:
        """Return the median area of the first boxes of a `.face` file, as they are cropped."""
        try:
            head = storage.read_bytes(path, _HEAD).rpartition(b"\n")[0]
            boxes = parse_face_boxes(head).boxes
        except SourceError:
            return 0
        sides = boxes[:, 2:] - boxes[:, :2]
        areas = sides.prod(axis=1)[~np.isnan(boxes[:, 0])]
        return int(np.median(areas) * self._options.margin**2) if len(areas) else 0
