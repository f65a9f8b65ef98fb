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
from faceprep.core.types import Shard, Sink
from faceprep.sets.containers import open_set
from faceprep.sets.manifests import embedding_join as embedding_rows

PART = ".part"
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

    @staticmethod
    def load(scratch: Path, shard_id: str) -> Block:
        return Block(**json.loads(storage.read_bytes(scratch / f"{shard_id}.json")))


@dataclass(frozen=True)
class FilePlan:
    """A file of the manifest: the shards that write its parts, its images, and those of its whole
    split.
    """

    shards: list[str]
    n_images: int
    n_split: int
    has_one_part: bool
    """Whether the one part is the file already."""


@dataclass(frozen=True)
class Layout:
    """Facts that all parts of a run share.

    `source` and `folder` are absolute paths of the images and of the output files. Names in the
    manifest are `prefix` + path; `width` is the length of the longest in characters. Embeddings
    have `dim` numbers of `dtype`. Folders in `twins` hold names that differ only in the suffix.
    """

    source: str
    folder: str
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

    def save(self, scratch: Path) -> None:
        storage.write_file(scratch / _LAYOUT, json.dumps(asdict(self)).encode(), durable=False)

    @staticmethod
    def load(scratch: Path) -> Layout:
        fields: dict[str, Any] = json.loads(storage.read_bytes(scratch / _LAYOUT))
        files = {name: FilePlan(**plan) for name, plan in fields.pop("files").items()}
        return Layout(**fields, files=files)


@dataclass(frozen=True)
class Part:
    """A part of a manifest file that is being written: images [start, stop) of the file."""

    layout: Layout
    shard: Shard
    block: Block
    sink: Sink

    @property
    def file(self) -> FilePlan:
        return self.layout.files[self.shard.source]

    @property
    def is_first(self) -> bool:
        return self.shard.start == 0

    @property
    def is_last(self) -> bool:
        return self.shard.stop == self.file.n_images

    def open(self) -> BinaryIO:
        if self.file.has_one_part:
            return self.sink.open(self.shard.source)
        return self.sink.open_part(PART)

    def pieces(self) -> Iterator[Part]:
        """Yield the part in pieces that fit in memory together with their output."""
        block, start = self.block, self.shard.start
        for i in range(0, len(block.paths), _PIECE):
            cut = slice(i, i + _PIECE)
            piece = Block(
                block.paths[cut], block.positions[cut], block.classes[cut], block.rows[cut]
            )
            yield Part(self.layout, replace(self.shard, start=start + i), piece, self.sink)

    def names(self) -> list[str]:
        return [self.layout.prefix + path for path in self.block.paths]

    def identities(self) -> list[str]:
        with open_set(self.sink.scratch) as images:
            return [images.identity(position) or "." for position in self.block.positions]

    def embeddings(self) -> npt.NDArray[np.floating[Any]] | None:
        """Return the embeddings (n, dim), or None where there are none."""
        if not self.layout.dim:
            return None
        rows = self.sink.scratch / EMBEDDINGS
        return embedding_rows.fetch(rows, self.block.rows, self.layout.dim, self.layout.dtype)
