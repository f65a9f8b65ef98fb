"""Labels and identities in columns of any type: what is read, and what is named as unusable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.types import Outcome
from faceprep.sets.image_set import Sample
from tests.set_reading import read_rows, read_set


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("set") / "a.parquet"


BIG = 1 << 63


def labels_of(value: object) -> tuple[float, ...]:
    """Return the labels of an image: a whole number of 63 bits."""
    if isinstance(value, int | float) and value % 1 == 0 and abs(value) < BIG:
        return (value,)
    return ()


@pytest.mark.parametrize("name", ["label", "identity"])
@pytest.mark.parametrize(
    ("values", "kind", "names"),
    [
        ([0.0, 0.5, None, 2.0], pa.float64(), ["0", "0.5", "", "2"]),
        ([0.0, 1.0], pa.float16(), ["0", "1"]),
        ([7, None], pa.int32(), ["7", ""]),
        ([BIG, BIG + 1], pa.uint64(), [str(BIG), str(BIG + 1)]),
        ([float(BIG), -float(BIG)], pa.float64(), [str(BIG), str(-BIG)]),
        ([b"ann", None], pa.binary(), ["ann", ""]),
        (["ann", "bob"], pa.dictionary(pa.int32(), pa.string()), ["ann", "bob"]),
        ([5, 6], pa.dictionary(pa.int32(), pa.int64()), ["5", "6"]),
        ([None, None], pa.null(), ["", ""]),
    ],
)
def test_a_column_of_numbers_or_texts_names_the_identities(
    path: Path,
    name: str,
    values: list[Any],
    kind: pa.DataType,
    names: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    images = pa.array([b"x"] * len(values), pa.binary())
    pq.write_table(pa.table({"image": images, name: pa.array(values, kind)}), path)
    rows = read_rows(path)
    assert [identity for _, identity, _, _ in rows] == names
    if name == "label":
        assert [labels for *_, labels in rows] == list(map(labels_of, values))
    assert not caplog.records


def read_type(path: Path, name: str) -> pa.DataType:
    return pq.read_schema(path).field(name).type


@pytest.mark.parametrize("name", ["label", "identity"])
@pytest.mark.parametrize(
    ("values", "kind"), [([True], pa.bool_()), ([[1, 2]], pa.list_(pa.int64()))], ids=str
)
def test_a_column_that_cannot_name_identities_is_named(
    path: Path, name: str, values: list[Any], kind: pa.DataType, caplog: pytest.LogCaptureFixture
) -> None:
    pq.write_table(pa.table({"image": [b"x"], name: pa.array(values, kind)}), path)
    assert read_rows(path) == [("0", "", b"x", ())]
    assert (
        f"{path}: the column {name} ({read_type(path, name)}) is not read: expected numbers"
        in caplog.text
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_label_that_is_not_finite_is_bad(path: Path, value: float) -> None:
    pq.write_table(pa.table({"image": [b"x", b"y"], "label": [value, 1.0]}), path)
    bad, good = read_set(path)
    assert isinstance(bad, Outcome)
    assert bad.status == "bad_label"
    assert isinstance(good, Sample)
    named = pa.table({"image": [b"x"], "label": [value], "identity": ["ann"]})
    pq.write_table(named, path)
    assert read_rows(path) == [("ann/0", "ann", b"x", ())]


@given(labels=st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=3))
def test_labels_beyond_int64_are_not_class_numbers(path: Path, labels: list[int]) -> None:
    columns = {"image": pa.array([b"x"] * len(labels)), "label": pa.array(labels, pa.uint64())}
    pq.write_table(pa.table(columns), path)
    found = [(identity, own) for _, identity, _, own in read_rows(path)]
    assert found == [(str(label), ()) for label in labels]
