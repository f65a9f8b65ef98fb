"""`inspect`: report the content of a container and its damage. Reads only."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.io import contents
from faceprep.core.io.image_bytes import check_image_bytes, read_image_bytes
from faceprep.core.io.image_header import ImageHeader
from faceprep.core.job import Look
from faceprep.core.names import sort_names
from faceprep.core.options import option
from faceprep.core.scratch import scratch_folder
from faceprep.core.text import count_noun
from faceprep.core.types import Buffer, Outcome
from faceprep.sets.folder import read_identity, walk_images
from faceprep.sets.manifests.writers import FORMATS
from faceprep.sets.pairs_bin import container as pairs_bin
from faceprep.sets.recordio import index as rec_index
from faceprep.sets.recordio.entries import read_in_file_order
from faceprep.sets.recordio.index import RecPaths
from faceprep.sets.recordio.records import Damage, IdentityNames, ImageRecord, RecordFile
from faceprep.sets.recordio.survey import RecSurvey, survey_index
from faceprep.vision.load_image import load_image_bytes

_BATCH = 1024
_N_NAMED = 20

Progress = Callable[[int, int], None]


@dataclass
class Inspection:
    """The findings.

    `images` and `identities` count sound ones; `damage` names the first few of `damaged`, and
    `contradictions` are numbers in the file that disagree.
    """

    path: str
    kind: str
    images: int = 0
    identities: int | None = None
    image_sizes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    damaged: int = 0
    damage: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return self.damaged + len(self.contradictions)

    def add_image(self, where: str, data: Buffer, deep: bool) -> bool:
        """Count one encoded image or name its damage; return whether it is sound."""
        header = _check(data, where, deep)
        if isinstance(header, Outcome):
            self.add_damage(header.reason)
            return False
        self.images += 1
        self.formats[header.suffix] += 1
        if header.size:
            self.image_sizes["{}x{}".format(*header.size)] += 1
        return True

    def remove_image(self, line: str) -> None:
        """Name the damage of an image that was counted, whose bytes are sound."""
        self.images -= 1
        self.add_damage(line)

    def add_damage(self, line: str) -> None:
        self.damaged += 1
        if len(self.damage) < _N_NAMED:
            self.damage.append(line)

    def as_json(self) -> dict[str, Any]:
        return {
            "command": "inspect",
            "path": self.path,
            "kind": self.kind,
            "images": self.images,
            "identities": self.identities,
            "image_sizes": dict(self.image_sizes.most_common()),
            "formats": dict(self.formats.most_common()),
            "damaged": self.damaged,
            "damage": self.damage,
            "contradictions": self.contradictions,
        } | self.details

    def __str__(self) -> str:
        if self.identities is None:
            of = ""
        else:
            of = f" of {count_noun(self.identities, 'identity', 'identities')}"
        lines = [f"{self.path}: {self.kind}", f"  {'images':16s}{self.images:,}{of}"]
        for name, counts in (("sizes (h x w)", self.image_sizes), ("formats", self.formats)):
            if counts:
                common = ", ".join(f"{what} {n:,}" for what, n in counts.most_common(5))
                more = " …" if len(counts) > 5 else ""
                lines.append(f"  {name:16s}{common}{more}")
        lines += [
            f"  {name.replace('_', ' '):16s}{_shown(value)}" for name, value in self.details.items()
        ]
        n_damaged = f"{self.damaged:,}" if self.damaged else "none found"
        lines.append(f"  {'damage':16s}{n_damaged}")
        lines += [f"    {line}" for line in self.damage]
        lines += [f"  {'contradiction':16s}{line}" for line in self.contradictions]
        return "\n".join(lines)


@dataclass(frozen=True)
class Inspect(Look):
    """Show what a set or list holds and what is damaged.

    PATH is a .rec (or a folder with train.rec), a folder of identities, a verification .bin, or a
    manifest (.npz, .tfrecord, .parquet, .csv, .lst, .tar). Every record is read. Images are checked
    by their headers and end marks, and decoded with --deep. Exit status 3 means that damage
    was found, or numbers that disagree.
    """

    command: ClassVar[str] = "inspect"

    deep: bool = option(False, "Decode every image.")
    limit: int | None = option(None, "Look at the first N images only.")
    scan: bool = option(
        False, "Find the records of a .rec by scanning, even when there is an .idx."
    )

    def look(self, path: Path, progress: Progress | None = None) -> Inspection:
        """Inspect `path`; `progress` receives (done, total).

        Raises SourceError for anything but a container.
        """
        progress = progress or (lambda done, total: None)
        if not path.exists():
            raise SourceError("no such file or folder", path=path, remedy="Check the path.")
        if path.is_dir() and any(name.endswith(".rec") for name in storage.list_folder(path)[1]):
            return self._rec(path, progress)
        if path.is_dir():
            return self._folder(path, progress)
        if path.suffix in (".rec", ".idx"):
            return self._rec(path.with_suffix(".rec"), progress)
        if path.suffix == ".bin":
            return self._pairs(path, progress)
        if path.suffix in FORMATS:
            return _manifest(FORMATS[path.suffix].describe(path), path)
        known = ", ".join((".rec", ".bin", *FORMATS))
        raise SourceError(
            "not a container that faceprep knows",
            path=path,
            expected=f"a folder, or one of {known}",
        )

    def _rec(self, path: Path, progress: Progress) -> Inspection:
        paths = rec_index.find_rec(path, ignore_idx=self.scan)
        found = Inspection(str(paths.rec), "rec")
        images_of: Counter[float] = Counter()
        widths: Counter[int] = Counter()
        names = IdentityNames()
        with scratch_folder() as scratch:
            total = rec_index.write_index(paths, scratch / "index")
            survey = survey_index(paths, scratch / "index")
            records = _records(paths.rec, scratch / "index", total)
            for n, (key, offset, record) in enumerate(records, 1):
                progress(n, total)
                where = f"record {key if key >= 0 else '?'} at offset {offset}"
                if isinstance(record, Damage):
                    found.add_damage(f"{where}: {record.reason}")
                elif survey.metadata.describes(key, record):
                    continue
                elif found.add_image(where, record.image, self.deep):
                    widths[len(record.labels)] += 1
                    images_of[record.labels[0]] += 1
                    if not names[record.labels[0]]:
                        label = record.labels[0]
                        found.remove_image(f"{where}: expected a finite label, found {label}")
                if self.limit and found.images >= self.limit:
                    break
        sound = {label: n for label, n in images_of.items() if names[label]}
        _describe_rec(found, paths, survey, sound, widths)
        return found

    def _folder(self, path: Path, progress: Progress) -> Inspection:
        found = Inspection(str(path), "folder")
        counts = {name: (len(images), n_others) for name, images, n_others in walk_images(path)}
        total = sum(n for n, _ in counts.values())
        if not total:
            raise SourceError(
                "no images in this folder",
                path=path,
                expected="IDENTITY/IMAGE.jpg (or .png …), or a .rec",
            )
        for n, name in enumerate(_names(path, counts)):
            if self.limit and found.images >= self.limit:
                break
            progress(n + 1, total)
            data = read_image_bytes(path / name, name)
            if isinstance(data, Outcome):
                found.add_damage(data.reason)
            else:
                found.add_image(name, data, self.deep)
        found.identities = len(counts)
        found.details = {
            "files": total,
            "other_files": sum(n for _, n in counts.values()),
            "per_identity": _spread([n for n, _ in counts.values()]),
        }
        return found

    def _pairs(self, path: Path, progress: Progress) -> Inspection:
        pairs = pairs_bin.load_pairs(path)
        found = Inspection(str(path), "bin")
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
    found.contradictions += metadata.contradictions(survey.n_images)
    if 0 < metadata.n_identity_records < len(images_of):
        n, m = f"{len(images_of):,}", f"{metadata.n_identity_records:,}"
        found.contradictions.append(f"the images have {n} identities, there are {m} records of any")
    found.identities = len(images_of)
    found.details = {
        "layout": layout,
        "records": survey.n,
        "header": described,
        "range_records": metadata.n_identity_records,
        "label_width": sorted(widths),
        "index": str(paths.idx) if paths.idx else "none: found by scanning",
        "per_identity": _spread(list(images_of.values())),
        "bytes": storage.size_of(paths.rec),
    }
    if survey.detection:
        a, b = survey.detection
        note = f"labels of a detection set: a header of {a} numbers, {b} per object; no identities"
        found.identities = None
        found.details |= {"layout": "detection", "per_identity": None, "note": note}


def _records(rec: Path, index: Path, total: int) -> Iterator[tuple[int, int, ImageRecord | Damage]]:
    """Yield (key, offset, record) of every entry of the index."""
    with RecordFile(rec) as file:
        for start in range(0, total, _BATCH):
            keys, offsets = read_in_file_order(index, start, min(start + _BATCH, total))
            yield from zip(keys, offsets, file.read_images(offsets), strict=True)


def _names(root: Path, identities: Iterable[str]) -> Iterator[str]:
    """Yield every image below `root`, identity by identity in class order."""
    for name in sort_names(identities):
        yield from (f"{name}/{image}" for image in read_identity(root, name).images)


def _manifest(found: contents.Contents, path: Path) -> Inspection:
    damage = [found.damage] if found.damage else []
    details = {"fields": list(found.fields)}
    return Inspection(
        str(path),
        found.kind,
        found.n_images,
        found.n_classes,
        damaged=len(damage),
        damage=damage,
        details=details,
    )


def _check(data: Buffer, where: str, deep: bool) -> ImageHeader | Outcome:
    header = check_image_bytes(data, where)
    if isinstance(header, Outcome) or not deep:
        return header
    pixels = load_image_bytes(data, where)
    if isinstance(pixels, Outcome):
        return pixels
    return header


def _spread(counts: list[int]) -> dict[str, float] | None:
    """Return the smallest, median and largest number of images per identity."""
    if counts:
        return {"min": min(counts), "median": statistics.median(counts), "max": max(counts)}
    return None


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_shown(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if value is None:
        return "none"
    if isinstance(value, int | float):
        return f"{value:,}"
    return str(value)
