"""The plan of extract-video: the pieces of each video, and an estimate of their output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from errno import EIO
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from faceprep.core import input_faults, storage
from faceprep.core.errors import SourceError
from faceprep.core.examination import examine_each
from faceprep.core.shards import cut_at, whole_stage
from faceprep.core.types import Shard
from faceprep.jobs.extract_video.examining import Examined, Question
from faceprep.jobs.extract_video.options import VideoOptions
from faceprep.jobs.extract_video.piece import Piece
from faceprep.jobs.extract_video.verdict import Joining
from faceprep.jobs.extract_video.videos import Video
from faceprep.video.siw_boxes import parse_face_boxes
from faceprep.vision.templates import load_template

_PAIR = 2
_HEAD = 4096
"""Bytes of a `.face` file from which the size of its boxes is estimated."""
_BYTES_PER_PIXEL = {"png": 2.0, "jpg": 0.5}


class Plan(NamedTuple):
    """The shards of one video, the shard that joins them, and an estimate of the output."""

    pieces: Sequence[Shard]
    joining: Shard
    n_files: int
    n_bytes: int


class Planner:
    """A planner of the videos of one run, in which `examine` answers each question in a worker."""

    def __init__(
        self, options: VideoOptions, examine: Callable[[Question], Examined | None], scratch: Path
    ) -> None:
        self._options, self._examine, self._scratch = options, examine, scratch
        self._choice = options.choice()
        height, width = load_template(options.template).size
        self._pixels = height * width

    def plan(self, videos: Sequence[tuple[Path, Video]]) -> list[Plan]:
        """Plan the videos, each with its root; the index of a long one is in the scratch folder."""
        questions: dict[int, tuple[str, Question]] = {}
        found: dict[int, Examined | None] = {}
        for number, (root, video) in enumerate(videos):
            path = str(root / video.path)
            try:
                input_faults.replay_opening(path)
                question = Question(video.path, path, self._scratch / _name(number))
                questions[number] = (str(root), question)
            except OSError as error:
                found[number] = Examined(errno=error.errno or EIO)
        answers = examine_each(self._examine, list(questions.values()))
        found |= zip(questions, answers, strict=True)
        return [
            self._plan(number, root, video, found[number])
            for number, (root, video) in enumerate(videos)
        ]

    def _plan(self, number: int, root: Path, video: Video, found: Examined | None) -> Plan:
        """Plan one video; `found` is None if it ended the process that examined it."""
        name, path = _name(number), str(root / video.path)
        if found is None:
            input_faults.note_examination(path)
            found = Examined()
        elif found.errno:
            input_faults.note_opening(path, found.errno)
        parts, sizes = [Piece(video)], [found.n_wanted]
        if len(found.spans) > 1:
            parts = [Piece(video, span, name, found.turn) for span in found.spans]
            sizes = [span.n_wanted for span in found.spans]
        bounds = pairwise(accumulate(sizes, initial=0))
        shards = [
            replace(shard, payload=part, subject=video.path)
            for shard, part in zip(
                cut_at(bounds, root, id_format=name + "-{n:05d}"), parts, strict=True
            )
        ]
        work = Joining(parts[0], tuple(shard.id for shard in shards))
        joining = replace(whole_stage(f"{name}-video", root, 1, work), subject=video.path)
        return Plan(shards, joining, *self._estimate(found.n_wanted, root, video))

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


def _name(number: int) -> str:
    """Return what the names of the shards of a video, and of its index, begin with."""
    return f"{number:06d}"
