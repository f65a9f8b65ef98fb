"""Embeddings that are joined to images by name, from any file that `vectors` reads.

The rows are laid out raw in a file of the run, so that workers can fetch any of them and none holds
them all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.arrays import Ints, Reals
from faceprep.core.errors import SourceError
from faceprep.core.io.npz import EMBEDDINGS, NAMES, NpzFile, decode_names
from faceprep.core.text import count_noun
from faceprep.core.types import Outcome
from faceprep.core.urls import url_of
from faceprep.identity.sound_vectors import DUPLICATE_NAME, REASONS, find_faulty_vectors
from faceprep.sets.distinct_keys import strip_suffix
from faceprep.sets.label_rules import Unlabelled
from faceprep.sets.listing import Listing
from faceprep.sets.manifests.vectors import read_vectors

_DTYPES = ("float32", "float16")
_AT_ONCE = 1 << 12


@dataclass(frozen=True)
class EmbeddingTable:
    """The names and layout of embeddings.

    `rows` maps image names to row numbers. Each row has `dim` numbers of `dtype` (float32 or
    float16). `repeated` are names that an earlier row has; such a row is not used.
    """

    path: str
    rows: dict[str, int]
    dim: int
    dtype: str
    repeated: Sequence[str] = ()


def load_table(path: str | os.PathLike[str]) -> EmbeddingTable:
    """Load the names, width and type of the embeddings, without the vectors. Raises SourceError."""
    if not _is_npz(path):
        return _load_any(path)
    with NpzFile(path) as file:
        (n_names, *_), _ = _described(file, NAMES, 1)
        (n, dim), dtype = _described(file, EMBEDDINGS, 2)
        if n != n_names:
            raise SourceError(
                "its arrays differ in length",
                path=path,
                expected=f"one embedding for each of {count_noun(n_names, 'name')}",
                found=count_noun(n, "embedding"),
            )
        if str(dtype) not in _DTYPES:
            raise SourceError(
                "embeddings of another type",
                path=path,
                expected="float32 or float16",
                found=str(dtype),
            )
        names = (name for chunk in file.chunks(NAMES) for name in decode_names(path, chunk))
        rows, repeated = _number_rows(names)
    return EmbeddingTable(os.fspath(path), rows, dim, str(dtype), repeated)


def _is_npz(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path).lower().endswith(".npz")


def _load_any(path: str | os.PathLike[str]) -> EmbeddingTable:
    first = next(read_vectors(Path(path)), None)
    if first is None:
        raise SourceError("no embeddings in it", path=path)
    _, vector = first
    rows, repeated = _number_rows(name for name, _ in read_vectors(Path(path)))
    return EmbeddingTable(os.fspath(path), rows, vector.size, str(vector.dtype), repeated)


def _number_rows(names: Iterable[str]) -> tuple[dict[str, int], list[str]]:
    """Return the row of each name, its first one, and the names of the other rows."""
    rows: dict[str, int] = {}
    repeated = []
    for row, name in enumerate(names):
        if rows.setdefault(name, row) != row:
            repeated.append(name)
    return rows, repeated


def _described(file: NpzFile, key: str, n_dimensions: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    shape, dtype = file.header(key)
    if len(shape) != n_dimensions:
        raise SourceError(
            f"{key} of another shape",
            path=file.path,
            expected=f"{n_dimensions} dimensions",
            found=str(shape),
        )
    return shape, dtype


def lay_out(table: EmbeddingTable, target: Path) -> None:
    """Write the rows one after the other to `target`. Raises SourceError."""
    with storage.AtomicFile(target, durable=False) as rows:
        for block in _read_blocks(table):
            rows.write(block.tobytes())


def _read_blocks(table: EmbeddingTable) -> Iterator[Reals]:
    """Yield the vectors (n, dim) in order, some at a time."""
    if _is_npz(table.path):
        with NpzFile(table.path) as file:
            yield from file.chunks(EMBEDDINGS)
        return
    vectors = (vector for _, vector in read_vectors(Path(table.path)))
    while block := list(islice(vectors, _AT_ONCE)):
        yield np.stack(block)


def find_faulty(table: EmbeddingTable) -> dict[int, str]:
    """Return the status of each row whose vector is zero or not finite. Raises SourceError."""
    found: dict[int, str] = {}
    start = 0
    for block in _read_blocks(table):
        for fault in find_faulty_vectors(np.asarray(block, np.float32)):
            found[start + fault.row] = fault.status
        start += len(block)
    return found


def refuse_without_vector(table: EmbeddingTable, rows: Ints, listing: Listing) -> None:
    """Refuse the images of a listing that have no embedding, or a faulty one.

    `rows` (n,) is the row of each image, -1 for none. Raises SourceError.
    """
    for position in np.flatnonzero(rows < 0).tolist():
        reason = f"{listing.path(position)}: no embedding of this name in {url_of(table.path)}"
        listing.refused.setdefault(position, Unlabelled("no_embedding", reason))
    faulty = find_faulty(table)
    wanted = np.fromiter(faulty, np.int64, len(faulty))
    for position in np.flatnonzero(np.isin(rows, wanted)).tolist():
        status = faulty[rows.item(position)]
        reason = f"{listing.path(position)}: {REASONS[status]}, in {url_of(table.path)}"
        listing.refused.setdefault(position, Unlabelled(status, reason))


def match(
    table: EmbeddingTable, spellings: Sequence[Callable[[], Iterable[str]]]
) -> npt.NDArray[np.int64]:
    """Return the row of each image, -1 where there is none.

    The first of the `spellings` of names that matches any image is used. If none does, the names of
    one side are compared without the suffixes of images, which containers leave out. Raises
    SourceError when none matches then, or two images match one row.
    """
    for spell in spellings:
        rows = _find_rows(table.rows, spell())
        if (rows >= 0).any():
            return rows
    stems = {strip_suffix(name): row for name, row in table.rows.items()}
    if len(stems) < len(table.rows):
        stems = {}
    for spell in spellings:
        for row_of, names in ((table.rows, map(strip_suffix, spell())), (stems, spell())):
            rows = _find_rows(row_of, names)
            found = rows[rows >= 0]
            if found.size and np.unique(found).size == found.size:
                return rows
    raise SourceError(
        "none of the images is in it",
        path=table.path,
        expected=f"names like {next(iter(spellings[0]()), '')!r}",
        found=f"names like {next(iter(table.rows), '')!r}",
        remedy="See --relative-to.",
    )


def _find_rows(row_of: Mapping[str, int], names: Iterable[str]) -> npt.NDArray[np.int64]:
    return np.fromiter((row_of.get(name, -1) for name in names), np.int64)


def find_spare(table: EmbeddingTable, rows: npt.NDArray[np.int64]) -> list[Outcome]:
    """Return an Outcome for each embedding that belongs to none of the images with these `rows`.

    This includes an embedding whose name an earlier one has.
    """
    spare = [
        Outcome(name, DUPLICATE_NAME, f"{name}: {REASONS[DUPLICATE_NAME]}", unit="embedding")
        for name in table.repeated
    ]
    is_used = np.zeros(len(table.rows) + len(table.repeated), np.bool_)
    is_used[rows[rows >= 0]] = True
    reason = f"{url_of(table.path)} has an embedding of this name, but the set has no such image"
    spare += [
        Outcome(name, "no_image", f"{name}: {reason}", unit="embedding")
        for name, row in table.rows.items()
        if not is_used[row]
    ]
    return spare


def fetch(
    path: Path, numbers: Sequence[int], dim: int, dtype: str
) -> npt.NDArray[np.floating[Any]]:
    """Read the rows with these numbers, (n, dim), from a file that `lay_out` wrote."""
    n_bytes = dim * np.dtype(dtype).itemsize
    with storage.ByteSource(path) as rows:
        data = b"".join([rows.read_at(number * n_bytes, n_bytes) for number in numbers])
    return np.frombuffer(data, dtype).reshape(len(numbers), dim)
