"""Sets with identities: some images of each are enrolled in a gallery, the others are probes."""

from __future__ import annotations

import hashlib
import logging
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Floats, Ints
from faceprep.core.embeddings import Embeddings
from faceprep.core.errors import SourceError
from faceprep.core.io.columns import DictionaryColumn, encode_strings, pack_strings
from faceprep.core.names import sort_names
from faceprep.core.random_order import shuffled
from faceprep.core.scratch import scratch_folder
from faceprep.core.slow_step import Progress, log_progress
from faceprep.core.text import count_noun
from faceprep.core.types import Outcome
from faceprep.core.urls import url_of
from faceprep.identity.metrics.identification import Searches, judge_searches, search
from faceprep.identity.metrics.pooling import pool_templates, scaled
from faceprep.identity.sound_vectors import ChosenStrings
from faceprep.jobs.verify.result import (
    SEARCHING,
    Judged,
    PairScores,
    embed_all,
    is_sound,
    name_faulty_row,
    named,
    naming_left_out,
)
from faceprep.sets import ijb
from faceprep.sets.containers import open_set
from faceprep.steps.embed_crops import listed_loads
from faceprep.steps.embed_options import EmbedOptions
from faceprep.steps.embedded_sets import NOBODY, check_embeddings, refuse_none
from faceprep.steps.listed_set import ListedSet, People, list_people, list_source
from faceprep.steps.stated_template import refuse_other_template
from faceprep.tables.embeddings import load_embeddings

log = logging.getLogger("faceprep")


class Draw(NamedTuple):
    """The number of images to enrol per identity, the seed of the draw, and the strangers.

    `strangers` is the share of identities that are held out of the gallery.
    """

    gallery: int
    seed: int
    strangers: float = 0.0


class _Images(NamedTuple):
    """The images of a set, identity by identity: unscaled vectors (n, d), and a mask of sound ones.

    `keys` are their names.
    """

    vectors: Floats
    sound: npt.NDArray[np.bool_]
    people: People
    keys: Sequence[str]


def judge_set(
    options: EmbedOptions,
    path: Path,
    name: str,
    draw: Draw,
    relative_to: Path | None,
    progress: Progress,
) -> Judged:
    """Search for the probes among the enrolled identities. Raises SourceError."""
    refuse_other_template(options, path)
    with scratch_folder() as scratch:
        listed = list_source(path, scratch, may_be_empty=True, relative_to=relative_to)
        people = _find_people(listed)
        listed.save(scratch)
        n = len(people.places)
        loads = listed_loads(options, scratch, people.places.tolist())
        vectors, problems = embed_all(options, loads, n, progress, path)
        with open_set(scratch) as images:
            faults = images.faults()
    keys = pack_strings(listed.listing.path(place) for place in people.places.tolist())
    found = _Images(vectors, is_sound(n, problems), people, keys)
    left_out = [*problems.values(), *faults]
    with naming_left_out(left_out):
        judged = _judge(name, path, options.model().metric, found, draw, left_out)
    return judged._replace(n_embedded=n)


def judge_embeddings(path: Path, name: str, draw: Draw) -> Judged:
    """Search for the probes among the enrolled identities of saved embeddings.

    Raises SourceError.
    """
    loaded = check_embeddings(load_embeddings(path))
    left_out = [name_faulty_row(each.key, each.status, path) for each in loaded.left_out]
    with naming_left_out(left_out):
        if left_out:
            refuse_none(loaded.embeddings, path)
        return _judge_sound(loaded.embeddings, path, name, draw, left_out)


def _judge_sound(
    embeddings: Embeddings, path: Path, name: str, draw: Draw, left_out: list[Outcome]
) -> Judged:
    """Search in embeddings without faulty rows. Raises SourceError."""
    column = encode_strings(embeddings.identities)
    names = [each for each in sort_names(column.names) if each not in NOBODY]
    if not names:
        raise SourceError("no identities in it", path=path)
    number_of = {each: number for number, each in enumerate(names)}
    renamed = np.array([number_of.get(each, -1) for each in column.names])[column.numbers]
    n_unnamed = int(np.count_nonzero(renamed < 0))
    if n_unnamed:
        noun = count_noun(
            n_unnamed, "image without an identity is", "images without an identity are"
        )
        log.warning("%s: %s skipped", path, noun)
    places = np.argsort(renamed, kind="stable")[n_unnamed:]
    counts = np.bincount(renamed[places], minlength=len(names))
    vectors = np.asarray(embeddings.vectors)[places]
    people = People(names, counts, places)
    keys = ChosenStrings(embeddings.keys, places)
    found = _Images(vectors, np.ones(len(places), np.bool_), people, keys)
    return _judge(name, path, embeddings.model.metric, found, draw, left_out)


def _judge(
    name: str, path: Path, metric: str, images: _Images, draw: Draw, left_out: list[Outcome]
) -> Judged:
    """Search for the sound images that are not enrolled. Raises SourceError if none is."""
    people = images.people
    numbers = np.repeat(np.arange(len(people.names)), people.counts)
    enrolled = _enrol(draw, people, images.sound)
    if not enrolled.any():
        raise SourceError(
            "no identity has two sound images: there is nothing to search for", path=path
        )
    enrolled &= ~_hold_out(draw, people.names)[numbers]
    if not enrolled.any():
        problem = "--strangers holds out every identity with two sound images"
        raise SourceError(problem, path=path, remedy="Give a smaller share.")
    unit = scaled(images.vectors, metric)
    probes = images.sound & ~enrolled
    rows = np.flatnonzero(enrolled)
    ids, pooled = pool_templates(unit[rows], numbers[rows], rows, np.ones(len(rows), np.float32))
    progress = log_progress(SEARCHING)
    searches = search(scaled(pooled, metric), ids, unit[probes], numbers[probes], progress)
    found = named(name, path, judge_searches(searches, len(ids)))
    counts = {
        "identities": len(people.names),
        "gallery_images": int(enrolled.sum()),
        "left_out": len(left_out),
    }
    n_inputs = int(images.sound.sum()) + len(left_out)
    scores = _list_scores(images, searches, ids, np.flatnonzero(probes))
    return Judged([found | counts], n_inputs, left_out, scores={name: scores})


def _list_scores(images: _Images, searches: Searches, ids: Ints, probes: Ints) -> PairScores:
    """Return a row for each probe: with its mate, or, for a stranger, with the closest identity."""
    names = images.people.names
    owners = np.repeat(np.arange(len(names)), images.people.counts)[probes]
    is_mated = np.isin(owners, ids)
    others = np.empty(len(probes), np.int64)
    others[is_mated], others[~is_mated] = owners[is_mated], ids[searches.closest]
    similarity = np.empty(len(probes), np.float32)
    similarity[is_mated], similarity[~is_mated] = searches.mates, searches.strangers
    return PairScores(
        ChosenStrings(images.keys, probes), DictionaryColumn(names, others), is_mated, similarity
    )


def _hold_out(draw: Draw, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return a mask of the identities that are strangers; it depends on seed and names alone."""
    held = np.zeros(len(names), np.bool_)
    seeded = (f"{draw.seed} {name}".encode("utf-8", "surrogateescape") for name in names)
    digests = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in seeded)
    order = np.argsort(np.frombuffer(digests, "<u8"), kind="stable")
    held[order[: round(draw.strangers * len(names))]] = True
    return held


def _find_people(listed: ListedSet) -> People:
    """List the identities, at least one. Raises SourceError."""
    people = list_people(listed)
    root = Path(listed.path)
    if listed.is_folder:
        folders = sorted({(root / name).parent for name in people.names})
        for folder in filter(ijb.is_ijb, folders):
            problem = "has IJB in a folder below it"
            raise SourceError(problem, path=root, remedy=f"Name {url_of(folder)}.")
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
