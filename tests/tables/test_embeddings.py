"""Files of embeddings: what is written is read again; what others wrote is read, too; damage is
one line.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.errors import SourceError
from faceprep.sets.manifests.vectors import read_vectors
from faceprep.tables import embeddings as embeddings_file
from faceprep.tables.embeddings import (
    Place,
    count_embeddings,
    is_embeddings,
    load_embeddings,
    load_origin,
    load_place,
    shard_names,
)

MODEL = Model("net/abc", metric="euclidean", threshold=0.7, origin="a test: é")
PLACE = Place("/set", "/set/")


def some(n: int = 5, dim: int = 3, model: Model = MODEL) -> Embeddings:
    vectors = np.random.default_rng(n).standard_normal((n, dim)).astype("f4")
    identities = [str(10 - i % 3) for i in range(n)]
    return Embeddings(
        [f"{identity}/ü {i}.png" for i, identity in enumerate(identities)],
        identities,
        vectors,
        model,
    )


def write(path: Path, embeddings: Embeddings, place: Place = PLACE, fp16: bool = False) -> Path:
    if path.suffix == ".npz":
        with path.open("wb") as file:
            embeddings_file.write_npz(file, embeddings, place, fp16)
        return path
    paths = [path.parent / name for name in shard_names(path.name, 3)]
    files = [partial(path.open, "wb") for path in paths]
    embeddings_file.write_parquet(files, embeddings, place, fp16)
    return paths[1]


def test_one_file_of_several_is_open_at_a_time(tmp_path: Path) -> None:
    opened: list[BinaryIO] = []

    def open_next() -> BinaryIO:
        assert all(file.closed for file in opened)
        opened.append((tmp_path / str(len(opened))).open("wb"))
        return opened[-1]

    embeddings_file.write_parquet([open_next] * 5, some(7), PLACE)
    assert len(opened) == 5 and all(file.closed for file in opened)


def equal(one: Embeddings, two: Embeddings, to: float = 0) -> bool:
    return (
        (list(one.keys), list(one.identities), one.model)
        == (list(two.keys), list(two.identities), two.model)
        and one.vectors.shape == two.vectors.shape
        and bool((np.abs(one.vectors - two.vectors) <= to).all())
    )


@pytest.mark.parametrize("name", ["a.npz", "a.parquet"])
@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_what_is_written_is_read_again(tmp_path: Path, name: str, n: int) -> None:
    path = write(tmp_path / name, some(n))
    assert is_embeddings(path) and equal(load_embeddings(path), some(n))
    assert load_place(path) == Place("/set", "/set/")


@pytest.mark.parametrize("name", ["a.npz", "a.parquet"])
def test_half_the_bytes(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, some(), fp16=True)
    found = load_embeddings(path)
    assert equal(found, some(), to=2e-3) and found.vectors.dtype == np.float32


@pytest.mark.parametrize("name", ["a.npz", "a.parquet"])
def test_many_rows_go_through_pieces(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings_file, "_ROWS", 7)
    path = write(tmp_path / name, some(100))
    assert equal(load_embeddings(path), some(100))
    plain = tmp_path / "plain"
    plain.mkdir()
    monkeypatch.undo()
    if name == "a.npz":
        assert write(plain / name, some(100)).read_bytes() == path.read_bytes()


_NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8
)


@given(st.lists(st.tuples(_NAMES, _NAMES), min_size=1, max_size=6, unique=True))
def test_any_names(pairs: list[tuple[str, str]]) -> None:
    keys, identities = (
        [f"{identity}/{name}" for identity, name in pairs],
        [identity for identity, _ in pairs],
    )
    embeddings = Embeddings(keys, identities, np.ones((len(pairs), 2), "f4"), MODEL)
    file = io.BytesIO()
    embeddings_file.write_npz(file, embeddings, Place("/x", "/x/"))
    file.seek(0)
    arrays = np.load(file)
    assert arrays["image_names"].tolist() == [f"/x/{key}" for key in keys]
    names = arrays["identities"].tolist()
    assert [names[label] for label in arrays["image_classes"]] == identities


def test_keras_insightface_reads_it(tmp_path: Path) -> None:
    """Its data.py: np.load, image_names, image_classes, embeddings; classes is max + 1."""
    arrays = np.load(write(tmp_path / "a.npz", some(), Place("/set", "/set/")))
    assert arrays["image_names"].dtype.kind == "U" and arrays["image_names"][0] == "/set/10/ü 0.png"
    assert arrays["image_classes"].dtype == np.int64 and arrays["image_classes"].tolist() == [
        2,
        1,
        0,
        2,
        1,
    ]
    assert arrays["identities"].tolist() == ["8", "9", "10"], "as numbers"
    assert arrays["embeddings"].dtype == np.float32 and np.array_equal(
        arrays["embeddings"], some().vectors
    )
    assert np.load(write(tmp_path / "h.npz", some(), fp16=True))["embeddings"].dtype == np.float16


def test_large_vectors_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.npz", some())
    monkeypatch.setattr(embeddings_file, "_IN_MEMORY", 1)
    found = load_embeddings(path)
    assert (
        isinstance(found.vectors, np.memmap)
        and not found.vectors.flags.writeable
        and equal(found, some())
    )


# Of other programs


def test_without_model_and_identities(tmp_path: Path) -> None:
    vectors = np.ones((2, 4), np.float64)
    np.savez_compressed(
        tmp_path / "a.npz",
        image_names=[b"a/1.png", b"b/1.png"],
        image_classes=[7, 3],
        embeddings=vectors,
    )
    found = load_embeddings(tmp_path / "a.npz")
    assert (found.keys, found.identities, found.model) == (
        ["a/1.png", "b/1.png"],
        ["7", "3"],
        Model(),
    )
    assert found.vectors.dtype == np.float32 and load_place(tmp_path / "a.npz") == Place()
    np.savez(tmp_path / "b.npz", image_names=["a/1.png", "1.png"], embeddings=vectors)
    assert load_embeddings(tmp_path / "b.npz").identities == ["a", "."]
    table = pa.table(
        {
            "image_names": ["a/1.png", "b"],
            "embeddings": [[1.0, 2.0], [3.0, 4.0]],
            "image_classes": [1, 0],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    found = load_embeddings(tmp_path / "a.parquet")
    assert (
        found.vectors.tolist() == [[1, 2], [3, 4]]
        and found.identities == ["1", "0"]
        and found.model == Model()
    )


def test_what_has_no_embeddings_is_none(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image_names=["a"], image_classes=[0])
    pq.write_table(pa.table({"image_names": ["a"]}), tmp_path / "a.parquet")
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "a.txt").write_bytes(b"")
    assert not any(map(is_embeddings, [*tmp_path.iterdir(), tmp_path / "none.npz"]))


# Damage


def changed(path: Path, **arrays: Any) -> Path:
    np.savez(path, **(dict(np.load(write(path, some()))) | arrays))
    return path


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        (
            {"image_names": ["a"]},
            "its arrays differ in length: expected arrays of equal length, found 1 name, 5 cl",
        ),
        ({"embeddings": np.ones(5, "f4")}, "its embeddings are not vectors"),
        ({"embeddings": np.ones((5, 2), "i8")}, "its embeddings are not vectors"),
        (
            {"embeddings": np.array([[None]] * 5)},
            "cannot map the array 'embeddings'|cannot read the array",
        ),
        (
            {"image_classes": [0, 1, 2, 3, 4]},
            "image_classes out of range: expected 0 to 2, found 0 to 4",
        ),
        ({"image_classes": [0.5] * 5}, "image_classes are not class numbers"),
        ({"model": "no json"}, "its model cannot be read"),
        ({"model": "[1, 2]"}, r"its model cannot be read: expected an object, found \[1, 2\]"),
        (
            {"model": '{"surely": "much"}'},
            "its model cannot be read: surely: expected float, found 'much'",
        ),
        ({"model": '{"metric": "taxicab"}'}, "metric"),
        ({"model": '{"surely": true}'}, "surely: expected float, found True"),
        ({"model": '{"surely": NaN}'}, r"merge_from \(surely in a file\): .*-1 to 1, found nan"),
        ({"model": '{"surely_not": -1.1}'}, r"\(surely_not in a file\): .*, found -1.1"),
        ({"model": '{"threshold": 1e999}'}, "threshold: expected -1 to 1, found inf"),
        ({"model": '{"outlier_angle": 0}'}, "outlier_angle: expected more than 0, .*, found 0"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: dict[str, Any], problem: str) -> None:
    path = changed(tmp_path / "a.npz", **arrays)
    with pytest.raises(SourceError, match=problem) as caught:
        load_embeddings(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.npz", "a.parquet"])
@pytest.mark.parametrize("keep", [0, 10, 300, -20])
def test_cut_off_files(tmp_path: Path, name: str, keep: int) -> None:
    path = write(tmp_path / name, some(50))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SourceError):
        load_embeddings(path)


def test_shards_belong_together(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", some())
    write(tmp_path / "b.parquet", some(model=Model("other")))
    (tmp_path / shard_names("b.parquet", 3)[2]).rename(tmp_path / shard_names("a.parquet", 3)[2])
    with pytest.raises(SourceError, match="from another run than the files beside it"):
        load_embeddings(path)
    (tmp_path / shard_names("a.parquet", 3)[2]).unlink()
    with pytest.raises(SourceError, match="a-00002-of-00003.parquet: cannot read: No such file"):
        load_embeddings(path)


def test_parquet_that_does_not_fit(tmp_path: Path) -> None:
    columns = [["a", "b", "c"], [[1.0], None, [2.0]], [[1], [2], [3]]]
    columns += [[[1.0], [2.0, 3.0, 4.0], [1.0]], [[1.0], [2.0, 3.0, 4.0], [1.0, 2.0]]]
    for column in columns:
        pq.write_table(
            pa.table({"image_names": ["a", "b", "c"], "embeddings": column}), tmp_path / "a.parquet"
        )
        with pytest.raises(SourceError, match="its embeddings are not vectors"):
            load_embeddings(tmp_path / "a.parquet")


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_string()])
def test_parquet_with_strings_of_other_kinds(tmp_path: Path, kind: pa.DataType) -> None:
    names, lists = pa.array(["a/1", "b/2", "3"], kind), pa.large_list(pa.float32())
    rows = pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], lists)
    table = pa.table({"image_names": names, "embeddings": rows})
    pq.write_table(table, tmp_path / "a.parquet")
    found = load_embeddings(tmp_path / "a.parquet")
    assert list(found.keys) == ["a/1", "b/2", "3"] and list(found.identities) == ["a", "b", "."]
    assert found.vectors.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    table = table.append_column("identity", pa.array(["ann", "", None], kind))
    pq.write_table(table, tmp_path / "a.parquet")
    assert list(load_embeddings(tmp_path / "a.parquet").identities) == ["ann", "", ""]


@pytest.mark.parametrize("names", [["a", None], [1, 2]])
def test_parquet_without_names(tmp_path: Path, names: list[Any]) -> None:
    table = pa.table({"image_names": names, "embeddings": [[1.0, 2.0], [3.0, 4.0]]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1)
    place = r"row [01] \(counted from 0\): expected the name of an image, found (None|1)"
    for read in (load_embeddings, lambda path: list(read_vectors(path))):
        with pytest.raises(SourceError, match=place):
            read(tmp_path / "a.parquet")


@pytest.mark.parametrize("load", [load_embeddings, load_place, load_origin, count_embeddings])
@pytest.mark.parametrize("name", ["a", "a.jpg", "folder", "none.txt"])
def test_what_is_no_file_of_embeddings_by_its_suffix(
    load: Callable[[Path], object], name: str, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(SourceError, match="not a file of embeddings: expected .npz .parquet .csv"):
        load(tmp_path / name)


def test_an_empty_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    assert count_embeddings(tmp_path / "a.csv") == 0
    with pytest.raises(SourceError, match="not a table of embeddings"):
        load_embeddings(tmp_path / "a.csv")


def test_another_name_of_the_vectors(tmp_path: Path) -> None:
    rows = np.eye(2, dtype=np.float32)
    np.savez(tmp_path / "a.npz", image_names=["a/1", "b/1"], image_embs=rows)
    table = pa.table({"image_names": ["a/1", "b/1"], "image_embs": rows.tolist()})
    pq.write_table(table, tmp_path / "a.parquet")
    for name in ("a.npz", "a.parquet"):
        found = load_embeddings(tmp_path / name)
        assert is_embeddings(tmp_path / name) and (found.vectors == rows).all()
        assert list(found.identities) == ["a", "b"]


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_a_number_beyond_float32_is_infinite(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    if suffix == ".csv":
        file.write_text("image_names,image_classes,e0,e1\na/1,0,1e200,1\n")
    else:
        vectors = np.array([[1e200, 1]])
        np.savez(file, image_names=["a/1"], image_classes=[0], embeddings=vectors)
    assert load_embeddings(file).vectors.tolist() == [[np.inf, 1]]
