"""`frames.parquet`: one row per wanted frame of a video, with or without a face.

source    string   the video, relative to the source folder
frame     int64    its number in the video, from 0
time_s    double   seconds from the first frame; null where the file has no times
status    string   `ok`: a face was cropped; else why not, as in the counts of the run
reason    string   the same as a sentence; may be empty
faces     int32    faces above the minimum score; in a frame without full detection, the faces that
                   are tracked; null where the frame could not be decoded
track     int32    the track of the written face; null without tracks
has_box   bool     whether the .face file has a usable box for it; null without a .face file

Rows are in the order of the videos, and of the frames in each.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from faceprep.core.io import parquet
from faceprep.core.io.arrow_rows import RowsWriter

FRAMES_TABLE = "frames.parquet"
SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("time_s", pa.float64()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("faces", pa.int32()),
        pa.field("track", pa.int32()),
        pa.field("has_box", pa.bool_()),
    ]
)


class FrameRow(NamedTuple):
    """A wanted frame of `frames.parquet`; the fields are the columns.

    `status` is `ok` if a face was cropped. Otherwise `reason` explains why not. `has_box` is None
    without a .face file.
    """

    source: str
    frame: int
    time_s: float | None
    status: str
    reason: str = ""
    faces: int | None = None
    track: int | None = None
    has_box: bool | None = None


class FramesWriter(RowsWriter[FrameRow]):
    """A writer of frames to one Parquet file of SCHEMA."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, SCHEMA)


def join_frames(parts: Iterable[str | os.PathLike[str]], file: BinaryIO) -> None:
    """Write tables in the given order as one, in bounded memory. Raises SourceError."""
    with FramesWriter(file) as writer:
        for part in parts:
            for table in read_frame_tables(part):
                writer.add_table(table)


def read_frame_tables(
    path: str | os.PathLike[str], columns: Sequence[str] = tuple(SCHEMA.names)
) -> Iterator[pa.Table]:
    """Yield the named columns in pieces of rows. Raises SourceError."""
    wanted = pa.schema([SCHEMA.field(name) for name in columns])
    for table in parquet.read_columns(path, columns):
        yield parquet.take_columns(path, table, wanted)


def read_frames(path: str | os.PathLike[str]) -> Iterator[FrameRow]:
    """Yield the wanted frames of a `frames.parquet` in the order of its rows. Raises SourceError.

    `extract-video` writes the table.
    """
    for table in read_frame_tables(path):
        columns = (table[name].to_pylist() for name in FrameRow._fields)
        yield from map(FrameRow._make, zip(*columns, strict=True))
