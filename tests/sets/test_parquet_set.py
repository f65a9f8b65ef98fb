"""Sets in .parquet files: ours and Hugging Face's, by offset and by row; damage is one line."""

from __future__ import annotations

import gc
import importlib.util
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import FaceprepError, OutputError, SourceError
from faceprep.core.types import Outcome
from faceprep.sets.containers import index_set, kind_of
from faceprep.sets.image_set import Sample
from faceprep.sets.parquet_set import ParquetSet
from faceprep.sets.parquet_writer import ParquetWriter
from tests.set_reading import classes_of, read_rows, read_set, row_of, sample_lists

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
PLAIN: dict[str, Any] = {"compression": "none", "use_dictionary": False}
WAYS: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "plain, version 2": PLAIN | {"data_page_version": "2.0"},
    "snappy": {"use_dictionary": False},
    "dictionary": {"compression": "none"},
    "both": {},
    "delta": {
        "compression": "none",
        "use_dictionary": False,
        "column_encoding": {"image.bytes": "DELTA_LENGTH_BYTE_ARRAY"},
    },
}


def encode(samples: Sequence[Sample], classes: Sequence[str] | None = None) -> bytes:
    file = io.BytesIO()
    writer = ParquetWriter(file, classes_of(samples) if classes is None else classes)
    for sample in samples:
        writer.add(sample, int(sample.labels[0]), ".jpg")
    writer.close()
    return file.getvalue()


def samples_of(n: int) -> list[Sample]:
    return [
        Sample(f"p{i % 2}/{i}", f"p{i % 2}", b"image %d" % i * (i % 50 + 1), (i % 2,))
        for i in range(n)
    ]


def table_of(images: list[dict[str, Any] | None], labels: list[int | None]) -> pa.Table:
    features = {
        "image": {"_type": "Image"},
        "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    columns = {"image": pa.array(images, STRUCT), "label": pa.array(labels, pa.int64())}
    return pa.table(columns).replace_schema_metadata(metadata)


def is_by_offset(path: Path, scratch: Path) -> list[bool]:
    with index_set(path, scratch) as found:
        return (found.index.places[:, 1] >= 0).tolist()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("set") / "a.parquet"


@given(samples=sample_lists())
def test_what_is_written_is_read(path: Path, samples: list[Sample]) -> None:
    path.write_bytes(encode(samples))
    assert read_rows(path) == [row_of(sample) for sample in samples]


@given(samples=sample_lists())
def test_the_same_images_give_the_same_bytes(samples: list[Sample]) -> None:
    assert encode(samples) == encode(samples)


def test_our_images_are_found_by_offset_in_groups_of_256(tmp_path: Path) -> None:
    file, samples = tmp_path / "a.parquet", samples_of(600)
    file.write_bytes(encode(samples))
    assert all(is_by_offset(file, tmp_path / "scratch"))
    groups = pq.ParquetFile(file).metadata
    assert [groups.row_group(i).num_rows for i in range(3)] == [256, 256, 88]
    found = read_set(file, range(599, -1, -1))
    assert [row_of(each) for each in found if isinstance(each, Sample)] == [
        row_of(each) for each in samples[::-1]
    ]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rows", [7, 100])
def test_any_encoding_is_read(tmp_path: Path, way: str, rows: int) -> None:
    images = [{"bytes": b"%d" % (i % 40) * 100, "path": f"x/{i}.png"} for i in range(100)]
    file = tmp_path / "a.parquet"
    table = table_of(images, [i % 2 for i in range(100)])  # type: ignore[arg-type]
    pq.write_table(table, file, row_group_size=rows, **WAYS[way])
    assert set(is_by_offset(file, tmp_path / "scratch")) == {way.startswith("plain")}
    names = ["cat", "dog"]
    expected = [
        (f"{names[i % 2]}/{i}", names[i % 2], images[i]["bytes"], (i % 2,)) for i in range(100)
    ]
    assert read_rows(file) == expected
    order = [99, 3, 50, 49, 0, 99]
    assert [row_of(each) for each in read_set(file, order) if isinstance(each, Sample)] == [
        expected[position] for position in order
    ]


@pytest.mark.parametrize("compression", ["none", "snappy"])
def test_small_row_groups_are_indexed_together(compression: str, path: Path) -> None:
    n = 20_000
    images, labels = [b"%d" % i for i in range(n)], [i % 7 for i in range(n)]
    table = pa.table({"image": images, "label": labels})
    pq.write_table(table, path, row_group_size=6_000, compression=compression)
    found = read_rows(path)
    assert [(data, label) for *_, data, (label,) in found] == list(zip(images, labels, strict=True))


def test_the_index_has_what_a_worker_would_read_of_the_footer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was closed and is opened again needs no footer either."""
    monkeypatch.setattr("faceprep.sets.open_files._MOST_OPEN", 1)
    for number, rows in enumerate((4, 1)):
        table = table_of([{"bytes": b"%d" % i, "path": None} for i in range(8)], [number] * 8)
        file = tmp_path / f"a-{number}-of-2.parquet"
        pq.write_table(table, file, row_group_size=rows, compression="snappy")
    with index_set(tmp_path, tmp_path / "index") as images:
        monkeypatch.setattr("faceprep.sets.parquet_rows.read_chunks", None)
        order = [number * 8 + i for i in range(8) for number in range(2)]
        found = [each for each in images.read(order) if isinstance(each, Sample)]
    assert [(each.data, each.labels) for each in found] == [
        (b"%d" % i, (number,)) for i in range(8) for number in range(2)
    ]


def test_a_row_group_of_20_mb_and_a_small_one_are_read(tmp_path: Path) -> None:
    """Pages of 1 MB and less are read in any order."""
    images = [{"bytes": b"%d" % i * 500_000, "path": ""} for i in range(10, 30)]
    images += [{"bytes": b"%d" % i, "path": ""} for i in range(30, 40)]
    file = tmp_path / "a.parquet"
    table = table_of(images, [0] * len(images))  # type: ignore[arg-type]
    pq.write_table(table, file, row_group_size=20, **WAYS["snappy"])
    order = [19, 25, 0, 29, 7]
    found = [each.data for each in read_set(file, order) if isinstance(each, Sample)]
    assert found == [images[position]["bytes"] for position in order]


@given(
    images=st.lists(st.none() | st.binary(min_size=1, max_size=40), min_size=1, max_size=40),
    rows=st.integers(1, 40),
    page=st.sampled_from([1, 64, 1 << 20]),
    version=st.sampled_from(["1.0", "2.0"]),
)
def test_pages_with_nulls(
    path: Path, images: list[bytes | None], rows: int, page: int, version: str
) -> None:
    table = pa.table({"jpg": pa.array(images, pa.binary())})
    settings = {"data_page_size": page, "data_page_version": version, "write_batch_size": 3}
    pq.write_table(table, path, row_group_size=rows, **PLAIN, **settings)
    found = read_set(path)
    assert [getattr(each, "data", None) for each in found] == images
    assert all(isinstance(each, Sample) or "no bytes" in each.reason for each in found)


def test_large_images_span_windows(path: Path) -> None:
    images = [b"%d" % i * size for i, size in enumerate((200_000, 3, 65_536, 65_532, 1 << 20))]
    pq.write_table(pa.table({"image": pa.array(images, pa.large_binary())}), path, **PLAIN)
    assert [data for _, _, data, _ in read_rows(path)] == images


def test_labels_without_a_name(path: Path) -> None:
    images: list[dict[str, Any] | None] = [{"bytes": b"x", "path": None}] * 4
    pq.write_table(table_of(images, [-1, 5, None, 1]), path)
    assert read_rows(path) == [
        ("0", "", b"x", (-1,)),
        ("5/1", "5", b"x", (5,)),
        ("2", "", b"x", ()),
        ("dog/3", "dog", b"x", (1,)),
    ]


def test_a_column_that_the_metadata_marks_as_image(path: Path) -> None:
    features = {"face": {"_type": "Image"}, "who": {"_type": "ClassLabel", "names": ["a"]}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    columns = {"who": pa.array([0]), "face": pa.array([{"bytes": b"x", "path": "1.jpg"}], STRUCT)}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    assert read_rows(path) == [("a/1", "a", b"x", (0,))]


# Images in files beside the table


def test_paths_are_read_below_the_folder_only(tmp_path: Path) -> None:
    inside = tmp_path / "set"
    (inside / "images").mkdir(parents=True)
    (inside / "images" / "1.jpg").write_bytes(b"one")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    paths = ["images/1.jpg", "../secret.jpg", str(tmp_path / "secret.jpg"), "images/no.jpg"]
    paths += ["images/../../secret.jpg", "./images/1.jpg"]
    images: list[dict[str, Any] | None] = [{"bytes": None, "path": path} for path in paths]
    file = inside / "a.parquet"
    pq.write_table(table_of([*images, {"bytes": None, "path": None}, None], [0] * 8), file, **PLAIN)
    found = read_set(file)
    assert [getattr(each, "data", None) for each in found] == [
        b"one",
        *[None] * 4,
        b"one",
        *[None] * 2,
    ]
    reasons = [each.reason if isinstance(each, Outcome) else "" for each in found]
    for position in (1, 2, 4):
        assert f"{paths[position]!r} leads outside the folder" in reasons[position]
    assert reasons[3].startswith(
        "a.parquet at row 3 of row group 0: the file 'images/no.jpg': cannot read: No such file"
    )
    assert "no bytes" in reasons[6]


@pytest.mark.parametrize("way", ["plain", "snappy"])
def test_texts_that_are_not_utf8(tmp_path: Path, way: str) -> None:
    wrong = pa.array([b"\xff/1.jpg", b"\xff/2.jpg"]).view(pa.string())
    images = pa.StructArray.from_arrays([pa.array([b"one", None]), wrong], ["bytes", "path"])
    file = tmp_path / "a.parquet"
    identities = pa.array([b"\xff", b"\xff"]).view(pa.string())
    pq.write_table(pa.table({"image": images, "identity": identities}), file, **WAYS[way])
    first, second = read_set(file)
    assert isinstance(first, Sample)
    assert row_of(first) == ("\udcff/1", "\udcff", b"one", ())
    assert isinstance(second, Outcome)
    assert second.status == "unreadable"


# Several files, other files


def test_a_family_is_one_set(tmp_path: Path) -> None:
    samples = samples_of(10)
    for i in range(2):
        part = encode(samples[5 * i : 5 * i + 5], ["p0", "p1"])
        (tmp_path / f"train-{i:05d}-of-00002.parquet").write_bytes(part)
    expected = [row_of(sample) for sample in samples]
    assert read_rows(tmp_path) == expected
    assert read_rows(tmp_path / "train-00001-of-00002.parquet") == expected


def test_files_with_other_classes_are_not_one_set(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(encode(samples_of(2), ["p0", "p1"]))
    (tmp_path / "b.parquet").write_bytes(encode(samples_of(2), ["p1", "p0"]))
    with pytest.raises(SourceError, match=r"b\.parquet: other columns or other class names"):
        read_set(tmp_path)


@pytest.mark.parametrize(
    "table",
    [
        {"image_names": ["a"], "embeddings": [[0.5, 0.5]]},
        {"image": ["a/1.jpg"], "label": [0]},
        {"image": ["a/1.jpg"], "x1": [0.5]},
        {},
    ],
)
def test_lists_and_tables_are_not_sets_of_images(path: Path, table: dict[str, list[Any]]) -> None:
    pq.write_table(pa.table(table), path)
    assert not ParquetSet.is_kind(path)
    with pytest.raises(SourceError, match="image"):
        read_set(path)


def test_a_folder_of_images_with_a_table_beside_them_is_a_folder(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["a/1.jpg"]}), tmp_path / "faces.parquet")
    assert kind_of(tmp_path) == "folder"


@pytest.mark.parametrize("metadata", [b"", b"\xff", b"[1]", b'{"info": 3}', b"[" * 100_000])
def test_metadata_that_say_nothing(path: Path, metadata: bytes) -> None:
    table = pa.table({"image": pa.array([b"x"])})
    pq.write_table(table.replace_schema_metadata({"huggingface": metadata}), path)
    assert read_rows(path) == [("0", "", b"x", ())]


def test_a_name_that_is_not_utf8_cannot_be_written() -> None:
    with pytest.raises(OutputError, match="not UTF-8"):
        encode([Sample("\udcff/1", "a", b"x", (0,))], ["a"])
    with pytest.raises(OutputError, match="not UTF-8"):
        encode(samples_of(1), ["\udcff"])


# Damage


@given(data=st.data(), way=st.sampled_from(["ours", "snappy", "plain, version 2"]))
def test_changed_bytes_are_one_line(path: Path, data: st.DataObject, way: str) -> None:
    """The footer is left alone: pyarrow reads it, and some damage there ends the process."""
    if way == "ours":
        whole = bytearray(encode(samples_of(20)))
    else:
        images: list[dict[str, Any] | None] = [
            {"bytes": b"%d" % i * 30, "path": f"{i}.jpg"} for i in range(20)
        ]
        pq.write_table(table_of(images, [0] * 20), path, row_group_size=8, **WAYS[way])
        whole = bytearray(path.read_bytes())
    end = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(4, end - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        found = read_set(path)
    except FaceprepError as error:
        assert "\n" not in str(error)
        assert "a.parquet" in str(error)
        return
    assert len(found) == 20
    assert all(isinstance(each, Sample | Outcome) for each in found)


def test_a_file_that_is_cut_off_is_named(path: Path) -> None:
    whole = encode(samples_of(20))
    for n in (0, 3, 4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:n])
        with pytest.raises(SourceError, match=r"a\.parquet: "):
            read_set(path)


def test_a_file_that_is_another_or_gone_after_indexing(tmp_path: Path) -> None:
    other = encode([], [])
    for way in ("plain", "snappy"):
        file = tmp_path / f"{way}.parquet"
        images: list[dict[str, Any] | None] = [{"bytes": b"x" * 50, "path": "1.jpg"}] * 3
        for change in (
            lambda file: file.write_bytes(file.read_bytes()[:60]),
            lambda file: file.write_bytes(other),
            Path.unlink,
        ):
            pq.write_table(table_of(images, [0] * 3), file, **WAYS[way])
            with index_set(file, tmp_path / way) as found:
                change(file)
                outcomes = list(found.read([2, 1]))
            assert all(isinstance(each, Outcome) and each.is_failure for each in outcomes)


# Peers


def test_pyarrow_reads_what_we_write(path: Path) -> None:
    samples = samples_of(300)
    path.write_bytes(encode(samples))
    assert pq.read_table(path).to_pylist() == [
        {
            "image": {"bytes": each.data, "path": f"{each.key}.jpg"},
            "label": each.labels[0],
            "identity": each.identity,
            "key": each.key,
        }
        for each in samples
    ]


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="pip install datasets")
def test_hugging_face_reads_what_we_write(tmp_path: Path) -> None:
    datasets = importlib.import_module("datasets")
    file = tmp_path / "a.parquet"
    file.write_bytes(encode(samples_of(4)))
    found = datasets.Dataset.from_parquet(str(file), cache_dir=str(tmp_path / "cache"))
    assert found.features["label"].names == ["p0", "p1"]
    found = found.cast_column("image", datasets.Image(decode=False))
    assert [row["image"]["bytes"] for row in found] == [each.data for each in samples_of(4)]


def test_a_file_that_is_interrupted_at_its_end_is_not_closed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pq.ParquetWriter, "write_table", stop)
    file = io.BytesIO()
    with pytest.raises(KeyboardInterrupt), ParquetWriter(file, ["a"]) as writer:
        writer.add(Sample("a/1", "a", b"image"), 0, ".jpg")
    file.close()
    del writer
    gc.collect()  # pyarrow would print a traceback, which is a warning here
