"""`apply`: carry out a plan, edited or not."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.job import Job
from faceprep.core.types import (
    ACCEPTED,
    COPY,
    HARDLINK,
    RESTORE,
    Decision,
    Outcome,
    Request,
    Shard,
    Sink,
    Stage,
    Work,
)
from faceprep.sets.folder import find_identities
from faceprep.sets.listing import list_images
from faceprep.steps.place_images import (
    PLACE,
    PlacingOptions,
    check_fingerprint,
    evidence_of,
    finish_placing,
    load_rows,
    place_rows,
    place_shards,
    refuse_output_within,
    survey,
    write_rows,
)
from faceprep.steps.resolve_plan import resolve
from faceprep.tables.plan import read_plan
from faceprep.tables.verdicts import refuse_open_review

log = logging.getLogger("faceprep")
_ROWS = "rows-"


@dataclass(frozen=True)
class Apply(PlacingOptions, Job):
    """Apply a plan, edited or not.

    PLAN is a plan of merge-identities, clean-identities, dedupe or score, with one decision on each
    line. Decisions with the verdict accepted, or without a verdict, are carried out. DST gets the
    images of the folder that the plan is about, bytes untouched, each where the plan puts it, and
    undo.jsonl, a plan that reverses this one. Images keep their file names. Where two would collide
    in one identity, the name of the old identity is put in front. A plan whose folder has changed
    since is refused. A faces.parquet beside the images is carried along.
    """

    command: ClassVar[str] = "apply"

    def plan(self, request: Request, scratch: Path) -> Work:
        plan = request.sources[0]
        refuse_open_review(plan)
        header, found = read_plan(plan)
        decisions = list(found)
        source = _source_of(plan, header)
        refuse_output_within(source, request.output)
        listing = list_images(find_identities(source))
        fingerprint, n_bytes = survey(source, listing)
        if "fingerprint" in header:
            check_fingerprint(plan, header, source, fingerprint)
        else:
            log.warning("%s has no fingerprint: a change of %s since goes unnoticed", plan, source)
        destinations = resolve(header, decisions, listing, os.fspath(plan))
        _check_origin(plan, header, decisions)
        n_rows = len(destinations)
        if request.limit is not None:
            n_rows = min(n_rows, request.limit)
        shards = place_shards(source, n_rows)
        if not shards:
            raise SourceError("no images in the folder that the plan is about", path=source)
        write_rows(
            destinations,
            shards,
            lambda shard: storage.AtomicFile(scratch / f"{_ROWS}{shard.id}", False),
        )
        digest = hashlib.sha256(storage.read_bytes(plan)).hexdigest()[:32]
        n_files, n_bytes = n_rows * (self.mode != HARDLINK), n_bytes * (self.mode == COPY)
        return Work(
            [Stage(PLACE, shards)],
            f"{fingerprint}, plan {digest}",
            n_files=n_files,
            n_bytes=n_bytes,
        )

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        rows = load_rows(sink.scratch / f"{_ROWS}{shard.id}")
        yield from place_rows(rows, shard, sink, self.mode)

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """Write the undo plan and the table of faces."""
        shards = work.stages[0].shards
        finish_placing(
            shards,
            lambda shard: sink.scratch / f"{_ROWS}{shard.id}",
            sink,
            self.command,
            request.output,
        )


def _source_of(plan: Path, header: Mapping[str, Any]) -> Path:
    """Return the folder that the plan is about; a relative path starts at the plan's own folder."""
    source = header.get("source")
    if not isinstance(source, str) or not source:
        raise SourceError(
            "says not what it is about",
            path=plan,
            expected='"source": a folder',
            found=repr(source),
        )
    folder = plan.parent / source
    if folder.is_file():
        remedy = "Plan again where the images are, with the folder that embed had in place."
        raise SourceError(
            "is about embeddings alone, without their images",
            path=plan,
            found=os.fspath(folder),
            remedy=remedy,
        )
    if not folder.is_dir():
        raise SourceError(
            "the folder that the plan is about is not there", path=folder, remedy="Put it back."
        )
    return folder


def _check_origin(plan: Path, header: Mapping[str, Any], decisions: Iterable[Decision]) -> None:
    """Raise SourceError if an image that is to be restored is missing or has changed."""
    for decision in decisions:
        if decision.action != RESTORE or decision.verdict != ACCEPTED:
            continue
        origin = header.get("origin")
        if not isinstance(origin, str) or not os.path.isabs(origin):
            expected = '"origin": the folder that images are restored from'
            raise SourceError("restores images", path=plan, expected=expected, found=repr(origin))
        path = f"{origin}/{decision.subject}"
        found = evidence_of(path)
        if not found:
            problem = "cannot be restored: it is gone"
        elif any(
            name in decision.evidence and decision.evidence[name] != found[name] for name in found
        ):
            problem = "cannot be restored: it has changed"
        else:
            continue
        raise SourceError(
            problem, path=path, remedy="Put it back, or refuse that decision of the plan."
        )
