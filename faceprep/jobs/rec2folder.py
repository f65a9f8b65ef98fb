"""`rec2folder`: convert an MXNet .rec to one folder per identity, payload bytes untouched."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from faceprep.core import storage
from faceprep.core.io.image_bytes import check_image_bytes
from faceprep.core.io.image_header import ImageHeader
from faceprep.core.job import Job
from faceprep.core.options import option
from faceprep.core.shards import cut_evenly
from faceprep.core.types import Outcome, Request, Shard, Sink, Stage, Work
from faceprep.sets.recordio import index as rec_index
from faceprep.sets.recordio.entries import read_in_file_order
from faceprep.sets.recordio.records import (
    EXACT_FLOATS,
    Damage,
    IdentityNames,
    ImageRecord,
    ImageRun,
    Record,
    RecordFile,
    unpack_image,
)

log = logging.getLogger("faceprep")
_SHARD = 2048
_INDEX = "index"
_HEADER_KEY = 0


@dataclass(frozen=True)
class Rec2Folder(Job):
    """Convert an MXNet .rec to image folders, bytes untouched.

    SRC is a .rec file or a folder with train.rec. DST gets IDENTITY/KEY.jpg (or the suffix of the
    actual format). Identities are the labels of the images. A damaged record is named in
    DST/failures.csv, and the sound ones around it are kept.
    """

    command: ClassVar[str] = "rec2folder"

    scan: bool = option(False, "Find the records by scanning the .rec, even when there is an .idx.")

    def plan(self, request: Request, scratch: Path) -> Work:
        paths = rec_index.find_rec(request.sources[0], ignore_idx=self.scan)
        index = scratch / _INDEX
        n = rec_index.write_index(paths, index)
        start = _check_header(paths.rec, index, n)
        stop = n if request.limit is None else min(n, start + request.limit)
        shards = cut_evenly(stop, _SHARD, paths.rec, start=start)
        n_bytes = (storage.size_of(paths.rec) or 0) * (stop - start) // max(n, 1)
        return Work(
            [Stage("write", shards)], paths.fingerprint, n_files=stop - start, n_bytes=n_bytes
        )

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        keys, offsets = read_in_file_order(sink.scratch / _INDEX, shard.start, shard.stop)
        names = [
            str(key) if key >= 0 else f"at_{offset}"
            for key, offset in zip(keys, offsets, strict=True)
        ]
        identities = IdentityNames()
        n_read = 0
        with RecordFile(shard.source) as file:
            for run in file.read_runs(offsets):
                here = slice(n_read, n_read + len(run))
                n_read += len(run)
                if isinstance(run, ImageRun) and (files := _files_of(run, names[here], identities)):
                    sink.write_many(files, run.images)
                    yield from map(Outcome, names[here])
                else:
                    for name, offset, image in zip(names[here], offsets[here], run, strict=True):
                        yield from _write_one(name, offset, image, identities, sink)

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """Do nothing: there are no parts to join."""


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


def _write_one(
    name: str, offset: int, image: ImageRecord | Damage, identities: IdentityNames, sink: Sink
) -> Iterator[Outcome]:
    """Write the image of one record.

    Header and identity records are not inputs and write nothing.
    """
    if isinstance(image, Damage):
        yield _failed(name, offset, image)
    elif not image.has_no_image:
        header = check_image_bytes(image.image, name, f"record {name} at offset {offset}")
        identity = identities[image.labels[0]]
        if isinstance(header, Outcome):
            yield header
        elif not identity:
            yield _failed(
                name,
                offset,
                Damage("bad_label", f"expected a finite label, found {image.labels[0]}"),
            )
        else:
            sink.write(f"{identity}/{name}{header.suffix}", image.image)
            yield Outcome(name)


def _failed(name: str, offset: int, damage: Damage) -> Outcome:
    return Outcome(name, damage.status, f"record {name} at offset {offset}: {damage.reason}")


def _check_header(rec: Path, index: Path, n: int) -> int:
    """Return 1 when the first entry is the header, else 0; warn about an inconsistent header."""
    (key,), (offset,) = read_in_file_order(index, 0, 1)
    header = _header_at(rec, offset) if key == _HEADER_KEY else None
    if header is None:
        return 0
    n_images, n_identities = int(header.labels[0]) - 1, int(header.labels[1] - header.labels[0])
    if max(header.labels) >= EXACT_FLOATS:
        log.warning(
            "%s: the header counts in float32, which is not exact above %s; the index and the "
            "images' own"
            " labels are used instead",
            rec,
            f"{EXACT_FLOATS:,}",
        )
    elif n_images + n_identities + 1 != n:
        log.warning(
            "%s: the header announces %s images and %s identity records, the index has %s records "
            "with it;"
            " the index is used",
            rec,
            f"{n_images:,}",
            f"{n_identities:,}",
            f"{n:,}",
        )
    return 1


def _header_at(rec: Path, offset: int) -> ImageRecord | None:
    with RecordFile(rec) as file:
        record = file.read(offset)
    image = unpack_image(record.payload) if isinstance(record, Record) else None
    if isinstance(image, ImageRecord) and image.has_no_image:
        return image
    return None
