"""Embeds crops shard by shard, for all commands that need vectors.

embed_each     crops from anywhere -> each with its vector
embed_loads    crops from anywhere -> the shard's parts
load_parts     parts -> Embeddings
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from faceprep.core import items, storage
from faceprep.core.arrays import Floats, Pixels
from faceprep.core.cpu import my_cores
from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.io.columns import DictionaryEncoder, pack_strings
from faceprep.core.io.image_bytes import read_image_bytes
from faceprep.core.large_arrays import join_files
from faceprep.core.names import identity_of
from faceprep.core.prefetch import map_ahead
from faceprep.core.text import count_noun
from faceprep.core.types import Buffer, Outcome, Sink
from faceprep.sets.image_set import Sample
from faceprep.sets.listing import is_text, refuse_bad_name
from faceprep.steps.embed_options import EmbedOptions
from faceprep.steps.fitting import Fitter
from faceprep.steps.listed_set import load_listed, read_listed
from faceprep.vision.load_image import load_image_bytes

log = logging.getLogger("faceprep")
ROWS, KEYS = ".f32", ".keys"
_BATCH = 64


# A shard


class FittedCrop(NamedTuple):
    """Pixels of the embedder's own template.

    `identity` is the folder in `key` where none is given. `note` is a remark on the pixels.
    """

    key: str
    pixels: Pixels
    note: str = ""
    identity: str = ""


Load = Callable[[], Sequence[FittedCrop | Outcome]]
"""Reads one input: its crops, or why there are none. Called in threads."""


def listed_loads(options: EmbedOptions, scratch: Path, places: Sequence[int]) -> Iterator[Load]:
    """Yield what reads the images at these places of the listed set of the run."""
    listed, fitter = load_listed(scratch), options.fitter()
    if listed.is_folder:
        for place in places:
            yield partial(load_file, fitter, listed.path, listed.listing.path(place))
        return
    yield from sample_loads(fitter, read_listed(scratch, places))


def sample_loads(fitter: Fitter, samples: Iterable[Sample | Outcome]) -> Iterator[Load]:
    """Yield what decodes and fits each sample of a set."""
    for each in samples:
        if isinstance(each, Outcome):
            yield pass_on(each)
        elif not is_text(each.key + each.identity):
            yield pass_on(refuse_bad_name(each.key))
        else:
            yield partial(fit_encoded, fitter, each.key, each.data, each.identity, each.place)


def pass_on(outcome: Outcome) -> Load:
    """Return what reads an input whose outcome is known."""
    return lambda: [outcome]


def load_file(
    fitter: Fitter, root: Path | str, path: str, identity: str = ""
) -> list[FittedCrop | Outcome]:
    """Load and fit one image file."""
    if not is_text(path):
        return [refuse_bad_name(path)]
    data = read_image_bytes(f"{root}/{path}", path)
    if isinstance(data, Outcome):
        return [data]
    return fit_encoded(fitter, path, data, identity)


def fit_encoded(
    fitter: Fitter, key: str, data: Buffer, identity: str = "", place: str = ""
) -> list[FittedCrop | Outcome]:
    """Decode and fit one encoded image; `place` is where it lies, for messages."""
    pixels = load_image_bytes(data, key, place)
    if isinstance(pixels, Outcome):
        return [pixels]
    return [FittedCrop(key, fitter.fit(pixels), fitter.describe_shape(pixels), identity)]


def embed_loads(options: EmbedOptions, loads: Iterable[Load], sink: Sink) -> Iterator[Outcome]:
    """Embed the results of `loads` into this shard's parts: rows of vectors, and the keys that have
    one.
    """
    options.open()
    images: list[tuple[str, str]] = []
    n_fitted = 0
    rows = sink.open_part(ROWS)
    for each in embed_each(options, loads):
        if isinstance(each, Outcome):
            yield each
            continue
        crop, vector = each
        images.append((crop.key, crop.identity or identity_of(crop.key)))
        n_fitted += bool(crop.note)
        rows.write(vector.tobytes())
        yield Outcome(crop.key, reason=crop.note)
    page = {
        "images": images,
        "n_fitted": n_fitted,
        "dim": options.open().dim,
        "crops": options.source_template,
    }
    sink.open_part(KEYS).write(json.dumps(page).encode())


def embed_each(
    options: EmbedOptions, loads: Iterable[Load]
) -> Iterator[tuple[FittedCrop, Floats] | Outcome]:
    """Yield each result of `loads` in order: a crop with its vector (d,), or the reason why it has
    none.
    """
    for batch in _batches(map_ahead(lambda load: load(), loads, my_cores(), _BATCH)):
        crops = [crop for crop in batch if isinstance(crop, FittedCrop)]
        if crops:
            vectors = iter(options.embed_fitted(np.stack([crop.pixels for crop in crops])))
        else:
            vectors = iter(())
        for each in batch:
            if isinstance(each, Outcome):
                yield each
                continue
            vector: Floats = next(vectors)
            if np.isfinite(vector).all() and vector.any():
                yield each, vector
            else:
                yield Outcome(
                    each.key,
                    "no_vector",
                    f"{each.key}: the embedder gives zeros or values that are not numbers",
                )


def _batches(
    loaded: Iterable[Sequence[FittedCrop | Outcome]],
) -> Iterator[list[FittedCrop | Outcome]]:
    """Yield the crops in order, in batches of at most `_BATCH`."""
    batch: list[FittedCrop | Outcome] = []
    n_crops = 0
    for answers in loaded:
        for each in answers:
            batch.append(each)
            n_crops += isinstance(each, FittedCrop)
            if n_crops == items.most_at_once(_BATCH):
                yield batch
                batch, n_crops = [], 0
    if batch:
        yield batch


# All shards


def load_parts(
    sink: Sink, shard_ids: Iterable[str], model: Model, name: str = "vectors"
) -> Embeddings:
    """Load the embeddings of these shards, in order.

    Large ones are memory-mapped from a file of this name in the run's folder.
    """
    ids = list(shard_ids)
    identities = DictionaryEncoder()
    page: dict[str, Any] = {"dim": 0, "crops": ""}
    n_fitted = 0

    def keys() -> Iterator[str]:
        nonlocal page, n_fitted
        for id in ids:
            page = json.loads(storage.read_bytes(sink.part_path(id, KEYS)))
            n_fitted += page["n_fitted"]
            identities.add(identity for _, identity in page["images"])
            yield from (key for key, _ in page["images"])

    packed = pack_strings(keys())
    if n_fitted:
        n = count_noun(n_fitted, "image is", "images are")
        log.warning("%s not of the shape of %s: letterboxed with black", n, page["crops"])
    parts = [sink.part_path(id, ROWS) for id in ids]
    vectors = join_files(parts, sink.scratch / f"{name}{ROWS}", np.float32)
    rows = vectors.reshape(len(packed), page["dim"])
    return Embeddings(packed, identities.column(), rows, model)
