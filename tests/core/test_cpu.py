"""The number of cores that a process may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from faceprep.core import cpu as cores


def test_all_that_the_system_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert cores.n_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cores.n_cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.n_cores() == 1


def test_a_share_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACEPREP_CORES", raising=False)
    assert cores.my_cores() == cores.n_cores()
    monkeypatch.setenv("FACEPREP_CORES", "")  # restored after the test
    cores.take_share(3)
    assert cores.my_cores() == 3


@pytest.mark.parametrize(
    ("text", "granted"),
    [("150000 100000\n", 1.5), ("max 100000\n", None), ("", None), ("nonsense", None)],
)
def test_quota_of_a_group(text: str, granted: float | None, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cores.quota(str(tmp_path)) == granted


def test_memory_limit_of_a_group(tmp_path: Path) -> None:
    assert cores.memory_limit(str(tmp_path)) is None
    (tmp_path / "memory.max").write_text("max\n")
    assert cores.memory_limit(str(tmp_path)) is None
    (tmp_path / "memory.max").write_text("1073741824\n")
    assert cores.memory_limit(str(tmp_path)) == 1 << 30
