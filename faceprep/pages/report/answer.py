"""The answer at the top of a report: what was written, what failed, and whether the run ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from faceprep.core.text import count_noun, format_bytes
from faceprep.pages.report.lineage import figures_of
from faceprep.pages.report.outcomes import count_failed_units
from faceprep.pages.report.run_state import Run
from faceprep.pages.report.section_runs import describe_failures, is_open, so_far
from faceprep.pages.report.sections import Figures, Section
from faceprep.pages.report.tally import Tally

ANSWER = "answer"
_LONG = 70
"""Characters of the first sentence that are read at a glance."""


def run_answer(
    run: Run, tally: Tally, out: Path, counts_of_set: Mapping[str, int] | None
) -> Section:
    """Answer for a run; `counts_of_set` are the images of each identity in an output's file."""
    counted = {name: n for name, n in (counts_of_set or tally.images_of).items() if name}
    failures = describe_failures(tally.outcomes.by_status)
    text = f"{_describe_result(tally, counted, out)}; {failures}."
    figures = _brief(figures_of(run, out))
    if figures:
        text = f"{figures}. {text}"
    text = so_far(text, run, tally)
    numbers = {"text": text, "finished": not is_open(run, tally)}
    parts = [Figures(_figures(tally, counted))]
    return Section(ANSWER, text, numbers, parts, _warn(run, tally))


def joint_answer(runs: Sequence[Run], tallies: Sequence[Tally]) -> Section:
    """Answer for several runs that share an output."""
    by_status: Counter[str] = Counter()
    for tally in tallies:
        by_status.update(tally.outcomes.by_status)
    n_ok, n_inputs = (
        sum(getattr(tally.outcomes, name) for tally in tallies) for name in ("n_ok", "n_inputs")
    )
    text = (
        f"{len(runs):,} runs: {n_ok:,} of {count_noun(n_inputs, 'input is', 'inputs are')} ok; "
        f"{describe_failures(by_status)}."
    )
    warnings = [_warn(run, tally) for run, tally in zip(runs, tallies, strict=True)]
    open_runs = [warning for warning in warnings if warning]
    return Section(
        ANSWER, text, {"text": text, "finished": not open_runs}, (), "".join(open_runs[:1])
    )


def plain_answer(sections: Sequence[Section]) -> Section:
    """Answer for an output without a recorded run: the first sentence of the first section."""
    text = f"{sections[0].text.partition('. ')[0].rstrip('.')}."
    return Section(ANSWER, text, {"text": text, "finished": True})


def _describe_result(tally: Tally, counted: Mapping[str, int], out: Path) -> str:
    found = tally.outcomes
    if tally.of_videos:
        n_videos = count_noun(len(tally.videos), "video")
        return f"{found.n_ok:,} of {count_noun(found.n_inputs, 'frame')} of {n_videos} have a face"
    result = f"{found.n_ok:,} of {count_noun(found.n_inputs, 'input is', 'inputs are')} ok"
    if not counted:
        return result
    n_images = sum(counted.values())
    n_identities = count_noun(len(counted), "identity", "identities")
    images = f"{count_noun(n_images, 'image')} of {n_identities}"
    if n_images < found.n_ok and not out.is_dir():  # other files have the rest
        return f"{result}, and {out.name} has {images}"
    return f"{images} written"


def _figures(tally: Tally, counted: Mapping[str, int]) -> list[tuple[str, str]]:
    found = tally.outcomes
    failed = count_failed_units(found.by_status)
    left_out = found.n_inputs - found.n_ok - failed[""]
    figures = [("inputs", found.n_inputs), ("ok", found.n_ok)]
    if tally.of_videos:
        figures = [("videos", len(tally.videos)), ("frames", found.n_inputs), ("ok", found.n_ok)]
    if left_out:
        figures.append(("left out", left_out))
    if failed[""] or not failed:
        figures.append(("failed", failed[""]))
    figures += [(f"{unit}s failed", n) for unit, n in failed.items() if unit]
    if counted and not tally.of_videos:
        figures.append(("identities", len(counted)))
    shown = [(name, f"{n:,}") for name, n in figures]
    if tally.files:
        shown.append(("written", format_bytes(tally.bytes.total())))
    return shown


def _warn(run: Run, tally: Tally) -> str:
    """State that a run has not finished; empty where it has."""
    if not is_open(run, tally):
        return ""
    shards = count_noun(run.record["n_shards"], "shard is", "shards are")
    return (
        f"This run is not finished: {tally.n_pages:,} of {shards} done. It was stopped, or it is "
        "still running. The numbers cover only the part that is done. Start the same command again "
        "to resume it."
    )


def _brief(figures: str) -> str:
    """Shorten the sentence of a command to its first clause.

    >>> _brief("9 images: 2 moved, 0 dropped, " + "by a rule that is " + "long " * 9 + "; 3 more")
    '9 images: 2 moved, 0 dropped'
    >>> _brief("found 3 of 4 people: " + "by a rule that is " + "long " * 9)
    'Found 3 of 4 people'
    """
    clause = figures.partition("; ")[0]
    if len(clause) > _LONG:
        start = clause[:_LONG]
        clause = start.rpartition(", ")[0] or start.rpartition(": ")[0]
    return clause[:1].upper() + clause[1:]
