"""Section about the frames of videos: which have no face, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from faceprep.core.arrays import Ints
from faceprep.core.text import count_noun
from faceprep.core.types import OK
from faceprep.pages.report.histograms import count, describe, linear_edges, whole_edges
from faceprep.pages.report.input_pictures import InputPictures
from faceprep.pages.report.outcomes import Reasons, kind_of_reason
from faceprep.pages.report.section_losses import show_examples
from faceprep.pages.report.section_runs import TAIL, centre, share_of
from faceprep.pages.report.sections import Histogram, Part, Pictures, Section, Table
from faceprep.pages.report.tally import Video
from faceprep.tables.frames import read_frame_tables

_COLUMNS = ("video", "frames", "detected", "original", "difference", "state")
_N_WORST, _N_REASONS, _N_PICTURED = 20, 50, 3
_N_OPEN = 10
"""Rows of the worst videos that are shown unfolded."""
_KEYS = ("source", "status", "reason", "has_box")


@dataclass
class LostFrames:
    """The frames of a run by video, and the reasons of those without a crop.

    Memory grows with the videos, not with the frames.
    """

    videos: dict[str, Video] = field(default_factory=dict)
    reasons: Reasons = field(default_factory=Reasons)


def load_lost_frames(path: Path, states: Mapping[str, Video]) -> LostFrames:
    """Read a frames.parquet; `states` are the videos of the ledger. Raises SourceError.

    A video of the ledger without any frame in the table is kept, with its state.
    """
    lost = LostFrames()
    for table in read_frame_tables(path, (*_KEYS, "frame")):
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
    example = (f"{source}#{row['frame_min']}", row["reason"])
    lost.reasons.add_kind(status, kind_of_reason(row["reason"], source), example, n)


def videos_section(
    videos: Iterable[Video], lost: LostFrames | None = None, pictures: InputPictures | None = None
) -> Section:
    """Compare detected with expected frames of each video, the worst first.

    `lost` adds the reasons of the frames without a crop, and `pictures` shows some of these.
    """
    worst = sorted(videos, key=lambda video: (-video.difference, video.detected > 0, video.path))
    shares = np.array([video.detected / video.wanted for video in worst if video.wanted])
    missing = np.array([video.difference for video in worst], np.int64)
    edges, rows = linear_edges(shares, 0, 1, 20), [_row(video) for video in worst]
    numbers = _numbers(worst, rows)
    numbers["detected_share"] = describe(shares) | {
        "edges": [float(x) for x in edges],
        "counts": count(shares, edges),
    }
    parts: list[Part] = [_table("The worst videos", rows[:_N_OPEN])]
    if lost:
        parts += _reason_parts(lost, numbers, pictures)
    axis = "share of a video's frames"
    bars = {"videos": count(shares, edges)}
    parts += [
        Histogram("Share of the frames with a face", axis, edges.tolist(), bars, "videos"),
        *_missing_parts(missing, numbers),
    ]
    if len(rows) > _N_OPEN:
        title = "All videos, those with most faces missing first"
        parts.append(replace(_table(title, rows), is_folded=True))
    return Section("videos", "Frames of each video", numbers, parts, _describe(worst, numbers))


def _describe(videos: Sequence[Video], numbers: Mapping[str, Any]) -> str:
    text = (
        f"{numbers['detected']:,} of {numbers['frames']:,} wanted frames of "
        f"{count_noun(len(videos), 'video')} have a face"
    )
    if numbers["empty"]:
        text += f"; {count_noun(numbers['empty'], 'video has', 'videos have')} none"
    text += ". The column difference counts the frames without a face"
    if any(video.original is not None for video in videos):
        text += (
            ", among those with a box in the .face file (original), or else among all wanted frames"
        )
    return f"{text}."


def _table(title: str, rows: Sequence[Sequence[Any]]) -> Table:
    """Make a table of videos without the columns that are empty in all rows."""
    columns = zip(_COLUMNS, zip(*rows, strict=True), strict=False)
    used = {name: cells for name, cells in columns if any(cell not in (None, "") for cell in cells)}
    return Table(title, [*used], [*zip(*used.values(), strict=True)])


def _numbers(worst: Sequence[Video], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return the totals of the videos, and the rows of the table by column."""
    empty = sorted(video.path for video in worst if not video.detected)
    named = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    return {
        "videos": len(worst),
        "frames": sum(video.wanted for video in worst),
        "detected": sum(video.detected for video in worst),
        "original": sum(video.original or 0 for video in worst),
        "empty": len(empty),
        "empty_videos": empty,
        "worst": named[:_N_WORST],
        "all": named,
    }


def _row(video: Video) -> tuple[str, int, int, int | None, int, str]:
    return (video.path, video.wanted, video.detected, video.original, video.difference, video.state)


def _missing_parts(missing: Ints, numbers: dict[str, Any]) -> Iterator[Part]:
    """Yield the distribution of missing frames over the videos, and add it to `numbers`."""
    edges = [0, *whole_edges(int(missing.max(initial=0)))]
    limits = [limit for limit in TAIL if limit <= missing.max(initial=0)]
    tail = [(limit, int((missing >= limit).sum())) for limit in limits]
    numbers["missing"] = describe(missing) | {"edges": edges, "counts": count(missing, edges)}
    numbers["with_at_least"] = {str(limit): n for limit, n in tail}
    if not missing.any():
        return
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


def _reason_parts(
    lost: LostFrames, numbers: dict[str, Any], pictures: InputPictures | None
) -> Iterator[Part]:
    """Yield the reasons of the lost frames with pictures of some, and add them to `numbers`."""
    reasons = lost.reasons
    ranked, total = reasons.ranked(_N_REASONS), reasons.counts.total()
    numbers["lost"] = total
    numbers["reasons"] = [
        {"status": kind[0], "reason": kind[1], "frames": n, "example": reasons.examples[kind][0][0]}
        for kind, n in ranked
    ]
    rows: Sequence[Sequence[Any]] = [
        (kind[0], n, share_of(n, total), *reversed(reasons.examples[kind][0])) for kind, n in ranked
    ]
    yield Table(
        "Reasons for frames without a crop",
        ("status", "frames", "share", "reason", "example"),
        rows,
    )
    for kind, _ in ranked[:_N_PICTURED]:
        if pictures and (items := show_examples(kind, reasons, pictures)):
            yield Pictures(f"{kind[0]}: {reasons.wording(kind)}", items)
