"""The summary of a run on the terminal: counts in their units, the output, the first failures."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from faceprep.cli.terminal_text import show_error
from faceprep.core.job import Job
from faceprep.core.text import (
    count_noun,
    format_bytes,
    format_duration,
    join_lines,
    list_words,
    on_one_line,
)
from faceprep.core.types import OK, Share, Summary
from faceprep.tables.ledger import first_failures

_N_NAMED = 3
_NOUNS = {"img": "image"}
"""Units of `--json` that are abbreviations, in full."""
_SHARED_DETAILS = ("failures", "done_before", "skipped")
"""Details that every run has; the others are the job's own figures."""


def describe_summary(summary: Summary, job: Job, share: Share | None = None) -> str:
    """Describe a run: the inputs, those that are not ok, and the job's own sentence.

    That of a share names the command that joins the run.
    """
    preposition = "in"
    if job.writes_file(Path(str(summary.output))):
        preposition = "for"  # there may be several files, named after the output or beside it
    time_taken = f"{format_duration(summary.seconds)}{_rate(summary)}"
    line = (
        f"{summary.ok:,} of {_count_inputs(summary)} ok, {count_noun(summary.outputs, 'file')} "
        f"{preposition} {_name_places(summary, job)} ({time_taken})"
    )
    lines = [line, *_describe_others(summary)]
    if skipped := summary.details.get("skipped"):
        lines.append(f"skipped files: {_list_counts(skipped)}")
    details = summary.details.items()
    figures = {name: value for name, value in details if name not in _SHARED_DETAILS}
    if figures and (sentence := job.sentence(figures)):
        lines.append(sentence)
    if share:
        finish = shlex.join(["faceprep", "finish", str(summary.output)])
        lines.append(f"part {share.number} of {share.n}; when all parts are done, run {finish}")
    return join_lines(lines)


def describe_preview(summary: Summary) -> str:
    """Describe what a run would do."""
    details = summary.details
    left_out = details.get("left_out", {})
    inputs = _count_inputs(summary)
    if left_out:
        inputs = f"{summary.inputs - sum(left_out.values()):,} of {inputs}"
    line = (
        f"dry run: {inputs} in {count_noun(details['shards'], 'shard')}, about "
        f"{count_noun(details['planned_files'], 'file')} and "
        f"{format_bytes(details['planned_bytes'])} for {summary.output}; nothing was written"
    )
    lines = [line]
    if left_out:
        lines.append(f"left out: {_list_counts(left_out)}")
    if skipped := details.get("skipped"):
        lines.append(f"skipped files: {_list_counts(skipped)}")
    return join_lines(lines)


def _count_inputs(summary: Summary) -> str:
    """Name what a run counts, such as `275 frames`."""
    return count_noun(summary.inputs, noun_of(summary.unit or "input"))


def noun_of(unit: str) -> str:
    """Return the unit that a run counts as a word.

    >>> noun_of("img"), noun_of("frame")
    ('image', 'frame')
    """
    return _NOUNS.get(unit, unit)


def _describe_others(summary: Summary) -> list[str]:
    """Describe what is not ok: a line for the inputs, and one for each other unit."""
    inputs = Counter(summary.by_status)
    for by_status in summary.others.values():
        inputs.subtract(by_status)
    del inputs[OK]
    groups = {"the others": +inputs}
    groups |= {f"{unit}s": Counter(found) for unit, found in summary.others.items()}
    return [f"{name}: {_list_counts(counts)}" for name, counts in groups.items() if counts]


def _list_counts(counts: Mapping[str, int]) -> str:
    """List counts, such as `3 no_face, 1 undecodable`."""
    return ", ".join(f"{n:,} {name}" for name, n in counts.items())


def _name_places(summary: Summary, job: Job) -> str:
    """Name the output and every folder beside it that the run wrote to."""
    output = str(summary.output)
    if output == ".":
        output = os.getcwd()
    beside = [output + ending for ending in job.siblings]
    return list_words([output, *filter(os.path.isdir, beside)])


def _rate(summary: Summary) -> str:
    n_done = summary.inputs - summary.details["done_before"]
    if not n_done or not summary.seconds:
        return ""
    rate = n_done / summary.seconds
    if rate >= 1:
        return f", {rate:,.0f} a second"
    return f", {rate:.1g} a second"


def print_failures(path: str) -> None:
    """Print the first failures and the path of their list on stderr."""
    failures, n_failures = first_failures(path, _N_NAMED)
    for key, status, reason in failures:
        name, reason = on_one_line(key), on_one_line(reason)
        if name not in reason:
            reason = f"{name}: {reason}"
        show_error(f"{on_one_line(status)}: {reason}")
    rest = "named"
    if n_failures > _N_NAMED:
        rest = f"{n_failures - _N_NAMED:,} more"
    show_error(on_one_line(f"{rest} in {path}"))
