"""Sections about runs: what was asked for, what became of the inputs, what failed and why,
space.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from faceprep.core.text import count_noun, format_bytes
from faceprep.core.types import OK, Outcome
from faceprep.pages.report.histograms import count, describe, linear_edges, whole_edges
from faceprep.pages.report.run_state import Run
from faceprep.pages.report.sections import Histogram, Part, Section, Table
from faceprep.pages.report.tally import Tally, Video

_N_WORST, _N_NAMED, _N_EXAMPLES, _N_REASONS = 20, 10, 3, 50
_MANY_REASONS = 10_000
_TAIL = (1, 2, 5, 10, 20, 50, 100)
_NUMBER = re.compile(r"\d[\d.,]*\b")


def run_section(run: Run, tally: Tally) -> Section:
    """What was run, and how its inputs ended."""
    told, n_shards = run.record, run.record.get("n_shards")
    n_inputs = tally.by_status.total()
    numbers = {
        "command": run.command,
        "faceprep": told.get("faceprep"),
        "sources": told.get("sources"),
        "options": told.get("options"),
        "shards": n_shards,
        "shards_done": tally.n_pages,
        "inputs": n_inputs,
        "ok": tally.by_status[OK],
        "failed": sum(n for status, n in tally.by_status.items() if Outcome("", status).is_failure),
        "by_status": dict(sorted(tally.by_status.items())),
    }
    outcomes = [
        (status, n, _share(n, n_inputs), "failure" if Outcome("", status).is_failure else "")
        for status, n in tally.by_status.most_common()
    ]
    parts = [Table("What became of the inputs", ("outcome", "inputs", "share", ""), outcomes)]
    asked = [(name, _shown(value)) for name, value in (told.get("options") or {}).items()]
    asked = [
        ("sources", ", ".join(map(str, told.get("sources") or ()))),
        ("version", str(told.get("faceprep"))),
        *asked,
    ]
    parts.append(Table("What was asked for", ("option", "value"), asked, is_folded=True))
    unfinished = (
        f" It is not finished: {tally.n_pages:,} of {n_shards:,} shards are done."
        if _is_open(run, tally)
        else ""
    )
    text = (
        f"{tally.by_status[OK]:,} of {n_inputs:,} inputs are ok, {numbers['failed']:,} "
        f"failed.{unfinished}"
    )
    return Section("run", f"The run of {run.command}", numbers, parts, text)


def _is_open(run: Run, tally: Tally) -> bool:
    n_shards = run.record.get("n_shards")
    return isinstance(n_shards, int) and tally.n_pages < n_shards


def _share(n: int, total: int) -> str:
    return f"{n / total:.1%}" if total else ""


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


# Images of each identity


def identities_section(
    images_of: Mapping[str, int], what: str = "identity", whats: str = "identities"
) -> Section:
    """How many images each has: a histogram and the tails."""
    counts = np.array(list(images_of.values()), np.int64)
    edges = whole_edges(int(counts.max(initial=1)))
    ranked = sorted(images_of.items(), key=lambda pair: (-pair[1], pair[0]))[:_N_NAMED]
    rising = sorted(images_of.items(), key=lambda pair: (pair[1], pair[0]))[:_N_NAMED]
    few = [
        (below, int((counts <= below).sum())) for below in _TAIL if below < counts.max(initial=0)
    ]
    numbers = {
        whats: len(counts),
        "images": int(counts.sum()),
        "per_" + what: describe(counts) | {"edges": edges, "counts": count(counts, edges)},
        "with_at_most": {str(below): n for below, n in few},
        "largest": dict(ranked),
        "smallest": dict(rising),
    }
    parts: list[Part] = [
        Histogram(
            f"Images of each {what}",
            "images",
            _around(edges),
            {whats: count(counts, edges)},
            whats,
            is_log=edges[-1] - edges[-2] > 1,
        ),
        Table(
            "The tail",
            (f"{whats} with at most", "are", "share"),
            [(count_noun(below, "image"), n, _share(n, len(counts))) for below, n in few],
        ),
    ]
    parts += [
        Table(title, (what, "images"), rows)
        for title, rows in (("The largest", ranked), ("The smallest", rising))
    ]
    text = f"{count_noun(int(counts.sum()), 'image')} of {count_noun(len(counts), what, whats)}."
    return Section(whats, f"Images of each {what}", numbers, parts, text)


def _around(edges: Sequence[int]) -> list[float]:
    """The same steps with whole numbers in their middle, not at their edge.

    >>> _around([1, 2, 3])
    [0.5, 1.5, 2.5]
    """
    return [edge - 0.5 for edge in edges]


# Videos


_VIDEO_COLUMNS = ("video", "frames", "detected", "original", "difference", "state")


def videos_section(videos: Sequence[Video]) -> Section:
    """Detected against expected frames of each video, the worst first."""
    worst = sorted(videos, key=lambda video: (-video.difference, video.detected > 0, video.path))
    empty = sorted(video.path for video in videos if not video.detected)
    shares = np.array([video.detected / video.wanted for video in videos if video.wanted])
    edges = linear_edges(shares, 0, 1, 20)
    rows = [
        (video.path, video.wanted, video.detected, video.original, video.difference, video.state)
        for video in worst[:_N_WORST]
    ]
    numbers = {
        "videos": len(videos),
        "frames": sum(video.wanted for video in videos),
        "detected": sum(video.detected for video in videos),
        "original": sum(video.original or 0 for video in videos),
        "empty": len(empty),
        "empty_videos": empty,
        "detected_share": describe(shares)
        | {"edges": [float(x) for x in edges], "counts": count(shares, edges)},
        "worst": [dict(zip(_VIDEO_COLUMNS, row, strict=True)) for row in rows],
    }
    parts: list[Part] = [
        Histogram(
            "Share of the frames with a face",
            "share of a video's frames",
            edges.tolist(),
            {"videos": count(shares, edges)},
            "videos",
        ),
        Table("Where most faces are missing", _VIDEO_COLUMNS, rows),
    ]
    if empty:
        parts.append(
            Table("Videos without any face", ("video",), [(path,) for path in empty[:_N_WORST]])
        )
    text = (
        f"{numbers['detected']:,} of {numbers['frames']:,} wanted frames of "
        f"{count_noun(len(videos), 'video')} have a face; "
        f"{count_noun(len(empty), 'video has', 'videos have')} none. The difference counts frames "
        "that lack a face: of those with a box in the .face file (original), or else of all wanted."
    )
    return Section("videos", "Frames of each video", numbers, parts, text)


# Failures


def failures_section(failures: Iterable[tuple[str, str, str]]) -> Section | None:
    """Failed inputs by reason, numbers in the reasons aside, each with examples; None where
    nothing failed.
    """
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for key, status, reason in failures:
        kind = (status, _kind_of(reason, key) if len(counts) < _MANY_REASONS else "other reasons")
        counts[kind] += 1
        if counts[kind] <= _N_EXAMPLES:
            examples.setdefault(kind, []).append((key, reason))
    if not counts:
        return None
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    by_status: Counter[str] = Counter()
    for (status, _), n in ranked:
        by_status[status] += n
    numbers = {
        "failed": counts.total(),
        "by_status": dict(by_status.most_common()),
        "reasons": [
            {
                "status": status,
                "reason": reason,
                "inputs": n,
                "examples": [
                    {"input": key, "reason": why} for key, why in examples[status, reason]
                ],
            }
            for (status, reason), n in ranked[:_N_REASONS]
        ],
    }
    rows = [
        row for kind, n in ranked[:_N_REASONS] for row in _example_rows(kind, n, examples[kind])
    ]
    parts = [Table("By reason", ("status", "inputs", "example", "reason"), rows)]
    return Section(
        "failures", "Failures", numbers, parts, f"{count_noun(counts.total(), 'input')} failed."
    )


def _kind_of(reason: str, key: str) -> str:
    """What reasons have in common that differ in numbers and names only.

    >>> _kind_of("a.jpg: 12 bytes are missing", "a.jpg")
    '…: # bytes are missing'
    """
    return _NUMBER.sub("#", reason.replace(key, "…") if key else reason)


def _example_rows(
    kind: tuple[str, str], n: int, examples: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, int | None, str, str]]:
    for number, (key, reason) in enumerate(examples):
        yield (kind[0], n, key, reason) if number == 0 else ("", None, key, reason)


# Space


def storage_section(run: Run, tally: Tally) -> Section | None:
    """Bytes written, and how many there will be when an unfinished run is; None where nothing
    was written.
    """
    n_files, n_bytes = tally.files.total(), tally.bytes.total()
    if not n_files:
        return None
    numbers: dict[str, Any] = {
        "files": n_files,
        "bytes": n_bytes,
        "bytes_a_file": n_bytes / n_files,
        "by_kind": [
            {"beside": beside, "suffix": suffix, "files": n, "bytes": tally.bytes[beside, suffix]}
            for (beside, suffix), n in sorted(tally.files.items())
        ],
    }
    rows = [
        (
            f"OUT{one['beside']}",
            one["suffix"],
            one["files"],
            format_bytes(one["bytes"]),
            format_bytes(one["bytes"] / one["files"]),
        )
        for one in numbers["by_kind"]
    ]
    text = f"{count_noun(n_files, 'file')}, {format_bytes(n_bytes)}."
    if _is_open(run, tally) and tally.n_pages:
        projected = n_bytes * run.record["n_shards"] / tally.n_pages
        numbers["projected_bytes"] = projected
        text += (
            f" About {format_bytes(projected)} when the run is finished, "
            f"{format_bytes(projected - n_bytes)} more: an estimate from the {tally.n_pages:,} of "
            f"{run.record['n_shards']:,} shards that are done."
        )
    return Section(
        "storage",
        "Space",
        numbers,
        [Table("", ("in", "suffix", "files", "bytes", "each"), rows)],
        text,
    )
