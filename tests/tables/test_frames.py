"""The table of frames: rows come back, joined parts are the same bytes as one whole."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.io.arrow_rows import table_of
from faceprep.tables.frames import (
    SCHEMA,
    FrameRow,
    FramesWriter,
    join_frames,
    read_frame_tables,
    read_frames,
)

_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
_NUMBER = st.none() | st.integers(0, 1 << 30)
ROW = st.builds(
    FrameRow,
    source=_TEXT,
    frame=st.integers(0, 1 << 40),
    time_s=st.none() | st.floats(0, 1e6),
    status=_TEXT,
    reason=_TEXT,
    faces=_NUMBER,
    track=_NUMBER,
    has_box=st.none() | st.booleans(),
)


def as_file(rows: list[FrameRow]) -> bytes:
    buffer = io.BytesIO()
    with FramesWriter(buffer) as writer:
        for row in rows:
            writer.add(row)
    return buffer.getvalue()


@given(rows=st.lists(ROW, max_size=20))
def test_rows_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[FrameRow]) -> None:
    table = table_of(rows, SCHEMA)
    table.validate(full=True)
    assert table.schema == SCHEMA
    path = tmp_path_factory.getbasetemp() / "frames.parquet"
    path.write_bytes(as_file(rows))
    assert list(read_frames(path)) == rows


@given(rows=st.lists(ROW, max_size=30), cut=st.integers(0, 30))
def test_joined_parts_are_the_whole(
    tmp_path_factory: pytest.TempPathFactory, rows: list[FrameRow], cut: int
) -> None:
    parts = [tmp_path_factory.getbasetemp() / f"frames{half}.parquet" for half in range(2)]
    parts[0].write_bytes(as_file(rows[:cut]))
    parts[1].write_bytes(as_file(rows[cut:]))
    joined = io.BytesIO()
    join_frames(parts, joined)
    assert joined.getvalue() == as_file(rows)


def test_others_read_it(tmp_path: Path) -> None:
    path = tmp_path / "frames.parquet"
    row = FrameRow("a.mp4", 7, 0.25, "no_face", "no face found", 0, has_box=True)
    path.write_bytes(as_file([row]))
    frame = pd.read_parquet(path)
    assert frame["has_box"].tolist() == [True] and frame["track"].isna().all()
    assert [table.to_pylist() for table in read_frame_tables(path, ("frame",))] == [[{"frame": 7}]]


def test_another_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "frames.parquet"
    pq.write_table(pa.table({"source": ["a"]}), path)
    with pytest.raises(SourceError, match="lacks frame"):
        list(read_frame_tables(path))
