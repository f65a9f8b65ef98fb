"""Shards fill what they cut, and keep the ids that earlier runs wrote."""

import pytest

from faceprep.core.shards import cut_at, cut_evenly, even_bounds, whole_stage
from faceprep.core.types import Shard


@pytest.mark.parametrize("start, stop, size", [(0, 0, 3), (0, 1, 3), (0, 9, 3), (2, 10, 3)])
def test_even_pieces_fill_the_range_without_gaps(start, stop, size):
    bounds = list(even_bounds(stop, size, start))
    items = [item for first, last in bounds for item in range(first, last)]
    assert items == list(range(start, stop))
    assert all(last - first == size for first, last in bounds[:-1])


def test_an_even_cut_numbers_its_shards(tmp_path):
    assert cut_evenly(5, 2, tmp_path, start=1) == [
        Shard("000000", str(tmp_path), 1, 3),
        Shard("000001", str(tmp_path), 3, 5),
    ]


def test_ids_follow_the_format():
    bounds = [(0, 4), (4, 6)]
    shards = cut_at(bounds, "a", stage="merge", id_format="{stage}-{start:010d}")
    assert [shard.id for shard in shards] == ["merge-0000000000", "merge-0000000004"]
    assert [shard.stage for shard in shards] == ["merge", "merge"]
    assert [shard.id for shard in cut_at(bounds, "a", first=7)] == ["000007", "000008"]


def test_a_whole_stage_is_named_after_it():
    assert whole_stage("decide", "a") == Shard("decide", "a", 0, 0, "decide")


def test_the_payload_takes_no_part_in_comparison():
    """A payload may be a list, which has no hash."""
    shard = Shard("0", "a", 0, 1, payload=["x"])
    assert shard == Shard("0", "a", 0, 1)
    assert hash(shard) == hash(Shard("0", "a", 0, 1))
