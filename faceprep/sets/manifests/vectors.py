"""Embeddings in manifests, read back in bounded memory: .npz .parquet .tfrecord .tar.

A manifest that holds its images names each by its key in the set, a list by its path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from faceprep.core.arrays import Reals
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.io import npz, parquet
from faceprep.core.io.npz import EMBEDDINGS, NAMES, NpzFile
from faceprep.sets import tfrecord, webdataset
from faceprep.sets.distinct_keys import strip_suffix
from faceprep.sets.parquet_columns import KEY
from faceprep.tables import embeddings_csv
from faceprep.tables.embeddings_parquet import files_of, find_vectors, take_names, take_vectors

NamedVector = tuple[str, Reals]
_ROWS = 1 << 12
_DTYPES = ("float32", "float16")


def read_vectors(path: Path) -> Iterator[NamedVector]:
    """Yield the name and the embedding (dim,), float32 or float16, of each image in file order.

    Raises SourceError for damage and for embeddings of several lengths, OptionError for another
    suffix.
    """
    if path.suffix.lower() not in _READERS:
        raise OptionError(
            "embeddings are read from other files", expected=" ".join(_READERS), found=path.name
        )
    first: Reals | None = None
    for number, (name, vector) in enumerate(_READERS[path.suffix.lower()](path)):
        if first is None:
            first = vector
        if vector.shape != first.shape or vector.dtype != first.dtype or vector.ndim != 1:
            raise _bad(path, number, f"{first.size} numbers of {first.dtype}", _shown(vector))
        if str(vector.dtype) not in _DTYPES:
            raise _bad(path, number, "float32 or float16", str(vector.dtype))
        yield name, vector


def _read_npz(path: Path) -> Iterator[NamedVector]:
    with NpzFile(path) as file:
        shapes = [file.header(key)[0] for key in (NAMES, EMBEDDINGS)]
        if len(shapes[0]) != 1 or len(shapes[1]) != 2 or shapes[0] != shapes[1][:1]:
            raise SourceError(
                "its arrays differ in length",
                path=path,
                expected="an embedding for each name",
                found=f"{NAMES} of shape {shapes[0]}, {EMBEDDINGS} of shape {shapes[1]}",
            )
        names = chain.from_iterable(npz.decode_names(path, each) for each in file.chunks(NAMES))
        vectors = chain.from_iterable(file.chunks(EMBEDDINGS))
        yield from zip(names, vectors, strict=True)


def _read_parquet(path: Path) -> Iterator[NamedVector]:
    for part in files_of(path):
        with parquet.open_parquet(part) as file:
            there = file.schema_arrow.names
            name = next((column for column in (NAMES, KEY) if column in there), NAMES)
            vectors_in = find_vectors(part) or EMBEDDINGS
            missing = {name, vectors_in} - set(there)
            if missing:
                found = ", ".join(there)
                expected = f"{EMBEDDINGS}, and {NAMES} or {KEY}"
                raise SourceError("no embeddings", path=part, expected=expected, found=found)
            n = 0
            for batch in file.iter_batches(_ROWS, columns=[name, vectors_in]):
                names = take_names(part, batch.column(name), n)
                n += len(names)
                yield from zip(names, take_vectors(part, batch.column(vectors_in)), strict=True)


def _read_csv(path: Path) -> Iterator[NamedVector]:
    for row in embeddings_csv.read_rows(path):
        yield row.name, row.vector


def _read_tfrecord(path: Path) -> Iterator[NamedVector]:
    dtype = "<f4"
    for number, example in enumerate(tfrecord.read_examples(path)):
        features: dict[str, list[Any]] = dict(example)
        if features.get("use_fp16", [0])[:1] == [1]:
            dtype = "<f2"
        name, data = features.get(NAMES, []), features.get(EMBEDDINGS, [])
        if not _is_text(name) or not _is_text(data):
            raise _bad(path, number, f"{NAMES} and {EMBEDDINGS}", ", ".join(sorted(features)))
        text = name[0].decode("utf-8", "surrogateescape")
        if "image_raw" in features:
            text = strip_suffix(text)
        if len(data[0]) % np.dtype(dtype).itemsize:
            raise _bad(path, number, f"numbers of {dtype}", f"{len(data[0])} bytes")
        yield text, np.frombuffer(data[0], dtype)


def _is_text(values: list[Any]) -> bool:
    return bool(values) and isinstance(values[0], bytes)


def _read_tar(path: Path) -> Iterator[NamedVector]:
    for number, sample in enumerate(webdataset.read_samples(path)):
        content = sample.files.get("npy")
        if content is None:
            raise _bad(path, number, "a member .npy", ", ".join(sample.files))
        try:
            vector = npz.read_npy(content)
        except ValueError as error:
            raise _bad(path, number, "an array of numbers", str(error)) from error
        yield webdataset.path_of(sample.key), vector


def _shown(vector: Reals) -> str:
    return f"an array of shape {vector.shape} and type {vector.dtype}"


def _bad(path: Path, number: int, expected: str, found: str) -> SourceError:
    where = f"image {number} (counted from 0)"
    return SourceError("a bad embedding", path=path, where=where, expected=expected, found=found)


_READERS: dict[str, Callable[[Path], Iterator[NamedVector]]] = {
    ".npz": _read_npz,
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".tfrecord": _read_tfrecord,
    ".tar": _read_tar,
}
