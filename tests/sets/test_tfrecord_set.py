"""Sets in .tfrecord files: what is written is read, foreign layouts too, and damage is one line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.types import Outcome
from faceprep.sets import tfrecord
from faceprep.sets.containers import index_set, kind_of
from faceprep.sets.image_set import Sample
from faceprep.sets.protobuf import varint
from faceprep.sets.tfrecord_set import TfrecordSet, encode_sample
from tests.set_reading import read_rows, read_set, row_of, sample_lists
from tests.warm_python import WarmPython


def encode(samples: Sequence[Sample]) -> bytes:
    return b"".join(encode_sample(sample, int(sample.labels[0])) for sample in samples)


def write(path: Path, *examples: dict[str, bytes | int]) -> None:
    path.write_bytes(b"".join(tfrecord.frame(tfrecord.encode_example(each)) for each in examples))


def samples_of(n: int) -> list[Sample]:
    return [Sample(f"p{i % 2}/{i}", f"p{i % 2}", b"image %d" % i, (i % 2,)) for i in range(n)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("set") / "a.tfrecord"


@given(samples=sample_lists())
def test_what_is_written_is_read(path: Path, samples: list[Sample]) -> None:
    path.write_bytes(encode(samples))
    assert read_rows(path) == [row_of(sample) for sample in samples]


@given(samples=sample_lists(), data=st.data())
def test_images_are_read_in_the_order_asked_for(
    path: Path, samples: list[Sample], data: st.DataObject
) -> None:
    path.write_bytes(encode(samples))
    order = data.draw(st.lists(st.integers(0, len(samples) - 1)))
    found = read_set(path, order)
    assert [row_of(each) for each in found if isinstance(each, Sample)] == [
        row_of(samples[position]) for position in order
    ]


def test_the_layout_of_tensorflow_datasets(path: Path) -> None:
    """Class numbers begin at 1 and stay; the name of the file becomes the key."""
    write(
        path,
        {
            "image/encoded": b"one",
            "image/format": b"JPEG",
            "image/class/label": 1,
            "image/class/text": b"goldfish",
            "image/filename": b"n01_1.JPEG",
        },
        {
            "image/encoded": b"two",
            "image/class/label": 2,
            "image/filename": b"/data/shark/n02.1.JPEG",
        },
    )
    assert read_rows(path) == [
        ("goldfish/n01_1", "goldfish", b"one", (1,)),
        ("2/n02.1", "2", b"two", (2,)),
    ]


def test_our_manifest_with_images_has_numbers_for_names(path: Path) -> None:
    write(path, *({"image_raw": b"x%d" % i, "label": i // 2} for i in range(3)))
    assert read_rows(path) == [
        ("0/0", "0", b"x0", (0,)),
        ("0/1", "0", b"x1", (0,)),
        ("1/2", "1", b"x2", (1,)),
    ]


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["a.jpg", "a.png"], ["3/a.jpg", "3/a.png"]),
        (["a.jpg", "a.jpg"], ["3/0", "3/1"]),
        (["a.jpg", ""], ["3/0", "3/1"]),
        (["../a.jpg", "b/.."], ["3/0", "3/1"]),
        (["x/a.jpg", "/x/b.jpg"], ["3/a", "3/b"]),
    ],
)
def test_keys_are_distinct(path: Path, names: list[str], keys: list[str]) -> None:
    write(
        path,
        *({"image/encoded": b"x", "label": 3, "image/filename": name.encode()} for name in names),
    )
    assert [key for key, *_ in read_rows(path)] == keys


def test_an_image_without_label_has_no_identity(path: Path) -> None:
    write(path, {"image_raw": b"x"})
    assert read_rows(path) == [("0", "", b"x", ())]


def test_an_identity_that_is_a_number_is_read_as_text(path: Path) -> None:
    write(path, {"image_raw": b"x", "identity": 17}, {"image/encoded": b"y", "image/class/text": 3})
    assert read_rows(path) == [("17/0", "17", b"x", ()), ("3/1", "3", b"y", ())]


def test_names_that_are_not_utf8(path: Path) -> None:
    sample = Sample("\udcff/\udcfe", "\udcff", b"x", (0,))
    path.write_bytes(encode([sample]))
    assert read_rows(path) == [row_of(sample)]


# Several files


def write_family(folder: Path, n: int, name: str = "train") -> list[Sample]:
    samples = samples_of(3 * n)
    for i in range(n):
        file = folder / f"{name}-{i:05d}-of-{n:05d}.tfrecord"
        file.write_bytes(encode(samples[3 * i : 3 * i + 3]))
    return samples


def test_a_folder_and_each_file_of_a_family_are_the_whole_set(tmp_path: Path) -> None:
    expected = [row_of(sample) for sample in write_family(tmp_path, 3)]
    assert read_rows(tmp_path) == expected
    for file in tmp_path.iterdir():
        assert read_rows(file) == expected


def test_more_files_than_are_open_at_once(tmp_path: Path) -> None:
    samples = write_family(tmp_path, 70)
    found = read_set(tmp_path, [*range(210), 0])
    assert [each.key for each in found] == [sample.key for sample in [*samples, samples[0]]]


def test_a_family_that_is_not_complete(tmp_path: Path) -> None:
    write_family(tmp_path, 3)
    (tmp_path / "train-00001-of-00003.tfrecord").unlink()
    for path in (tmp_path, tmp_path / "train-00000-of-00003.tfrecord"):
        with pytest.raises(SourceError, match="not complete: .*no train-00001-of-00003"):
            read_set(path)


def test_two_families_in_a_folder_are_not_one_set(tmp_path: Path) -> None:
    write_family(tmp_path, 2)
    write_family(tmp_path, 1, "test")
    with pytest.raises(SourceError, match="several sets: .* found test-00000-of-00001.* and train"):
        read_set(tmp_path)
    assert len(read_set(tmp_path / "test-00000-of-00001.tfrecord")) == 3


# Other files


def test_a_list_is_not_a_set_of_images(path: Path) -> None:
    write(path, {"image_names": b"a/1.jpg", "image_classes": 0})
    assert not TfrecordSet.is_kind(path)
    with pytest.raises(SourceError, match="image"):
        read_set(path)


def test_a_folder_of_images_with_a_list_beside_them_is_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "list.tfrecord", {"image_names": b"a/1.jpg", "image_classes": 0})
    assert kind_of(tmp_path) == "folder"


def test_an_empty_file_has_no_images(path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(SourceError, match="no images in it"):
        read_set(path)


# Damage


def test_flipped_bits_cost_one_image_or_are_named(path: Path, tmp_path: Path) -> None:
    """No flipped bit gives other bytes of an image, another key or another identity."""
    samples = samples_of(3)
    whole = encode(samples)
    expected = [row_of(sample) for sample in samples]
    for bit in range(0, len(whole) * 8, 5):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            with index_set(path, tmp_path / str(bit)) as images:
                found = [*images.read(range(len(images))), *images.faults()]
        except SourceError as error:
            assert "\n" not in str(error)
            continue
        lost = [each for each in found if isinstance(each, Outcome)]
        kept = [row_of(each)[2:] for each in found if isinstance(each, Sample)]
        assert len(lost) == 1
        assert lost[0].is_failure
        assert "a.tfrecord" in lost[0].reason
        assert [row[2:] for row in expected if row[2:] in kept] == kept


def test_a_file_that_is_cut_off_is_named(path: Path, tmp_path: Path) -> None:
    """The records before the damage are kept, as those of a .rec and a .tar are."""
    whole = encode(samples_of(2))
    path.write_bytes(whole)
    first, _ = read_set(path)
    for n in range(1, len(whole)):
        path.write_bytes(whole[:n])
        if n < len(whole) // 2:
            with pytest.raises(SourceError, match=r"a\.tfrecord: .* cut off at offset 0:"):
                read_set(path)
        elif n > len(whole) // 2:
            with index_set(path, tmp_path / str(n)) as images:
                assert list(images.read([0])) == [first] and len(images) == 1
                (fault,) = images.faults()
            assert re.search(r"a\.tfrecord: .* cut off at offset \d{2,}:.* is lost", fault.reason)


@pytest.mark.parametrize("number", [0, 1])
def test_a_damaged_file_of_several_keeps_the_others(
    number: int, path: Path, tmp_path: Path
) -> None:
    whole = encode(samples_of(2))
    parts = [path.with_name(f"a-0000{each}-of-00002.tfrecord") for each in range(2)]
    parts[1 - number].write_bytes(whole)
    parts[number].write_bytes(b"\1" + whole[1:])
    with index_set(parts[0], tmp_path / "index") as images:
        assert len(images) == 2
        (fault,) = images.faults()
    assert fault.key == parts[number].name
    assert "the checksum of the record's length is wrong" in fault.reason


def test_a_set_of_damaged_files_alone_is_refused(path: Path, tmp_path: Path) -> None:
    damaged = b"\1" + encode(samples_of(2))[1:]
    parts = [path.with_name(f"a-0000{each}-of-00002.tfrecord") for each in range(2)]
    for part in parts:
        part.write_bytes(damaged)
    with (
        pytest.raises(SourceError, match="00000-of-00002.tfrecord: the checksum"),
        index_set(parts[0], tmp_path / "index"),
    ):
        pass


def test_records_that_hold_no_image_are_outcomes(path: Path) -> None:
    nan = tfrecord.frame(bytes.fromhex("0a1d0a140a056c6162656c120b12090a070000c07f"))
    path.write_bytes(
        encode(samples_of(1))
        + tfrecord.frame(tfrecord.encode_example({"image_raw": b"", "label": 1}))
        + tfrecord.frame(tfrecord.encode_example({"label": 1}))
        + tfrecord.frame(b"\xff\xff")
        + nan
    )
    first, *others = read_set(path)
    assert isinstance(first, Sample)
    assert [each.status for each in others if isinstance(each, Outcome)] == [
        "undecodable",
        "undecodable",
        "bad_record",
        "bad_record",
    ]


def encode_field(number: int, *values: bytes) -> bytes:
    """Encode fields of bytes of a protobuf message."""
    tag = bytes([number << 3 | 2])
    return b"".join(tag + varint(len(value)) + value for value in values)


def encode_images(name: bytes, *images: bytes) -> bytes:
    """Encode a record with one feature, a list of bytes."""
    feature = encode_field(1, encode_field(1, *images))
    entry = encode_field(1, name) + encode_field(2, feature)
    return tfrecord.frame(encode_field(1, encode_field(1, entry)))


@pytest.mark.parametrize("name", [b"image_raw", b"image/encoded"])
def test_a_record_of_several_images_is_named(path: Path, name: bytes) -> None:
    path.write_bytes(encode_images(name, b"one") + encode_images(name, b"two", b"three"))
    sample, failed = read_set(path)
    assert isinstance(sample, Sample) and bytes(sample.data) == b"one"
    assert isinstance(failed, Outcome) and failed.status == "bad_record"
    assert "expected one image, found 2; write a record for each" in failed.reason


@given(data=st.binary(max_size=80))
def test_any_bytes_as_a_record_are_one_outcome(path: Path, data: bytes) -> None:
    path.write_bytes(encode(samples_of(1)) + tfrecord.frame(data))
    first, second = read_set(path)
    assert isinstance(first, Sample)
    assert isinstance(second, Outcome) or second.data


@given(data=st.data(), values=st.lists(st.integers(0, 255), min_size=1, max_size=4))
def test_changed_bytes_of_an_example(path: Path, data: st.DataObject, values: list[int]) -> None:
    sample = samples_of(1)[0]
    example = bytearray(encode([sample])[12:-4])
    for value in values:
        example[data.draw(st.integers(0, len(example) - 1))] = value
    path.write_bytes(encode([sample]) + tfrecord.frame(bytes(example)))
    first, second = read_set(path)
    assert isinstance(first, Sample)
    assert isinstance(second, Sample | Outcome)


def test_a_file_that_is_gone_after_indexing(tmp_path: Path) -> None:
    file = tmp_path / "a.tfrecord"
    file.write_bytes(encode(samples_of(2)))
    with index_set(file, tmp_path / "scratch") as found:
        file.unlink()
        assert [each.status for each in found.read([1, 0]) if isinstance(each, Outcome)] == [
            "unreadable",
            "unreadable",
        ]


# Peers

PARSE = """
import json, sys
import tensorflow as tf
texts = ("image_raw", "image_names", "identity")
spec = {name: tf.io.FixedLenFeature([], tf.string) for name in texts}
spec["label"] = tf.io.FixedLenFeature([], tf.int64)
rows = []
records = tf.data.TFRecordDataset(sys.argv[1:])
for record in records.map(lambda x: tf.io.parse_single_example(x, spec)):
    rows.append([record[name].numpy().hex() for name in texts] + [int(record["label"])])
print(json.dumps(rows))
"""
WRITE = """
import sys
import tensorflow as tf
def text(value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
with tf.io.TFRecordWriter(sys.argv[1]) as file:
    for i in range(3):
        feature = {
            "image/encoded": text(b"jpeg" * (i + 1)),
            "image/format": text(b"jpeg"),
            "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[i + 1])),
            "image/class/text": text(b"class %d" % i),
            "image/filename": text(b"%d.jpg" % i),
            "image/height": tf.train.Feature(int64_list=tf.train.Int64List(value=[112])),
            "image/object/bbox/xmin": tf.train.Feature(
                float_list=tf.train.FloatList(value=[0.1, 0.5])
            ),
        }
        example = tf.train.Example(features=tf.train.Features(feature=feature))
        file.write(example.SerializeToString())
"""


def test_tensorflow_parses_what_we_write(tmp_path: Path, tensorflow: WarmPython) -> None:
    file, samples = tmp_path / "a.tfrecord", samples_of(5)
    file.write_bytes(encode(samples))
    assert json.loads(tensorflow.run(PARSE, file)) == [
        [bytes(each.data).hex(), f"{each.key}.jpg".encode().hex(), each.identity.encode().hex()]
        + list(each.labels)
        for each in samples
    ]


def test_we_read_what_tensorflow_writes(tmp_path: Path, tensorflow: WarmPython) -> None:
    file = tmp_path / "a.tfrecord"
    tensorflow.run(WRITE, file)
    assert read_rows(file) == [
        (f"class {i}/{i}", f"class {i}", b"jpeg" * (i + 1), (i + 1,)) for i in range(3)
    ]
