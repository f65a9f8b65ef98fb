"""Section about the frames of videos: which have no face, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from faceprep.core.arrays import Ints
from faceprep.core.text import count_noun
from faceprep.core.types import OK
from faceprep.pages.report.histograms import count, describe, linear_edges, whole_edges
from faceprep.pages.report.section_runs import TAIL, centre, kind_of_reason, share_of
from faceprep.pages.report.sections import Histogram, Part, Section, Table
from faceprep.pages.report.tally import Video
from faceprep.tables.frames import read_frames_table

_COLUMNS = ("video", "frames", "detected", "original", "difference", "state")
_N_WORST, _N_REASONS, _MANY_REASONS = 20, 50, 10_000
_FOLDED = 20
"""Rows of the table of videos that are shown unfolded."""
_KEYS = ("source", "status", "reason", "has_box")


@dataclass
class LostFrames:
    """The frames of a run by video, and the reasons of those without a crop.

    `reasons` counts (status, reason without its numbers); `examples` names one frame of each.
    Memory grows with the videos, not with the frames.
    """

    videos: dict[str, Video] = field(default_factory=dict)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)


def load_lost_frames(path: Path, states: Mapping[str, Video]) -> LostFrames:
    """Read a frames.parquet; `states` are the videos of the ledger. Raises SourceError.

    A video of the ledger without any frame in the table is kept, with its state.
    """
    lost = LostFrames()
    for table in read_frames_table(path, (*_KEYS, "frame")):
        groups = table.group_by(list(_KEYS)).aggregate([("frame", "count"), ("frame", "min")])
        for row in groups.to_pylist():
            _add(lost, row)
    for name, known in states.items():
        lost.videos.setdefault(name, Video(name)).state = known.state
    return lost


def _add(lost: LostFrames, row: Mapping[str, Any]) -> None:
    """Add frames of one video with the same status, reason and box."""
    source, status, has_box, n = row["source"], row["status"], row["has_box"], row["frame_count"]
    video = lost.videos.setdefault(source, Video(source))
    video.wanted += n
    video.detected += n * (status == OK)
    if has_box is not None:
        video.original = (video.original or 0) + n * has_box
        video.lost = (video.lost or 0) + n * (has_box and status != OK)
    if status == OK:
        return
    kind = (status, "other reasons")
    if len(lost.reasons) < _MANY_REASONS:
        kind = (status, kind_of_reason(row["reason"], source))
    lost.reasons[kind] += n
    lost.examples.setdefault(kind, (f"{source}#{row['frame_min']}", row["reason"]))


def videos_section(videos: Iterable[Video], lost: LostFrames | None = None) -> Section:
    """Compare detected with expected frames of each video, the worst first.

    `lost` adds the reasons of the frames without a crop.
    """
    worst = sorted(videos, key=lambda video: (-video.difference, video.detected > 0, video.path))
    empty = sorted(video.path for video in worst if not video.detected)
    shares = np.array([video.detected / video.wanted for video in worst if video.wanted])
    missing = np.array([video.difference for video in worst], np.int64)
    edges, rows = linear_edges(shares, 0, 1, 20), [_row(video) for video in worst]
    numbers: dict[str, Any] = {
        "videos": len(worst),
        "frames": sum(video.wanted for video in worst),
        "detected": sum(video.detected for video in worst),
        "original": sum(video.original or 0 for video in worst),
        "empty": len(empty),
        "empty_videos": empty,
        "detected_share": describe(shares)
        | {"edges": [float(x) for x in edges], "counts": count(shares, edges)},
        "worst": [dict(zip(_COLUMNS, row, strict=True)) for row in rows[:_N_WORST]],
        "all": [dict(zip(_COLUMNS, row, strict=True)) for row in rows],
    }
    parts: list[Part] = [
        Histogram(
            "Share of the frames with a face",
            "share of a video's frames",
            edges.tolist(),
            {"videos": count(shares, edges)},
            "videos",
        ),
        *_missing_parts(missing, numbers),
        *(_reason_parts(lost, numbers) if lost else ()),
        Table("Videos, those with most faces missing first", _COLUMNS, rows, len(rows) > _FOLDED),
    ]
    if empty:
        empty_rows = [(path,) for path in empty]
        parts.append(Table("Videos without any face", ("video",), empty_rows, len(empty) > _FOLDED))
    text = (
        f"{numbers['detected']:,} of {numbers['frames']:,} wanted frames of "
        f"{count_noun(len(worst), 'video')} have a face; "
        f"{count_noun(len(empty), 'video has', 'videos have')} none. The difference counts frames "
        "that lack a face: of those with a box in the .face file (original), or else of all wanted."
    )
    return Section("videos", "Frames of each video", numbers, parts, text)


def _row(video: Video) -> tuple[str, int, int, int | None, int, str]:
    return (video.path, video.wanted, video.detected, video.original, video.difference, video.state)


def _missing_parts(missing: Ints, numbers: dict[str, Any]) -> Iterator[Part]:
    """Yield the distribution of missing frames over the videos, and add it to `numbers`."""
    edges = [0, *whole_edges(int(missing.max(initial=0)))]
    limits = [limit for limit in TAIL if limit <= missing.max(initial=0)]
    tail = [(limit, int((missing >= limit).sum())) for limit in limits]
    numbers["missing"] = describe(missing) | {"edges": edges, "counts": count(missing, edges)}
    numbers["with_at_least"] = {str(limit): n for limit, n in tail}
    bars = {"videos": count(missing, edges)}
    is_log = edges[-1] - edges[-2] > 1
    yield Histogram(
        "Missing frames of each video",
        "missing frames",
        centre(edges),
        bars,
        "videos",
        None,
        is_log,
    )
    rows = [(count_noun(limit, "frame"), n, share_of(n, len(missing))) for limit, n in tail]
    yield Table("Videos by missing frames", ("missing at least", "videos", "share"), rows)


def _reason_parts(lost: LostFrames, numbers: dict[str, Any]) -> Iterator[Part]:
    """Yield the reasons of the lost frames, and add them to `numbers`."""
    ranked = sorted(lost.reasons.items(), key=lambda pair: (-pair[1], pair[0]))[:_N_REASONS]
    total = lost.reasons.total()
    numbers["lost"] = total
    numbers["reasons"] = [
        {"status": kind[0], "reason": kind[1], "frames": n, "example": lost.examples[kind][0]}
        for kind, n in ranked
    ]
    rows: Sequence[Sequence[Any]] = [
        (kind[0], n, share_of(n, total), *lost.examples[kind]) for kind, n in ranked
    ]
    yield Table(
        "Reasons of the frames without a crop",
        ("status", "frames", "share", "example", "reason"),
        rows,
    )
