"""`apply`: carry out a plan, edited or not."""

from __future__ import annotations

import hashlib
import logging
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from faceprep.core import storage
from faceprep.core.errors import OutputError, SourceError, Unconfirmed
from faceprep.core.job import Job
from faceprep.core.output_tree import is_inside, refuse_overlap
from faceprep.core.paths import exists, full_path, is_file, is_full, join, real_path
from faceprep.core.state_file import sets_behind
from faceprep.core.text import count_noun
from faceprep.core.types import (
    ACCEPTED,
    RESTORE,
    Decision,
    Outcome,
    Request,
    Shard,
    Sink,
    Stage,
    Work,
)
from faceprep.core.urls import url_of
from faceprep.sets.containers import kind_of
from faceprep.sets.folder import FolderSet
from faceprep.steps.list_options import folder_of_names, folder_of_origin
from faceprep.steps.listed_set import ListedSet, find_paths, list_source
from faceprep.steps.place_images import (
    PLACE,
    PlacingOptions,
    check_fingerprint,
    choose_target,
    finish_placing,
    output_files,
    place_rows,
    place_shards,
    plan_path,
    size_placed,
    warn_of_empty,
    write_rows,
)
from faceprep.steps.placed_samples import ORIGIN
from faceprep.steps.resolve_plan import resolve
from faceprep.steps.undo_plan import evidence_of
from faceprep.tables.embeddings import is_embeddings
from faceprep.tables.plan import UNDO, apply_command, plan_of, read_plan, refuse_output
from faceprep.tables.verdicts import refuse_open_review

log = logging.getLogger("faceprep")
_ROWS = "rows-"
_LOOKED_FOR = 100
"""Images of a set that are looked for in a folder to see whether it is a copy of the set."""


@dataclass(frozen=True)
class Apply(PlacingOptions, Job):
    """Apply a plan, edited or not.

    PLAN is a plan of merge-identities, clean-identities, exclude-people, dedupe or score. Decisions
    with the verdict accepted, or without a verdict, are carried out. DST gets the images, bytes
    untouched, each where the plan puts it; its suffix selects the container. undo.jsonl is a plan
    that reverses this one. A plan whose set has changed since is refused. You must confirm a
    plan that restores images from a set that is not the source of its own set, or that is about a
    set made by another user.

    Details:

    A plan has one decision on each line. DST is a folder where it has no suffix, else a .rec, .tar,
    .tfrecord or .parquet. Images keep their names. Where two would collide in one identity, the
    name of the old identity is put in front. A faces.parquet beside the images is carried along.
    """

    command: ClassVar[str] = "apply"
    may_ask: ClassVar[bool] = True

    def check_places(self, request: Request) -> None:
        """Refuse an output that is the plan itself, or the folder of the plan."""
        given, output = request.sources[0], request.output
        plan = plan_of(given)
        if is_file(plan) and real_path(plan.parent) == real_path(output):
            raise OutputError(
                "holds the plan",
                path=output,
                expected="a new folder",
                remedy=f"Run {apply_command(plan)}.",
            )
        refuse_output(given, f"faceprep apply {{plan}} {shlex.quote(str(output))}")

    def plan(self, request: Request, scratch: Path) -> Work:
        plan = request.sources[0]
        refuse_open_review(plan)
        header, found = read_plan(plan)
        decisions = list(found)
        source = _source_of(plan, header)
        refuse_overlap(source, request.output, [request.output])
        base = folder_of_names(header)
        listed = list_source(source, scratch, may_be_empty=True, relative_to=base)
        if "origin" in header:
            _refuse_copied_set(plan, source, listed)
        if "fingerprint" in header:
            check_fingerprint(plan, header, source, listed.state)
        elif "origin" not in header:  # the undo plan of a container is written before its file
            log.warning(
                "%s does not say in what state it expects %s, so later changes are not noticed",
                plan,
                source,
            )
        destinations = resolve(
            header, decisions, listed.listing, os.fspath(plan), listed.is_folder, listed.order
        )
        warn_of_empty(destinations, decisions)
        origin = _check_origin(plan, header, decisions, scratch)
        if origin:
            refuse_overlap(origin, request.output, [request.output])
        if origin and not (request.is_confirmed or request.joins):
            _refuse_strange_origin(plan, source, origin, decisions)
        n_rows = min(len(destinations), request.limit or len(destinations))
        target = choose_target(request.output, self.mode, listed, n_rows, origin)
        shards = place_shards(listed.path, target)
        if not shards:
            raise SourceError("no images in the set that the plan is about", path=source)
        listed.save(scratch)
        write_rows(
            destinations,
            shards,
            scratch,
            lambda name: storage.AtomicFile(_rows_path(scratch, name), False),
        )
        digest = hashlib.sha256(storage.read_bytes(plan)).hexdigest()[:32]
        size = size_placed(request.output, self.mode, n_rows, listed.n_bytes)
        return Work(
            [Stage(PLACE, shards)],
            f"{listed.state}, plan {digest}",
            files=output_files(request.output, [UNDO]),
            **size._asdict(),
            made_from=[source],
        )

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        return place_rows(shard, sink, partial(_rows_path, sink.scratch))

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """Write the undo plan and the table of faces."""
        path_of = partial(_rows_path, sink.scratch)
        finish_placing(work.stages[0].shards, path_of, sink, self.command, request.output)


def _rows_path(scratch: Path, name: str) -> Path:
    return scratch / f"{_ROWS}{name}"


def _source_of(plan: Path, header: Mapping[str, Any]) -> Path:
    """Return the set that the plan is about; a relative path starts at the plan's own folder."""
    source = header.get("source")
    if not isinstance(source, str) or not source:
        raise SourceError(
            "does not name the set that it is about",
            path=plan,
            expected='"source": a folder',
            found=repr(source),
        )
    folder = join(plan.parent, source)
    if is_embeddings(folder):
        remedy = "Put the images back in the folder that embed read, then plan again."
        raise SourceError(
            "is about embeddings alone, without their images",
            path=plan,
            found=os.fspath(folder),
            remedy=remedy,
        )
    if not exists(folder):
        raise SourceError(
            "the set that the plan is about is not there", path=folder, remedy="Put it back."
        )
    return folder


def _refuse_copied_set(plan: Path, source: Path, listed: ListedSet) -> None:
    """Raise SourceError for the undo plan of a set that was copied together with its set.

    It names the set by its path, so the copy, which may have changed, would go unread.
    """
    names = [source.name]
    if listed.is_folder:
        names = list(islice(listed.listing.prefixed_paths(""), _LOOKED_FOR))
    is_copied = any(exists(join(plan.parent, name)) for name in names)
    own = plan_path(source, UNDO)
    if is_copied and real_path(plan.parent) != real_path(own.parent):
        raise SourceError(
            f"lies in a copy of the set that it reverses, which is {url_of(source)}",
            path=plan,
            remedy=f"For that set, run {apply_command(own)}. For the copy, write its path as "
            '"source" in the first line of this plan.',
        )


def _check_origin(
    plan: Path, header: Mapping[str, Any], decisions: Iterable[Decision], scratch: Path
) -> Path | None:
    """Return the set that images are restored from; None where none is.

    Raises SourceError if one of these images is missing or has changed.
    """
    restored = _restored(decisions)
    if not restored:
        return None
    origin = header.get("origin")
    if not isinstance(origin, str) or not is_full(origin):
        expected = '"origin": the set that images are restored from'
        raise SourceError("restores images", path=plan, expected=expected, found=repr(origin))
    remedy = "Put it back, or refuse that decision of the plan."
    if kind_of(Path(origin)) == FolderSet.kind:
        for decision in restored:
            if not is_inside(decision.subject):
                raise SourceError(
                    f"restores {decision.subject!r}",
                    path=plan,
                    expected="the path of an image below its origin",
                    found="one that leads out of it",
                    remedy="Change the plan.",
                )
            path = f"{origin}/{decision.subject}"
            if problem := _find_change(decision, evidence_of(path)):
                raise SourceError(f"cannot be restored: {problem}", path=path, remedy=remedy)
    wanted = [each.subject for each in restored]
    missing = find_paths(Path(origin), scratch, ORIGIN, wanted, folder_of_origin(header))
    if missing:
        problem = f"cannot be restored: {missing[0]!r} is not in it"
        raise SourceError(problem, path=origin, remedy=remedy)
    return Path(origin)


def _restored(decisions: Iterable[Decision]) -> list[Decision]:
    return [each for each in decisions if each.action == RESTORE and each.verdict == ACCEPTED]


def _refuse_strange_origin(
    plan: Path, source: Path, origin: Path, decisions: Iterable[Decision]
) -> None:
    """Raise Unconfirmed unless the set `source` was made from the set that images come from."""
    if full_path(origin) in sets_behind(source):
        return
    subjects = [each.subject for each in _restored(decisions)]
    raise Unconfirmed(
        f"restores {count_noun(len(subjects), 'image')}, such as {subjects[0]}, from a set that "
        f"{url_of(source)} was not made from",
        path=plan,
        found=url_of(origin),
        remedy="Look at both sets. If you mean this, add --yes.",
    )


def _find_change(decision: Decision, found: Mapping[str, int]) -> str:
    if not found:
        return "it is gone"
    before = decision.evidence
    if any(name in before and before[name] != found[name] for name in found):
        return "it has changed"
    return ""
