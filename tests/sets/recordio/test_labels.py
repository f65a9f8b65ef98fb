"""Labels that are read for many records at once are those that each record has by itself."""

from __future__ import annotations

import threading
import time
from functools import reduce
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.storage import ByteSource
from faceprep.sets.recordio import labels as labels_module
from faceprep.sets.recordio.coverage import Unindexed
from faceprep.sets.recordio.framing import frame_image
from faceprep.sets.recordio.index import RecPaths
from faceprep.sets.recordio.labels import Extent, read_labels
from faceprep.sets.recordio.metadata import Metadata
from faceprep.sets.recordio.records import MAGIC_BYTES, ImageRecord, RecordFile

IMAGES = (b"", b"abc", b"jpeg" * 9, b"1234" + MAGIC_BYTES + b"x", bytes(70_000))
LABELS = st.lists(st.floats(width=32), min_size=1, max_size=4)
ID, ID2 = slice(16, 24), slice(24, 32)
SECOND_IDS = st.sampled_from([0, 0, 0, 1, 1 << 63])
METADATA = Metadata((5.0, 8.0), 5, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("labels")


@given(
    records=st.lists(
        st.tuples(
            LABELS,
            st.integers(0, len(IMAGES) - 1),
            st.sampled_from([None, None, None, 0, 1, 1 << 32]),
            SECOND_IDS,
        ),
        min_size=1,
        max_size=12,
    ),
    damage=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=9)), max_size=2),
    strays=st.lists(
        st.integers(-9, 1 << 40) | st.integers((1 << 63) - 9, (1 << 63) - 1), max_size=2
    ),
    n_at_once=st.integers(1, 12),
    data=st.data(),
)
def test_labels_of_many_records(
    folder: Path,
    records: list[tuple[list[float], int, int | None, int]],
    damage: list[tuple[float, bytes]],
    strays: list[int],
    n_at_once: int,
    data: st.DataObject,
) -> None:
    content, offsets = bytearray(), list[int]()
    for key, (labels, image, own_id, id2) in enumerate(records):
        offsets.append(len(content))
        framed = bytearray(frame_image(labels, IMAGES[image], key))
        if own_id is not None:
            framed[ID] = own_id.to_bytes(8, "little")
        framed[ID2] = id2.to_bytes(8, "little")
        content += framed
    for where, wrong in damage:
        at = int(where * len(content))
        content[at : at + len(wrong)] = wrong
    path = folder / "a.rec"
    path.write_bytes(content[: data.draw(st.integers(len(content) - 99, len(content)))] or b"x")
    entries = data.draw(
        st.permutations(list(enumerate(offsets + strays))) | st.just(list(enumerate(offsets)))
    )
    table = np.array(entries, np.int64)
    with patch.object(labels_module, "_MANY", data.draw(st.sampled_from([2, 99]))):
        left_out = Unindexed(RecPaths(path, None))
        found = list(read_labels(path, table, METADATA, left_out, n_at_once))
    assert np.concatenate([rows for rows, _ in found]).tolist() == table.tolist()
    first = np.concatenate([labels.first for _, labels in found])
    is_image = np.concatenate([labels.is_image for _, labels in found]).tolist()
    extent = Extent()
    with RecordFile(path) as file:
        for i, (key, offset) in enumerate(entries):
            (record,) = file.read_images([offset])
            label, expected = np.float32("nan"), True
            if isinstance(record, ImageRecord):
                label = np.float32(record.labels[0])
                expected = bool(record.image) or not METADATA.describes(key, record)
                if expected:
                    has_id = record.id not in (0, key)
                    extent = extent.join(Extent(record.flag, has_id, record.id2 > 0))
            assert np.array_equal(first[i], label, equal_nan=True)
            assert is_image[i] == expected
    assert reduce(Extent.join, (labels.extent for _, labels in found)) == extent


@pytest.mark.parametrize("is_object", [False, True])
def test_only_one_thread_reads_an_object(folder: Path, is_object: bool) -> None:
    """Its bytes at hand are replaced by each read, which would give wrong labels to another."""
    framed = [frame_image([float(key)], b"jpeg" * 9, key) for key in range(labels_module._MANY)]
    path, threads = folder / "many.rec", set[int]()
    path.write_bytes(b"".join(framed))
    ends = np.cumsum([len(record) for record in framed])
    table = np.stack([np.arange(len(framed)), ends - ends[0]], axis=1)

    class Source(ByteSource):
        def read_at(self, offset: int, n_bytes: int) -> bytes:
            threads.add(threading.get_ident())
            time.sleep(0.01)  # until the other thread has begun
            return super().read_at(offset, n_bytes)

    with (
        patch.object(labels_module, "ByteSource", Source),
        patch.object(labels_module, "is_remote", lambda _: is_object),
    ):
        found = list(read_labels(path, table, METADATA, Unindexed(RecPaths(path, None))))
    assert np.concatenate([each.first for _, each in found]).tolist() == list(range(len(framed)))
    assert len(threads) == (1 if is_object else 2)
