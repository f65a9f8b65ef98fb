"""The manifests by suffix: what each takes, how a part of one is written, how its parts are
joined.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from faceprep.core import storage
from faceprep.core.errors import OptionError
from faceprep.core.io import npz, parquet
from faceprep.core.io.contents import Contents
from faceprep.core.io.image_header import is_image_name
from faceprep.core.names import identity_of
from faceprep.core.types import Outcome, Sink
from faceprep.sets import lists, tfrecord, webdataset
from faceprep.sets.containers import open_set
from faceprep.sets.image_set import check_sample
from faceprep.sets.manifests.layout import PART, Layout, Part

_LOST = ".lost"


@dataclass(frozen=True)
class Format:
    """A kind of manifest.

    `write` writes a part and yields one Outcome per image. `join` makes a file from all parts,
    `describe` summarises a file. `images` says whether it holds the images themselves: "never",
    "always" or "may", with --with-images. Names that `forbidden` matches cannot be written.
    `part_is_file`: a single part is already the file.
    """

    write: Callable[[Part], Iterator[Outcome]]
    join: Callable[[Sink, Layout, str, BinaryIO], None]
    describe: Callable[[Path], Contents]
    images: str = "never"
    embeddings: bool = False
    forbidden: re.Pattern[str] | None = None
    part_is_file: bool = True


def format_of(path: Path) -> Format:
    """Return the format for the suffix of `path`. Raises OptionError for an unknown suffix."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        found = f"the suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise OptionError(
            f"no manifest is called {path.name!r}", expected=" ".join(FORMATS), found=found
        ) from None


# Lists: every image that the plan lets through is in them


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
    if part.layout.with_images:
        return _write_images(part, _image_record)
    file, layout = part.open(), part.layout
    about = {
        "classes": layout.n_classes,
        "emb_shape": layout.dim,
        "total": part.file.n_split,
        "use_fp16": int(layout.dtype == "float16"),
    }
    for piece in part.pieces():
        columns: dict[str, list[bytes] | list[int]] = {
            "image_names": [name.encode() for name in piece.names()],
            "image_classes": piece.block.classes,
        }
        embeddings = piece.embeddings()
        if embeddings is not None:
            columns["embeddings"] = [row.tobytes() for row in embeddings]
        tfrecord.write_records(
            file, tfrecord.encode_examples(columns, about if piece.is_first else {})
        )
    return _each(part)


# Formats that hold the images


def _image_record(path: str, label: int, data: bytes, suffix: str) -> bytes:
    return tfrecord.frame(tfrecord.encode_example({"image_raw": data, "label": label}))


def _write_tar(part: Part) -> Iterator[Outcome]:
    twins = frozenset(part.layout.twins)

    def encode(path: str, label: int, data: bytes, suffix: str) -> bytes:
        stem = path
        if is_image_name(path) and identity_of(path) not in twins:
            stem = path.rpartition(".")[0]
        return webdataset.sample_bytes(webdataset.key_of(stem), data, suffix, label)

    return _write_images(part, encode, webdataset.END)


def _write_images(
    part: Part, encode: Callable[[str, int, bytes, str], bytes], end: bytes = b""
) -> Iterator[Outcome]:
    file, lost = part.open(), Counter[int]()
    with open_set(part.sink.scratch) as images:
        found = zip(images.read(part.block.positions), part.block.classes, strict=True)
        for sample, label in found:
            checked = check_sample(sample)
            if isinstance(checked, Outcome):
                lost[label] += 1
                yield checked
            else:
                key, data = checked.sample.key, bytes(checked.sample.data)
                file.write(encode(key, label, data, checked.header.suffix))
                yield Outcome(key)
    if part.is_last:
        file.write(end)
    part.sink.open_part(_LOST).write(json.dumps(list(lost.items())).encode())


def lost_images(layout: Layout, sink: Sink) -> Counter[int]:
    """Count, by class, the images that could not be read and are in no part."""
    lost: Counter[int] = Counter()
    if layout.with_images:
        for plan in layout.files.values():
            for shard_id in plan.shards:
                lost.update(dict(json.loads(storage.read_bytes(sink.part_path(shard_id, _LOST)))))
    return lost


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
    ".npz": Format(_write_npz, _join_npz, npz.describe, embeddings=True, part_is_file=False),
    ".tfrecord": Format(
        _write_tfrecord, _join_bytes, tfrecord.describe, images="may", embeddings=True
    ),
    ".parquet": Format(_write_parquet, _join_parquet, parquet.describe, embeddings=True),
    ".csv": Format(_write_csv, _join_bytes, lists.describe_csv),
    ".lst": Format(_write_lst, _join_bytes, lists.describe_lst, forbidden=lists.NOT_IN_LST),
    ".tar": Format(_write_tar, _join_bytes, webdataset.describe, images="always"),
}
