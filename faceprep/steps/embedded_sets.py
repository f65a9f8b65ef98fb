"""Vectors of a set beside the one that a command is about: a gallery, or people to leave out.

The vectors come from a file of embeddings, or from a set of images that is embedded in the run.

plan_side    a path -> what its shards need
embed_side   shards of images -> vectors
load_side    a file, or the parts of the shards -> embeddings that can be compared
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

from faceprep.core import storage
from faceprep.core.embeddings import Embeddings
from faceprep.core.errors import FaceprepError, OptionError, SourceError
from faceprep.core.io.columns import encode_strings
from faceprep.core.paths import full_path
from faceprep.core.shards import cut_evenly
from faceprep.core.types import Outcome, Shard, Sink
from faceprep.identity.sound_vectors import REASONS, find_faults, leave_out
from faceprep.identity.vectors import Vectors, prepare
from faceprep.sets.containers import faults_after, index_set, open_set
from faceprep.steps.embed_crops import Load, embed_loads, load_parts, sample_loads
from faceprep.steps.embed_options import EmbedOptions
from faceprep.tables.embeddings import count_embeddings, is_embeddings, load_embeddings, load_origin
from faceprep.tables.embeddings_parquet import files_of

log = logging.getLogger("faceprep")
EMBED = "embed"
_SHARD = 256
NOBODY = ("", ".")
"""Names of no identity."""


@dataclass(frozen=True)
class Side:
    """One of the sets that a command compares.

    `name` is that of its index in the run. `n` counts its images, or the rows of its file. `unit`
    names them in outcomes; it is empty for the inputs of the run. `first` is the side that embeds
    the first images of the same set, if another does.
    """

    name: str
    path: str
    is_file: bool
    n: int
    state: str
    unit: str = ""
    model: str = ""
    """The fingerprint of the model of a file; empty where it does not name one."""
    first: Side | None = None

    @property
    def index(self) -> str:
        """Return the name of the index of its images in the run."""
        return self.first.index if self.first else self.name

    def model_of(self, options: EmbedOptions) -> str:
        """Return the fingerprint of the model that makes, or made, the vectors."""
        if self.is_file:
            return self.model
        return options.model().fingerprint

    def state_of(self, options: EmbedOptions) -> str:
        """Return the state of the set, with the embedder if it is embedded in the run."""
        return f"{self.state}, {self.model_of(options)}"


def plan_side(
    path: Path, name: str, scratch: Path, relative_to: Path | None = None, unit: str = ""
) -> Side:
    """Look at a file of embeddings, or index a set of images. Raises SourceError, OptionError."""
    if is_embeddings(path):
        n, state = count_embeddings(path), storage.fingerprint_of(*files_of(path))
        if not n:
            raise SourceError("no embeddings in it", path=path)
        model = load_origin(path).fingerprint
        return Side(name, full_path(path), True, n, state, unit, model)
    with index_set(path, scratch, name, relative_to) as images:
        return Side(name, images.path, False, len(images), images.index.fingerprint, unit)


def embed_shards(side: Side) -> list[Shard]:
    """Cut the images of a side into shards that `embed_side` embeds; none for a file."""
    if side.is_file:
        return []
    id_format = f"{EMBED}-{side.name}-{{n:06d}}"
    start = side.first.n if side.first else 0
    shards = cut_evenly(side.n, _SHARD, side.path, start=start, stage=EMBED, id_format=id_format)
    return [replace(shard, payload=side) for shard in shards]


def embed_side(options: EmbedOptions, shard: Shard, sink: Sink) -> Iterator[Outcome]:
    """Embed the images of a shard; one outcome each, in the unit of its side."""
    side: Side = shard.payload
    for outcome in embed_loads(options, _read(options, shard, sink.scratch), sink):
        yield outcome._replace(unit=side.unit)
    with open_set(sink.scratch, side.index) as images:
        yield from faults_after(images, shard.stop)


def _read(options: EmbedOptions, shard: Shard, scratch: Path) -> Iterator[Load]:
    fitter = options.fitter()
    with open_set(scratch, shard.payload.index) as images:
        yield from sample_loads(fitter, images.read(range(shard.start, shard.stop)))


@dataclass(frozen=True)
class Loaded:
    """Embeddings that can be compared, and an outcome for each row that cannot."""

    embeddings: Embeddings
    left_out: Sequence[Outcome]


def load_side(options: EmbedOptions, side: Side, sink: Sink) -> Loaded:
    """Load the embeddings of a side. Raises SourceError for a damaged file, and where none is left.

    Only rows of a file are checked: images that are embedded in the run have their outcomes. An
    image without an identity becomes an identity of its own, with its name.
    """
    if side.is_file:
        loaded = check_embeddings(take_rows(load_embeddings(side.path), 0, side.n), side.unit)
    else:
        sides = [side.first, side] if side.first else [side]
        ids = [shard.id for each in sides for shard in embed_shards(each)]
        loaded = Loaded(load_parts(sink, ids, options.model(), side.name), ())
    refuse_none(loaded.embeddings, side.path)
    return replace(loaded, embeddings=separate_unnamed(loaded.embeddings))


@dataclass(frozen=True)
class _Opening:
    """A side of a run; two are equal where they open the same embeddings."""

    side: Side
    model: str
    scratch: Path
    sink: Sink = field(compare=False)
    options: EmbedOptions = field(compare=False)


def open_side(options: EmbedOptions, side: Side, sink: Sink) -> OpenSide:
    """Load a side; a process loads the last two once. Raises SourceError as `load_side`."""
    return _open_side(_Opening(side, side.model_of(options), sink.scratch, sink, options))


def close_sides() -> None:
    """Forget the sides that this process has loaded."""
    _open_side.cache_clear()


@lru_cache(maxsize=2)
def _open_side(opening: _Opening) -> OpenSide:
    loaded = load_side(opening.options, opening.side, opening.sink)
    return OpenSide(opening.side.path, loaded)


@dataclass(frozen=True)
class OpenSide:
    """The embeddings of a side, and the same ready for comparison."""

    path: str
    loaded: Loaded

    @cached_property
    def vectors(self) -> Vectors:
        return prepare(self.loaded.embeddings)


def take_rows(embeddings: Embeddings, start: int, stop: int) -> Embeddings:
    """Return the rows [start, stop) of embeddings."""
    if start == 0 and stop >= len(embeddings):
        return embeddings
    keys, identities = embeddings.keys[start:stop], embeddings.identities[start:stop]
    return Embeddings(keys, identities, embeddings.vectors[start:stop], embeddings.model)


def check_embeddings(embeddings: Embeddings, unit: str = "") -> Loaded:
    """Leave out the rows that cannot be compared, and name each of them."""
    faults = find_faults(embeddings)
    outcomes = []
    for row, status in faults.named():
        outcomes.append(Outcome(embeddings.keys[row], status, REASONS[status], unit))
    return Loaded(leave_out(embeddings, faults.rows), outcomes)


def refuse_none(embeddings: Embeddings, path: str | Path) -> None:
    """Raise SourceError if no row is left that can be compared."""
    if not len(embeddings):
        raise SourceError("none of its vectors can be compared", path=path)


def separate_unnamed(embeddings: Embeddings) -> Embeddings:
    """Make each image without an identity an identity of its own."""
    identities = embeddings.identities
    if not any(name in NOBODY for name in set(identities)):
        return embeddings
    pairs = zip(embeddings.keys, identities, strict=True)
    names = (key if name in NOBODY else name for key, name in pairs)
    return replace(embeddings, identities=encode_strings(names))


def open_quietly(options: EmbedOptions) -> None:
    """Open the embedder ahead of time; the driver reports a missing one, where it is needed."""
    with suppress(FaceprepError):
        options.open()


def refuse_other_model(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Raise OptionError unless two sets, each (path, fingerprint), have vectors of one model.

    A file that does not name its model is compared, with a warning.
    """
    (path, model), (other_path, other_model) = one, other
    if not model or not other_model:
        nameless = path
        if model:
            nameless = other_path
        log.warning("%s does not say what model made it", nameless)
    elif model != other_model:
        raise OptionError(
            f"{path} and {other_path} cannot be compared",
            expected="vectors of one model and template",
            found=f"{model} and {other_model}",
            remedy="Embed both with one --embedder.",
        )


def refuse_other_length(path: str, one: Embeddings, other: Embeddings) -> None:
    """Raise SourceError unless the vectors of two sets are equally long."""
    lengths = [each.vectors.shape[1] for each in (one, other)]
    if lengths[0] != lengths[1]:
        problem = "its vectors and the ones to compare them with differ in length"
        raise SourceError(problem, path=path, expected=str(lengths[0]), found=str(lengths[1]))
