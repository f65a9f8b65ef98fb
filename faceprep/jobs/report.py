"""`report`: describe a run as an HTML page and as numbers."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from faceprep import __version__
from faceprep.core import registry, storage
from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.errors import FaceprepError, OptionError, SourceError
from faceprep.core.job import Job, Look
from faceprep.core.options import Values, option
from faceprep.core.os_errors import missing_source
from faceprep.core.scratch import scratch_folder
from faceprep.core.spread import spread_places
from faceprep.core.text import join_lines
from faceprep.identity.distributions import measure
from faceprep.identity.identity_table import measure_identities
from faceprep.pages.report import section_faces as faces
from faceprep.pages.report import section_matches as matches
from faceprep.pages.report import section_runs as runs
from faceprep.pages.report import section_similarity as likeness
from faceprep.pages.report import section_videos as videos
from faceprep.pages.report.crops import Crops, open_crops, open_side_crops
from faceprep.pages.report.html import Heading, write_page
from faceprep.pages.report.run_state import Run, find_runs, is_work_page
from faceprep.pages.report.section_faces import Columns
from faceprep.pages.report.section_identities import identity_section
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
Progress = Callable[[int, int], None]
_SAMPLE, _N_NAMED = 200, 3
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.[a-z]+$)")
_MOST_IDENTITIES = 30_000
"""Identities that are all compared with each other; more would take minutes."""
_MOST_COMPARED = 10_000
"""Images whose pairs are compared. This takes seconds, and four times as long for twice as many."""


@dataclass(frozen=True)
class Reported:
    """The path of the report and the names of its sections."""

    path: Path
    numbers_path: Path
    sections: tuple[Section, ...]
    failed: ClassVar[int] = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "command": "report",
            "output": str(self.path),
            "numbers": str(self.numbers_path),
            "sections": [section.name for section in self.sections],
        }

    def __str__(self) -> str:
        lines = [
            f"{section.title}: {section.text.partition('. ')[0].rstrip('.')}."
            for section in self.sections
        ]
        return join_lines([*lines, f"{self.path} and {self.numbers_path.name}"])


@dataclass(frozen=True)
class Report(Look):
    """Write a report of a run as one HTML page and as JSON.

    OUT is the output of a command: a set, a table, embeddings, the matches of search, a plan, or
    the saved --json output of verify. OUT/report.html (OUT.report.html beside a file) needs neither
    a network nor scripts. The same numbers are in a .json beside it.

    Details:

    For embeddings there is one row per identity in an .identities.csv. The page shows what is
    available: images of each identity, frames of each video, failures, faces, sharpness,
    similarity, decisions, verification, space, with plots, tables and example crops.
    """

    command: ClassVar[str] = "report"
    stopped: ClassVar[str] = "stopped; the report was not finished"

    output: Path | None = option(
        None,
        "Write the HTML page here, and the numbers beside it.  [default: OUT/report.html]",
        values=Values("FILE"),
    )
    scores: Path | None = option(
        None, "Use this table of score.  [default: a sample is measured]", values=Values("TABLE")
    )
    embeddings: Path | None = option(
        None, "Use these embeddings to show similarity.", values=Values("FILE")
    )
    verify: Path | None = option(
        None, "Include this saved --json output of verify.", values=Values("FILE")
    )

    def look(self, out: Path, progress: Progress = lambda n_done, total: None) -> Reported:
        storage.refuse_store(out)
        found_runs = find_runs(out) or find_runs(out.with_name(_SHARD.sub("", out.name)))
        if not out.exists() and not found_runs:
            raise missing_source(out)
        target = self._target(out)
        title = f"Report on {os.path.basename(os.path.abspath(out))}"
        heading = Heading(
            title, os.path.abspath(out), f"Made by faceprep {__version__}. No network, no script."
        )
        with scratch_folder() as scratch, _open_pictures(out, found_runs, scratch) as crops:
            sections = list(self._sections(out, found_runs, crops, progress))
            if not sections:
                raise SourceError(
                    "nothing to report: no run has left its notes here",
                    path=out,
                    expected="what a command of faceprep made, with its .faceprep, a plan, or a "
                    "table",
                )
            page = write_page(heading, sections, crops.encode)
        storage.write_file(target, page)
        for section in sections:
            for ending, data in section.files.items():
                storage.write_file(target.with_suffix(f".{ending}"), data)
        storage.write_file(target.with_suffix(".json"), _as_json(out, sections))
        return Reported(target, target.with_suffix(".json"), tuple(sections))

    def _target(self, out: Path) -> Path:
        target = self.output or (
            out / "report.html" if out.is_dir() else out.with_name(f"{out.name}.report.html")
        )
        if target.suffix.lower() not in (".html", ".htm"):
            raise OptionError("--output is an HTML file", expected="FILE.html", found=target.name)
        return target

    def _sections(
        self, out: Path, found_runs: Sequence[Run], crops: Crops, progress: Progress
    ) -> Iterator[Section]:
        """Yield the sections in reading order."""
        tallies = [_tally(run, out, progress) for run in found_runs]
        for run, tally in zip(found_runs, tallies, strict=True):
            yield runs.run_section(run, tally)
            if failures := runs.failures_section(run.failures()):
                yield failures
            if not _has_matches(out):
                yield from _of_tally(run, tally, out, crops.counts if len(tallies) == 1 else None)
        if _has_matches(out):
            yield matches.matches_section(partial(read_matches, out))
            return
        yield from self._of_tables(out, tallies, crops)
        yield from self._of_likeness(out, found_runs)

    def _of_tables(self, out: Path, tallies: Sequence[Tally], crops: Crops) -> Iterator[Section]:
        """Yield the sections on faces and crops."""
        table = out if out.name == FACES_TABLE else out / FACES_TABLE
        found = faces.load_faces(table) if table.is_file() else None
        if found is not None:
            yield faces.faces_section(found)
        scores = self.scores or (
            out if out.suffix == ".parquet" and out.is_file() and faces.is_scores(out) else None
        )
        if scores is not None:
            columns = faces.load_scores(scores)
            if columns.identities and not any(
                tally.images_of or tally.inputs_of for tally in tallies
            ):
                yield runs.identities_section(columns.identities)
            yield faces.crops_section(columns)
            return
        if crops.n is None or not tallies:
            paths, n_crops = _some_crops(found, tallies)
        else:
            paths, n_crops = crops.sample(_SAMPLE), crops.n
        if sample := _measure(crops, paths):
            yield faces.crops_section(sample, n_crops)

    def _of_likeness(self, out: Path, found_runs: Sequence[Run]) -> Iterator[Section]:
        """Yield the sections on pair similarity, the plan and verification."""
        if out.is_dir():
            plan = out / PLAN
        elif out.suffix == ".jsonl":
            plan = out
        else:
            plan = out.with_suffix("." + PLAN)
        judged, decisions = read_plan(plan) if plan.is_file() else ({}, iter(()))
        summary = judged.get("summary") or {}
        kept = _load_likeness(plan) or summary.get("likeness")
        given = self.embeddings or (None if kept else _embeddings_of(out, found_runs))
        embeddings = _load_sound(given) if given else None
        measured = measure(embeddings, _MOST_COMPARED) if embeddings else kept
        if measured:
            model = embeddings.model if embeddings else Model()
            usual = model.threshold if embeddings else summary.get("moved_from")
            threshold, origin = (
                summary.get("threshold", usual),
                str(summary.get("threshold_origin", model.origin)),
            )
            yield likeness.similarity_section(measured, threshold, origin)
        if embeddings and len(set(embeddings.identities)) <= _MOST_IDENTITIES:
            yield identity_section(measure_identities(embeddings))
        if judged:
            yield likeness.plan_section(judged, decisions)
        verified = self.verify or (out if out.suffix == ".json" and out.is_file() else None)
        if verified is not None:
            yield verification_section(_load_verified(verified))


def _has_matches(out: Path) -> bool:
    return out.is_file() and is_matches(out)


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
    try:
        found = json.loads(storage.read_bytes(path))
    except ValueError as error:
        raise SourceError(f"not JSON ({error})", path=path) from error
    return found if isinstance(found, dict) else {}


def _tally(run: Run, out: Path, progress: Progress) -> Tally:
    """Add up the pages of the run."""
    home = out.resolve().name if out.is_dir() and _has_siblings(run.command) else ""
    tally = Tally(home, of_videos=run.command == "extract-video")
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


def _of_tally(
    run: Run, tally: Tally, out: Path, counts_of_set: Mapping[str, int] | None
) -> Iterator[Section]:
    counted: Mapping[str, int] = tally.images_of or tally.inputs_of
    if counts_of_set and not _are_classes(counts_of_set, tally.inputs_of):
        counted = counts_of_set
    if tally.of_videos and (out / FRAMES_TABLE).is_file():
        lost = videos.load_lost_frames(out / FRAMES_TABLE, tally.videos)
        yield videos.videos_section(lost.videos.values(), lost)
    elif tally.of_videos:  # not finished, or by a version without the table
        yield videos.videos_section(tally.videos.values())
    elif counts := {name: n for name, n in counted.items() if name}:
        yield runs.identities_section(counts)
    if space := runs.storage_section(run, tally):
        yield space


def _are_classes(names: Iterable[str], inputs: Iterable[str]) -> bool:
    """Return whether the names in a set are the class numbers of named inputs, as in a .rec."""
    return are_labels(names) and not are_labels(inputs)


def _embeddings_of(out: Path, found_runs: Sequence[Run]) -> Path | None:
    """Return the embeddings that are the output itself, or that a run judged."""
    sources = [
        Path(source)
        for run in found_runs
        for source in run.record.get("sources") or ()
        if isinstance(source, str)
    ]
    return next((path for path in (out, *sources) if _has_embeddings(path)), None)


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


def _load_verified(path: Path) -> Mapping[str, Any]:
    try:
        results = json.loads(storage.read_bytes(path))
    except ValueError:
        results = None
    if not isinstance(results, dict) or not isinstance(results.get("results"), list):
        raise SourceError(
            "not what verify --json prints", path=path, expected='one object with "results"'
        )
    return results


def _as_json(out: Path, sections: list[Section]) -> bytes:
    """Return sections by name; those of several runs form a list."""
    numbers: dict[str, Any] = {
        "command": "report",
        "faceprep": __version__,
        "output": os.path.abspath(out),
    }
    for section in sections:
        same = [each.numbers for each in sections if each.name == section.name]
        numbers[section.name] = same if len(same) > 1 else same[0]
    return json.dumps(numbers, indent=1).encode() + b"\n"


# Crops


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
