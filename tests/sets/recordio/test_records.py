"""RecordIO: what is written is read, by us and by MXNet; nothing damaged gets through."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceprep.core.errors import FaceprepError
from faceprep.sets.recordio import index as rec_index
from faceprep.sets.recordio import records as recordio
from faceprep.sets.recordio import spans
from faceprep.sets.recordio.entries import read_entries
from faceprep.sets.recordio.framing import frame, frame_image
from faceprep.sets.recordio.records import (
    HEADER,
    MAGIC_BYTES,
    Damage,
    IdentityNames,
    ImageRecord,
    ImageRun,
    Record,
    RecordFile,
)
from tests.real import DATA, MXNET_PYTHON, needs_data, needs_mxnet

payloads = st.lists(
    st.one_of(st.binary(max_size=9), st.just(MAGIC_BYTES), st.just(MAGIC_BYTES * 2)), max_size=8
).map(b"".join)
quick = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write_records(path: Path, records: list[bytes]) -> list[int]:
    """Write framed records; their offsets."""
    path.write_bytes(b"".join(records))
    return np.cumsum([0, *map(len, records)])[:-1].tolist()


@quick
@given(st.lists(payloads, min_size=1, max_size=6))
def test_reading_gives_back_every_payload(tmp_path: Path, contents: list[bytes]) -> None:
    offsets = write_records(tmp_path / "a.rec", [frame(payload) for payload in contents])
    with RecordFile(tmp_path / "a.rec") as file:
        records = [file.read(offset) for offset in offsets]
    assert [bytes(record.payload) for record in records if isinstance(record, Record)] == contents
    ends = [record.end for record in records if isinstance(record, Record)]
    assert ends == [*offsets[1:], (tmp_path / "a.rec").stat().st_size]


@quick
@given(
    st.lists(
        st.tuples(st.lists(st.floats(width=32), min_size=1, max_size=4), payloads),
        min_size=1,
        max_size=6,
    )
)
def test_image_records_survive(tmp_path: Path, contents: list[tuple[list[float], bytes]]) -> None:
    framed = [frame_image(labels, image, 7) for labels, image in contents]
    offsets = write_records(tmp_path / "a.rec", framed)
    with RecordFile(tmp_path / "a.rec") as file:
        for record, (labels, image) in zip(file.read_images(offsets), contents, strict=True):
            assert isinstance(record, ImageRecord)
            assert np.array_equal(record.labels, labels, equal_nan=True)
            assert bytes(record.image) == image
            assert record.id == 7


def test_one_label_can_be_an_array() -> None:
    record = recordio.unpack_image(HEADER.pack(1, 0, 1, 0) + struct.pack("<f", 3) + b"an image")
    assert isinstance(record, ImageRecord)
    assert (record.flag, record.labels, bytes(record.image)) == (1, (3.0,), b"an image")


@pytest.mark.parametrize("window", [64, 256, 1 << 20])
def test_windows_of_any_size_read_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(spans, "_WINDOW", window)
    monkeypatch.setattr(spans, "GAP", window // 4)
    images = [bytes([i]) * (i * 37 % 300) for i in range(40)]
    offsets = write_records(
        tmp_path / "a.rec", [frame_image([i], image, i) for i, image in enumerate(images)]
    )
    some = offsets[3:9] + offsets[20:]
    with RecordFile(tmp_path / "a.rec") as file:
        found = [
            bytes(record.image)
            for record in file.read_images(some)
            if isinstance(record, ImageRecord)
        ]
    assert found == images[3:9] + images[20:]


def test_images_come_in_runs(tmp_path: Path) -> None:
    """Whatever is damaged, in parts or without an image comes alone."""
    plain = [frame_image([i], bytes([i]) * 10, i) for i in range(8)]
    several, metadata = frame_image([5, 6], b"two labels", 9), frame_image([5, 6], b"", 11)
    parts, damaged = frame_image([7], b"abcd" + MAGIC_BYTES, 10), b"\0" * len(plain[0])
    records = [*plain[:4], several, metadata, *plain[4:6], damaged, plain[6], parts, plain[7]]
    offsets = write_records(tmp_path / "a.rec", records)
    with RecordFile(tmp_path / "a.rec") as file:
        runs = list(file.read_runs(offsets))
    assert [len(run) for run in runs] == [5, 1, 2, 1, 1, 1, 1]
    assert [isinstance(run, ImageRun) for run in runs] == [
        True,
        False,
        True,
        False,
        True,
        False,
        True,
    ]
    found = [record for run in runs for record in run if isinstance(record, ImageRecord)]
    assert [record.id for record in found] == [0, 1, 2, 3, 9, 11, 4, 5, 6, 10, 7]
    assert [record.flag for record in found] == [0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 0]
    assert found[4].labels == (5, 6) and [record.labels[0] for record in found[:4]] == [0, 1, 2, 3]
    assert [bytes(record.image) for record in found[6:9]] == [bytes([i]) * 10 for i in (4, 5, 6)]


class _Counting(list[int]):
    """A list that counts the looks at its items."""

    n_looks = 0

    def __getitem__(self, at: int) -> int:  # type: ignore[override]
        self.n_looks += 1
        return super().__getitem__(at)


def test_the_work_on_metadata_grows_with_its_records(tmp_path: Path) -> None:
    records = [frame_image([1, 2], b"", key) for key in range(5000)]
    offsets = _Counting(write_records(tmp_path / "a.rec", records))
    with RecordFile(tmp_path / "a.rec") as file:
        assert sum(1 for _ in file.read_images(offsets)) == 5000
    assert offsets.n_looks < 10 * 5000


def test_reading_may_go_back(tmp_path: Path) -> None:
    offsets = write_records(tmp_path / "a.rec", [frame_image([i], b"image", i) for i in range(20)])
    with RecordFile(tmp_path / "a.rec") as file:
        found = [
            record.id for some in (offsets[5:], offsets[:5]) for record in file.read_images(some)
        ]
    assert found == [*range(5, 20), *range(5)]


@pytest.mark.parametrize("end", [1, 4, 8, 20])
def test_a_wrong_end_costs_no_record(tmp_path: Path, end: int) -> None:
    """An index may state an offset inside a record."""
    write_records(tmp_path / "a.rec", [frame_image((1.0,), bytes(100), 1)])
    with RecordFile(tmp_path / "a.rec") as file:
        (found,) = file.read_whole([0], [end])
    assert isinstance(found, Record) and bytes(found.payload[-100:]) == bytes(100)


def test_a_payload_is_cut_only_at_aligned_magic() -> None:
    assert len(frame(b"x" + MAGIC_BYTES)) == 8 + 8
    assert len(frame(MAGIC_BYTES)) == 2 * 8
    assert struct.unpack_from("<II", frame(MAGIC_BYTES)) == (recordio.MAGIC, 1 << 29)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\0" * 16, "bad_record"),
        (frame(b"x" * 100)[:50], "truncated"),
        (frame(b"abcd" + MAGIC_BYTES + b"efgh")[:12], "truncated"),
        (frame(b"abcd" + MAGIC_BYTES + b"efgh")[:12] + frame(b"whole"), "bad_record"),
        (frame(b"x" * 8)[:6], "truncated"),
        (MAGIC_BYTES + struct.pack("<I", 2 << 29 | 4) + b"abcd", "bad_record"),
        (
            MAGIC_BYTES
            + struct.pack("<I", 1 << 29 | 3)
            + b"abc\0"
            + frame(b"")[:4]
            + struct.pack("<I", 3 << 29),
            "bad_record",
        ),
    ],
)
def test_damage_is_named(tmp_path: Path, data: bytes, status: str) -> None:
    (tmp_path / "a.rec").write_bytes(data)
    with RecordFile(tmp_path / "a.rec") as file:
        found = file.read(0)
    assert isinstance(found, Damage)
    assert found.status == status


def test_a_record_of_2_29_bytes_is_refused() -> None:
    class Long(bytes):
        def __len__(self) -> int:
            return 1 << 29

    with pytest.raises(FaceprepError, match="shorter than"):
        frame(Long())


@quick
@given(
    st.binary(max_size=300),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
)
def test_nothing_but_faceprep_errors_from_any_bytes(
    tmp_path: Path, junk: bytes, flips: list[tuple[int, int]]
) -> None:
    """Random bytes, and sound files with a few bytes changed, scanned and read."""
    sound = b"".join(frame_image([i], bytes([i]) * 50 + MAGIC_BYTES, i) for i in range(8))
    changed = bytearray(junk + sound)
    for at, value in flips:
        changed[at % len(changed)] = value
    (tmp_path / "a.rec").write_bytes(changed)
    try:
        n = rec_index.write_index(rec_index.RecPaths(tmp_path / "a.rec", None), tmp_path / "index")
        entries = read_entries(tmp_path / "index")
        with RecordFile(tmp_path / "a.rec") as file:
            assert len(list(file.read_images(entries[1::2].tolist()))) == n
    except FaceprepError as error:
        assert str(error)


SETS = [
    "insightface",
    "im2rec",
    "label_arrays",
    "magic_in_payload",
    "png_and_padding",
    "sparse_keys",
]


@needs_data
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("scan", [False, True])
def test_we_read_what_mxnet_reads(tmp_path: Path, name: str, scan: bool) -> None:
    paths = rec_index.find_rec(DATA / "mxnet" / name, ignore_idx=scan)
    rec_index.write_index(paths, tmp_path / "index")
    entries = read_entries(tmp_path / "index")
    with RecordFile(paths.rec) as file:
        records = [recordio.unpack_image(file.read(offset).payload) for offset in entries[1::2]]  # type: ignore[union-attr]
    ours = {
        int(key): (
            record.flag,
            list(record.labels),
            record.id,
            hashlib.sha256(record.image).hexdigest(),
        )
        for key, record in zip(entries[0::2], records, strict=True)
        if isinstance(record, ImageRecord)
    }
    truth = json.loads((DATA / "mxnet" / name / "mxnet_reads.json").read_text())
    assert ours == {
        each["key"]: (each["flag"], each["label"], each["id"], each["sha256"]) for each in truth
    }


_MXNET_READS = """
import hashlib, json, sys
import mxnet as mx
records = mx.recordio.MXIndexedRecordIO(sys.argv[1] + "/train.idx", sys.argv[1] + "/train.rec", "r")
out = []
for key in records.keys:
    header, image = mx.recordio.unpack(records.read_idx(key))
    label = [float(header.label)] if header.flag == 0 else [float(x) for x in header.label]
    out.append([key, header.flag, label, header.id, hashlib.sha256(image).hexdigest()])
print(json.dumps(out))
"""


def mxnet_reads(folder: Path) -> list[list[object]]:
    """[key, flag, labels, id, sha256 of the image] of each record, as real MXNet reads it."""
    done = subprocess.run(
        [MXNET_PYTHON, "-c", _MXNET_READS, folder], capture_output=True, text=True, check=True
    )
    read: list[list[object]] = json.loads(done.stdout)
    return read


@needs_mxnet
def test_mxnet_reads_what_we_write(tmp_path: Path) -> None:
    contents = [
        ([1.0], b""),
        ([2.0], b"x"),
        ([3.0, 4.5], b"odd"),
        ([5.0], MAGIC_BYTES),
        ([6.0], b"abcd" + MAGIC_BYTES * 3 + b"tail"),
        ([7.0, 8.0], b"a" + MAGIC_BYTES + b"unaligned"),
        ([9.0], bytes(range(256)) * 40),
    ]
    framed = [frame_image(labels, image, key) for key, (labels, image) in enumerate(contents)]
    offsets = write_records(tmp_path / "train.rec", framed)
    (tmp_path / "train.idx").write_text(
        "".join(f"{key}\t{offset}\n" for key, offset in enumerate(offsets))
    )
    expected = [
        [
            key,
            0 if len(labels) == 1 else len(labels),
            labels,
            key,
            hashlib.sha256(image).hexdigest(),
        ]
        for key, (labels, image) in enumerate(contents)
    ]
    assert mxnet_reads(tmp_path) == expected


def test_names_of_millions_of_identities_are_not_all_kept() -> None:
    names = IdentityNames()
    assert all(names[float(label)] == str(label) for label in range(200_000))
    assert len(names) < 100_000
