"""Sections about runs: options, outcomes of the inputs, identities, failures, space."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from faceprep.core.text import count_noun, format_bytes
from faceprep.core.types import OK, SOUND_STATUSES, count_failures, join_units, split_count_name
from faceprep.pages.report.histograms import count, describe, whole_edges
from faceprep.pages.report.run_state import Run
from faceprep.pages.report.sections import Histogram, Part, Section, Table
from faceprep.pages.report.tally import Tally

_N_NAMED, _N_EXAMPLES, _N_REASONS = 10, 3, 50
_MANY_REASONS = 10_000
TAIL = (1, 2, 5, 10, 20, 50, 100)
_NUMBER = re.compile(r"\d[\d.,]*\b")


def run_section(run: Run, tally: Tally) -> Section:
    """Describe the command of a run and the outcomes of its inputs."""
    record, n_shards = run.record, run.record.get("n_shards")
    counts = {name: n for name, n in tally.by_status.items() if not split_count_name(name)[1]}
    n_inputs = sum(counts.values())
    failed = count_failures(tally.by_status)
    numbers = {
        "command": run.command,
        "faceprep": record.get("faceprep"),
        "sources": record.get("sources"),
        "options": record.get("options"),
        "shards": n_shards,
        "shards_done": tally.n_pages,
        "inputs": n_inputs,
        "ok": tally.by_status[OK],
        "failed": failed,
        "by_status": join_units(tally.by_status),
    }
    outcomes = [
        (name, n, share_of(n, n_inputs) if name in counts else "", "failure" * _is_failure(name))
        for name, n in tally.by_status.most_common()
    ]
    options = [(name, _join(value)) for name, value in (record.get("options") or {}).items()]
    settings = [
        ("sources", _join(record.get("sources") or ())),
        ("version", str(record.get("faceprep"))),
        *options,
    ]
    parts = [
        Table("Outcomes of the inputs", ("outcome", "inputs", "share", ""), outcomes),
        Table("Sources and options", ("option", "value"), settings, is_folded=True),
    ]
    text = f"{tally.by_status[OK]:,} of {n_inputs:,} inputs are ok, {failed:,} failed."
    if _is_open(run, tally):
        text += f" The run is not finished: {tally.n_pages:,} of {n_shards:,} shards are done."
    return Section("run", f"The run of {run.command}", numbers, parts, text)


def _is_failure(status: str) -> bool:
    return split_count_name(status)[0] not in SOUND_STATUSES


def _is_open(run: Run, tally: Tally) -> bool:
    """Return whether some shards of the run are not done."""
    n_shards = run.record.get("n_shards")
    return isinstance(n_shards, int) and tally.n_pages < n_shards


def share_of(n: int, total: int) -> str:
    """Format a share in per cent; empty where the total is 0."""
    return f"{n / total:.1%}" if total else ""


def _join(value: Any) -> str:
    """Format the value of an option; several values are separated by commas."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


# Images of each identity


def identities_section(
    images_of: Mapping[str, int], noun: str = "identity", plural: str = "identities"
) -> Section:
    """Describe the numbers of images of each identity by a histogram and the tails.

    `noun` and `plural` name what the images belong to.
    """
    counts = np.array(list(images_of.values()), np.int64)
    edges = whole_edges(int(counts.max(initial=1)))
    ranked = sorted(images_of.items(), key=lambda pair: (-pair[1], pair[0]))[:_N_NAMED]
    rising = sorted(images_of.items(), key=lambda pair: (pair[1], pair[0]))[:_N_NAMED]
    limits = [limit for limit in TAIL if limit < counts.max(initial=0)]
    tail = [(limit, int((counts <= limit).sum())) for limit in limits]
    numbers = {
        plural: len(counts),
        "images": int(counts.sum()),
        "per_" + noun: describe(counts) | {"edges": edges, "counts": count(counts, edges)},
        "with_at_most": {str(limit): n for limit, n in tail},
        "largest": dict(ranked),
        "smallest": dict(rising),
    }
    parts: list[Part] = [
        Histogram(
            f"Images of each {noun}",
            "images",
            centre(edges),
            {plural: count(counts, edges)},
            plural,
            is_log=edges[-1] - edges[-2] > 1,
        ),
        Table(
            "The tail",
            (f"{plural} with at most", "number", "share"),
            [(count_noun(limit, "image"), n, share_of(n, len(counts))) for limit, n in tail],
        ),
    ]
    parts += [
        Table(title, (noun, "images"), rows)
        for title, rows in (("The largest", ranked), ("The smallest", rising))
    ]
    text = f"{count_noun(int(counts.sum()), 'image')} of {count_noun(len(counts), noun, plural)}."
    return Section(plural, f"Images of each {noun}", numbers, parts, text)


def centre(edges: Sequence[int]) -> list[float]:
    """Shift bins so that whole numbers lie in their middle rather than at their edge.

    >>> centre([1, 2, 3])
    [0.5, 1.5, 2.5]
    """
    return [edge - 0.5 for edge in edges]


# Failures


def failures_section(failures: Iterable[tuple[str, str, str]]) -> Section | None:
    """Group failed inputs by reason, regardless of numbers in it, each with examples.

    Returns None where nothing failed.
    """
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for key, status, reason in failures:
        kind = (status, "other reasons")
        if len(counts) < _MANY_REASONS:
            kind = (status, kind_of_reason(reason, key))
        counts[kind] += 1
        if counts[kind] <= _N_EXAMPLES:
            examples.setdefault(kind, []).append((key, reason))
    if not counts:
        return None
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    by_status: Counter[str] = Counter()
    for (status, _), n in ranked:
        by_status[status] += n
    reasons: list[dict[str, Any]] = []
    rows: list[tuple[str, int | None, str, str]] = []
    for kind, n in ranked[:_N_REASONS]:
        named = [{"input": key, "reason": reason} for key, reason in examples[kind]]
        reasons.append({"status": kind[0], "reason": kind[1], "inputs": n, "examples": named})
        rows += _example_rows(kind[0], n, examples[kind])
    numbers = {
        "failed": counts.total(),
        "by_status": dict(by_status.most_common()),
        "reasons": reasons,
    }
    parts = [Table("By reason", ("status", "inputs", "example", "reason"), rows)]
    text = f"{count_noun(counts.total(), 'input')} failed."
    return Section("failures", "Failures", numbers, parts, text)


def kind_of_reason(reason: str, key: str) -> str:
    """Replace the numbers and the input's name in a reason, so that similar reasons are equal.

    >>> kind_of_reason("a.jpg: 12 bytes are missing", "a.jpg")
    '…: # bytes are missing'
    """
    if key:
        reason = reason.replace(key, "…")
    return _NUMBER.sub("#", reason)


def _example_rows(
    status: str, n: int, examples: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, int | None, str, str]]:
    """Yield one row per example; only the first has the status and the number of inputs."""
    (first_key, first_reason), *others = examples
    yield status, n, first_key, first_reason
    for key, reason in others:
        yield "", None, key, reason


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
    if _is_open(run, tally) and tally.n_pages:
        projected = n_bytes * run.record["n_shards"] / tally.n_pages
        numbers["projected_bytes"] = projected
        text += (
            f" About {format_bytes(projected)} when the run is finished, "
            f"{format_bytes(projected - n_bytes)} more: an estimate from the {tally.n_pages:,} of "
            f"{run.record['n_shards']:,} shards that are done."
        )
    table = Table("", ("in", "suffix", "files", "bytes", "each"), rows)
    return Section("storage", "Space", numbers, [table], text)
