"""Sets with identities: some images of each are enrolled in a gallery, the others are probes."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats
from faceprep.core.errors import SourceError
from faceprep.core.random_order import shuffled
from faceprep.core.scratch import scratch_folder
from faceprep.core.types import Outcome
from faceprep.identity.metrics.identification import Identification, judge_searches, search
from faceprep.identity.metrics.pooling import pool_templates, scaled
from faceprep.jobs.verify.result import Judged, Progress, embed_all, is_sound, named
from faceprep.sets import ijb
from faceprep.sets.containers import open_set
from faceprep.steps.embed_crops import listed_loads
from faceprep.steps.embed_options import EmbedOptions
from faceprep.steps.listed_set import ListedSet, People, list_people, list_source


class Draw(NamedTuple):
    """The number of images to enrol per identity, and the seed of the draw."""

    gallery: int
    seed: int


def judge_set(
    options: EmbedOptions,
    path: Path,
    name: str,
    draw: Draw,
    relative_to: Path | None,
    progress: Progress,
) -> Judged:
    """Search for the probes among the enrolled identities. Raises SourceError.

    The relative names of a list lie below `relative_to`.
    """
    with scratch_folder() as scratch:
        listed = list_source(path, scratch, may_be_empty=True, relative_to=relative_to)
        people = _find_people(listed)
        listed.save(scratch)
        n = len(people.places)
        loads = listed_loads(options, scratch, people.places.tolist())
        vectors, problems = embed_all(options, loads, n, progress, path)
        with open_set(scratch) as images:
            faults = images.faults()
    enrolled = _enrol(draw, people, is_sound(n, problems))
    if not enrolled.any():
        raise SourceError(
            "no identity has two sound images: there is nothing to search for", path=path
        )
    vectors = scaled(vectors, options.model().metric)
    found = named(name, path, _judge(options, vectors, people, enrolled, problems))
    counts = {
        "identities": len(people.names),
        "gallery_images": int(enrolled.sum()),
        "left_out": len(problems),
    }
    left_out = [*problems.values(), *faults]
    return Judged([found | counts], n + len(faults), left_out, n)


def _judge(
    options: EmbedOptions,
    unit: Floats,
    people: People,
    enrolled: npt.NDArray[np.bool_],
    problems: Mapping[int, Outcome],
) -> Identification:
    """Search for the sound images that are not enrolled, by vectors scaled for comparison."""
    numbers = np.repeat(np.arange(len(people.names)), people.counts)
    probes = is_sound(len(unit), problems) & ~enrolled
    rows = np.flatnonzero(enrolled)
    weights = np.ones(len(rows), np.float32)
    ids, pooled = pool_templates(unit[rows], numbers[rows], rows, weights)
    gallery = scaled(pooled, options.model().metric)
    return judge_searches(search(gallery, ids, unit[probes], numbers[probes]), len(ids))


def _find_people(listed: ListedSet) -> People:
    """List the identities, at least one. Raises SourceError."""
    people = list_people(listed)
    root = Path(listed.path)
    if listed.is_folder:
        folders = sorted({(root / name).parent for name in people.names})
        for folder in filter(ijb.is_ijb, folders):
            problem = "holds IJB in a folder of its own"
            raise SourceError(problem, path=root, remedy=f"Name {folder}.")
    if people.names:
        return people
    if listed.is_folder:
        problem, expected = "neither identities with images nor IJB", "SRC/IDENTITY/IMAGE.png"
    else:
        problem, expected = "no identities in it", "a set whose images have identities"
    raise SourceError(problem, path=root, expected=expected)


def _enrol(draw: Draw, people: People, sound: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Choose the images to enrol: the wanted number per identity, but never all.

    The draw of an identity depends on the seed, its name and its sound images alone.
    """
    enrolled = np.zeros(len(sound), np.bool_)
    edges = np.concatenate([[0], np.cumsum(people.counts)])
    for name, start, stop in zip(people.names, edges, edges[1:], strict=False):
        mine = start + np.flatnonzero(sound[start:stop])
        own = zlib.crc32(name.encode("utf-8", "surrogateescape"))
        order = shuffled(len(mine), draw.seed << 32 | own)
        n_enrolled = max(0, min(draw.gallery, len(mine) - 1))
        enrolled[mine[order[:n_enrolled]]] = True
    return enrolled
