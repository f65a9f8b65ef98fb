"""The examination of a video for the plan of extract-video: its pieces and their turn.

It opens the video, so it takes place in a worker (`core.examination`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from faceprep.core import items, storage
from faceprep.core.errors import SourceError
from faceprep.core.input_faults import errno_of
from faceprep.jobs.extract_video.options import VideoOptions
from faceprep.jobs.extract_video.turn import find_video_turn
from faceprep.video.pieces import Span, cut_video, index_video, pack_index, read_outline

_MIN_PIECES = 2
"""A video shorter than this many pieces is not cut: indexing its packets would take too long."""


class Question(NamedTuple):
    """A video to examine: its name in the list of the run, and where it is.

    `index_path` is the file that the index of a long video is written to.
    """

    key: str
    path: str
    index_path: Path


class Examined(NamedTuple):
    """What the plan needs to know of a video: the pieces of a long one, and their turn.

    `n_wanted` is about the number of wanted frames. `errno` is that of a disk or a store that
    failed, else 0.
    """

    spans: Sequence[Span] = ()
    n_wanted: int = 1
    turn: int | None = None
    errno: int = 0


def examine_video(options: VideoOptions, piece_s: float, question: Question) -> Examined | None:
    """Cut a long video into pieces of `piece_s` seconds, and write its index.

    A video that cannot be read is one piece, whose shard reports the reason. So is one that has
    ended a worker already: then return None.
    """
    if items.take(question.key):
        return None
    try:
        return _examine(options, piece_s, question)
    except SourceError as error:
        return Examined(errno=errno_of(error))


def _examine(options: VideoOptions, piece_s: float, question: Question) -> Examined:
    """Examine a video that can be read. Raises SourceError."""
    path, choice = question.path, options.choice()
    outline = read_outline(path)
    if outline.seconds < _MIN_PIECES * piece_s:
        return Examined((), outline.count_wanted(choice))
    index, cut_off = index_video(path)
    spans = cut_video(index, choice, piece_s, options.segment())
    storage.write_file(question.index_path, pack_index(index, cut_off), durable=False)
    turn = find_video_turn(options, path, (index, cut_off)) if len(spans) > 1 else None
    return Examined(spans, sum(span.n_wanted for span in spans), turn)
