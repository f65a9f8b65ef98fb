"""IJB-B and IJB-C: faces aligned by the points of the lists, pooled to templates; 1:1 and 1:N."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats, Ints
from faceprep.core.errors import SourceError
from faceprep.core.faces import Faces
from faceprep.core.types import Outcome
from faceprep.identity.metrics.identification import judge_searches, search
from faceprep.identity.metrics.pooling import pool_templates, scaled
from faceprep.identity.metrics.verification import judge_pairs
from faceprep.jobs.verify.result import Judged, Progress, compare_rows, embed_all, is_sound, named
from faceprep.sets.ijb import Ijb, Subjects, TemplatePairs, load_ijb
from faceprep.steps.embed_crops import EmbedOptions, FittedCrop, Load
from faceprep.steps.find_faces import DEGENERATE, Cropper, open_cropper
from faceprep.vision.load_image import load_image


def judge_ijb(options: EmbedOptions, path: Path, is_weighted: bool, progress: Progress) -> Judged:
    """Judge pairs of templates, and searches in each gallery. Raises SourceError."""
    data = load_ijb(path)
    own = replace(options, crops=options.open().template)
    loads = _ijb_loads(data, open_cropper(own.crops_template))
    vectors, problems = embed_all(own, loads, len(data.files), progress, path)
    sound = is_sound(len(data.files), problems)
    weights = data.scores[sound] if is_weighted else np.ones(int(sound.sum()), np.float32)
    ids, pooled = pool_templates(vectors[sound], data.templates[sound], data.media[sound], weights)
    unit = scaled(pooled, options.model().metric)
    has_vector = np.isfinite(unit).all(axis=1)
    if not has_vector.any():
        found = next(iter(problems.values())).reason if problems else "images without weight"
        raise SourceError(
            "no template has an image that can be used", path=data.images, found=found
        )
    templates = _Templates(ids[has_vector], unit[has_vector])
    results = [_judge_template_pairs(path, data, data.pairs, templates)] if data.pairs else []
    results += _judge_galleries(path, data, data.probes, templates) if data.probes else []
    return Judged(results, len(data.files), list(problems.values()), len(data.files))


class _Templates(NamedTuple):
    """Templates with a vector: their `numbers`, rising, and `vectors` scaled for comparison."""

    numbers: Ints
    vectors: Floats

    def find(self, templates: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Return (rows of the vectors, mask of the templates that have one)."""
        rows = np.minimum(np.searchsorted(self.numbers, templates), len(self.numbers) - 1)
        return rows, self.numbers[rows] == templates


def _ijb_loads(data: Ijb, cropper: Cropper) -> Iterable[Load]:
    faces = Faces(np.zeros((len(data.files), 4), np.float32), data.landmarks, data.scores)
    transforms, faults = cropper.fit(faces)
    for file, transform, fault in zip(data.files, transforms, faults, strict=True):
        yield partial(_load_face, data.images / file, cropper, transform, fault)


def _load_face(
    path: Path, cropper: Cropper, transform: npt.NDArray[np.float64], fault: str
) -> list[FittedCrop | Outcome]:
    """Load one image, aligned by its landmarks."""
    if fault:
        return [Outcome(str(path), DEGENERATE, f"{path}: {fault}")]
    pixels = load_image(path, str(path))
    if isinstance(pixels, Outcome):
        return [pixels]
    return [FittedCrop(str(path), cropper.cut(pixels, transform))]


def _judge_template_pairs(
    path: Path, data: Ijb, pairs: TemplatePairs, templates: _Templates
) -> dict[str, Any]:
    """Judge 1:1 pairs, without folds, because their order has no meaning."""
    (first, has_first), (second, has_second) = (
        templates.find(pairs.first),
        templates.find(pairs.second),
    )
    both = has_first & has_second
    found = judge_pairs(
        compare_rows(templates.vectors, first[both], second[both]), pairs.same[both], n_folds=0
    )
    return named(f"{data.name} 1:1", path, found) | {"left_out": int((~both).sum())}


def _judge_galleries(
    path: Path, data: Ijb, probes: Subjects, templates: _Templates
) -> list[dict[str, Any]]:
    """Judge 1:N searches in each gallery, and their means.

    A probe without its mate's vector is left out.
    """
    rows, has_vector = templates.find(probes.templates)
    results = []
    for gallery in data.galleries:
        places, enrolled = templates.find(gallery.templates)
        usable = has_vector & ~np.isin(probes.subjects, gallery.subjects[~enrolled])
        searches = search(
            templates.vectors[places[enrolled]],
            gallery.subjects[enrolled],
            templates.vectors[rows[usable]],
            probes.subjects[usable],
        )
        found = judge_searches(searches, int(enrolled.sum()))
        left_out = {"left_out": int((~usable).sum() + (~enrolled).sum())}
        results.append(named(f"{data.name} 1:N {gallery.name}", path, found) | left_out)
    if len(results) > 1:
        return [*results, _mean_of(results) | {"name": f"{data.name} 1:N"}]
    return results


def _mean_of(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Combine results of both galleries as published: counts are sums, rates are means."""
    mean = {
        name: sum(result[name] for result in results)
        for name in ("gallery", "probes", "non_mated", "left_out")
    }
    for name in ("rank", "tpir_at_fpir"):
        columns = {rate: [result[name][rate] for result in results] for rate in results[0][name]}
        mean[name] = {
            rate: None if None in some else sum(some) / len(some) for rate, some in columns.items()
        }
    return {"path": results[0]["path"]} | mean
