"""Folders of identities: some images of each are enrolled in a gallery, the others are probes."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Ints
from faceprep.core.errors import SourceError
from faceprep.core.random_order import shuffled
from faceprep.identity.metrics.identification import judge_searches, search
from faceprep.identity.metrics.pooling import pool_templates, scaled
from faceprep.jobs.verify.result import Judged, Progress, embed_all, is_sound, named
from faceprep.sets import ijb
from faceprep.sets.folder import Identity, find_identities
from faceprep.steps.embed_crops import EmbedOptions, load_file

log = logging.getLogger("faceprep")


class Draw(NamedTuple):
    """The number of images to enrol per identity, and the seed of the draw."""

    gallery: int
    seed: int


def judge_folder(
    options: EmbedOptions, path: Path, name: str, draw: Draw, progress: Progress
) -> Judged:
    """Search for the probes among the enrolled identities. Raises SourceError."""
    identities = _find_people(path)
    files = [f"{identity.name}/{image}" for identity in identities for image in identity.images]
    people = np.repeat(
        np.arange(len(identities)), [len(identity.images) for identity in identities]
    )
    fitter = options.fitter()
    loads = [partial(load_file, fitter, path, file) for file in files]
    vectors, problems = embed_all(options, loads, progress, path)
    sound = is_sound(len(files), problems)
    enrolled = _enrol(draw, identities, people, sound)
    probes = sound & ~enrolled
    if not enrolled.any():
        raise SourceError(
            "no identity has two sound images: there is nothing to search for", path=path
        )
    metric = options.model().metric
    unit = scaled(vectors, metric)
    rows = np.flatnonzero(enrolled)
    ids, pooled = pool_templates(unit[rows], people[rows], rows, np.ones(len(rows), np.float32))
    searches = search(scaled(pooled, metric), ids, unit[probes], people[probes])
    found = named(name, path, judge_searches(searches, len(ids)))
    counts = {"identities": len(identities), "gallery_images": len(rows), "left_out": len(problems)}
    return Judged([found | counts], len(files), list(problems.values()), len(files))


def _find_people(path: Path) -> list[Identity]:
    """List the identities, at least one. Raises SourceError."""
    found = find_identities(path)
    identities = [identity for identity in found if identity.name != "."]
    if len(identities) < len(found):
        log.warning("%s: images outside identity folders are skipped", path)
    inner = [
        folder
        for folder in sorted({(path / person.name).parent for person in identities})
        if ijb.is_ijb(folder)
    ]
    if inner:
        raise SourceError("holds IJB in a folder of its own", path=path, remedy=f"Name {inner[0]}.")
    if not identities:
        raise SourceError(
            "neither identities with images nor IJB", path=path, expected="SRC/IDENTITY/IMAGE.png"
        )
    return identities


def _enrol(
    draw: Draw, identities: Sequence[Identity], people: Ints, sound: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Choose the images to enrol: the wanted number per identity, but never all.

    The draw of an identity depends on the seed, its name and its sound images alone.
    """
    enrolled = np.zeros(len(people), np.bool_)
    edges = np.searchsorted(people, np.arange(len(identities) + 1))
    for identity, start, stop in zip(identities, edges, edges[1:], strict=False):
        mine = start + np.flatnonzero(sound[start:stop])
        own = zlib.crc32(identity.name.encode("utf-8", "surrogateescape"))
        order = shuffled(len(mine), draw.seed << 32 | own)
        enrolled[mine[order[: min(draw.gallery, len(mine) - 1)]] if len(mine) > 1 else []] = True
    return enrolled
