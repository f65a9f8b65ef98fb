"""`inspect`: report the content of a container and its damage. Reads only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from faceprep.core import input_faults, storage
from faceprep.core.errors import SourceError
from faceprep.core.io.image_bytes import read_image_bytes
from faceprep.core.job import Look
from faceprep.core.names import sort_names
from faceprep.core.options import Values, option
from faceprep.core.scratch import scratch_folder
from faceprep.core.slow_step import Progress, ignore_progress
from faceprep.core.types import Outcome
from faceprep.core.untaken import UntakenFiles
from faceprep.core.urls import as_paths, url_of
from faceprep.jobs.inspect.inspection import Inspection, spread
from faceprep.jobs.inspect.other_kinds import (
    DESCRIBED,
    LISTS,
    inspect_list,
    inspect_set,
    inspect_video,
)
from faceprep.sets import kinds
from faceprep.sets.folder import read_identity, walk_images
from faceprep.sets.kinds import describe_kind
from faceprep.sets.pairs_bin import container as pairs_bin
from faceprep.sets.recordio import index as rec_index
from faceprep.sets.recordio.coverage import Unindexed
from faceprep.sets.recordio.entries import read_in_file_order
from faceprep.sets.recordio.index import RecPaths
from faceprep.sets.recordio.metadata import Ranges
from faceprep.sets.recordio.parts import find_parts, warn_of_other_sets
from faceprep.sets.recordio.records import Damage, ImageRecord, RecordFile
from faceprep.sets.recordio.survey import RecSurvey, describe_rounded, is_rounded, survey_index
from faceprep.steps.list_options import ListOptions

_BATCH = 1024


@dataclass(frozen=True)
class Inspect(ListOptions, Look):
    """Show what a set, table or video holds and what is damaged.

    PATH is any set of images, a list, a table of faces, scores or embeddings, a plan, or a video.
    The first line of the result names its kind. Every image is read and checked by its header and
    end mark, and a video by its container. With --deep they are decoded. Exit status 3 means that
    damage was found, or numbers that disagree.
    """

    command: ClassVar[str] = "inspect"

    deep: bool = option(False, "Decode every image, or every frame of a video.")
    limit: int | None = option(
        None, "Look at the first N images, or frames, only.", values=Values(least=1)
    )
    scan: bool = option(
        False, "Find the records of a .rec by scanning, even when there is an .idx."
    )

    def look(self, path: str | Path, progress: Progress | None = None) -> Inspection:
        """Inspect `path`; `progress` receives (done, total).

        Raises SourceError for anything but a container.
        """
        (path,) = as_paths(path)
        progress = progress or ignore_progress
        kind = describe_kind(path)
        if kind == "rec" and len(find_parts(path)) == 1:
            return self._rec(path, progress)
        if kind == "folder":
            return self._folder(path, progress)
        if kind == "bin":
            return self._pairs(path, progress)
        if kind == kinds.VIDEO:
            return inspect_video(path, self.deep, self.limit, progress)
        if kind in DESCRIBED:
            return DESCRIBED[kind](path, kind)
        inspect_images = partial(
            inspect_set, path, kind, self.deep, self.limit, progress, self.relative_to
        )
        if kind in LISTS:
            return inspect_list(path, kind, inspect_images)
        return inspect_images()

    def _rec(self, path: Path, progress: Progress) -> Inspection:
        paths = rec_index.find_rec(path, ignore_idx=self.scan)
        warn_of_other_sets(path, [paths.rec])
        found = Inspection(url_of(paths.rec), "rec")
        images_of: Counter[float] = Counter()
        widths: Counter[int] = Counter()
        ranges = Ranges()
        with scratch_folder() as scratch:
            total = rec_index.write_index(paths, scratch / "index")
            survey = survey_index(paths, scratch / "index")
            left_out = Unindexed(paths)
            records = _records(paths.rec, scratch / "index", total, left_out)
            for n, (key, offset, record) in enumerate(records, 1):
                progress(n, total)
                where = f"record {key if key >= 0 else '?'} at offset {offset}"
                if isinstance(record, Damage):
                    found.add_damage(f"{where}: {record.reason}")
                elif survey.metadata.describes(key, record):
                    ranges.add(key, record.labels)
                elif found.add_image(where, record.image, self.deep):
                    label = record.labels[0]
                    widths[len(record.labels)] += 1
                    if math.isfinite(label):
                        images_of[label] += 1
                    else:
                        found.remove_image(f"{where}: expected a finite label, found {label}")
                if self.limit and found.images >= self.limit:
                    break
        for fault in left_out.faults():
            found.add_damage(fault.reason)
        _describe_rec(found, paths, survey, images_of, widths)
        found.contradictions += ranges.contradictions(survey.metadata, survey.n_images)
        return found

    def _folder(self, path: Path, progress: Progress) -> Inspection:
        found = Inspection(url_of(path), "folder")
        untaken = UntakenFiles(path, "images")
        with input_faults.watch() as faults:
            counts = {name: len(images) for name, images in walk_images(path, untaken)}
        for lost in faults.lost.values():
            found.add_damage(lost.reason)
        total = sum(counts.values())
        if not total:
            raise SourceError(
                "no images in this folder",
                path=path,
                expected="IDENTITY/IMAGE.jpg (or .png …), or a .rec",
                remedy="Name a video by itself; extract-video takes a folder of them.",
            )
        images_of: Counter[str] = Counter()
        for n, (identity, name) in enumerate(_names(path, counts)):
            if self.limit and found.images >= self.limit:
                break
            progress(n + 1, total)
            data = read_image_bytes(path / name, name)
            if isinstance(data, Outcome):
                found.add_damage(data.reason)
            elif found.add_image(name, data, self.deep):
                images_of[identity] += 1
        without = images_of.pop(".", 0)
        found.identities = len(images_of)
        found.details = {
            "files": total,
            "other_files": sum(untaken.counts.values()),
            "per_identity": spread(list(images_of.values())),
            "no_identity": without,
        }
        return found

    def _pairs(self, path: Path, progress: Progress) -> Inspection:
        pairs = pairs_bin.load_pairs(path)
        found = Inspection(url_of(path), "bin")
        for n, image in enumerate(pairs.images[: self.limit]):
            progress(n + 1, len(pairs.images))
            found.add_image(f"image {n} of pair {n // 2}", image, self.deep)
        found.details = {
            "pairs": len(pairs),
            "same": sum(pairs.same),
            "different": len(pairs) - sum(pairs.same),
        }
        return found


def _describe_rec(
    found: Inspection,
    paths: RecPaths,
    survey: RecSurvey,
    images_of: Mapping[float, int],
    widths: Counter[int],
) -> None:
    """Add the figures of a .rec, and everything in it that contradicts itself."""
    metadata = survey.metadata
    layout, described = "flat", None
    if metadata.header:
        layout = "insightface"
        described = dict(zip(("images", "identity_records"), metadata.stated(), strict=True))
    for fault in survey.faults:
        found.add_damage(fault.reason)
    found.contradictions += metadata.contradictions(survey.n_images, len(images_of))
    if 0 < metadata.n_identity_records < len(images_of):
        n, m = f"{len(images_of):,}", f"{metadata.n_identity_records:,}"
        found.contradictions.append(
            f"the images have {n} identities, but there are {m} identity records"
        )
    found.identities = len(images_of)
    found.details = {
        "layout": layout,
        "records": survey.n,
        "header": described,
        "range_records": metadata.n_identity_records,
        "label_width": sorted(widths),
        "index": url_of(paths.idx) if paths.idx else "none: found by scanning",
        "per_identity": spread(list(images_of.values())),
        "bytes": storage.size_of(paths.rec),
    }
    n_rounded = sum(n for label, n in images_of.items() if is_rounded(label))
    if n_rounded:
        found.details["note"] = describe_rounded(n_rounded)
    if survey.detection:
        a, b = survey.detection
        note = f"labels of a detection set: a header of {a} numbers, {b} per object; no identities"
        found.identities = None
        found.details |= {"layout": "detection", "per_identity": None, "note": note}


def _records(
    rec: Path, index: Path, total: int, left_out: Unindexed
) -> Iterator[tuple[int, int, ImageRecord | Damage]]:
    """Yield (key, offset, record) of every entry of the index; note what lies between them."""
    with RecordFile(rec) as file:
        for start in range(0, total, _BATCH):
            stop = min(start + _BATCH, total)
            keys, offsets, following = read_in_file_order(index, start, stop)
            lengths = []
            for key, offset, record in zip(keys, offsets, file.read_images(offsets), strict=True):
                yield key, offset, record
                lengths.append(record.length)
            left_out.add_between(file, offsets, lengths, following)


def _names(root: Path, identities: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the identity and the path of every image below `root`, in class order."""
    for name in sort_names(identities):
        yield from ((name, f"{name}/{image}") for image in read_identity(root, name).images)
