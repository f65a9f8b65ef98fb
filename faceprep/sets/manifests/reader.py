"""Manifests of any kind as the names of images and of their identities."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from faceprep.core.errors import SourceError
from faceprep.core.io import npz, parquet
from faceprep.core.io.npz import CLASSES, NAMES
from faceprep.sets import class_map, lists
from faceprep.sets.class_map import CLASSES_CSV


class NamedImage(NamedTuple):
    """An image as a manifest names it."""

    name: str
    identity: str


def load_names(path: Path) -> list[NamedImage]:
    """Load all images of a .npz, .csv, .lst or .parquet manifest, in its order. Raises SourceError.

    Identities without a name have the name of their class in the classes.csv beside the manifest,
    or else its number.
    """
    names, labels, identities = _READERS[path.suffix.lower()](path)
    if not all(identities):
        texts = _class_names(path, labels)
        identities = [
            identity or texts(label) for identity, label in zip(identities, labels, strict=True)
        ]
    return [NamedImage(*pair) for pair in zip(names, identities, strict=True)]


_Columns = tuple[Sequence[str], Sequence[float], Sequence[str]]
"""Names, labels, identities; an identity is empty where there is none."""


def _from_npz(path: Path) -> _Columns:
    with npz.NpzFile(path) as file:
        names, labels = npz.decode_names(path, file.load(NAMES)), file.load(CLASSES)
        texts = file.load("identities").tolist() if "identities" in file.keys else []
    if labels.shape != (len(names),) or labels.dtype.kind not in "iuf":
        found = f"{len(names):,} names, {labels.dtype} of shape {labels.shape}"
        raise SourceError(
            "its arrays do not belong together",
            path=path,
            expected="a class for each name",
            found=found,
        )
    numbers = labels.tolist()
    known = texts and all(0 <= number < len(texts) for number in numbers)
    return (
        names,
        numbers,
        [str(texts[number]) for number in numbers] if known else [""] * len(names),
    )


def _from_parquet(path: Path) -> _Columns:
    with parquet.open_parquet(path) as file:
        there = file.schema_arrow.names
    columns = [name for name in (NAMES, CLASSES, "identity") if name in there or name == NAMES]
    values: dict[str, list[str]] = {name: [] for name in columns}
    for table in parquet.read_columns(path, columns):
        for name in columns:
            values[name] += table.column(name).to_pylist()
    names = values[NAMES]
    labels = [float(label) for label in values.get(CLASSES, [])] or [0.0] * len(names)
    return names, labels, values.get("identity", [""] * len(names))


def _from_list(read: Callable[[Path], Sequence[lists.ListedImage]]) -> Callable[[Path], _Columns]:
    def columns(path: Path) -> _Columns:
        rows = list(read(path))
        return (
            [row.name for row in rows],
            [row.label for row in rows],
            [row.identity for row in rows],
        )

    return columns


_READERS: dict[str, Callable[[Path], _Columns]] = {
    ".npz": _from_npz,
    ".parquet": _from_parquet,
    ".csv": _from_list(lambda path: list(lists.read_csv(path))),
    ".lst": _from_list(lambda path: list(lists.read_lst(path))),
}
SUFFIXES = tuple(_READERS)


def _class_names(path: Path, labels: Sequence[float]) -> Callable[[float], str]:
    table = path.parent / CLASSES_CSV
    rows = class_map.load(table) if os.path.isfile(table) else []
    names = {row.number: row.name for row in rows}
    if all(label in names for label in labels):
        return lambda label: names[int(label)]
    return lambda label: f"{label:g}" if label % 1 else str(int(label))
