"""What the tests of the engine share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from faceprep import Request
from tests.fakes import write_lines
from tests.object_store import Store, running_store


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    """Twelve lines into a new folder."""
    return Request((write_lines(tmp_path / "source.txt"),), tmp_path / "out")


@pytest.fixture(scope="module")
def running() -> Iterator[Store]:
    """Run an object store on loopback."""
    with running_store() as found:
        yield found


@pytest.fixture
def store(running: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return the store, empty, for one test with a cache of its own."""
    running.clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    running.enter(monkeypatch)
    return running
