"""`faces.parquet`: one row per face, with everything needed to crop it again from its source.

key                     string   names the face in its set
source                  string   the file it comes from, relative to the source folder
frame                   int64    its number in the video, from 0; null for photos
time_s                  double   seconds from the first frame; null for photos
image_height, image_width  int32 of the photo or frame as it is seen
x1 y1 x2 y2             float32  box in pixels of it
landmarks               float32 × 10: x y of left eye, right eye, nose, left and right mouth corner
score                   float32  of the detector
transform               double × 6: the 2×3 matrix, by rows, from source pixels to crop pixels
roll lean yaw           float32  pose, null where it was not estimated
detector                string   fingerprint
template                string   what it was aligned to
output                  string   the crop's path below the output folder; null where there is none
refiner                 string   placed the landmarks in a second look: onet or retinaface; empty
                                 for the detector; null in tables of earlier versions
turn                    int32    degrees, 0, 90, 180 or 270, by which the image was turned clockwise
                                 to find the face; null in tables of earlier versions. Everything
                                 else is in pixels of the image as it is
track                   int32    number of the face's track in its video, from 0; two tracks of a
                                 source that share a frame are two people; null without tracks
followed                bool     the face was tracked from an earlier frame, whose score it has;
                                 null in tables of earlier versions

An output `+_multi/a/b_0.png` lies beside the output folder: `a/b_0.png` in the folder that has its
name and `_multi`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.io import parquet
from faceprep.core.io.arrow_rows import ROWS_A_BATCH, RowsWriter, column_of
from faceprep.core.os_errors import SuppressDamage
from faceprep.core.paths import full_path, real_path
from faceprep.core.urls import is_remote

FACES_TABLE = "faces.parquet"
_BOX = ("x1", "y1", "x2", "y2")
SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("frame", pa.int64()),
        pa.field("time_s", pa.float64()),
        pa.field("image_height", pa.int32(), nullable=False),
        pa.field("image_width", pa.int32(), nullable=False),
        *(pa.field(name, pa.float32(), nullable=False) for name in _BOX),
        pa.field("landmarks", pa.list_(pa.float32(), 10), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("transform", pa.list_(pa.float64(), 6), nullable=False),
        *(pa.field(name, pa.float32()) for name in ("roll", "lean", "yaw")),
        pa.field("detector", pa.string(), nullable=False),
        pa.field("template", pa.string(), nullable=False),
        pa.field("output", pa.string()),
        pa.field("refiner", pa.string()),
        pa.field("turn", pa.int32()),
        pa.field("track", pa.int32()),
        pa.field("followed", pa.bool_()),
    ]
)
_OPTIONAL = ("refiner", "turn", "track", "followed")
"""Columns that tables of earlier versions lack; they are read as null."""
_BESIDE = re.compile(r"\+(_[a-z]+)/(.+)", re.ASCII | re.DOTALL)


class FaceRow(NamedTuple):
    """A face of `faces.parquet`; the fields are the columns.

    `image_size` is (height, width) of the photo or frame. `box` (4,) is x1 y1 x2 y2 and `landmarks`
    (5, 2) are x y of left eye, right eye, nose, left and right mouth corner, in its pixels.
    `transform` (2, 3) maps those pixels to pixels of the crop. `score` is 0 to 1.

    `output` is the path of the crop below the output folder, and None for a face without a crop.
    `+_multi/a.png` is `a.png` in the folder with the ending `_multi` beside it.

    `roll` is the rotation that sets the face upright, in degrees, positive clockwise. `yaw` is in
    degrees, positive where the nose points to the viewer's right. `lean` is the distance of the
    nose to the right of the middle of the eyes, in pixels of an arcface-112 crop.

    `refiner` names the model that placed the landmarks again, empty for none. `turn` is 0, 90, 180
    or 270: the degrees by which the image was turned clockwise to find the face. `frame` and
    `time_s`, its seconds, are None for photos. `track` is the number of the track in its video. A
    face with `followed` was tracked from an earlier frame, whose score it has.
    """

    key: str
    source: str
    image_size: tuple[int, int]
    """(height, width)."""
    box: npt.ArrayLike
    landmarks: npt.ArrayLike
    score: float
    transform: npt.ArrayLike
    detector: str
    template: str
    output: str | None = None
    frame: int | None = None
    time_s: float | None = None
    roll: float | None = None
    lean: float | None = None
    yaw: float | None = None
    refiner: str | None = None
    turn: int | None = None
    track: int | None = None
    followed: bool | None = None


def find_faces_table(folder: Path) -> tuple[Path, str] | None:
    """Return the table of faces of a folder of crops, and what their outputs begin with in it.

    The table lies in the folder, or in one above it if the folder is a part of an output, such as
    the tracks of one video, by its own path or by that of a link to it. Returns None without a
    table. Raises SourceError.
    """
    if storage.size_of(folder / FACES_TABLE) is not None:
        return folder / FACES_TABLE, ""
    wholes = () if is_remote(folder) else map(Path, (full_path(folder), real_path(folder)))
    for whole in dict.fromkeys(wholes):
        for place in whole.parents:
            start = f"{whole.relative_to(place).as_posix()}/"
            if _has_crops_below(place / FACES_TABLE, start):
                return place / FACES_TABLE, start
    return None


def _has_crops_below(path: Path, start: str) -> bool:
    """Return whether a file is there, is a table of faces, and has outputs that begin so.

    Raises SourceError where the disk fails.
    """
    with SuppressDamage():
        tables = read_face_tables(path, ("source", "frame", "output", "template"))
        outputs = (output for table in tables for output in table["output"].to_pylist())
        return any(output is not None and output.startswith(start) for output in outputs)
    return False


def join_output(name: str, beside: str = "") -> str:
    """Return the table's name of the crop `name` in the output folder, or in its sibling with that
    ending.
    """
    return f"+{beside}/{name}" if beside else name


def split_output(output: str) -> tuple[str, str]:
    """Split an output: (name, ending).

    >>> split_output("a/b_0.png"), split_output("+_multi/a/b_0.png")
    (('a/b_0.png', ''), ('a/b_0.png', '_multi'))
    """
    match = _BESIDE.fullmatch(output)
    return (match[2], match[1]) if match else (output, "")


def table_of(rows: Sequence[FaceRow]) -> pa.Table:
    """Return a table of SCHEMA with one row per face.

    The arrays are made from buffers, because `pa.array` imports pandas where it is installed. That
    import takes longer than a hundred frames.
    """
    n = len(rows)
    boxes = np.array([row.box for row in rows], np.float32).reshape(n, 4)
    sizes = np.array([row.image_size for row in rows], np.int32).reshape(n, 2)
    landmarks = np.array([row.landmarks for row in rows], np.float32).reshape(n * 10)
    transforms = np.array([row.transform for row in rows], np.float64).reshape(n * 6)
    columns: dict[str, Any] = {
        "image_height": column_of(sizes[:, 0], pa.int32()),
        "image_width": column_of(sizes[:, 1], pa.int32()),
        "landmarks": pa.FixedSizeListArray.from_arrays(column_of(landmarks, pa.float32()), 10),
        "transform": pa.FixedSizeListArray.from_arrays(column_of(transforms, pa.float64()), 6),
    }
    columns |= {name: column_of(boxes[:, place], pa.float32()) for place, name in enumerate(_BOX)}
    for field in SCHEMA:
        if field.name not in columns:
            values = [getattr(row, field.name) for row in rows]
            columns[field.name] = column_of(values, field.type)
    return pa.table([columns[name] for name in SCHEMA.names], SCHEMA)


def rows_of(table: pa.Table) -> Iterator[FaceRow]:
    """Return the rows of a table of SCHEMA: the inverse of `table_of`."""
    n = len(table)
    boxes = np.stack([table[name].to_numpy() for name in _BOX], 1)
    landmarks, transforms = (
        table[name].combine_chunks().flatten().to_numpy().reshape(n, *shape)
        for name, shape in (("landmarks", (5, 2)), ("transform", (2, 3)))
    )
    plain = [
        name
        for name in FaceRow._fields
        if name in SCHEMA.names and name not in ("landmarks", "transform")
    ]
    sizes = zip(table["image_height"].to_pylist(), table["image_width"].to_pylist(), strict=True)
    values = zip(*(table[name].to_pylist() for name in plain), strict=True)
    for place, (size, row) in enumerate(zip(sizes, values, strict=True)):
        arrays = {
            "box": boxes[place],
            "landmarks": landmarks[place],
            "transform": transforms[place],
        }
        yield FaceRow(image_size=size, **arrays, **dict(zip(plain, row, strict=True)))


def rename_outputs(table: pa.Table, names: Mapping[str, str]) -> pa.Table:
    """Return the rows of a table of SCHEMA whose output is in `names`, renamed.

    Keys equal to the output follow.

    >>> row = FaceRow("a/1", "a.jpg", (9, 9), [0] * 4, [0] * 10, 1, [0] * 6, "d", "t", "a/1.png")
    >>> table = table_of([row, row._replace(output="b/1.png")])
    >>> renamed = rename_outputs(table, {"a/1.png": "c/a_1.png"})
    >>> renamed["key"].to_pylist(), renamed["output"].to_pylist()
    (['c/a_1'], ['c/a_1.png'])
    """
    outputs = table["output"].to_pylist()
    places = [place for place, output in enumerate(outputs) if output in names]
    kept = table.take(np.array(places, np.int64))
    old = [outputs[place] for place in places]
    new = [names[output] for output in old]
    keys = [
        _stem(after) if key == _stem(before) else key
        for key, before, after in zip(kept["key"].to_pylist(), old, new, strict=True)
    ]
    for name, values in (("key", keys), ("output", new)):
        kept = kept.set_column(
            SCHEMA.get_field_index(name), SCHEMA.field(name), column_of(values, pa.string())
        )
    return kept


def _stem(output: str) -> str:
    return output.rpartition(".")[0]


class FacesWriter(RowsWriter[FaceRow]):
    """A writer of faces to one Parquet file of SCHEMA."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, SCHEMA, table_of)


def join_faces(parts: Iterable[str | os.PathLike[str]], file: BinaryIO) -> None:
    """Write tables in the given order as one, in bounded memory. Raises SourceError."""
    with FacesWriter(file) as writer:
        for part in parts:
            for table in read_face_tables(part):
                writer.add_table(table)


def read_face_tables(
    path: str | os.PathLike[str], columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Yield the table in pieces of some thousand rows, with all columns of SCHEMA or the named
    ones.

    Tables of other programs are accepted if their columns convert to SCHEMA; other columns are
    dropped. Raises SourceError.
    """
    names = SCHEMA.names if columns is None else list(columns)
    with _open_faces(path, names) as file:
        for batch in file.iter_batches(ROWS_A_BATCH, columns=names):
            yield _complete(path, batch, names)


def read_range(path: str | os.PathLike[str], start: int, stop: int) -> Iterator[pa.Table]:
    """Yield the rows [start, stop) in pieces; only their row groups are read.

    Raises SourceError.
    """
    with _open_faces(path, SCHEMA.names) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        edges = [0, *accumulate(sizes)]
        groups = [
            group for group in range(len(sizes)) if edges[group] < stop and edges[group + 1] > start
        ]
        position = edges[groups[0]] if groups else 0
        for batch in file.iter_batches(ROWS_A_BATCH, row_groups=groups, columns=SCHEMA.names):
            first, last = max(start - position, 0), min(stop - position, len(batch))
            if first < last:
                yield _complete(path, batch.slice(first, last - first), SCHEMA.names)
            position += len(batch)
            if position >= stop:
                return


def _complete(
    path: str | os.PathLike[str], batch: pa.RecordBatch, names: Sequence[str]
) -> pa.Table:
    """Return the columns `names` of SCHEMA; those that the batch lacks are null.

    Raises SourceError if a value is missing.
    """
    table = pa.Table.from_batches([batch])
    for name in set(names) - set(table.column_names):
        table = table.append_column(name, pa.nulls(len(table), SCHEMA.field(name).type))
    return parquet.take_columns(path, table, pa.schema([SCHEMA.field(name) for name in names]))


@contextmanager
def _open_faces(path: str | os.PathLike[str], names: Sequence[str]) -> Iterator[pq.ParquetFile]:
    with parquet.open_parquet(path) as file:
        known = (*file.schema_arrow.names, *_OPTIONAL)
        missing = [name for name in names if name not in known]
        if missing:
            raise SourceError(
                "not a table of faces",
                path=path,
                expected="columns " + ", ".join(names),
                found="no " + ", ".join(missing),
                remedy="Name the faces.parquet of an extract command.",
            )
        yield file


def read_faces(path: str | os.PathLike[str]) -> Iterator[FaceRow]:
    """Yield the faces of a `faces.parquet` in the order of its rows. Raises SourceError.

    `extract-photos`, `extract-video` and `align` write the table.
    """
    for table in read_face_tables(path):
        yield from rows_of(table)


def load_faces(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
    """Load the whole table. Raises SourceError as `read_face_tables`."""
    names = SCHEMA.names if columns is None else list(columns)
    empty = pa.Table.from_batches([], pa.schema([SCHEMA.field(name) for name in names]))
    return pa.concat_tables([empty, *read_face_tables(path, columns)])
