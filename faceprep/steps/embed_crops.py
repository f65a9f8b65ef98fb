"""Embeds crops shard by shard, for all commands that need vectors.

EmbedOptions   crops of one template -> vectors, with the model that made them
embed_each     crops from anywhere -> each with its vector
embed_images   files below a folder -> the shard's parts; embed_loads: crops from anywhere
load_parts     parts -> Embeddings
"""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.arrays import Floats, Pixels
from faceprep.core.cpu import my_cores
from faceprep.core.embeddings import Embedder, Embeddings, Model
from faceprep.core.errors import OptionError
from faceprep.core.io.columns import TextNumbers, pack_texts
from faceprep.core.io.image_bytes import read_image_bytes
from faceprep.core.names import identity_of
from faceprep.core.options import option
from faceprep.core.prefetch import map_ahead
from faceprep.core.text import count_noun
from faceprep.core.types import Buffer, Outcome, Sink
from faceprep.models.embedders.embedder import EmbedderSpec, open_embedder
from faceprep.sets.listing import is_text, refuse_bad_name
from faceprep.steps.listed_set import load_listed, read_listed
from faceprep.vision import align
from faceprep.vision.load_image import load_image_bytes
from faceprep.vision.templates import Template, load_template, map_template

log = logging.getLogger("faceprep")
DEFAULT_CROPS = "arcface-112"
ROWS, KEYS = ".f32", ".keys"
_BATCH = 64
_IN_MEMORY = 1 << 30
"""Bytes of vectors from which on they are mapped from one file."""
_OTHER_SHAPE = "of another shape than the template: fitted into it on black"


@dataclass(frozen=True)
class EmbedOptions:
    """The options of the commands that embed crops."""

    embedder: str = option(
        "dlib-resnet", "dlib-resnet, insightface:PACK, or the path of a model's file or folder."
    )
    device: str = option("auto", "Run the embedder on auto, cpu, cuda or cuda:N.")
    require_gpu: bool = option(False, "Stop if no GPU can be used.")
    mean: str | None = option(
        None, "Subtract this from each pixel for a model file: 127.5, or R,G,B."
    )
    std: str | None = option(None, "Divide pixels by this afterwards, for a model file.")
    size: str | None = option(
        None, "Set the input size of a model file that leaves it open: 112 or 112x96."
    )
    color: str | None = option(
        None, "Set the channel order of a model file.  [default: rgb]", choices=("rgb", "bgr")
    )
    flip: bool = option(False, "Average with the vector of the mirror image.")
    crops: str | None = option(
        None, f"State the template that the crops were made with.  [default: {DEFAULT_CROPS}]"
    )

    def __post_init__(self) -> None:
        self.spec()
        load_template(self.crops_template)

    @property
    def crops_template(self) -> str:
        """Return the name of the template that the crops were made with."""
        return self.crops or DEFAULT_CROPS

    def spec(self) -> EmbedderSpec:
        """Return the chosen embedder, on this process's share of the cores. Raises OptionError."""
        return EmbedderSpec(
            self.embedder,
            device=self.device,
            require_gpu=self.require_gpu,
            threads=my_cores(),
            mean=_numbers("--mean", self.mean),
            std=_numbers("--std", self.std),
            size=_size(self.size),
            color=self.color or "",
        )

    def open(self) -> Embedder:
        """Open the embedder; a process opens it once. Raises FaceprepError."""
        return open_embedder(self.spec())

    def announce(self) -> None:
        """Open the embedder in the driver, so that its name, device and faults are reported
        once.
        """
        embedder = self.open()
        map_template(load_template(self.crops_template), load_template(embedder.template))
        log.info("%s runs on %s (%s)", self.embedder, embedder.provider, embedder.model.fingerprint)

    def warm_up(self) -> None:
        """Open the embedder in a worker while the driver still plans."""
        self.open()

    def model(self, of: str = "") -> Model:
        """Return the embedder's model.

        Its fingerprint names the template `of` the crops and the use of mirror images.

        The default template is the embedder's own.
        """
        model = self.open().model
        fingerprint = f"{model.fingerprint}/of-{of or self.crops_template}"
        if self.flip:
            fingerprint += "/flip"
        return replace(model, fingerprint=fingerprint)

    def embed(self, images: Sequence[Pixels]) -> Floats:
        """Embed crops of one template and of any size to vectors (n, d)."""
        fitter, vectors = self.fitter(), np.empty((len(images), self.open().dim), np.float32)
        for start in range(0, len(images), _BATCH):
            batch = [fitter.fit(image) for image in images[start : start + _BATCH]]
            vectors[start : start + len(batch)] = self.embed_fitted(np.stack(batch))
        return vectors

    def embed_fitted(self, crops: Pixels) -> Floats:
        """Embed crops (n, height, width, 3) of the embedder's own template to vectors (n, d)."""
        embedder = self.open()
        vectors = embedder.embed(crops)
        if self.flip:
            vectors = (
                vectors + embedder.embed(np.ascontiguousarray(crops[:, :, ::-1]))
            ) / np.float32(2)
        return vectors

    def fitter(self) -> Fitter:
        """Return the fitter that converts crops to the embedder's own template."""
        return open_fitter(self.crops_template, self.open().template)


def _numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        numbers = tuple(float(number) for number in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3) or not np.isfinite(numbers).all():
        raise OptionError(name, expected="a number, or three: R,G,B", found=repr(text))
    return numbers


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?", text, re.ASCII)
    if not match:
        raise OptionError(
            "--size", expected="pixels, such as 112 or 112x96 (height, width)", found=repr(text)
        )
    return int(match[1]), int(match[2] or match[1])


class Fitter:
    """A conversion of crops from the template `source` to `target`."""

    def __init__(self, source: Template, target: Template) -> None:
        self._source, self._target = source, target
        self._transforms: dict[tuple[int, int], npt.NDArray[np.float64]] = {}

    def fit(self, image: Pixels) -> Pixels:
        """Convert an image.

        One with the source's aspect ratio is scaled; another is fitted into it on black.
        """
        size = image.shape[0], image.shape[1]
        if self._source.name == self._target.name and size == self._target.size:
            return image
        if size not in self._transforms:
            self._transforms[size] = map_template(self._source, self._target, size)
        return align.crop_smooth(image, self._transforms[size], self._target.size)

    def is_of_shape(self, image: Pixels) -> bool:
        """Return whether an image has the aspect ratio of the source, to the pixel."""
        height, width = self._source.size
        difference: int = abs(image.shape[0] * width - image.shape[1] * height)
        return difference <= max(height, width)


@functools.cache
def open_fitter(source: str, target: str) -> Fitter:
    """Open the fitter between two named templates. Raises OptionError."""
    return Fitter(load_template(source), load_template(target))


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


def embed_images(
    options: EmbedOptions, root: Path | str, paths: Iterable[str], sink: Sink
) -> Iterator[Outcome]:
    """Embed the images at `paths` below `root` into this shard's parts, keyed by path.

    One Outcome per image.
    """
    return embed_loads(
        options, (partial(load_file, options.fitter(), root, path) for path in paths), sink
    )


def listed_loads(options: EmbedOptions, scratch: Path, places: Sequence[int]) -> Iterator[Load]:
    """Yield what reads the images at these places of the listed set of the run."""
    listed, fitter = load_listed(scratch), options.fitter()
    if listed.is_folder:
        for place in places:
            yield partial(load_file, fitter, listed.path, listed.listing.path(place))
        return
    for each in read_listed(scratch, places):
        if isinstance(each, Outcome):
            yield partial(_pass_on, each)
        else:
            yield partial(fit_encoded, fitter, each.key, each.data, each.identity, each.place)


def _pass_on(outcome: Outcome) -> list[FittedCrop | Outcome]:
    return [outcome]


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
    if fitter.is_of_shape(pixels):
        note = ""
    else:
        note = f"{pixels.shape[0]} × {pixels.shape[1]}, {_OTHER_SHAPE}"
    return [FittedCrop(key, fitter.fit(pixels), note, identity)]


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
        "crops": options.crops_template,
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
            if n_crops == _BATCH:
                yield batch
                batch, n_crops = [], 0
    if batch:
        yield batch


# All shards


def load_parts(sink: Sink, shard_ids: Iterable[str], model: Model) -> Embeddings:
    """Load the embeddings of these shards, in order. Large ones are memory-mapped."""
    ids = list(shard_ids)
    identities = TextNumbers()
    page: dict[str, Any] = {"dim": 0, "crops": ""}
    n_fitted = 0

    def keys() -> Iterator[str]:
        nonlocal page, n_fitted
        for id in ids:
            page = json.loads(storage.read_bytes(sink.part_path(id, KEYS)))
            n_fitted += page["n_fitted"]
            identities.add(identity for _, identity in page["images"])
            yield from (key for key, _ in page["images"])

    packed = pack_texts(keys())
    if n_fitted:
        n = count_noun(n_fitted, "image is", "images are")
        log.warning("%s of another shape than %s: fitted into it on black", n, page["crops"])
    vectors = _join_rows([sink.part_path(id, ROWS) for id in ids], sink.scratch / "vectors.f32")
    rows = vectors.reshape(len(packed), page["dim"])
    return Embeddings(packed, identities.column(), rows, model)


def _join_rows(paths: Sequence[Path], joined: Path) -> Floats:
    if sum(storage.size_of(path) or 0 for path in paths) <= _IN_MEMORY:
        return np.frombuffer(b"".join(storage.read_bytes(path) for path in paths), np.float32)
    with storage.AtomicFile(joined, durable=False) as file:
        for path in paths:
            storage.append_file(path, file)
    return np.memmap(joined, np.float32, "r")
