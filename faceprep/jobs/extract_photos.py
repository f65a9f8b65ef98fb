"""`extract-photos`: crop aligned faces from photos, one folder per identity."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from faceprep.core import items, storage
from faceprep.core.arrays import Pixels
from faceprep.core.errors import SourceError
from faceprep.core.faces import Faces
from faceprep.core.io.image_bytes import read_image_bytes
from faceprep.core.job import Job
from faceprep.core.options import option
from faceprep.core.paths import is_folder
from faceprep.core.shards import cut_at, even_bounds
from faceprep.core.text import count_noun
from faceprep.core.types import MANY_FACES, Outcome, Request, Shard, Sink, Stage, Work
from faceprep.core.untaken import UntakenFiles
from faceprep.sets.folder import Identity, find_identities
from faceprep.sets.kinds import IMAGE, describe_other_kind
from faceprep.sets.listing import is_text, list_images, refuse_bad_name
from faceprep.steps.crop_faces import DEGENERATE, face_rows
from faceprep.steps.crop_options import WritesCrops, format_option, quality_option
from faceprep.steps.fallback import find_with
from faceprep.steps.find_faces import FaceFinder, FaceOptions
from faceprep.steps.found import Found
from faceprep.steps.model_names import DETECTORS
from faceprep.steps.source_roots import SourceRoots
from faceprep.tables.faces import FACES_TABLE, FacesWriter, join_faces, join_output
from faceprep.vision.load_image import load_noted_bytes
from faceprep.vision.templates import load_template

log = logging.getLogger("faceprep")
_N_NAMED = 3
_SHARD = 32
_BATCH = 8
_BATCH_PIXELS = 24_000_000
_PART = ".parquet"
_MULTI, _NONE = "_multi", "_none"


class Photo(NamedTuple):
    """A photo at `path` below the source.

    `crop` is the name of its crops without face number and suffix.
    """

    path: str
    crop: str
    data: bytes
    pixels: Pixels
    note: str


@dataclass(frozen=True)
class ExtractPhotos(WritesCrops, FaceOptions, Job):
    """Extract aligned faces from photos.

    Each SRC is a photo, or a folder of photos or of identity folders. The faces are written as
    DST/IDENTITY/STEM_FACE.png, and DST/faces.parquet lists where each comes from. By default,
    if a photo has several faces, all of them go to DST_multi. Photos without a face above the
    minimum score go to DST_none, unchanged. Photos that cannot be read are named in
    DST/failures.csv.
    """

    command: ClassVar[str] = "extract-photos"
    siblings: ClassVar[tuple[str, ...]] = (_MULTI, _NONE)

    select: str = option(
        "only",
        "Choose the faces to write to DST if a photo has several: none, and all to DST_multi "
        "(only), the largest, the one with the highest score, the one nearest to the centre, or "
        "all.",
        choices=("only", "largest", "score", "center", "all"),
    )
    fallback: str | None = option(
        None,
        "Try this detector on photos in which the first finds no face above --min-score, or none "
        "with sound landmarks.",
        values=DETECTORS,
    )
    format: str = format_option()
    quality: int = quality_option()

    def may_write_to_store(self, output: Path) -> bool:
        return True

    def plan(self, request: Request, scratch: Path) -> Work:
        roots, skipped = find_all(request.sources)
        paths = list(roots)[: request.limit]
        self.announce(*filter(None, [self.fallback]))
        crops = name_crops(paths)
        digest = hashlib.sha256()
        shards: list[Shard] = []
        start = 0
        for root, below in groupby(paths, roots.__getitem__):
            stop = start + len(list(below))
            for shard in cut_at(even_bounds(stop, _SHARD, start), root, first=len(shards)):
                names = [(path, crops[path]) for path in paths[shard.start : shard.stop]]
                sizes = [storage.file_size(f"{root}/{path}") for path, _ in names]
                digest.update(json.dumps([names, sizes]).encode())
                shards.append(replace(shard, payload=names))
            start = stop
        height, width = load_template(self.template).size
        fingerprint = f"{len(paths):,} photos, names and sizes {digest.hexdigest()[:16]}"
        return Work(
            [Stage("photos", shards)],
            fingerprint,
            n_files=len(paths),
            n_bytes=2 * height * width * len(paths),
            skipped=skipped,
        )

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        finders = self.finders(self.fallback)
        with FacesWriter(sink.open_part(_PART)) as table:
            for answer in _in_batches(_load_photos(shard)):
                if isinstance(answer, Outcome):
                    yield answer
                else:
                    yield from self._extract(answer, finders, sink, table)

    def _extract(
        self, photos: Sequence[Photo], finders: Sequence[FaceFinder], sink: Sink, table: FacesWriter
    ) -> Iterator[Outcome]:
        found = find_with(finders, [photo.pixels for photo in photos])
        for photo, (each, detector) in zip(photos, found, strict=True):
            yield self._keep(photo, each, detector, sink, table)

    def _keep(
        self, photo: Photo, found: Found, detector: str, sink: Sink, table: FacesWriter
    ) -> Outcome:
        """Write the crops of one photo, or the photo itself where it has none."""
        size = photo.pixels.shape[0], photo.pixels.shape[1]
        chosen = found.take(choose(found.faces, self.select, size))
        (places,) = self.cropper().place([chosen.faces], [size], [chosen.turn])
        crops, faults = self.cropper().crop(photo.pixels, places), places.describe_faults()
        if not crops:
            sink.write(photo.path, photo.data, beside=_NONE)
            if faults:
                return Outcome(photo.path, DEGENERATE, faults)
            return Outcome(photo.path, found.status, found.reason)
        has_many = self.select == "only" and len(chosen.faces) > 1
        beside = _MULTI if has_many else ""
        names = [f"{photo.crop}_{crop.face}{self.suffix}" for crop in crops]
        for name, crop in zip(names, crops, strict=True):
            sink.write(name, self.encode(crop.pixels), beside=beside)
        outputs = [join_output(name, beside) for name in names]
        known = {"source": photo.path, "detector": detector, "template": self.template}
        for row in face_rows(chosen, size, places, crops, outputs, **known):
            table.add(row)
        if has_many:
            return Outcome(photo.path, MANY_FACES, f"{len(chosen.faces)} faces")
        notes = filter(None, [faults, found.note, photo.note])
        return Outcome(photo.path, reason="; ".join(notes))

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """Join the tables of the shards."""
        with sink.open(FACES_TABLE) as file:
            join_faces([sink.part_path(shard.id, _PART) for shard in work.stages[0].shards], file)


def find_all(sources: Sequence[Path]) -> tuple[dict[str, Path], Counter[str]]:
    """Return the folder that each photo's path is below, and count the other files by suffix.

    An identity that several sources have becomes one, with a warning. Raises SourceError.
    """
    roots, skipped = SourceRoots(sources, "photo"), Counter[str]()
    folders: dict[str, Path] = {}
    shared: set[str] = set()
    for source in sources:
        untaken = UntakenFiles(source, "images")
        root, identities = _find_photos(source, untaken)
        skipped.update(untaken.counts)
        paths = list(list_images(identities).prefixed_paths(""))
        if not paths:
            raise SourceError(
                "no photos in this folder",
                path=root,
                expected="SRC/PHOTO.jpg or SRC/IDENTITY/PHOTO.jpg",
                remedy="extract-video takes videos, and convert turns a set into a folder.",
            )
        roots.add(root, paths)
        names = [each.name for each in identities if each.name != "."]
        shared.update(name for name in names if folders.setdefault(name, root) != root)
    if shared:
        log.warning(
            "%s in several sources and will be written as one: %s",
            count_noun(len(shared), "identity is", "identities are"),
            ", ".join(sorted(shared)[:_N_NAMED]) + " …" * (len(shared) > _N_NAMED),
        )
    return roots.of, skipped


def _find_photos(source: Path, untaken: UntakenFiles) -> tuple[Path, list[Identity]]:
    """Return the folder and its photos by identity.

    For a single photo, the folder that it lies in. Raises SourceError for a file of another kind.
    """
    if is_folder(source):
        return source, find_identities(source, untaken)
    if found := describe_other_kind(source, IMAGE):
        raise SourceError(
            f"expected photos, found {found}",
            path=source,
            remedy="Name a photo or a folder of photos; extract-video takes videos, and convert "
            "turns a set into a folder.",
        )
    return source.parent, [Identity(".", (source.name,))]


def name_crops(paths: Sequence[str]) -> dict[str, str]:
    """Name the crops of photos: the name without suffix, or the whole name where two would be
    equal.

    >>> name_crops(["x/a.jpg", "x/a.png", "x/b.jpg"])
    {'x/a.jpg': 'x/a.jpg', 'x/a.png': 'x/a.png', 'x/b.jpg': 'x/b'}
    """
    names = {
        path: path[: path.rindex(".")] if "." in path.rpartition("/")[2][1:] else path
        for path in paths
    }
    while doubles := {name for name, n in Counter(names.values()).items() if n > 1}:
        names = {path: path if name in doubles else name for path, name in names.items()}
    return names


def choose(faces: Faces, select: str, size: tuple[int, int]) -> Sequence[int]:
    """Return the rows of the faces that `select` takes from an image of `size` (height, width).

    `only` and `all` take all.
    """
    if len(faces) < 2 or select in ("only", "all"):
        return range(len(faces))
    corners = faces.boxes.reshape(-1, 2, 2)
    if select == "largest":
        return [int(np.prod(corners[:, 1] - corners[:, 0], axis=1).argmax())]
    if select == "center":
        middle = np.array([size[1], size[0]]) / 2
        return [int(np.linalg.norm(corners.mean(axis=1) - middle, axis=1).argmin())]
    return [int(faces.scores.argmax())]


def _load_photos(shard: Shard) -> Iterator[Photo | Outcome]:
    for path, crop in shard.payload:
        if not is_text(path):
            yield refuse_bad_name(path)
            continue
        data = read_image_bytes(f"{shard.source}/{path}", path)
        if isinstance(data, Outcome):
            yield data
            continue
        loaded = load_noted_bytes(data, path)
        yield loaded if isinstance(loaded, Outcome) else Photo(path, crop, data, *loaded)


def _in_batches(photos: Iterator[Photo | Outcome]) -> Iterator[list[Photo] | Outcome]:
    """Yield photos in batches, smaller ones for large photos; outcomes pass through in order."""
    batch: list[Photo] = []
    n_pixels = 0
    for photo in photos:
        if isinstance(photo, Outcome):
            yield photo
            continue
        batch.append(photo)
        n_pixels += photo.pixels.size // 3
        if len(batch) == items.most_at_once(_BATCH) or n_pixels >= _BATCH_PIXELS:
            yield batch
            batch, n_pixels = [], 0
    if batch:
        yield batch
