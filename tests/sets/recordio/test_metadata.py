"""Header and identity records are found; an image that lost its bytes is never one of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceprep.sets.recordio.framing import frame, frame_image
from faceprep.sets.recordio.metadata import Metadata, find_metadata, locate_metadata, rounding
from faceprep.sets.recordio.records import ImageRecord

quick = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
IMAGE = b"jpeg"


def records_of(counts: Sequence[int], lost: dict[int, tuple[float, float]]) -> list[ImageRecord]:
    """A set as InsightFace packs it, keys from 0; `lost` maps image keys to their labels."""
    n = sum(counts)
    found = [ImageRecord(2, (n + 1.0, n + 1.0 + len(counts)), 0, b"")]
    ranges, first = [], 1
    for label, count in enumerate(counts):
        found += [
            ImageRecord(2, lost.get(key, (label, 1.0)), key, b"" if key in lost else IMAGE)
            for key in range(first, first + count)
        ]
        ranges.append((float(first), float(first + count)))
        first += count
    found += [ImageRecord(2, each, n + 1 + i, b"") for i, each in enumerate(ranges)]
    return found


def write(folder: Path, records: Sequence[ImageRecord | None]) -> list[int]:
    """Write records, a damaged one for None; return their offsets."""
    offsets, data = [], b""
    for each in records:
        offsets.append(len(data))
        if each is None:
            data += frame(b"short")
        else:
            data += frame_image(each.labels, bytes(each.image), each.id)
    (folder / "a.rec").write_bytes(data)
    return offsets


def found_in(folder: Path, records: Sequence[ImageRecord | None]) -> Metadata:
    offsets = write(folder, records)
    return find_metadata(folder / "a.rec", range(len(records)), offsets)


@st.composite
def sets(draw: st.DrawFn) -> tuple[list[int], dict[int, tuple[float, float]]]:
    counts = draw(st.lists(st.integers(1, 5), min_size=1, max_size=8))
    n = sum(counts)
    labels = st.tuples(
        st.integers(0, n + 9).map(float) | st.floats(width=32), st.integers(0, n + 9).map(float)
    )
    return counts, draw(st.dictionaries(st.integers(1, n), labels, max_size=n))


@quick
@given(sets())
def test_lost_images_with_any_labels_stay_images(
    tmp_path: Path, drawn: tuple[list[int], dict[int, tuple[float, float]]]
) -> None:
    counts, lost = drawn
    found = found_in(tmp_path, records_of(counts, lost))
    assert (found.first_identity_key, found.n_identity_records) == (sum(counts) + 1, len(counts))
    assert found.contradictions(sum(counts)) == []


@quick
@given(sets(), st.integers(-3, 60))
def test_a_wrong_header_is_named_and_does_no_harm(
    tmp_path: Path, drawn: tuple[list[int], dict[int, tuple[float, float]]], error: int
) -> None:
    counts, _ = drawn
    records = records_of(counts, {})
    first, end = records[0].labels
    records[0] = records[0]._replace(labels=(max(first + error, 2.0), max(end + error, 2.0)))
    found = found_in(tmp_path, records)
    assert found.n_identity_records == len(counts)
    wrong = records[0].labels != (first, end)
    assert bool(found.contradictions(sum(counts))) == wrong


@quick
@given(sets(), st.data())
def test_damaged_identity_records_move_no_boundary(
    tmp_path: Path, drawn: tuple[list[int], dict[int, tuple[float, float]]], data: st.DataObject
) -> None:
    counts, drawn_lost = drawn
    lost = dict.fromkeys(drawn_lost, (0.0, 0.0))  # labels that could be a range leave it open
    records: list[ImageRecord | None] = list(records_of(counts, lost))
    n = sum(counts)
    damaged = data.draw(st.sets(st.integers(n + 1, n + len(counts)), max_size=len(counts) - 1))
    for key in damaged:
        records[key] = None
    found = found_in(tmp_path, records)
    assert found.n_identity_records == len(counts)


def test_a_header_without_identity_records_states_identities() -> None:
    found = Metadata((13.0, 19.0), 0, 0)
    assert found.contradictions(12, n_identities=6) == []
    assert "6 identities, the images have 5" in found.contradictions(12, n_identities=5)[0]
    assert found.contradictions(12) == []
    assert Metadata((13.0, 13.0), 0, 0).contradictions(12, n_identities=6) == []


def test_one_image(tmp_path: Path) -> None:
    assert found_in(tmp_path, records_of([1], {})) == Metadata((2.0, 3.0), 2, 1)
    assert found_in(tmp_path, records_of([1], {1: (0.0, 1.0)})) == Metadata((2.0, 3.0), 2, 1)


def test_a_lost_image_in_the_place_of_a_header(tmp_path: Path) -> None:
    images = [ImageRecord(2, (0.0, 1.0), key, IMAGE) for key in range(1, 4)]
    for labels in ((0.0, 1.0), (1.0, 1.0), (5.0, 1.0), (float("nan"), 7.0), (3.0, float("inf"))):
        assert found_in(tmp_path, [ImageRecord(2, labels, 0, b""), *images]) == Metadata()


def test_without_identity_records_a_lost_image_at_the_end_stays_one(tmp_path: Path) -> None:
    images = [ImageRecord(2, (0.0, 1.0), key, IMAGE) for key in range(1, 6)]
    records = [ImageRecord(2, (7.0, 7.0), 0, b""), *images, ImageRecord(2, (2.0, 5.0), 6, b"")]
    assert found_in(tmp_path, records) == Metadata((7.0, 7.0))


class Large:
    """A set too large for a test: images of `per` of each identity, read by position."""

    def __init__(self, n: int, per: int, lost: dict[int, tuple[float, float]]) -> None:
        self.n, self.per, self.lost = n, per, lost
        self.n_identities = -(-n // per)
        self.n_read = 0

    def image_at(self, position: int) -> ImageRecord:
        self.n_read += 1
        if position == 0:
            return self._record(self.n + 1, self.n + 1 + self.n_identities, b"")
        if position in self.lost:
            return self._record(*self.lost[position], b"")
        if position <= self.n:
            return self._record((position - 1) // self.per, 1, IMAGE)
        first = (position - self.n - 1) * self.per + 1
        return self._record(first, min(first + self.per, self.n + 1), b"")

    def _record(self, first: float, second: float, image: bytes) -> ImageRecord:
        return ImageRecord(2, tuple(np.float32([first, second]).tolist()), 0, image)


@pytest.mark.parametrize("n", [2**24 - 40, 2**24 - 1, 2**24, 2**24 + 1, 17_091_657, 42_474_557])
@pytest.mark.parametrize("per", [1, 3, 21])
def test_sets_above_what_float32_counts(n: int, per: int) -> None:
    ends = [
        {},
        {n: (7.0, 1.0)},
        {n: (0.0, 1.0), n - 1: (0.0, 1.0), 5: (2.0, 9.0)},
        {n: (5.0, 900.0), n - 1: (5.0, 900.0), n - 2: (5.0, 900.0)},
    ]
    for lost in ends:
        large = Large(n, per, lost)
        found = locate_metadata(range(n + 1 + large.n_identities), large.image_at)
        assert found.first_identity_key == n + 1
        assert found.n_identity_records == large.n_identities
        assert found.contradictions(n) == []
        assert large.n_read < 300


@given(st.integers(1, 2**40))
def test_rounding_is_that_of_float32(number: int) -> None:
    assert abs(int(np.float32(number)) - number) <= rounding(float(np.float32(number)))
