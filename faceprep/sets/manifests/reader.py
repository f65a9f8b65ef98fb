"""Lists of any kind as the names of images and of their identities, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from faceprep.core.errors import SourceError
from faceprep.core.io import npz, parquet
from faceprep.core.io.npz import CLASSES, NAMES, NpzFile
from faceprep.core.text import as_name, as_text
from faceprep.sets import lists
from faceprep.sets.image_paths import NO_IDENTITY
from faceprep.sets.lists import ListedImage
from faceprep.sets.manifests.class_names import ClassNames, ClassSurvey
from faceprep.sets.parquet_columns import IMAGE

IDENTITIES, _IDENTITY = "identities", "identity"
_ROWS = 1 << 14


class NamedImage(NamedTuple):
    """An image as a manifest names it."""

    name: str
    identity: str


def load_names(path: Path) -> list[NamedImage]:
    """Load the names of all images of a manifest, in its order. Raises SourceError.

    An image without a class has the identity in the manifest, or none; a class without an identity
    has the name in the class map beside the manifest, or else its number. The class -1 is a dot, as
    an image without a folder has it.
    """
    rows, survey = list(read_rows(path)), ClassSurvey(path)
    for row in rows:
        survey.add(row)
    classes = survey.class_names()
    return [NamedImage(row.name, _identity_of(row, classes)) for row in rows]


def _identity_of(row: ListedImage, classes: ClassNames) -> str:
    if row.identity or row.label is None:
        return row.identity
    return classes.name(row.label) or NO_IDENTITY


def read_rows(path: Path) -> Iterator[ListedImage]:
    """Yield the images of a manifest in its order. Raises SourceError with the place."""
    return _READERS[path.suffix.lower()](path)


def _read_npz(path: Path) -> Iterator[ListedImage]:
    with NpzFile(path) as file:
        texts = _load_identities(path, file)
        values = zip(_npz_names(path, file), _npz_labels(path, file), strict=True)
        for name, label in values:
            yield ListedImage(name, label, texts[int(label)] if texts else "")


def _load_identities(path: Path, file: NpzFile) -> list[str]:
    """Load the names of the classes where every class has one, else none; check the shapes."""
    shape, dtype = file.header(NAMES)
    if len(shape) != 1 or dtype.kind not in "US":
        npz.decode_names(path, np.broadcast_to(np.empty((), dtype), shape))
    of_classes, kind = file.header(CLASSES)
    if of_classes != shape or kind.kind not in "iuf":
        values = "text" if kind.kind in "US" else str(kind)
        raise SourceError(
            f"{CLASSES} does not have one number for each name",
            path=path,
            expected=f"numbers of shape {shape}, like the names",
            found=f"{values} of shape {of_classes}",
            remedy=f"Number the classes; their names by number may be in {IDENTITIES}.",
        )
    if IDENTITIES not in file.keys:
        return []
    texts = npz.decode_names(path, file.load(IDENTITIES), IDENTITIES)
    for labels in file.chunks(CLASSES):
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(texts):
            return []
    return texts


def _npz_names(path: Path, file: NpzFile) -> Iterator[str]:
    for chunk in file.chunks(NAMES):
        yield from npz.decode_names(path, chunk)


def _npz_labels(path: Path, file: NpzFile) -> Iterator[int | float]:
    for chunk in file.chunks(CLASSES):
        yield from chunk.tolist()


def _read_parquet(path: Path) -> Iterator[ListedImage]:
    n = 0
    with parquet.open_parquet(path) as file:
        there = file.schema_arrow.names
        columns = find_columns(file.schema_arrow)
        single = {name: own for name, own in columns.items() if there.count(name) == 1}
        if NAMES not in single.values():
            raise SourceError(
                f"no single column {NAMES}", path=path, expected=NAMES, found=", ".join(there)
            )
        names = list(single.values())
        for batch in file.iter_batches(_ROWS, columns=list(single)):
            yield from _rows_of(path, batch.rename_columns(names), n)
            n += len(batch)


def find_columns(schema: pa.Schema) -> dict[str, str]:
    """Return the columns of names, classes and identities in a .parquet, each with our own name.

    Empty where there are none, as far as the names and types of the columns say. A column `image`
    is one of images, not of their names. A table with a column of vectors is one of embeddings.
    """
    there = schema.names
    if NAMES in there:
        return {name: name for name in lists.CSV_COLUMNS if name in there}
    if any(_holds_vectors(field.type) for field in schema):
        return {}
    no_name = (field.name == IMAGE or pa.types.is_nested(field.type) for field in schema)
    flat = ["" if hidden else name for name, hidden in zip(there, no_name, strict=True)]
    places = lists.find_columns(flat)
    found = zip(places, lists.CSV_COLUMNS[: len(places)], strict=True)
    return {there[place]: own for place, own in found if place >= 0}


def _holds_vectors(kind: pa.DataType) -> bool:
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in tests) and pa.types.is_floating(kind.value_type)


def _rows_of(path: Path, batch: pa.RecordBatch, start: int) -> Iterator[ListedImage]:
    values: dict[str, list[Any]] = {CLASSES: [None] * len(batch), _IDENTITY: [None] * len(batch)}
    try:
        values |= {name: batch.column(name).to_pylist() for name in batch.schema.names}
    except UnicodeDecodeError as error:
        where = f"one of the rows {start} to {start + len(batch)}"
        raise SourceError(f"not UTF-8: {error}", path=path, where=where) from error
    rows = zip(values[NAMES], values[CLASSES], values[_IDENTITY], strict=True)
    for number, (name, label, identity) in enumerate(rows, start):
        text = as_text(name)
        if text is None:
            raise _bad_row(path, number, f"a path in {NAMES}", name)
        if label is not None and type(label) not in (int, float):
            problem = _bad_row(path, number, "a number as the class", label)
            problem.add_remedy(lists.CALL_IT_IDENTITY)
            raise problem
        yield ListedImage(text, label, as_name(identity))


def _bad_row(path: Path, number: int, expected: str, found: object) -> SourceError:
    where = f"row {number} (counted from 0)"
    return SourceError("bad row", path=path, where=where, expected=expected, found=repr(found)[:80])


_READERS: dict[str, Callable[[Path], Iterator[ListedImage]]] = {
    ".npz": _read_npz,
    ".parquet": _read_parquet,
    ".csv": lambda path: lists.read_csv(path),
    ".lst": lambda path: lists.read_lst(path),
    ".txt": lambda path: lists.read_txt(path),
}
