"""The layout of a manifest: its files, the parts that workers write, and the images of each
part.

The run's scratch folder holds `layout.json`, what all parts share, and `SHARD.json`, the images of
one part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.types import Shard, Sink
from faceprep.sets.containers import open_set
from faceprep.sets.manifests import embedding_join as embedding_rows

PART, LOST = ".part", ".lost"
TRAINING, VALIDATION = "training", "validation"
"""The splits of a manifest."""
EMBEDDINGS = "embeddings"
_PIECE = 1 << 14
_LAYOUT = "layout.json"


@dataclass(frozen=True)
class Block:
    """The images of one part, in order: keys, positions in the set, classes, embedding rows (or
    none).
    """

    paths: list[str]
    positions: list[int]
    classes: list[int]
    rows: list[int] = field(default_factory=list)

    def save(self, scratch: Path, shard_id: str) -> None:
        storage.write_file(
            scratch / f"{shard_id}.json", json.dumps(vars(self)).encode(), durable=False
        )

    def without(self, bad: Ints) -> tuple[Block, list[int]]:
        """Return the images that are not at the positions `bad`, and the classes of the others."""
        is_bad = np.isin(self.positions, bad)
        if not is_bad.any():
            return self, []
        kept = np.flatnonzero(~is_bad).tolist()
        columns = {name: [values[i] for i in kept] for name, values in vars(self).items() if values}
        return Block(**columns), [self.classes[i] for i in np.flatnonzero(is_bad).tolist()]

    @staticmethod
    def load(scratch: Path, shard_id: str) -> Block:
        return Block(**json.loads(storage.read_bytes(scratch / f"{shard_id}.json")))


@dataclass(frozen=True)
class FilePlan:
    """A file of the manifest: its split, the shards that write its parts, its images, and those of
    its whole split.
    """

    split: str
    shards: list[str]
    n_images: int
    n_split: int
    has_one_part: bool
    """Whether the one part is the file already."""


@dataclass(frozen=True)
class Layout:
    """Facts that all parts of a run share.

    `source` is the absolute path of the images. Names in the manifest are `prefix` + path; `width`
    is the length of the longest in characters. Embeddings have `dim` numbers of `dtype`. Folders in
    `twins` hold names that differ only in the suffix. `checks` are the shards that check each
    split, if any do. With `drops_classes`, a class without a sound image is left out, and the
    others are numbered without it.
    """

    source: str
    prefix: str
    suffix: str
    with_images: bool
    n_classes: int
    width: int
    dim: int
    dtype: str
    twins: list[str]
    files: Mapping[str, FilePlan]
    class_map: str
    checks: Mapping[str, list[str]] = field(default_factory=dict)
    drops_classes: bool = False

    @property
    def may_lose(self) -> bool:
        """Return whether images may turn out to be bad when the run has begun."""
        return self.with_images or bool(self.checks)

    def save(self, scratch: Path) -> None:
        storage.write_file(scratch / _LAYOUT, json.dumps(asdict(self)).encode(), durable=False)

    @staticmethod
    def load(scratch: Path) -> Layout:
        fields: dict[str, Any] = json.loads(storage.read_bytes(scratch / _LAYOUT))
        files = {name: FilePlan(**plan) for name, plan in fields.pop("files").items()}
        return Layout(**fields, files=files)


@dataclass(frozen=True)
class Part:
    """A part of a manifest file that is being written: images [start, stop) of the file.

    `n_bad` images of the whole split are left out.
    """

    layout: Layout
    shard: Shard
    block: Block
    sink: Sink
    n_bad: int = 0

    @property
    def file(self) -> FilePlan:
        return self.layout.files[self.shard.payload]

    @property
    def is_first(self) -> bool:
        return self.shard.start == 0

    @property
    def is_last(self) -> bool:
        return self.shard.stop == self.file.n_images

    @property
    def about(self) -> dict[str, int]:
        """Return the facts that trainers look for in the first record of a .tfrecord."""
        return {
            "classes": self.layout.n_classes,
            "emb_shape": self.layout.dim,
            "total": self.file.n_split - self.n_bad,
            "use_fp16": int(self.layout.dtype == "float16"),
        }

    def open(self) -> BinaryIO:
        if self.file.has_one_part:
            return self.sink.open(self.shard.payload)
        return self.sink.open_part(PART)

    def pieces(self) -> Iterator[Part]:
        """Yield the part in pieces that fit in memory together with their output; at least one."""
        block, start = self.block, self.shard.start
        for i in range(0, max(len(block.paths), 1), _PIECE):
            cut = slice(i, i + _PIECE)
            piece = Block(
                block.paths[cut], block.positions[cut], block.classes[cut], block.rows[cut]
            )
            yield replace(self, shard=replace(self.shard, start=start + i), block=piece)

    def names(self) -> list[str]:
        return [self.layout.prefix + path for path in self.block.paths]

    def identities(self) -> list[str]:
        with open_set(self.sink.scratch) as images:
            return [images.identity(position) for position in self.block.positions]

    def embeddings(self) -> npt.NDArray[np.floating[Any]] | None:
        """Return the embeddings (n, dim), or None where there are none."""
        if not self.layout.dim:
            return None
        rows = self.sink.scratch / EMBEDDINGS
        return embedding_rows.fetch(rows, self.block.rows, self.layout.dim, self.layout.dtype)
