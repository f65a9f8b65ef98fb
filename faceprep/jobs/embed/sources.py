"""Sources of crops to embed: folders, manifests, verification sets, MXNet records, photos and
videos with known faces.

A source is planned once, in the driver, which leaves what the shards need in the run's folder; each
shard then reads its own images. They are known by the path below the source's root, or by their key
in a container.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from faceprep.core import storage
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.output_tree import is_within
from faceprep.core.paths import full_path
from faceprep.core.registry import LIST_KINDS
from faceprep.core.shards import cut_evenly, whole_stage
from faceprep.core.text import count_noun
from faceprep.core.types import Outcome, Shard
from faceprep.sets.containers import faults_after, index_set, kind_of, open_set
from faceprep.sets.folder import FolderSet, find_identities
from faceprep.sets.ijb import is_ijb, load_ijb
from faceprep.sets.list_set import REPEATED, NamesPlace, all_outside
from faceprep.sets.listing import is_text, list_images
from faceprep.sets.manifests import reader as manifest_names
from faceprep.steps.crop_faces import DEGENERATE, open_cropper
from faceprep.steps.embed_crops import FittedCrop, Load, load_file, pass_on, sample_loads
from faceprep.steps.fitting import Fitter
from faceprep.steps.ijb_faces import ijb_loads, open_lists
from faceprep.steps.table_faces import first_source, plan_faces, read_faces
from faceprep.steps.table_photos import Problem, Read, plan_photos
from faceprep.tables.embeddings import Place
from faceprep.tables.faces import FaceRow, split_output
from faceprep.vision.templates import Template, cut_crop, load_template

log = logging.getLogger("faceprep")
_SHARD = 256
_PLACE = "place.json"
_FOLDER, _SET, _FACES, _IJB, _REFUSED = "folder", "set", "faces", "ijb", "refused"
"""The stages of shards: what kind of source each of them reads."""


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """The shards of a source with `n` images; `place` is their origin for a file of embeddings."""

    shards: Sequence[Shard]
    fingerprint: str
    place: Place
    n: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A selection from a source: its first `limit` images, names relative to a folder, faces from a
    table.
    """

    limit: int | None = None
    relative_to: Path | None = None
    faces: Path | None = None


def plan_source(source: Path, wanted: Wanted, scratch: Path) -> SourcePlan:
    """Read the kind and size of a source and cut it into shards.

    Raises SourceError, OptionError.
    """
    if wanted.faces is not None:
        plan = _plan_faces(source, wanted, wanted.faces, scratch)
    else:
        kind = kind_of(source)
        if kind == FolderSet.kind and is_ijb(source):
            plan = _plan_ijb(source, wanted)
        elif kind == FolderSet.kind:
            plan = _plan_folder(source, wanted)
        elif kind in LIST_KINDS:
            plan = _plan_manifest(source, wanted)
        else:
            plan = _plan_set(source, wanted, scratch)
    if not plan.n:
        raise SourceError(
            "no images in it", path=source, expected="SRC/IMAGE.png or SRC/IDENTITY/IMAGE.png"
        )
    if not is_text(f"{plan.place.root}{plan.place.prefix}{source.name}"):
        raise SourceError(
            "a file of embeddings cannot hold this path",
            path=repr(os.fspath(source)),
            remedy="Rename the folder.",
        )
    storage.write_file(scratch / _PLACE, json.dumps(asdict(plan.place)).encode(), durable=False)
    return plan


def load_place(scratch: Path) -> Place:
    """Load the origin that `plan_source` found, once all shards are done."""
    return Place(**json.loads(storage.read_bytes(scratch / _PLACE)))


def read_shard(
    shard: Shard, scratch: Path, fitter: Fitter, template: str, faces: Path | None
) -> Iterator[Load]:
    """Return a reader of the shard's images, fitted by `fitter`, or cut from photos and frames
    straight to `template`.
    """
    if shard.stage == _FOLDER:
        for path, identity in shard.payload:
            yield partial(load_file, fitter, shard.source, path, identity)
    elif shard.stage == _REFUSED:
        yield from map(pass_on, shard.payload)
    elif shard.stage == _SET:
        yield from _read_set(shard, scratch, fitter)
    elif shard.stage == _IJB:
        data = open_lists(Path(shard.source))
        yield from ijb_loads(data, open_cropper(template), shard.start, shard.stop)
    elif faces is not None:
        yield from _read_faces(shard, scratch, faces, template)


# Files


def _plan_folder(source: Path, wanted: Wanted) -> SourcePlan:
    listing = list_images(find_identities(source), wanted.limit)
    named = [(path, "") for path in listing.prefixed_paths("")]
    root = full_path(source)
    return _plan_files(root, _prefix(root, wanted.relative_to), named)


def _plan_manifest(source: Path, wanted: Wanted) -> SourcePlan:
    """Plan a manifest; relative names lie below `relative_to`, or beside the manifest."""
    images = manifest_names.load_names(source)[: wanted.limit]
    root, prefix = full_path(wanted.relative_to or source.parent), ""
    place = NamesPlace(root, all(os.path.isabs(image.name) for image in images))
    if images and place.is_absolute:
        root = os.path.commonpath([os.path.dirname(image.name) for image in images])
        prefix = _below(root)
        if not all(image.name.startswith(prefix) for image in images):  # such as /a//b
            prefix = ""
    named: dict[str, str] = {}
    refused: list[Outcome] = []
    for name, identity in images:
        if outside := place.refuse(name):
            refused.append(outside)
        elif name in named:
            refused.append(Outcome(name, REPEATED, f"{name}: repeated in the list"))
        else:
            named[name] = identity
    if refused and not named:
        raise all_outside(source, root)
    plan = _plan_files(root, prefix, [(name[len(prefix) :], named[name]) for name in named])
    if not refused:
        return plan
    stage = whole_stage(_REFUSED, root, len(refused), refused)
    return replace(plan, shards=[*plan.shards, stage])


def _plan_files(root: str, prefix: str, named: Sequence[tuple[str, str]]) -> SourcePlan:
    digest = hashlib.sha256()
    shards = []
    for shard in cut_evenly(len(named), _SHARD, root, stage=_FOLDER):
        part = named[shard.start : shard.stop]
        sizes = [storage.file_size(os.path.join(root, path)) for path, _ in part]
        digest.update(json.dumps([part, sizes]).encode())
        shards.append(replace(shard, payload=part))
    fingerprint = f"{len(named):,} images, names and sizes {digest.hexdigest()[:16]}"
    return SourcePlan(shards, fingerprint, Place(root, prefix), len(named))


def _below(root: str) -> str:
    return root if root.endswith("/") else f"{root}/"


def _prefix(root: str, relative_to: Path | None) -> str:
    """Return the prefix of image paths below `root`."""
    if relative_to is None:
        return _below(root)
    folder = full_path(relative_to)
    if not is_within(root, folder):
        raise OptionError("--relative-to", expected=f"a folder that holds {root}", found=folder)
    prefix = os.path.relpath(root, folder)
    return "" if prefix == "." else f"{prefix}/"


# IJB


def _plan_ijb(source: Path, wanted: Wanted) -> SourcePlan:
    """Plan the images of IJB-B or IJB-C, aligned by the points of its lists."""
    data, root = load_ijb(source), full_path(source)
    n = len(data.files)
    if wanted.limit is not None:
        n = min(n, wanted.limit)
    shards = cut_evenly(n, _SHARD, root, stage=_IJB)
    meta = source / "meta"
    lists = storage.fingerprint_of(*(meta / name for name in sorted(_names_in(meta))))
    return SourcePlan(shards, lists, Place(root, _prefix(root, wanted.relative_to)), n)


def _names_in(folder: Path) -> list[str]:
    folders, files = storage.list_folder(folder)
    return folders + files


# Containers


def _plan_set(source: Path, wanted: Wanted, scratch: Path) -> SourcePlan:
    """Plan a container; its images have their keys in the set as names."""
    with index_set(source, scratch, relative_to=wanted.relative_to) as images:
        n = len(images)
        if wanted.limit is not None:
            n = min(n, wanted.limit)
        shards = cut_evenly(n, _SHARD, images.path, stage=_SET)
        return SourcePlan(shards, images.index.fingerprint, Place(images.path), n)


def _read_set(shard: Shard, scratch: Path, fitter: Fitter) -> Iterator[Load]:
    with open_set(scratch) as images:
        yield from sample_loads(fitter, images.read(range(shard.start, shard.stop)))
        yield from map(pass_on, faults_after(images, shard.stop))


# Photos and videos with known faces


def _plan_faces(source: Path, wanted: Wanted, table: Path, scratch: Path) -> SourcePlan:
    """Plan the faces of a table; keys are the crops of the extract command."""
    photos = plan_photos(source, scratch, first_source(table), wanted.relative_to)
    found = plan_faces(table, photos, stage=_FACES, limit=wanted.limit, is_wanted=_is_crop)
    crops = full_path(table.parent)
    if not found.n_wanted:
        raise SourceError(
            "no face of this table has a crop in its folder",
            path=table,
            remedy="Extract the faces again with --select all.",
        )
    if found.n > found.n_wanted:
        n = count_noun(found.n - found.n_wanted, "face")
        log.warning("%s: %s without a crop in %s left out", table, n, crops)
    # for a list, --relative-to is the folder of the photos, not of the crops
    prefix = _prefix(crops, None if photos.is_set else wanted.relative_to)
    return SourcePlan(found.shards, found.fingerprint, Place(crops, prefix), found.n_wanted)


def _is_crop(output: str | None) -> bool:
    """Return whether the face has a crop in the output folder itself."""
    return bool(output) and not split_output(output or "")[1]


def _read_faces(shard: Shard, scratch: Path, table: Path, template: str) -> Iterator[Load]:
    faulty: list[Outcome] = []

    def wants(row: FaceRow, fault: str) -> bool:
        is_crop = _is_crop(row.output)
        if is_crop and fault:
            faulty.append(Outcome(row.output or "", DEGENERATE, fault))
        return is_crop and not fault

    for rows, read in read_faces(shard, scratch, table, template, wants):
        load = partial(_cut_faces, rows, read, load_template(template))
        if rows[0].frame is None:
            yield load
        else:  # crops are smaller than the frames that would wait
            yield partial(list, load())
    yield partial(list, faulty)


def _cut_faces(rows: Sequence[FaceRow], read: Read, target: Template) -> list[FittedCrop | Outcome]:
    """Return the faces of one photo or frame, cut from its own pixels."""
    pixels = read()
    if isinstance(pixels, Problem):
        return [Outcome(row.output or "", *pixels) for row in rows]
    return [
        FittedCrop(row.output or "", cut_crop(pixels, np.asarray(row.transform), target))
        for row in rows
    ]
