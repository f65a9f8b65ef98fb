"""IJB-B and IJB-C: faces aligned by the points of the lists, pooled to templates; 1:1 and 1:N."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats, Ints
from faceprep.core.embeddings import Embeddings
from faceprep.core.errors import SourceError
from faceprep.core.slow_step import Progress, log_progress
from faceprep.core.types import Outcome
from faceprep.core.urls import url_of
from faceprep.identity.metrics.identification import judge_searches, search
from faceprep.identity.metrics.pooling import pool_templates, scaled
from faceprep.identity.metrics.verification import judge_pairs
from faceprep.identity.sound_vectors import find_faulty_vectors
from faceprep.jobs.verify.result import (
    SEARCHING,
    Judged,
    PairScores,
    compare_rows,
    embed_all,
    is_sound,
    name_faulty_row,
    named,
)
from faceprep.sets.ijb import Ijb, Subjects, TemplatePairs, load_ijb
from faceprep.steps.crop_faces import open_cropper
from faceprep.steps.embed_options import EmbedOptions
from faceprep.steps.ijb_faces import ijb_loads, key_of
from faceprep.steps.judged_source import NO_EMBEDDING
from faceprep.tables.embeddings import load_embeddings


def judge_ijb(options: EmbedOptions, path: Path, is_weighted: bool, progress: Progress) -> Judged:
    """Embed the images, then judge the vectors. Raises SourceError."""
    data = load_ijb(path)
    n = len(data.files)
    own = replace(options, crops=options.open().template)
    loads = ijb_loads(data, open_cropper(own.crops), 0, n)
    vectors, problems = embed_all(own, loads, n, progress, path)
    found = _Embedded(vectors, is_sound(n, problems), list(problems.values()))
    return _judge_vectors(path, data, found, options.model().metric, is_weighted)._replace(
        n_embedded=n
    )


def judge_saved_ijb(path: Path, root: Path, is_weighted: bool) -> Judged:
    """Judge the set at `root` by saved embeddings of its images. Raises SourceError."""
    data, saved = load_ijb(root), load_embeddings(path)
    found = _place_rows(path, data, saved)
    return _judge_vectors(root, data, found, saved.model.metric, is_weighted)


def _place_rows(path: Path, data: Ijb, saved: Embeddings) -> _Embedded:
    """Place the rows of the embeddings at `path` by the images of the set, which are in its order.

    Raises SourceError for a row of another image.
    """
    vectors = np.full((len(data.files), saved.vectors.shape[1]), np.nan, np.float32)
    sound = np.zeros(len(vectors), np.bool_)
    status_of = {fault.row: fault.status for fault in find_faulty_vectors(saved.vectors)}
    row, problems = 0, []
    for number, file in enumerate(data.files):
        key = key_of(data, file)
        if row == len(saved) or saved.keys[row] != key:
            reason = f"{file}: has no embedding in {url_of(path)}"
            problems.append(Outcome(key, NO_EMBEDDING, reason))
            continue
        if row in status_of:
            problems.append(name_faulty_row(key, status_of[row], path))
        else:
            vectors[number], sound[number] = saved.vectors[row], True
        row += 1
    if row < len(saved):
        problem = "not the embeddings of this set, or not in its order"
        raise SourceError(problem, path=path, where=f"row {row}", found=repr(saved.keys[row]))
    return _Embedded(vectors, sound, problems)


class _Embedded(NamedTuple):
    """Vectors (n, d) of all images, the mask (n,) of those that have one, and the faults."""

    vectors: Floats
    sound: npt.NDArray[np.bool_]
    problems: list[Outcome]


def _judge_vectors(
    path: Path, data: Ijb, found: _Embedded, metric: str, is_weighted: bool
) -> Judged:
    """Judge pairs of templates, and searches in each gallery. Raises SourceError."""
    sound, problems = found.sound, found.problems
    weights = data.scores[sound] if is_weighted else np.ones(int(sound.sum()), np.float32)
    places = data.templates[sound], data.media[sound]
    ids, pooled = pool_templates(found.vectors[sound], *places, weights)
    unit = scaled(pooled, metric)
    has_vector = np.isfinite(unit).all(axis=1)
    if not has_vector.any():
        reason = "images without weight" if sound.any() else problems[0].reason
        raise SourceError(
            "no template has an image that can be used", path=data.images, found=reason
        )
    templates = _Templates(ids[has_vector], unit[has_vector])
    results, scores = [], {}
    if data.pairs:
        result, listed = _judge_template_pairs(path, data, data.pairs, templates)
        results, scores = [result], {result["name"]: listed}
    results += _judge_galleries(path, data, data.probes, templates) if data.probes else []
    return Judged(results, len(data.files), problems, scores=scores)


class _Templates(NamedTuple):
    """Templates with a vector: their `numbers`, ascending, and `vectors` scaled for comparison."""

    numbers: Ints
    vectors: Floats

    def find(self, templates: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Return (rows of the vectors, mask of the templates that have one)."""
        rows = np.minimum(np.searchsorted(self.numbers, templates), len(self.numbers) - 1)
        return rows, self.numbers[rows] == templates


def _judge_template_pairs(
    path: Path, data: Ijb, pairs: TemplatePairs, templates: _Templates
) -> tuple[dict[str, Any], PairScores]:
    """Judge 1:1 pairs, without folds, because their order has no meaning."""
    (first, has_first), (second, has_second) = (
        templates.find(pairs.first),
        templates.find(pairs.second),
    )
    both = has_first & has_second
    scores, same = compare_rows(templates.vectors, first[both], second[both]), pairs.same[both]
    found = judge_pairs(scores, same, n_folds=0)
    result = named(f"{data.name} 1:1", path, found) | {"left_out": int((~both).sum())}
    return result, PairScores(pairs.first[both], pairs.second[both], same, scores)


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
            log_progress(SEARCHING),
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
