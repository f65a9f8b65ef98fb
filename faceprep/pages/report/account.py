"""The account of one output: which sections a report has about it, and in which order."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from faceprep.core import registry
from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.errors import FaceprepError, SourceError
from faceprep.core.job import Job
from faceprep.core.slow_step import Progress
from faceprep.core.spread import spread_places
from faceprep.identity.distributions import measure
from faceprep.identity.identity_table import measure_identities
from faceprep.pages.report import section_faces as faces
from faceprep.pages.report import section_matches as matches
from faceprep.pages.report import section_runs as runs
from faceprep.pages.report import section_similarity as likeness
from faceprep.pages.report import section_videos as videos
from faceprep.pages.report.answer import joint_answer, plain_answer, run_answer
from faceprep.pages.report.checked_json import load_likeness, load_verified, summary_of
from faceprep.pages.report.crops import Crops, open_crops, open_side_crops, warn_of_other_names
from faceprep.pages.report.input_pictures import InputPictures
from faceprep.pages.report.lineage import End, Step, lineage_section, trace
from faceprep.pages.report.run_state import Run, is_work_page
from faceprep.pages.report.section_decisions import decision_sections
from faceprep.pages.report.section_faces import Columns
from faceprep.pages.report.section_identities import identity_section
from faceprep.pages.report.section_losses import failures_section, left_out_section, notes_section
from faceprep.pages.report.section_marks import marks_section
from faceprep.pages.report.section_verification import verification_section
from faceprep.pages.report.sections import Section
from faceprep.pages.report.tally import Tally
from faceprep.sets.set_writer import are_labels
from faceprep.steps.embedded_sets import check_embeddings
from faceprep.tables.embeddings import is_embeddings, load_embeddings
from faceprep.tables.faces import FACES_TABLE
from faceprep.tables.frames import FRAMES_TABLE
from faceprep.tables.matches import is_matches, read_matches
from faceprep.tables.plan import LIKENESS, PLAN, read_plan
from faceprep.vision.quality import MEASURES, measure_crop

log = logging.getLogger("faceprep")
_SAMPLE, _N_NAMED = 200, 3
_MOST_IDENTITIES = 30_000
"""Identities that are all compared with each other; more would take minutes."""
_MOST_COMPARED = 10_000
"""Images whose pairs are compared. This takes seconds, and four times as long for twice as many."""


class Extras(NamedTuple):
    """Files that a report may use besides the output: scores, embeddings, a result of verify."""

    scores: Path | None = None
    embeddings: Path | None = None
    verify: Path | None = None


@dataclass(frozen=True)
class Account:
    """All that a report says about one output; the first section is the answer."""

    output: Path
    sections: Sequence[Section]
    steps: Sequence[Step | End]
    tallies: Sequence[Tally]


class Accountant:
    """A reader of one output and of the runs that made it. Use it as a context.

    `crops` are the images of the output. Sets are indexed in `scratch`.
    """

    def __init__(self, out: Path, found_runs: Sequence[Run], extras: Extras, scratch: Path) -> None:
        self._out, self._runs, self._extras = out, found_runs, extras
        self._scratch = scratch
        self._stack = ExitStack()

    def __enter__(self) -> Accountant:
        pictures = _open_pictures(self._out, self._runs, self._scratch)
        self.crops: Crops = self._stack.enter_context(pictures)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def account(self, progress: Progress) -> Account:
        """Return the account. Raises SourceError where there is nothing to report."""
        tallies = [_tally(run, self._out, progress) for run in self._runs]
        steps = trace(self._out, self._runs, [tally.outcomes for tally in tallies])
        sections = list(self._sections(tallies, steps))
        if not sections:
            raise SourceError(
                "nothing to report: no faceprep run is recorded here",
                path=self._out,
                expected="the output of a faceprep command, with its .faceprep, a plan, or a table",
            )
        if len(tallies) > 1:
            answer = joint_answer(self._runs, tallies)
        elif tallies and not _has_matches(self._out):
            counts = self._counts(tallies)
            answer = run_answer(self._runs[0], tallies[0], self._out, counts)
        else:
            answer = plain_answer(sections)
        return Account(self._out, [answer, *sections], steps, tallies)

    def _sections(self, tallies: Sequence[Tally], steps: Sequence[Step | End]) -> Iterator[Section]:
        """Yield the sections in reading order: answers first, details later."""
        found = [*self._losses(tallies), *self._decisions(), *self._details(tallies)]
        found += self._marks(steps)
        yield from (section for section in found if not section.is_detail)
        if any(isinstance(step, Step) for step in steps):
            yield lineage_section(steps)
        yield from (section for section in found if section.is_detail)

    def _counts(self, tallies: Sequence[Tally]) -> Mapping[str, int] | None:
        """Return the images of each identity in an output that is a file of one run."""
        counts = self.crops.counts
        if not counts or len(tallies) != 1 or _are_classes(counts, tallies[0].inputs_of):
            return None
        return counts

    def _losses(self, tallies: Sequence[Tally]) -> Iterator[Section]:
        for number, (run, tally) in enumerate(zip(self._runs, tallies, strict=True)):
            with InputPictures(run, self._scratch / f"inputs-{number}") as pictures:
                if failures := failures_section(run.failures(), pictures):
                    yield failures
                if tally.of_videos:
                    yield self._of_videos(tally, pictures)
                elif left_out := left_out_section(tally.outcomes.sound_reasons(), pictures):
                    yield left_out
                if notes := notes_section(tally.outcomes.notes, pictures):
                    yield notes

    def _of_videos(self, tally: Tally, pictures: InputPictures) -> Section:
        table = self._out / FRAMES_TABLE
        if not table.is_file():  # the run is unfinished, or older than the table
            return videos.videos_section(tally.videos.values())
        lost = videos.load_lost_frames(table, tally.videos)
        return videos.videos_section(lost.videos.values(), lost, pictures)

    def _decisions(self) -> Iterator[Section]:
        """Yield the sections with pictures of decisions."""
        plan = _plan_of(self._out, self._runs)
        if plan.is_file():
            yield from decision_sections(*read_plan(plan), self._scratch / "decisions")

    def _marks(self, steps: Sequence[Step | End]) -> Iterator[Section]:
        """Yield the section with faces drawn on the photos of the first step with faces."""
        table = _faces_table(self._out)
        made = [step for step in steps if isinstance(step, Step)]
        maker = next((step for step in made if _faces_table(step.output).is_file()), None)
        if table.is_file() and maker is not None:
            with InputPictures(maker.run, self._scratch / "photos") as pictures:
                if section := marks_section(table, pictures):
                    yield section

    def _details(self, tallies: Sequence[Tally]) -> Iterator[Section]:
        if _has_matches(self._out):
            yield matches.matches_section(partial(read_matches, self._out))
        else:
            yield from self._of_identities(tallies)
            yield from self._of_tables(tallies)
            yield from self._of_likeness()
        for run, tally in zip(self._runs, tallies, strict=True):
            if space := runs.storage_section(run, tally):
                yield space
            yield runs.run_section(run, tally)

    def _of_identities(self, tallies: Sequence[Tally]) -> Iterator[Section]:
        for tally in tallies:
            counted = self._counts(tallies) or tally.images_of or tally.inputs_of
            counts = {name: n for name, n in counted.items() if name}
            if counts and not tally.of_videos:
                yield runs.identities_section(counts)

    def _of_tables(self, tallies: Sequence[Tally]) -> Iterator[Section]:
        """Yield the sections on faces and crops."""
        out, table = self._out, _faces_table(self._out)
        found = faces.load_faces(table) if table.is_file() else None
        if found is not None:
            yield faces.faces_section(found)
        scores = self._extras.scores or (out if _is_scores(out) else None)
        if scores is not None:
            columns = faces.load_scores(scores)
            if self._extras.scores:
                warn_of_other_names(scores, columns.paths, self.crops, self._runs)
            are_shown = any(tally.images_of or tally.inputs_of for tally in tallies)
            if columns.identities and not are_shown:
                yield runs.identities_section(columns.identities)
            yield faces.crops_section(columns)
            return
        if self.crops.n is None or not tallies:
            paths, n_crops = _some_crops(found, tallies)
        else:
            paths, n_crops = self.crops.sample(_SAMPLE), self.crops.n
        if sample := _measure(self.crops, paths):
            yield faces.crops_section(sample, n_crops)

    def _of_likeness(self) -> Iterator[Section]:
        """Yield the sections on pair similarity, the plan and verification."""
        out, plan = self._out, _plan_of(self._out, self._runs)
        judged, decisions = read_plan(plan) if plan.is_file() else ({}, iter(()))
        yield from self._of_similarity(plan, summary_of(plan, judged))
        if judged:
            yield likeness.plan_section(judged, decisions)
        verified = self._extras.verify or (out if _is_json(out) else None)
        if verified is not None:
            yield verification_section(load_verified(verified))

    def _of_similarity(self, plan: Path, summary: Mapping[str, Any]) -> Iterator[Section]:
        """Yield the similarity that the plan's command measured, or else that of the embeddings.

        Embeddings that were asked for are measured in either case.
        """
        measured = _load_likeness(plan) or summary.get("likeness")
        usual, origin = summary.get("moved_from"), Model().origin
        given = self._extras.embeddings
        if given is None and not measured:
            given = _embeddings_of(self._out, self._runs)
        embeddings = _load_sound(given) if given else None
        if embeddings and (table := self._extras.embeddings):
            warn_of_other_names(table, embeddings.keys, self.crops, self._runs)
        if embeddings:
            measured = measure(embeddings, _MOST_COMPARED)
            usual, origin = embeddings.model.threshold, embeddings.model.origin
        if measured:
            threshold = summary.get("threshold", usual)
            origin = str(summary.get("threshold_origin", origin))
            yield likeness.similarity_section(measured, threshold, origin)
        if embeddings and len(set(embeddings.identities)) <= _MOST_IDENTITIES:
            yield identity_section(measure_identities(embeddings))


def _is_json(out: Path) -> bool:
    return out.suffix == ".json" and out.is_file()


def _is_scores(out: Path) -> bool:
    return out.suffix == ".parquet" and out.is_file() and faces.is_scores(out)


def _has_matches(out: Path) -> bool:
    return out.is_file() and is_matches(out)


def _faces_table(out: Path) -> Path:
    return out if out.name == FACES_TABLE else out / FACES_TABLE


def _plan_of(out: Path, found_runs: Sequence[Run]) -> Path:
    """Return the path of the plan of an output, whether it exists or not."""
    if out.is_dir() and any(run.command == "apply" for run in found_runs):
        return next((path for run in found_runs for path in run.sources), out / PLAN)
    if out.is_dir():
        return out / PLAN
    if out.suffix == ".jsonl":
        return out
    return out.with_suffix("." + PLAN)


def _open_pictures(
    out: Path, found_runs: Sequence[Run], scratch: Path
) -> AbstractContextManager[Crops]:
    """Open the crops of an output; a table of search has those of the two sets it compares."""
    if _has_matches(out):
        return open_side_crops(found_runs, (matches.PROBE, matches.GALLERY), scratch)
    return open_crops(out, found_runs, scratch)


def _load_likeness(plan: Path) -> Mapping[str, Any]:
    """Return the likeness that a command wrote beside its plan; empty without it."""
    path = plan.with_name(plan.name.replace(PLAN, LIKENESS))
    if path == plan or not path.is_file():
        return {}
    return load_likeness(path)


def _tally(run: Run, out: Path, progress: Progress) -> Tally:
    """Add up the pages of the run."""
    home = out.resolve().name if out.is_dir() and _has_siblings(run.command) else ""
    tally = Tally(home, of_videos=run.is_of_videos)
    total = len(run.shard_ids())
    for number, page in enumerate(run.pages(), 1):
        progress(number, total)
        if is_work_page(page):
            tally.add(page)
        else:
            tally.add_outputs(page)
    return tally


def _has_siblings(command: str) -> bool:
    """Return whether the command writes folders beside its output.

    Ledger names then start one folder above.
    """
    if command not in registry.COMMANDS:
        return False
    job = registry.load(registry.COMMANDS, command)
    return issubclass(job, Job) and bool(job.siblings)


def _are_classes(names: Iterable[str], inputs: Iterable[str]) -> bool:
    """Return whether the names in a set are the class numbers of named inputs, as in a .rec."""
    return are_labels(names) and not are_labels(inputs)


def _embeddings_of(out: Path, found_runs: Sequence[Run]) -> Path | None:
    """Return the embeddings that are the output itself, or that a run judged.

    Raises SourceError where the output is too damaged to tell.
    """
    if is_embeddings(out):
        return out
    sources = [source for run in found_runs for source in run.sources]
    return next(filter(_has_embeddings, sources), None)


def _has_embeddings(path: Path) -> bool:
    try:
        return is_embeddings(path)
    except FaceprepError:
        return False


def _load_sound(path: Path) -> Embeddings:
    """Load the embeddings that can be compared; the log names the others."""
    loaded = check_embeddings(load_embeddings(path))
    for outcome in loaded.left_out[:_N_NAMED]:
        log.warning("%s: %s: %s", path, outcome.key, outcome.reason)
    if len(loaded.left_out) > _N_NAMED:
        log.warning("%s: %s more", path, f"{len(loaded.left_out) - _N_NAMED:,}")
    return loaded.embeddings


def _some_crops(found: Columns | None, tallies: Sequence[Tally]) -> tuple[list[str], int]:
    """Return (evenly spaced crops, their total number), from the table of faces or the written
    files.
    """
    if found is not None:
        rows = np.flatnonzero(found.is_shown())
        chosen = rows[spread_places(len(rows), _SAMPLE)]
        return found.paths_of(chosen.tolist()), len(rows)
    samples = [path for tally in tallies for path in tally.samples]
    places = spread_places(len(samples), _SAMPLE).tolist()
    return [samples[place] for place in places], sum(tally.images_of.total() for tally in tallies)


def _measure(crops: Crops, paths: Sequence[str]) -> Columns | None:
    """Measure sharpness and light of crops; None if none can be read."""
    measured = {
        path: measure_crop(pixels) for path in paths if (pixels := crops.read(path)) is not None
    }
    if not measured:
        return None
    numbers = {
        name: np.array([one[name] for one in measured.values()], np.float64) for name in MEASURES
    }
    return Columns(numbers, pa.chunked_array([pa.array(list(measured), pa.string())]))
