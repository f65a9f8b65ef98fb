"""TFRecord: what is written is read back, damage is found wherever it is, and TensorFlow agrees
in both directions.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core import storage
from faceprep.core.errors import OptionError, SourceError
from faceprep.sets import tfrecord
from tests.warm_python import WarmPython

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
FEATURES = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=8), st.binary(max_size=300) | INT64, max_size=5
)


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the data of each record, checksums compared."""
    with storage.ByteSource(path) as source:
        for offset, length, *_ in tfrecord.scan_records(source):
            yield tfrecord.read_data(source, offset, length)


def as_file(records: list[bytes]) -> bytes:
    file = io.BytesIO()
    tfrecord.write_records(file, records)
    return file.getvalue()


def read(path: Path, data: bytes) -> list[bytes]:
    path.write_bytes(data)
    return list(read_records(path))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tfrecord") / "a.tfrecord"


@given(records=st.lists(st.binary(max_size=400), max_size=6))
def test_records_come_back(path: Path, records: list[bytes]) -> None:
    assert read(path, as_file(records)) == records


@given(features=FEATURES)
def test_examples_come_back(features: dict[str, bytes | int]) -> None:
    expected = {name: [value] for name, value in features.items()}
    assert tfrecord.decode_example(tfrecord.encode_example(features)) == expected


@given(rows=st.lists(st.tuples(st.binary(max_size=200), INT64), min_size=1, max_size=5))
def test_many_examples_are_encoded_like_single_ones(rows: list[tuple[bytes, int]]) -> None:
    columns = {"image_raw": [raw for raw, _ in rows], "label": [label for _, label in rows]}
    single = [tfrecord.encode_example({"image_raw": raw, "label": label}) for raw, label in rows]
    assert list(tfrecord.encode_examples(columns)) == single
    first = tfrecord.encode_example({"image_raw": rows[0][0], "label": rows[0][1], "total": 7})
    assert list(tfrecord.encode_examples(columns, {"total": 7})) == [first, *single[1:]]


def test_no_examples() -> None:
    assert list(tfrecord.encode_examples({"label": []})) == []


@given(records=st.lists(st.binary(max_size=60), min_size=1, max_size=3), bit=st.integers(0))
def test_no_flipped_bit_goes_unnoticed(path: Path, records: list[bytes], bit: int) -> None:
    data = bytearray(as_file(records))
    bit %= len(data) * 8
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SourceError, match=r"a\.tfrecord: .* at offset \d+: expected .*, found"):
        read(path, bytes(data))


@given(records=st.lists(st.binary(max_size=60), min_size=1, max_size=3), cut=st.integers(0))
def test_a_cut_off_file_is_named(path: Path, records: list[bytes], cut: int) -> None:
    data = as_file(records)
    ends = [len(as_file(records[:n])) for n in range(len(records) + 1)]
    cut %= len(data)
    if cut in ends:
        assert read(path, data[:cut]) == records[: ends.index(cut)]
    else:
        with pytest.raises(SourceError, match="cut off at offset"):
            read(path, data[:cut])


@given(data=st.binary(max_size=80))
def test_any_bytes_as_an_example_are_read_or_refused(path: Path, data: bytes) -> None:
    path.write_bytes(as_file([data]))
    try:
        list(tfrecord.read_examples(path))
    except SourceError as error:
        assert "offset 0" in str(error)


def test_a_number_beyond_int64() -> None:
    with pytest.raises(OptionError, match="fits in int64, found 9223372036854775808"):
        tfrecord.encode_example({"label": 1 << 63})


def test_describe_counts_up_to_the_damage(path: Path) -> None:
    records = [tfrecord.encode_example({"image_raw": b"x", "label": i % 2}) for i in range(5)]
    path.write_bytes(as_file(records) + b"rest")
    contents = tfrecord.describe(path)
    assert (contents.n_images, contents.n_classes, contents.fields) == (
        5,
        2,
        ("image_raw", "label"),
    )
    assert "cut off" in contents.damage


def test_bytes_as_tensorflow_writes_them() -> None:
    """The file of TensorFlow 2.21 with one record, label = 300."""
    written = "13000000000000000c91321b0a110a0f0a056c6162656c12061a040a02ac029e22ed85"
    assert as_file([tfrecord.encode_example({"label": 300})]).hex() == written


SPEC = """
import json, sys
import tensorflow as tf
def of(kind):
    return tf.io.FixedLenFeature([], kind)
def plain(record, spec):
    parsed = tf.io.parse_single_example(record, spec)
    values = {name: value.numpy() for name, value in parsed.items()}
    return {
        name: value.hex() if isinstance(value, bytes) else int(value)
        for name, value in values.items()
    }
"""
KERAS_INSIGHTFACE = """
each = {"image_names": of(tf.string), "image_classes": of(tf.int64), "embeddings": of(tf.string)}
about = {name: of(tf.int64) for name in ("classes", "emb_shape", "total", "use_fp16")}
records = list(tf.data.TFRecordDataset([sys.argv[1]]))
print(json.dumps([plain(records[0], about)] + [plain(record, each) for record in records]))
"""
WRITE = """
def feature(values):
    if isinstance(values[0], str):
        found = [bytes.fromhex(value) for value in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=found))
    if isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
with tf.io.TFRecordWriter(sys.argv[1]) as file:
    for features in json.loads(sys.argv[2]):
        made = {name: feature(values) for name, values in features.items()}
        example = tf.train.Example(features=tf.train.Features(feature=made))
        file.write(example.SerializeToString(deterministic=True))
"""


def test_tensorflow_reads_what_we_write(path: Path, tensorflow: WarmPython) -> None:
    rows = [(f"/ä/{i}.jpg".encode(), i * 1000, bytes([i]) * 8) for i in range(4)]
    names, classes, embeddings = (list(column) for column in zip(*rows, strict=True))
    about = {"classes": 3001, "emb_shape": 2, "total": 4, "use_fp16": 0}
    columns = {"image_names": names, "image_classes": classes, "embeddings": embeddings}
    path.write_bytes(as_file(list(tfrecord.encode_examples(columns, about))))
    expected = [
        {"image_names": name.hex(), "image_classes": label, "embeddings": embedding.hex()}
        for name, label, embedding in rows
    ]
    assert json.loads(tensorflow.run(SPEC + KERAS_INSIGHTFACE, path)) == [about, *expected]


def test_we_read_and_write_as_tensorflow_does(path: Path, tensorflow: WarmPython) -> None:
    single = [{"label": [-5], "image_raw": ["00ff" * 100]}, {"label": [300], "z": [""]}]
    many = {"label": [1, -1, 1 << 40], "floats": [0.5, -2.0], "names": ["61", "6263"]}
    tensorflow.run(SPEC + WRITE, path, json.dumps([*single, many]))
    *examples, last = tfrecord.read_examples(path)
    assert examples == [
        {"image_raw": [b"\0\xff" * 100], "label": [-5]},
        {"label": [300], "z": [b""]},
    ]
    assert last == {"label": [1, -1, 1 << 40], "floats": [0.5, -2.0], "names": [b"a", b"bc"]}
    *records, _ = read_records(path)
    assert records == [
        tfrecord.encode_example({name: values[0] for name, values in example.items()})
        for example in examples
    ]
