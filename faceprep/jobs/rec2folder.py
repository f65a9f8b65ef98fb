"""`rec2folder`: convert an MXNet .rec to one folder per identity, payload bytes untouched."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.io.image_bytes import BAD_LABEL, check_image_bytes
from faceprep.core.io.image_header import ImageHeader
from faceprep.core.job import Job
from faceprep.core.options import option
from faceprep.core.shards import cut_evenly
from faceprep.core.text import list_words
from faceprep.core.types import Outcome, Request, Shard, Sink, Stage, Work
from faceprep.sets.recordio import index as rec_index
from faceprep.sets.recordio.coverage import Unindexed
from faceprep.sets.recordio.entries import read_in_file_order
from faceprep.sets.recordio.parts import find_parts, warn_of_other_sets
from faceprep.sets.recordio.records import Damage, IdentityNames, ImageRecord, ImageRun, RecordFile
from faceprep.sets.recordio.survey import describe_rounded, survey_index

log = logging.getLogger("faceprep")

_SHARD = 2048
_INDEX = "index"


@dataclass(frozen=True)
class Rec2Folder(Job):
    """Convert an MXNet .rec to image folders, bytes untouched.

    SRC is a .rec file or a folder with train.rec. DST gets IDENTITY/KEY.jpg (or the suffix of the
    actual format). Identities are the labels of the images. Of several labels of an image, the
    first counts, and the others are lost; convert refuses to lose them. A damaged record, or
    an image that is cut off, is named in DST/failures.csv, and the sound ones around it are kept.
    `inspect --deep` finds damage inside of images.
    """

    command: ClassVar[str] = "rec2folder"

    scan: bool = option(False, "Find the records by scanning the .rec, even when there is an .idx.")

    def may_write_to_store(self, output: Path) -> bool:
        return True

    def plan(self, request: Request, scratch: Path) -> Work:
        _refuse_parts(request.sources[0])
        paths = rec_index.find_rec(request.sources[0], ignore_idx=self.scan)
        index = scratch / _INDEX
        n = rec_index.write_index(paths, index)
        found = survey_index(paths, index)
        found.warn(paths.rec)
        warn_of_other_sets(request.sources[0], [paths.rec])
        if found.n_labels > 1 and not found.detection:
            log.warning(
                "%s: images with %d labels; a folder holds the first of them",
                paths.rec,
                found.n_labels,
            )
        if found.has_rounded:
            log.warning("%s: %s", paths.rec, describe_rounded(0))
        start = int(found.begins_with_header)
        stop = n if request.limit is None else min(n, start + request.limit)
        shards = [
            replace(
                shard, payload=(paths, found.metadata, found.faults if shard.stop == stop else ())
            )
            for shard in cut_evenly(stop, _SHARD, paths.rec, start=start)
        ]
        n_bytes = (storage.size_of(paths.rec) or 0) * (stop - start) // max(n, 1)
        # identity records follow the images
        n_images = min(stop, n - found.metadata.n_identity_records) - start
        return Work(
            [Stage("write", shards)],
            paths.fingerprint,
            n_files=n_images,
            n_bytes=n_bytes,
            n_aside=stop - start - n_images,
        )

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        entries = read_in_file_order(sink.scratch / _INDEX, shard.start, shard.stop)
        keys, offsets, following = entries
        names = list(map(_name, keys, offsets))
        identities, n_read = IdentityNames(), 0
        paths, metadata, faults = shard.payload
        left_out = Unindexed(paths)
        with RecordFile(shard.source) as file:
            for run in file.read_runs(offsets):
                here = slice(n_read, n_read + len(run))
                n_read += len(run)
                left_out.add_between(file, offsets[here], _lengths(run), following[here])
                if isinstance(run, ImageRun) and (files := _files_of(run, names[here], identities)):
                    sink.write_many(files, run.images)
                    yield from map(Outcome, names[here])
                else:
                    for key, offset, image in zip(keys[here], offsets[here], run, strict=True):
                        if isinstance(image, Damage) or not metadata.describes(key, image):
                            yield _write_one(_name(key, offset), offset, image, identities, sink)
        yield from left_out.faults()
        yield from faults

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """Do nothing: there are no parts to join."""


def _refuse_parts(source: Path) -> None:
    """Raise SourceError for a folder with a set in parts, whose keys may repeat."""
    parts = [paths.rec.name for paths in find_parts(source)]
    if len(parts) > 1:
        raise SourceError(
            "a set in parts",
            path=source,
            expected="one .rec",
            found=list_words(parts),
            remedy=f"Run faceprep convert {shlex.quote(str(source))} DST, or name one of them.",
        )


def _files_of(run: ImageRun, names: Sequence[str], identities: IdentityNames) -> list[str]:
    """Return the paths of the images; empty unless all are sound."""
    checked = map(check_image_bytes, run.images, names)
    headers = [header for header in checked if isinstance(header, ImageHeader)]
    folders = [identities[labels[0]] for labels in run.labels]
    if len(headers) < len(names) or not all(folders):
        return []
    return [
        f"{folder}/{name}{header.suffix}"
        for folder, name, header in zip(folders, names, headers, strict=True)
    ]


def _lengths(run: ImageRun | tuple[ImageRecord | Damage]) -> list[int]:
    """Return the lengths of the records of a run."""
    return run.lengths if isinstance(run, ImageRun) else [run[0].length]


def _name(key: int, offset: int) -> str:
    return str(key) if key >= 0 else f"at_{offset}"


def _write_one(
    name: str, offset: int, image: ImageRecord | Damage, identities: IdentityNames, sink: Sink
) -> Outcome:
    """Write the image of one record."""
    if isinstance(image, Damage):
        return _failed(name, offset, image)
    header = check_image_bytes(image.image, name, f"record {name} at offset {offset}")
    identity = identities[image.labels[0]]
    if isinstance(header, Outcome):
        return header
    if not identity:
        reason = f"expected a finite label, found {image.labels[0]}"
        return _failed(name, offset, Damage(BAD_LABEL, reason))
    sink.write(f"{identity}/{name}{header.suffix}", image.image)
    return Outcome(name)


def _failed(name: str, offset: int, damage: Damage) -> Outcome:
    return Outcome(name, damage.status, f"record {name} at offset {offset}: {damage.reason}")
