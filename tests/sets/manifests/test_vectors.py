"""Embeddings in manifests: damage is one line, whatever the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceprep.core.errors import FaceprepError, OptionError, SourceError
from faceprep.core.io.npz import npy_bytes, read_npy
from faceprep.sets import tfrecord, webdataset
from faceprep.sets.manifests.vectors import read_vectors
from tests.manifests import JPEG, embeddings_of, make, run

SUFFIXES = (".npz", ".parquet", ".tfrecord", ".tar")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_changed_bytes_and_cut_files_are_no_crash(tmp_path: Path, suffix: str) -> None:
    source = make(tmp_path / "set", "a/1.jpg", "b/1.jpg")
    embeddings_of(source, tmp_path / "e.npz")
    path = tmp_path / "out" / f"t{suffix}"
    run(source, path, embeddings=tmp_path / "e.npz", with_images=suffix != ".npz")
    data = path.read_bytes()
    for place in range(0, len(data), max(len(data) // 60, 1)):
        for damaged in (
            data[:place],
            data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :],
        ):
            path.write_bytes(damaged)
            try:
                list(read_vectors(path))
            except FaceprepError as error:
                assert "\n" not in str(error)


def test_files_without_embeddings(tmp_path: Path) -> None:
    source = make(tmp_path / "set", "a/1.jpg", "b/1.jpg")
    run(source, tmp_path / "out" / "t.tar")
    run(source, tmp_path / "out" / "t.parquet")
    run(source, tmp_path / "out" / "t.npz")
    run(source, tmp_path / "out" / "t.tfrecord", with_images=True)
    for suffix in SUFFIXES:
        with pytest.raises(SourceError, match=r"embedding|array"):
            list(read_vectors(tmp_path / "out" / f"t{suffix}"))
    with pytest.raises(OptionError, match=r"expected \.npz \.parquet \.csv \.tfrecord \.tar"):
        list(read_vectors(tmp_path / "t.txt"))


def test_vectors_of_several_kinds(tmp_path: Path) -> None:
    kinds = (np.zeros(3, "f4"), np.zeros(4, "f4")), (np.zeros(3), np.zeros(3))
    for number, vectors in enumerate(kinds):
        path = tmp_path / f"{number}.tar"
        with path.open("wb") as file:
            for name, vector in zip("ab", vectors, strict=True):
                file.write(webdataset.sample_bytes(f"x/{name}", JPEG, ".jpg", 0))
                more = webdataset.sample_pieces(f"x/{name}", [(".npy", npy_bytes(vector))])
                file.write(b"".join(more))
            file.write(webdataset.END)
        with pytest.raises(SourceError, match="a bad embedding at image"):
            list(read_vectors(path))
    record = tfrecord.encode_example({"image_names": b"a", "embeddings": b"123"})
    (tmp_path / "a.tfrecord").write_bytes(tfrecord.frame(record))
    with pytest.raises(SourceError, match="found 3 bytes"):
        list(read_vectors(tmp_path / "a.tfrecord"))


def test_two_shards_that_were_joined(tmp_path: Path) -> None:
    pieces = [
        b"".join(webdataset.sample_pieces(name, [(".npy", npy_bytes(np.ones(3, "f4")))]))
        + webdataset.END
        for name in "ab"
    ]
    (tmp_path / "a.tar").write_bytes(b"".join(pieces))
    assert [name for name, _ in read_vectors(tmp_path / "a.tar")] == ["a", "b"]


def test_parquet_columns_of_other_kinds(tmp_path: Path) -> None:
    numbers = pa.list_(pa.float32())
    for number, column in enumerate(
        (
            pa.array(["1", "2"]),
            pa.array([[1.0], [1.0, 2.0]], numbers),
            pa.array([[1.0], None], numbers),
            pa.array([[1], [2]], pa.list_(pa.int64())),
        )
    ):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"image_names": ["a", "b"], "embeddings": column}), path)
        with pytest.raises(SourceError, match="embeddings"):
            list(read_vectors(path))
    path = tmp_path / "lists.parquet"
    column = pa.array([[1.0, 2.0], [3.0, 4.0]], numbers)
    pq.write_table(pa.table({"image_names": ["a", "b"], "embeddings": column}), path)
    assert [(name, vector.tolist()) for name, vector in read_vectors(path)] == [
        ("a", [1.0, 2.0]),
        ("b", [3.0, 4.0]),
    ]


def test_features_of_other_kinds(tmp_path: Path) -> None:
    for number, features in enumerate(
        ({"image_names": 1, "embeddings": b"1234"}, {"image_names": b"a", "embeddings": 5})
    ):
        path = tmp_path / f"{number}.tfrecord"
        path.write_bytes(tfrecord.frame(tfrecord.encode_example(features)))
        with pytest.raises(SourceError, match="expected"):
            list(read_vectors(path))


def test_an_array_larger_than_its_bytes_is_refused() -> None:
    data = npy_bytes(np.zeros(3, "f4"))
    huge = data.replace(b"(3,)", b"(9" + b"0" * 12 + b",)").replace(b" " * 12, b"", 1)
    for damaged in (huge, data[:-1], data[:4], b""):
        with pytest.raises(ValueError):
            read_npy(damaged)
