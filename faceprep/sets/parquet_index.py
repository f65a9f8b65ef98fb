"""The index of a Parquet file with images: keys, identities, labels and places of its rows.

A place is the number of the file with an offset, and a length; or the number of the file with a
row group, and a negative number for the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from faceprep.core.arrays import Ints
from faceprep.core.errors import SourceError
from faceprep.core.io.parquet import open_parquet
from faceprep.core.storage import ByteSource
from faceprep.sets.file_family import pack_place
from faceprep.sets.parquet_columns import Columns, Facts, read_facts
from faceprep.sets.parquet_footer import ColumnChunk, read_chunks
from faceprep.sets.parquet_pages import DamagedPage, NotPlain, damaged_pages, find_values

NO_LABEL = -(1 << 63)
NOT_FINITE = NO_LABEL + 1
_ROWS = 1 << 14
_FIRST_ROW = -1


class Part(NamedTuple):
    """The columns of some rows: places (n, 2), labels (n,).

    NO_LABEL means none, and NOT_FINITE one that is not finite.
    """

    keys: list[str]
    identities: list[str]
    labels: Ints
    places: Ints


def is_row(length: int) -> bool:
    """Return whether the second number of a place means a row."""
    return length < 0


def at_row(length: int) -> int:
    """Return the row that the second number of a place means."""
    return _FIRST_ROW - length


def read_parts(
    number: int, path: Path, columns: Columns, keep: Callable[[Sequence[ColumnChunk | None]], None]
) -> Iterator[Part]:
    """Yield the rows of file `number` of a set, some at a time; `keep` gets its chunks before.

    Raises SourceError.
    """
    with open_parquet(path) as file, ByteSource(path) as source:
        chunks = read_chunks(source, file, columns.bytes_leaf)
        keep(chunks)
        for groups in _join_small(file):
            found = [_find_places(source, file, group, chunks[group]) for group in groups]
            places, n = np.concatenate(found), 0
            places[:, 0] += pack_place(number, 0)
            for facts in _read_batches(file, groups, len(places), columns):
                yield _make_part(facts, places[n : n + len(facts)])
                n += len(facts)
            if n != len(places):
                raise SourceError(
                    "a row group is cut off",
                    path=path,
                    where=_name_groups(groups),
                    expected=f"{len(places)} rows",
                    found=f"{n}",
                )


def _join_small(file: pq.ParquetFile) -> Iterator[range]:
    """Yield the row groups, small ones together: to begin one costs pyarrow more than its rows."""
    start = n = 0
    for group in range(file.num_row_groups):
        n_here = file.metadata.row_group(group).num_rows
        if n + n_here > _ROWS and group > start:
            yield range(start, group)
            start, n = group, 0
        n += n_here
    if start < file.num_row_groups:
        yield range(start, file.num_row_groups)


def _name_groups(groups: range) -> str:
    if len(groups) == 1:
        return f"row group {groups[0]}"
    return f"the row groups {groups[0]} to {groups[-1]}"


def _read_batches(
    file: pq.ParquetFile, groups: range, n: int, columns: Columns
) -> Iterator[list[Facts]]:
    """Yield the small columns of some row groups, which have `n` rows."""
    if not columns.small:
        for start in range(0, n, _ROWS):
            yield [Facts(None, "", "")] * min(_ROWS, n - start)
        return
    for batch in file.iter_batches(_ROWS, row_groups=list(groups), columns=columns.small):
        yield list(read_facts(batch, columns))


def _make_part(facts: list[Facts], places: Ints) -> Part:
    labels = [_pack_label(each.label) for each in facts]
    return Part(
        [each.name for each in facts],
        [each.identity for each in facts],
        np.array(labels, "<i8"),
        places,
    )


def _pack_label(label: int | float | None) -> int:
    if label is None:
        return NO_LABEL
    return label if isinstance(label, int) else NOT_FINITE


def _find_places(
    source: ByteSource, file: pq.ParquetFile, group: int, chunk: ColumnChunk | None
) -> Ints:
    """Return the places (n, 2) of the rows of a row group, as if the file were number 0."""
    n = file.metadata.row_group(group).num_rows
    if chunk and chunk.n_values != n:
        raise damaged_pages(source, group, DamagedPage(f"{chunk.n_values} values in {n} rows"))
    by_row = np.stack([np.full(n, group), _FIRST_ROW - np.arange(n)], 1).astype(np.int64)
    if chunk is None or chunk.codec or not chunk.is_plain:
        return by_row
    try:
        pages = [np.zeros((0, 2), np.int64), *find_values(source, chunk)]
    except NotPlain:
        return by_row
    except DamagedPage as problem:
        raise damaged_pages(source, group, problem) from None
    found = np.concatenate(pages)
    if len(found) != n:
        raise SourceError(
            "its pages are damaged",
            path=source.path,
            where=f"row group {group}",
            expected=f"{n} values",
            found=f"{len(found)}",
        )
    return np.where(found[:, 1:] < 0, by_row, found)
