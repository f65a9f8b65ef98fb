"""The table of faces: rows come back, joined parts are the same bytes as one whole, pandas and
DuckDB read it.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.turns import TURNS
from faceprep.tables.faces import (
    FACES_TABLE,
    SCHEMA,
    FaceRow,
    FacesWriter,
    find_faces_table,
    join_faces,
    join_output,
    load_faces,
    read_face_tables,
    read_faces,
    read_range,
    rows_of,
    split_output,
    table_of,
)
from tests.fakes import break_file

_FLOAT = st.floats(-1e6, 1e6, width=32)
_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


def arrays(n: int, shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    return st.lists(_FLOAT, min_size=n, max_size=n).map(
        lambda values: np.array(values).reshape(shape)
    )


ROW = st.builds(
    FaceRow,
    key=_TEXT,
    source=_TEXT,
    image_size=st.tuples(st.integers(1, 1 << 30), st.integers(1, 1 << 30)),
    box=arrays(4, (4,)),
    landmarks=arrays(10, (5, 2)),
    score=_FLOAT,
    transform=arrays(6, (2, 3)),
    detector=_TEXT,
    template=_TEXT,
    output=st.none() | _TEXT,
    frame=st.none() | st.integers(0, 1 << 40),
    time_s=st.none() | st.floats(0, 1e6),
    roll=st.none() | _FLOAT,
    lean=st.none() | _FLOAT,
    yaw=st.none() | _FLOAT,
    refiner=st.none() | _TEXT,
    turn=st.none() | st.sampled_from(TURNS),
    followed=st.none() | st.booleans(),
    track=st.none() | st.integers(0, 2**31 - 1),
)


def row(number: int) -> FaceRow:
    rng = np.random.default_rng(number)
    return FaceRow(
        f"a/{number}_0",
        "a.mov",
        (1080, 1920),
        rng.random(4),
        rng.random((5, 2)),
        rng.random(),
        rng.random((2, 3)),
        "retinaface-abc",
        "arcface-112",
        f"a/{number}.png" if number % 3 else None,
        number,
        number / 30,
        roll=1.5,
    )


def as_file(rows: list[FaceRow]) -> bytes:
    file = io.BytesIO()
    with FacesWriter(file) as writer:
        for each in rows:
            writer.add(each)
    return file.getvalue()


def assert_same(found: FaceRow, expected: FaceRow) -> None:
    for name, one, other in zip(FaceRow._fields, found, expected, strict=True):
        if isinstance(one, np.ndarray):
            assert one.shape == np.shape(other)
            np.testing.assert_array_equal(one, other, err_msg=name)
        else:
            assert one == other, name


@given(rows=st.lists(ROW, max_size=5))
@settings(max_examples=40)
def test_rows_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[FaceRow]) -> None:
    path = tmp_path_factory.getbasetemp() / "faces.parquet"
    path.write_bytes(as_file(rows))
    table = load_faces(path)
    assert table.schema == SCHEMA and table.equals(table_of(rows))
    for found, expected in zip(read_faces(path), rows, strict=True):
        assert_same(found, expected)


@given(cuts=st.lists(st.integers(0, 70), max_size=5).map(sorted))
@settings(max_examples=25)
def test_the_bytes_do_not_depend_on_the_parts(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    """Batches and row groups are made small, so that 70 rows fill several of both."""
    rows, root = [row(number) for number in range(70)], tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as small:
        small.setattr(FacesWriter, "rows_a_batch", 8)
        small.setattr(FacesWriter, "rows_a_group", 20)
        whole = as_file(rows)
        edges = [0, *cuts, 70]
        parts = []
        for number, (start, stop) in enumerate(zip(edges, edges[1:], strict=False)):
            parts.append(root / f"{number}.parquet")
            parts[-1].write_bytes(as_file(rows[start:stop]))
        joined = io.BytesIO()
        join_faces(parts, joined)
    assert joined.getvalue() == whole
    groups = pq.ParquetFile(io.BytesIO(whole)).metadata
    assert [groups.row_group(group).num_rows for group in range(groups.num_row_groups)] == [
        20,
        20,
        20,
        10,
    ]


def test_a_failure_leaves_no_table_behind() -> None:
    file = io.BytesIO()
    with pytest.raises(KeyError), FacesWriter(file) as writer:
        writer.add(row(1))
        raise KeyError
    assert pq.ParquetFile(io.BytesIO(file.getvalue())).metadata.num_rows == 0


def test_some_columns_alone(tmp_path: Path) -> None:
    path = tmp_path / "faces.parquet"
    path.write_bytes(as_file([row(number) for number in range(5)]))
    assert load_faces(path, ["frame", "key"]).column_names == ["frame", "key"]
    assert [len(batch) for batch in read_face_tables(path, ["score"])] == [5]


def test_pandas_and_duckdb_read_it(tmp_path: Path) -> None:
    pandas, duckdb = pytest.importorskip("pandas"), pytest.importorskip("duckdb")
    path = tmp_path / "faces.parquet"
    rows = [row(number) for number in range(9)]
    path.write_bytes(as_file(rows))
    frame = pandas.read_parquet(path)
    assert frame.columns.tolist() == SCHEMA.names
    np.testing.assert_array_equal(frame["transform"][4].reshape(2, 3), rows[4].transform)
    query = (
        f"select frame, landmarks[3], transform[6] from '{path}' where output is null order "
        "by frame"
    )
    assert duckdb.sql(query).fetchall() == [
        (number, np.float32(rows[number].landmarks[1, 0]), rows[number].transform[1, 2])  # type: ignore[call-overload, index]
        for number in (0, 3, 6)
    ]
    frame[frame.frame > 4].to_parquet(
        tmp_path / "some.parquet"
    )  # what a person keeps of it can be used again
    for found, expected in zip(
        rows_of(load_faces(tmp_path / "some.parquet")), rows[5:], strict=True
    ):
        assert_same(
            found._replace(score=0, box=0, landmarks=0),
            expected._replace(score=0, box=0, landmarks=0),
        )


def test_other_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"key": ["a"], "score": ["high"]}), path)
    with pytest.raises(
        SourceError, match=r"a\.parquet: not a table of faces: .* found no source, frame"
    ):
        load_faces(path)
    with pytest.raises(SourceError, match=r"a\.parquet: cannot be read as Parquet"):
        load_faces(path, ["score"])
    path.write_bytes(as_file([row(1)])[:-9])
    with pytest.raises(SourceError, match=r"a\.parquet: cannot be read as Parquet"):
        load_faces(path)
    with pytest.raises(SourceError, match="No such file"):
        load_faces(tmp_path / "no.parquet")


def test_a_table_that_the_disk_does_not_give_is_not_overlooked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / FACES_TABLE).write_bytes(as_file([row(1)._replace(output="clip/1.png")]))
    assert find_faces_table(tmp_path / "clip") == (tmp_path / FACES_TABLE, "clip/")
    break_file(monkeypatch, tmp_path / FACES_TABLE)
    with pytest.raises(SourceError, match=r"faces\.parquet: cannot .*: Input/output error"):
        find_faces_table(tmp_path / "clip")


@pytest.mark.parametrize("name", ["source", "image_height", "x1", "landmarks", "transform"])
def test_a_row_without_a_value_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.parquet"
    table = table_of([row(1), row(2)])
    loose = pa.schema([field.with_nullable(True) for field in SCHEMA])
    at = SCHEMA.get_field_index(name)
    full = table[name].to_pylist()
    missing = [None, [None, *full[0][1:]]] if isinstance(full[0], list) else [None]
    reason = f"a row without {name}|Expected all lists to be of size"  # of pyarrow 24
    for value in missing:
        column = pa.array([full[1], value], SCHEMA.field(name).type)
        pq.write_table(table.cast(loose).set_column(at, name, column), path)
        for read in (load_faces, lambda path: list(read_range(path, 0, 2))):
            with pytest.raises(SourceError, match=reason):
                read(path)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 9))
def test_a_range_is_those_rows(start: int, length: int, rows_a_group: int) -> None:
    table = table_of([row(number) for number in range(20)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faces.parquet"
        pq.write_table(table, path, row_group_size=rows_a_group)
        pieces = list(read_range(path, start, start + length))
    assert pa.concat_tables([SCHEMA.empty_table(), *pieces]).equals(table.slice(start, length))


@given(
    st.sampled_from(["", "_multi", "_none"]),
    st.from_regex(r"[a-z+_]{1,3}(/[a-z+_.]{1,3})?", fullmatch=True),
)
def test_outputs_beside_the_folder_come_back(beside: str, name: str) -> None:
    assert split_output(join_output(name, beside)) == (name, beside) or split_output(name) != (
        name,
        "",
    )


def test_a_table_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    new, old = table_of([row(1), row(2)]), tmp_path / "old.parquet"
    pq.write_table(new.drop_columns(["refiner", "turn"]), old)
    assert load_faces(old).equals(new)
    assert pa.concat_tables(read_range(old, 1, 2)).equals(new.slice(1))
    for name in ("refiner", "turn"):
        assert load_faces(old, ["output", name])[name].to_pylist() == [None, None]
