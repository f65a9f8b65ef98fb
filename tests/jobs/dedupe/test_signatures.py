"""Signatures: what one shard leaves is what the next stage finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceprep.core import large_arrays
from faceprep.jobs.dedupe.signatures import ROW, Signatures, load, load_damaged, save
from faceprep.run.ledger import ShardSink
from faceprep.run.places import Places


def made(n: int, first: int, damaged: dict[int, tuple[str, str]]) -> Signatures:
    rows = np.zeros(n, ROW)
    rows["number"] = np.arange(first, first + n)
    rows["digest"] = np.random.default_rng(first).integers(0, 2**63, (n, 4))
    thumbnails = np.random.default_rng(first + 1).integers(0, 256, (n, 24, 24), np.uint8)
    return Signatures(rows, thumbnails, [f"é{number}\udcff" for number in range(n)], damaged)


@pytest.mark.parametrize("in_memory", [1 << 30, 0], ids=["in memory", "mapped"])
def test_what_was_left_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    monkeypatch.setattr(large_arrays, "_JOINED_IN_MEMORY", in_memory)
    places = Places(tmp_path)
    places.scratch.mkdir(parents=True)
    parts = {"a": made(3, 0, {7: ("undecodable", "why")}), "b": made(0, 5, {})}
    parts["c"] = made(2, 9, {11: ("unreadable", "")})
    for name, part in parts.items():
        sink = ShardSink(places, name)
        save(sink, part)
        sink.commit([])
    found = load(sink, parts)
    assert (
        len(found) == 5
        and found.rows.tobytes() == parts["a"].rows.tobytes() + parts["c"].rows.tobytes()
    )
    assert np.array_equal(
        found.thumbnails, np.concatenate([parts["a"].thumbnails, parts["c"].thumbnails])
    )
    assert found.names == [*parts["a"].names, *parts["c"].names]
    assert load_damaged(sink, parts) == {7: ("undecodable", "why"), 11: ("unreadable", "")}
    assert (
        len(load(sink, ["b"]).thumbnails)
        == len(load(sink, parts, with_thumbnails=False).thumbnails)
        == 0
    )
