"""The manifests by suffix: what each takes, how a part of one is written, how its parts are
joined.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from faceprep.core import storage
from faceprep.core.errors import OptionError
from faceprep.core.io import npz, parquet
from faceprep.core.types import Outcome, Sink
from faceprep.sets import lists, tfrecord
from faceprep.sets.manifests import image_writers
from faceprep.sets.manifests.layout import PART, Layout, Part

_Write = Callable[[Part], Iterator[Outcome]]
_Join = Callable[[Sink, Layout, str, BinaryIO], None]


@dataclass(frozen=True)
class Format:
    """A kind of manifest.

    `write` writes a part of a list and yields one Outcome per image, `write_images` one that holds
    the images themselves; None where there is no such manifest. `join` and `join_images` make a
    file from all parts; those of lists and of images are joined alike without `join_images`.
    `embeddings` says what may hold vectors.
    Names that `forbidden` matches cannot be written. `part_is_file`: a single part is already the
    file.
    """

    write: _Write | None
    join: _Join
    write_images: _Write | None = None
    join_images: _Join | None = None
    embeddings: bool = False
    forbidden: re.Pattern[str] | None = None
    part_is_file: bool = True

    def writer(self, with_images: bool) -> _Write:
        """Return what writes a part. Raises KeyError where there is no such manifest."""
        found = self.write_images if with_images else self.write
        if found is None:
            raise KeyError(with_images)
        return found

    def joiner(self, with_images: bool) -> _Join:
        """Return what joins the parts of a file."""
        if with_images and self.join_images:
            return self.join_images
        return self.join


def format_of(path: Path) -> Format:
    """Return the format for the suffix of `path`. Raises OptionError for an unknown suffix."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        found = f"the suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise OptionError(
            f"{path.name!r} is not a manifest", expected=" ".join(FORMATS), found=found
        ) from None


# Lists, which name every image that the plan admits


def _each(part: Part) -> Iterator[Outcome]:
    return map(Outcome, part.block.paths)


def _write_csv(part: Part) -> Iterator[Outcome]:
    file = part.open()
    if part.is_first:
        file.write(lists.csv_header())
    for piece in part.pieces():
        file.write(lists.csv_lines(piece.names(), piece.block.classes, piece.identities()))
    return _each(part)


def _write_lst(part: Part) -> Iterator[Outcome]:
    file = part.open()
    for piece in part.pieces():
        file.write(lists.lst_lines(piece.names(), piece.block.classes, piece.shard.start))
    return _each(part)


def _write_parquet(part: Part) -> Iterator[Outcome]:
    columns = (
        (piece.names(), piece.block.classes, piece.identities(), piece.embeddings())
        for piece in part.pieces()
    )
    parquet.write_tables(part.open(), (parquet.table_of(*column) for column in columns))
    return _each(part)


def _write_npz(part: Part) -> Iterator[Outcome]:
    """Write the bare rows of the arrays; `_join_npz` puts the headers in front."""
    files = {key: part.sink.open_part(f".{key}") for key, _, _ in _npz_arrays(part.layout)}
    for piece in part.pieces():
        rows = {
            npz.NAMES: piece.names(),
            npz.CLASSES: piece.block.classes,
            npz.EMBEDDINGS: piece.embeddings(),
        }
        for key, dtype, _ in _npz_arrays(part.layout):
            files[key].write(np.asarray(rows[key], dtype).tobytes())
    return _each(part)


def _write_tfrecord(part: Part) -> Iterator[Outcome]:
    file = part.open()
    for piece in part.pieces():
        vectors = piece.embeddings()
        if vectors is None or not len(vectors):
            continue
        columns: dict[str, list[bytes] | list[int]] = {
            "image_names": [name.encode() for name in piece.names()],
            "image_classes": piece.block.classes,
            "embeddings": [row.tobytes() for row in vectors],
        }
        about = piece.about if piece.is_first else {}
        tfrecord.write_records(file, tfrecord.encode_examples(columns, about))
    return _each(part)


# Joining


def _npz_arrays(layout: Layout) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return (key, dtype, shape of a row) of each array."""
    arrays: list[tuple[str, str, tuple[int, ...]]] = [
        (npz.NAMES, f"<U{layout.width}", ()),
        (npz.CLASSES, "<i8", ()),
    ]
    if layout.dim:
        return [*arrays, (npz.EMBEDDINGS, layout.dtype, (layout.dim,))]
    return arrays


def _join_npz(sink: Sink, layout: Layout, name: str, file: BinaryIO) -> None:
    npz.write_npz(
        file,
        (
            npz.member_of_files(key, dtype, _paths(sink, layout, name, f".{key}"), row)
            for key, dtype, row in _npz_arrays(layout)
        ),
    )


def _join_parquet(sink: Sink, layout: Layout, name: str, file: BinaryIO) -> None:
    parquet.join(_paths(sink, layout, name, PART), file)


def _join_bytes(sink: Sink, layout: Layout, name: str, file: BinaryIO) -> None:
    for path in _paths(sink, layout, name, PART):
        storage.append_file(path, file)


def _paths(sink: Sink, layout: Layout, name: str, suffix: str) -> list[Path]:
    return [sink.part_path(shard_id, suffix) for shard_id in layout.files[name].shards]


FORMATS: dict[str, Format] = {
    ".npz": Format(_write_npz, _join_npz, embeddings=True, part_is_file=False),
    ".tfrecord": Format(
        _write_tfrecord, _join_bytes, image_writers.write_tfrecord, embeddings=True
    ),
    ".parquet": Format(
        _write_parquet,
        _join_parquet,
        image_writers.write_parquet,
        image_writers.join_parquet,
        embeddings=True,
    ),
    ".csv": Format(_write_csv, _join_bytes),
    ".lst": Format(_write_lst, _join_bytes, forbidden=lists.NOT_IN_LST),
    ".tar": Format(None, _join_bytes, image_writers.write_tar, embeddings=True),
}
