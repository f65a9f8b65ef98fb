"""Sources of crops to embed: folders, manifests, verification sets, MXNet records, photos with
known faces.

A source is planned once, in the driver, which leaves what the shards need in the run's folder; each
shard then reads its own images. They are known by the path below the source's root, or by their key
in a container.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from faceprep.core import storage
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.faces import Faces
from faceprep.core.output_tree import is_within
from faceprep.core.paths import full_path, is_folder
from faceprep.core.registry import LIST_KINDS
from faceprep.core.shards import cut_at, cut_evenly
from faceprep.core.types import Outcome, Shard
from faceprep.sets.containers import faults_after, index_set, kind_of, open_set
from faceprep.sets.folder import FolderSet, find_identities
from faceprep.sets.ijb import is_ijb, load_ijb
from faceprep.sets.listing import is_text, list_images
from faceprep.sets.manifests import reader as manifest_names
from faceprep.steps.embed_crops import FittedCrop, Load, load_file, pass_on, sample_loads
from faceprep.steps.find_faces import Cropper
from faceprep.steps.fitting import Fitter
from faceprep.steps.ijb_faces import ijb_loads, open_lists
from faceprep.tables import faces as faces_table
from faceprep.tables.embeddings import Place
from faceprep.tables.faces import FaceRow
from faceprep.vision.load_image import load_image
from faceprep.vision.templates import Template, cut_crop

_SHARD = 256
_PLACE = "place.json"
_FOLDER, _SET, _FACES, _IJB = "folder", "set", "faces", "ijb"
"""The stages of shards: what kind of source each of them reads."""


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """The shards of a source; `place` is the origin of the images for a file of embeddings."""

    shards: Sequence[Shard]
    fingerprint: str
    place: Place


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
        plan = _plan_faces(source, wanted, wanted.faces)
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
    if not any(len(shard) for shard in plan.shards):
        raise SourceError(
            "no images in it", path=source, expected="SRC/IMAGE.png or SRC/IDENTITY/IMAGE.png"
        )
    if not is_text(f"{plan.place.root}{plan.place.prefix}{source.name}"):
        raise SourceError(
            "this path cannot stand in a file of embeddings",
            path=repr(os.fspath(source)),
            remedy="Rename the folder.",
        )
    storage.write_file(scratch / _PLACE, json.dumps(asdict(plan.place)).encode(), durable=False)
    return plan


def load_place(scratch: Path) -> Place:
    """Load the origin that `plan_source` found, once all shards are done."""
    return Place(**json.loads(storage.read_bytes(scratch / _PLACE)))


def read_shard(
    shard: Shard, scratch: Path, fitter: Fitter, target: Template, faces: Path | None
) -> Iterator[Load]:
    """Return a reader of the shard's images, fitted by `fitter`, or cut from photos straight to
    `target`.
    """
    if shard.stage == _FOLDER:
        for path, identity in shard.payload:
            yield partial(load_file, fitter, shard.source, path, identity)
    elif shard.stage == _SET:
        yield from _read_set(shard, scratch, fitter)
    elif shard.stage == _IJB:
        data = open_lists(Path(shard.source))
        yield from ijb_loads(data, Cropper(target), shard.start, shard.stop)
    elif faces is not None:
        yield from _read_faces(shard, faces, target)


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
    if images and all(os.path.isabs(image.name) for image in images):
        root = os.path.commonpath([os.path.dirname(image.name) for image in images])
        prefix = _below(root)
        if not all(image.name.startswith(prefix) for image in images):  # such as /a//b
            prefix = ""
    named = [(image.name[len(prefix) :], image.identity) for image in images]
    return _plan_files(root, prefix, named)


def _plan_files(root: str, prefix: str, named: Sequence[tuple[str, str]]) -> SourcePlan:
    digest = hashlib.sha256()
    shards = []
    for shard in cut_evenly(len(named), _SHARD, root, stage=_FOLDER):
        part = named[shard.start : shard.stop]
        sizes = [storage.file_size(os.path.join(root, path)) for path, _ in part]
        digest.update(json.dumps([part, sizes]).encode())
        shards.append(replace(shard, payload=part))
    fingerprint = f"{len(named):,} images, names and sizes {digest.hexdigest()[:16]}"
    return SourcePlan(shards, fingerprint, Place(root, prefix))


def _below(root: str) -> str:
    return root if root.endswith("/") else f"{root}/"


def _prefix(root: str, relative_to: Path | None) -> str:
    """Return the prefix of image paths below `root`."""
    if relative_to is None:
        return _below(root)
    folder = full_path(relative_to)
    if not is_within(root, folder):
        raise OptionError("--relative-to", expected=f"a folder that {root} lies in", found=folder)
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
    return SourcePlan(shards, lists, Place(root, _prefix(root, wanted.relative_to)))


def _names_in(folder: Path) -> list[str]:
    folders, files = storage.list_folder(folder)
    return folders + files


# Containers


def _plan_set(source: Path, wanted: Wanted, scratch: Path) -> SourcePlan:
    """Plan a container; its images have their keys in the set as names."""
    with index_set(source, scratch) as images:
        n = len(images)
        if wanted.limit is not None:
            n = min(n, wanted.limit)
        shards = cut_evenly(n, _SHARD, images.path, stage=_SET)
        return SourcePlan(shards, images.index.fingerprint, Place(images.path))


def _read_set(shard: Shard, scratch: Path, fitter: Fitter) -> Iterator[Load]:
    with open_set(scratch) as images:
        yield from sample_loads(fitter, images.read(range(shard.start, shard.stop)))
        yield from map(pass_on, faults_after(images, shard.stop))


# Photos with known faces


def _plan_faces(source: Path, wanted: Wanted, table: Path) -> SourcePlan:
    """Plan faces by photo, some photos per shard; keys are the crops of the extract command."""
    root = source if is_folder(source) else source.parent
    crops = full_path(table.parent)
    digest = hashlib.sha256()
    edges, n_rows, n_wanted = [0], 0, 0
    for photo, rows in groupby(_outline(table), lambda row: row[0]):
        if wanted.limit is not None and n_wanted >= wanted.limit:
            break
        if n_rows - edges[-1] >= _SHARD:
            edges.append(n_rows)
        for _, frame, output in rows:
            if frame is not None:
                remedy = "Embed the crops themselves: faceprep embed CROPS OUT."
                raise SourceError(
                    "faces of videos", path=table, expected="faces of photos", remedy=remedy
                )
            if wanted.limit is None or n_wanted < wanted.limit:
                n_rows, n_wanted = n_rows + 1, n_wanted + _is_crop(output)
        digest.update(
            f"{photo}\0{storage.size_of(root / photo)}\n".encode("utf-8", "surrogateescape")
        )
    shards = cut_at(zip(edges, [*edges[1:], n_rows], strict=True), root, stage=_FACES)
    fingerprint = (
        f"{n_wanted:,} faces, photos and sizes {digest.hexdigest()[:16]}, "
        f"{storage.fingerprint_of(table)}"
    )
    return SourcePlan(shards, fingerprint, Place(crops, _prefix(crops, wanted.relative_to)))


def _outline(table: Path) -> Iterator[tuple[str, int | None, str | None]]:
    for piece in faces_table.read_face_tables(table, ("source", "frame", "output")):
        yield from zip(*(column.to_pylist() for column in piece.columns), strict=True)


def _is_crop(output: str | None) -> bool:
    """Return whether the face has a crop in the output folder itself."""
    return bool(output) and not faces_table.split_output(output or "")[1]


def _read_faces(shard: Shard, table: Path, target: Template) -> Iterator[Load]:
    rows = (
        row
        for piece in faces_table.read_range(table, shard.start, shard.stop)
        for row in faces_table.rows_of(piece)
        if _is_crop(row.output)
    )
    for photo, faces in groupby(rows, lambda row: row.source):
        yield partial(_cut_faces, Path(shard.source, photo), list(faces), target)


def _cut_faces(path: Path, rows: list[FaceRow], target: Template) -> list[FittedCrop | Outcome]:
    """Return the faces of one photo, aligned from its own pixels."""
    keys = [row.output or "" for row in rows]
    photo, wanted = rows[0].source, rows[0].image_size
    pixels = load_image(path, photo)
    if isinstance(pixels, Outcome):
        return [pixels._replace(key=key) for key in keys]
    if pixels.shape[:2] != wanted:
        then, now = ("{:,} × {:,}".format(*size) for size in (wanted, pixels.shape))
        reason = f"{photo}: expected {then} pixels as in the table, found {now}"
        return [Outcome(key, "changed", reason) for key in keys]
    columns: list[Any] = [
        np.stack([getattr(row, name) for row in rows]) for name in ("box", "landmarks", "score")
    ]
    turns = [row.turn for row in rows]
    fits = Cropper(target).fit(Faces(*columns), pixels.shape[:2], turns)
    cut: list[FittedCrop | Outcome] = []
    for key, transform, fault in zip(keys, *fits, strict=True):
        if fault:
            cut.append(Outcome(key, "degenerate_landmarks", fault))
        else:
            cut.append(FittedCrop(key, cut_crop(pixels, transform, target)))
    return cut
