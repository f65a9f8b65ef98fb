"""Columns of images in Parquet: any type that holds bytes, names that are clear, no encryption."""

from __future__ import annotations

import base64
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from faceprep.core.errors import SourceError
from faceprep.core.types import Outcome
from tests.set_reading import read_samples, read_set

IMAGES = [b"one", b"two", b"one"]
TABLE = pa.table({"image": pa.array(IMAGES, pa.binary()), "label": [0, 1, 0]})


@pytest.mark.parametrize(
    "kind", [pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int32(), pa.binary())], ids=str
)
def test_any_type_of_bytes(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "a.parquet"
    labels = pa.array(["a", "b", "a"]).cast(pa.string_view())
    table = pa.table({"image": pa.array(IMAGES, pa.binary()).cast(kind), "label": labels})
    pq.write_table(table, path)
    samples = read_samples(path)
    assert [sample.data for sample in samples] == IMAGES
    assert [sample.identity for sample in samples] == ["a", "b", "a"]


def test_what_pyarrow_cannot_decode_is_named_for_each_image(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    kind = pa.dictionary(pa.int32(), pa.binary())
    table = pa.table({"image": pa.array(IMAGES, pa.binary()).cast(kind)})
    way = {"image": "DELTA_LENGTH_BYTE_ARRAY"}
    pq.write_table(table, path, use_dictionary=False, column_encoding=way)
    outcomes = [each for each in read_set(path) if isinstance(each, Outcome)]
    assert len(outcomes) == 3
    assert len({outcome.reason for outcome in outcomes}) == 1


@pytest.mark.parametrize("twice", ["image", "label"])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, twice: str) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(TABLE.append_column(twice, TABLE.column(twice)), path)
    with pytest.raises(SourceError, match=rf"2 columns are called {twice}: .*Rename the others"):
        read_samples(path)


def test_a_name_with_a_dot_is_not_taken_for_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    images = pa.array([{"bytes": data} for data in IMAGES])
    pq.write_table(pa.table({"image.bytes": [b"x", b"y", b"z"], "image": images}), path)
    with pytest.raises(SourceError, match=r"2 columns are called image\.bytes"):
        read_samples(path)


def test_other_columns_may_share_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    ages = pa.array([1, 2, 3])
    pq.write_table(TABLE.append_column("age", ages).append_column("age", ages), path)
    assert [sample.data for sample in read_samples(path)] == IMAGES


class _Keys(pe.KmsClient):  # type: ignore[misc]
    """A store of keys that hides nothing."""

    def __init__(self, _: pe.KmsConnectionConfig) -> None:
        pe.KmsClient.__init__(self)

    def wrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64encode(key)

    def unwrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64decode(key)


def test_an_encrypted_column_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    chosen = pe.EncryptionConfiguration(
        footer_key="f", column_keys={"c": ["image"]}, plaintext_footer=True
    )
    factory = pe.CryptoFactory(_Keys)
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), chosen)
    with pq.ParquetWriter(path, TABLE.schema, encryption_properties=properties) as writer:
        writer.write_table(TABLE)
    with pytest.raises(SourceError, match="the column image is encrypted"):
        read_samples(path)
