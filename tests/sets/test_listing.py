"""Listings of large sets."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace
from typing import Any

import numpy as np

from faceprep.sets.listing import list_set

N = 300_000


def test_keys_of_a_large_set_are_not_all_in_memory() -> None:
    index = SimpleNamespace(identities=["a"], identity_of=np.zeros(N, np.int32))
    images: Any = SimpleNamespace(
        index=index, keys=lambda start, stop: [f"a/{key:09}" for key in range(start, stop)]
    )
    tracemalloc.start()
    try:
        listing = list_set(images, N - 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(listing) == N - 1 and listing.path(N - 2) == f"a/{N - 2:09}"
    assert peak < 12 << 20
