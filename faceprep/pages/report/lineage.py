"""The steps that led to a set, followed from run to run through the state beside each output."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceprep.core.errors import FaceprepError
from faceprep.core.restored_job import restore_job
from faceprep.core.state_file import run_id_of
from faceprep.core.text import count_noun, list_words
from faceprep.pages.report.outcomes import Kind, Outcomes, is_failure
from faceprep.pages.report.run_state import Run, find_runs, is_work_page
from faceprep.pages.report.section_runs import count_outcome
from faceprep.pages.report.sections import Chain, Link, Section
from faceprep.tables.plan import read_plan

_MOST_STEPS, _N_REASONS = 50, 10


@dataclass(frozen=True)
class Step:
    """A run that wrote `output`, with the outcomes of its inputs."""

    run: Run
    output: Path
    outcomes: Outcomes

    @property
    def figures(self) -> str:
        """Return the figures of the command in one sentence; may be empty."""
        return figures_of(self.run, self.output)


@dataclass(frozen=True)
class End:
    """A path at which the chain begins, and the reason why it is not followed further."""

    path: Path
    reason: str


def trace(output: Path, runs: Sequence[Run], known: Sequence[Outcomes]) -> list[Step | End]:
    """Return the steps to an output in order, each after those that made its sources.

    `known` are the outcomes of `runs`. Raises SourceError for a state that is damaged.
    """
    return list(_Tracer().follow(Path(os.path.abspath(output)), runs, known))


class _Tracer:
    """A walk from a set to its sources, which visits each run and each source once."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, object]] = set()

    def follow(
        self, output: Path, runs: Sequence[Run], known: Sequence[Outcomes] = ()
    ) -> Iterator[Step | End]:
        """Yield the steps to an output; `known` are the outcomes of its runs, if they are."""
        for place, run in enumerate(runs):
            if self._is_new(output, run.record.get("id") or place):
                yield from self._sources(run)
                outcomes = known[place] if known else count_outcomes(run)
                yield Step(run, output, outcomes)

    def _is_new(self, path: Path, run_id: object) -> bool:
        mark = (str(path), run_id)
        is_new = mark not in self._seen and len(self._seen) < _MOST_STEPS
        self._seen.add(mark)
        return is_new

    def _sources(self, run: Run) -> Iterator[Step | End]:
        for path, run_id in _inputs(run):
            if run_id is None:
                reason = "not made by faceprep: the chain begins here"
            elif made := _runs_with(path, run_id):
                home = path if path.is_dir() or find_runs(path) else path.parent
                yield from self.follow(home, made)
                continue
            elif path.exists():
                reason = "it has been made again since, so the chain cannot be followed further"
            else:
                reason = "it is no longer there, so the chain cannot be followed further"
            if self._is_new(path, None):
                yield End(path, reason)


def _inputs(run: Run) -> Iterator[tuple[Path, str | None]]:
    """Yield the sources of a run, each with the id of the run that made it, if one did."""
    inputs = run.record.get("inputs")
    if not isinstance(inputs, list):  # written by a version without ids
        inputs = [{"path": str(source), "run": None} for source in run.sources]
    for each in inputs:
        if isinstance(each, dict) and isinstance(each.get("path"), str):
            yield _behind_plan(Path(each["path"]), each.get("run"))


def _behind_plan(path: Path, run_id: str | None) -> tuple[Path, str | None]:
    """Return the set that a plan judges, for a plan that lies apart from it; else the same."""
    if run_id is not None or path.suffix != ".jsonl":
        return path, run_id
    try:
        judged, _ = read_plan(path)
        source = Path(str(judged["source"]))
        return source, run_id_of(source)
    except (FaceprepError, KeyError):  # no longer a plan
        return path, None


def _runs_with(path: Path, run_id: str) -> list[Run]:
    """Return the run of this id that made `path`, or the folder of a file in its output."""
    places = [path] if path.is_dir() else [path, path.parent]
    try:
        found = [run for place in places if place.parent.is_dir() for run in find_runs(place)]
    except FaceprepError:  # the state is damaged
        return []
    return [run for run in found if run.record.get("id") == run_id][:1]


def count_outcomes(run: Run) -> Outcomes:
    """Add up the outcomes on the pages of a run."""
    outcomes = Outcomes()
    for page in run.pages():
        if is_work_page(page):
            outcomes.add(page)
    return outcomes


def figures_of(run: Run, output: Path) -> str:
    """State the figures of a finished output as its command does on the terminal; may be empty."""
    if not run.is_finished or "command" not in run.record:
        return ""
    try:
        job = restore_job(run.record, output)
        figures = job.details(output)
        return job.sentence(figures) if figures else ""
    except (FaceprepError, AttributeError, KeyError, TypeError, ValueError):  # another version's
        return ""


# The section


def lineage_section(steps: Sequence[Step | End]) -> Section:
    """Draw the chain from the first source to the set, with what each step left out and why."""
    links = [_link(step) for step in steps]
    n_steps = sum(isinstance(step, Step) for step in steps)
    numbers = {
        "steps": [_step_numbers(step) for step in steps if isinstance(step, Step)],
        "ends": [
            {"path": str(step.path), "reason": step.reason}
            for step in steps
            if isinstance(step, End)
        ],
    }
    text = f"{count_noun(n_steps, 'step')} from the first source to this output."
    return Section("lineage", "Where it comes from", numbers, [Chain(links)], text)


def _link(step: Step | End) -> Link:
    if isinstance(step, End):
        return Link(str(step.path), f"{step.reason[0].upper()}{step.reason[1:]}.")
    found = step.outcomes
    text = f"{found.n_ok:,} of {count_noun(found.n_inputs, step.run.noun)} ok."
    if len(step.run.sources) > 1:
        text = f"From {list_words(source.name for source in step.run.sources)}. {text}"
    if step.figures:
        text += f" {step.figures[0].upper()}{step.figures[1:]}."
    if not step.run.is_finished:
        text = f"Not finished. {text}"
    ranked = found.left_out.ranked(len(found.left_out.counts))
    notes = [_note(step, kind, n) for kind, n in ranked[:_N_REASONS]]
    if len(ranked) > _N_REASONS:
        notes.append(f"{sum(n for _, n in ranked[_N_REASONS:]):,} for other reasons")
    return Link(f"{step.run.command} → {step.output}", text, notes)


def _note(step: Step, kind: Kind, n: int) -> str:
    """Say how many inputs were left out for one reason."""
    count, reason = count_outcome(kind[0], n, step.run.noun), step.outcomes.left_out.wording(kind)
    return f"{count}: {reason}" if reason else count


def _step_numbers(step: Step) -> dict[str, Any]:
    found = step.outcomes
    left_out: list[Mapping[str, Any]] = [
        {"status": status, "reason": reason, "inputs": n, "failed": is_failure(status)}
        for (status, reason), n in found.left_out.ranked(_N_REASONS)
    ]
    return {
        "command": step.run.command,
        "output": str(step.output),
        "run": step.run.record.get("id"),
        "sources": [str(source) for source in step.run.sources],
        "finished": step.run.is_finished,
        "inputs": found.n_inputs,
        "ok": found.n_ok,
        "failed": found.n_failed,
        "left_out": left_out,
    }
