"""Sections about runs: options, outcomes of the inputs, identities, space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from faceprep.core.options import typed_name
from faceprep.core.text import count_noun, format_bytes, list_words
from faceprep.core.types import OK, join_units, split_count_name
from faceprep.pages.report.histograms import count, describe, whole_edges
from faceprep.pages.report.outcomes import count_failed_units, is_failed_input, is_failure
from faceprep.pages.report.run_state import Run
from faceprep.pages.report.sections import Histogram, Part, Section, Table
from faceprep.pages.report.tally import Tally

_N_NAMED = 10
TAIL = (1, 2, 5, 10, 20, 50, 100)


def run_section(run: Run, tally: Tally) -> Section:
    """Describe the command of a run and the outcomes of its inputs."""
    record, found = run.record, tally.outcomes
    n_inputs = found.n_inputs
    numbers = {
        "command": run.command,
        "faceprep": record.get("faceprep"),
        "sources": record.get("sources"),
        "options": record.get("options"),
        "shards": record.get("n_shards"),
        "shards_done": tally.n_pages,
        "finished": not is_open(run, tally),
        "inputs": n_inputs,
        "ok": found.n_ok,
        "failed": found.n_failed,
        "by_status": join_units(found.by_status),
    }
    outcomes = [
        (_title(name), n, share_of(n, n_inputs) if name in found.inputs else "", _verdict(name))
        for name, n in found.by_status.most_common()
    ]
    given = record.get("options") or {}
    options = [(typed_name(name), _describe_value(value)) for name, value in given.items()]
    settings = [
        ("sources", _describe_value(record.get("sources") or ())),
        ("version", str(record.get("faceprep"))),
        *options,
    ]
    parts = [
        Table("Outcomes", ("outcome", "count", "share", "meaning"), outcomes),
        Table("Sources and options", ("option", "value"), settings),
    ]
    text = (
        f"{found.n_ok:,} of {count_noun(n_inputs, f'{run.noun} is', f'{run.noun}s are')} ok; "
        f"{describe_failures(found.by_status)}."
    )
    title = f"The run of {run.command}"
    return Section("run", title, numbers, parts, so_far(text, run, tally), is_detail=True)


def _title(name: str) -> str:
    """Name an outcome, after its unit where it is not that of an input.

    >>> _title("ok"), _title("cut_off of a video")
    ('ok', 'video: cut_off')
    """
    status, unit = split_count_name(name)
    return f"{unit}: {status}" if unit else status


def _verdict(name: str) -> str:
    """Say what an outcome means for its input."""
    if split_count_name(name)[0] == OK:
        return "used"
    return "failure" if is_failure(name) else "left out"


def describe_failures(by_status: Mapping[str, int]) -> str:
    """Describe the failures of the inputs by status, and those of other units by their number.

    >>> describe_failures({"ok": 9, "undecodable": 2, "cut_off of a video": 1})
    '2 failed: undecodable; 1 video failed'
    >>> describe_failures({"ok": 9, "no_face": 1}), describe_failures({"cut_off": 2, "empty": 1})
    ('none failed', '3 failed: 2 cut off, 1 empty')
    """
    units = count_failed_units(by_status)
    texts, n_inputs = [], units.pop("", 0)
    if n_inputs:
        found = [(name, n) for name, n in by_status.items() if n and is_failed_input(name)]
        words = [f"{n:,} {words_of(name)}" for name, n in Counter(dict(found)).most_common()]
        if len(found) == 1:
            words = [words_of(found[0][0])]
        texts.append(f"{n_inputs:,} failed: {', '.join(words)}")
    if units:
        named = [count_noun(n, unit) for unit, n in units.items()]
        texts.append(f"{list_words(named)} failed")
    return "; ".join(texts) or "none failed"


def count_outcome(name: str, n: int, noun: str) -> str:
    """Format a count of outcomes in words; `noun` is the unit of those that name none.

    >>> count_outcome("no_face", 3, "input"), count_outcome("cut_off of a video", 2, "frame")
    ('3 inputs (no face)', '2 videos (cut off)')
    """
    status, unit = split_count_name(name)
    return f"{count_noun(n, unit or noun)} ({words_of(status)})"


def words_of(status: str) -> str:
    """Return a status in words, such as `no face`."""
    return status.replace("_", " ")


def is_open(run: Run, tally: Tally) -> bool:
    """Return whether the run has not finished: killed, stopped, or still running."""
    n_shards = run.record.get("n_shards")
    return isinstance(n_shards, int) and (tally.n_pages < n_shards or not run.is_finished)


def so_far(text: str, run: Run, tally: Tally) -> str:
    """Return a sentence about a run, which says so where the run is open."""
    return f"So far: {text}" if is_open(run, tally) else text


def share_of(n: int, total: int) -> str:
    """Format a share in per cent; empty where the total is 0."""
    return f"{n / total:.1%}" if total else ""


def _describe_value(value: Any) -> str:
    """Format the value of an option; several values are separated by commas."""
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


# Images of each identity


def identities_section(images_of: Mapping[str, int]) -> Section:
    """Describe the numbers of images of each identity by a histogram and the tails."""
    counts = np.array(list(images_of.values()), np.int64)
    edges = whole_edges(int(counts.max(initial=1)))
    ranked = sorted(images_of.items(), key=lambda pair: (-pair[1], pair[0]))[:_N_NAMED]
    rising = sorted(images_of.items(), key=lambda pair: (pair[1], pair[0]))[:_N_NAMED]
    limits = [limit for limit in TAIL if limit < counts.max(initial=0)]
    tail = [(limit, int((counts <= limit).sum())) for limit in limits]
    numbers = {
        "identities": len(counts),
        "images": int(counts.sum()),
        "per_identity": describe(counts) | {"edges": edges, "counts": count(counts, edges)},
        "with_at_most": {str(limit): n for limit, n in tail},
        "largest": dict(ranked),
        "smallest": dict(rising),
    }
    title = "Images of each identity"
    parts: list[Part] = [
        Histogram(
            title,
            "images",
            centre(edges),
            {"identities": count(counts, edges)},
            "identities",
            is_log=edges[-1] - edges[-2] > 1,
        ),
        Table(
            "Small identities",
            ("identities with at most", "number", "share"),
            [(count_noun(limit, "image"), n, share_of(n, len(counts))) for limit, n in tail],
        ),
    ]
    parts += [
        Table(heading, ("identity", "images"), rows)
        for heading, rows in (("The largest", ranked), ("The smallest", rising))
    ]
    identities = count_noun(len(counts), "identity", "identities")
    text = f"{count_noun(int(counts.sum()), 'image')} of {identities}."
    return Section("identities", title, numbers, parts, text, is_detail=True)


def centre(edges: Sequence[int]) -> list[float]:
    """Shift bins so that whole numbers lie in their middle rather than at their edge.

    >>> centre([1, 2, 3])
    [0.5, 1.5, 2.5]
    """
    return [edge - 0.5 for edge in edges]


# Space


def storage_section(run: Run, tally: Tally) -> Section | None:
    """Describe the bytes written, and estimate those of the finished run.

    Returns None where nothing was written.
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
    if is_open(run, tally) and tally.n_pages:
        projected = n_bytes * run.record["n_shards"] / tally.n_pages
        numbers["projected_bytes"] = projected
        text += (
            f" About {format_bytes(projected)} when the run is finished, "
            f"{format_bytes(projected - n_bytes)} more: an estimate from the {tally.n_pages:,} of "
            f"{run.record['n_shards']:,} shards that are done."
        )
    table = Table("", ("in", "suffix", "files", "bytes", "each"), rows)
    return Section("storage", "Space", numbers, [table], text, is_detail=True)
