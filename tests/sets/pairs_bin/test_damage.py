"""Verification sets that attack the reader, or that are damaged anywhere."""

from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.sets.pairs_bin.container import find_pairs, load_pairs
from tests.hostile_pickles import attacks, nothing_runs
from tests.sets.pairs_bin.test_container import ARRAYS, LABELS, as_bytes, by_places


@pytest.mark.parametrize("name", attacks(Path("canary")))
def test_attacks(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.bin").write_bytes(attacks(tmp_path / "canary")[name])
    for read in (load_pairs, find_pairs):
        with nothing_runs(), pytest.raises(SourceError):
            read(tmp_path / "a.bin")
    assert not (tmp_path / "canary").exists()


def test_a_list_in_itself_and_tuples_a_million_deep(tmp_path: Path) -> None:
    for data in (
        b"]q\x00(h\x00h\x00e.",
        b")" + b"\x85" * 500_000 + b".",
        b"]q\x00(h\x00h\x00eK\x01\x86.",
    ):
        (tmp_path / "a.bin").write_bytes(data)
        with pytest.raises(SourceError, match="not a verification set"):
            load_pairs(tmp_path / "a.bin")


# Anything at all

SOUND = [
    pickle.dumps(
        (
            [make(each) for each in (b"\xff\xd8one", b"two", b"three", b"four")],
            labels([True, False]),
        ),
        protocol,
    )
    for make in ARRAYS.values()
    for labels in LABELS.values()
    for protocol in range(6)
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A sound pickle with a few bytes changed, left out, put in or moved."""
    data = bytearray(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(1, 4))):
        at, length = draw(st.integers(0, len(data))), draw(st.integers(0, 12))
        match draw(st.sampled_from(["change", "leave", "put", "cut", "move"])):
            case "change" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "leave":
                del data[at : at + length]
            case "put":
                data[at:at] = draw(st.binary(max_size=length))
            case "cut":
                del data[at:]
            case "move":
                to = draw(st.integers(0, len(data)))
                data[to:to] = data[at : at + length]
    return bytes(data)


@settings(max_examples=1000)
@given(damaged() | st.binary(max_size=300))
def test_damage_leads_to_a_set_or_to_one_clear_error(tmp_path_factory: Any, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.bin"
    path.write_bytes(data)
    with nothing_runs(), suppress(SourceError):
        pairs = load_pairs(path)
        assert len(pairs.images) == 2 * len(pairs.same) > 0
        assert by_places(path) == (as_bytes(pairs.images), list(pairs.same))
