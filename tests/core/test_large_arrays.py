"""Arrays in temporary files behave as arrays in memory, and a lack of space is one clear line."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from faceprep.core.errors import OutputError
from faceprep.core.large_arrays import allocate


@pytest.mark.parametrize("in_memory", [0, 1 << 20])
@pytest.mark.parametrize("shape", [(0, 4), (1,), (300, 7)])
def test_an_array_begins_with_zeros_and_keeps_what_is_written(
    shape: tuple[int, ...], in_memory: int
) -> None:
    array = allocate(shape, np.float64, in_memory)
    assert array.shape == shape
    assert array.dtype == np.float64
    assert not array.any()
    array += 2.5
    assert (array == 2.5).all()


def test_a_large_array_lies_in_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    array = allocate((1 << 18,), np.uint8, in_memory=0)
    assert os.listdir(tmp_path) == []
    assert f"{tmp_path}/" in Path("/proc/self/maps").read_text()
    del array
    assert f"{tmp_path}/" not in Path("/proc/self/maps").read_text()


def test_too_little_space_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(OutputError, match=r"reserve 3\.00 GB for a temporary file: No space left"):
        allocate((3_000_000_000,), np.uint8)
