"""Pickles read in a test: their values with strings and arrays, or the line that refuses them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from faceprep.core.errors import SourceError
from faceprep.sets.pairs_bin.pickle_values import Array, Span, bytes_of
from faceprep.sets.pairs_bin.unpickle import read_pickle
from tests.hostile_pickles import nothing_runs


def read(data: bytes) -> Any:
    """Read a pickle and resolve its strings and arrays."""

    def resolve(value: Any) -> Any:
        if type(value) is Span:
            return bytes_of(data[value.start : value.start + value.n_bytes], value.coding)
        if type(value) is Array:
            return np.frombuffer(resolve(value.data), value.dtype).reshape(value.shape)
        return type(value)(map(resolve, value)) if type(value) in (list, tuple) else value

    with nothing_runs():
        value = read_pickle(data, "a.bin")
    return resolve(value)


def refusal(data: bytes) -> str:
    with nothing_runs(), pytest.raises(SourceError) as caught:
        read_pickle(data, "a.bin")
    line = str(caught.value)
    assert (
        line.startswith("a.bin: ")
        and "at byte " in line
        and "expected " in line
        and "found " in line
    )
    assert line.isprintable(), "one line, without control characters"
    return line
