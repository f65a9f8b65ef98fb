"""Shared by all tests: drawn sets, and a check that nothing keeps running."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

from faceprep.core.signatures import sign
from faceprep.synthetic import write_folder, write_insightface_rec
from tests.warm_python import WarmPython

# a machine at work on something else fails no test
settings.register_profile("quick", deadline=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_configure() -> None:
    """Take SIGINT as in a foreground job, so that the tests of Ctrl-C also pass under nohup.

    A background job inherits an ignored SIGINT, and so would every command that a test starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _a_cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        sign([])  # makes the key, so that the first run changes the disk as all others do
        yield


@pytest.fixture(scope="session")
def tensorflow() -> Iterator[WarmPython]:
    """Start TensorFlow in its own process: its imports warn, and warnings are errors here."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("pip install 'faceprep[tensorflow]'")
    python = WarmPython()
    yield python
    python.close()


def _descendants(process: int) -> set[int]:
    """Return the processes that `process` started, and theirs; psutil reads every process."""
    tasks = Path(f"/proc/{process}/task")
    if not (tasks / str(process) / "children").exists():
        with suppress(psutil.NoSuchProcess):
            return {child.pid for child in psutil.Process(process).children(recursive=True)}
        return set()
    found = set()
    with suppress(OSError):  # it ended
        for task in tasks.iterdir():
            children = set(map(int, (task / "children").read_text().split()))
            found |= children.union(*map(_descendants, children))
    return found


@pytest.fixture(autouse=True)
def _no_process_is_left_behind() -> Iterator[None]:
    before = _descendants(os.getpid())
    yield
    new = []
    for child in _descendants(os.getpid()) - before:
        with suppress(psutil.NoSuchProcess):
            new.append(psutil.Process(child))
    _, alive = psutil.wait_procs(new, timeout=20)
    assert not alive, f"the test left processes behind: {alive}"


@pytest.fixture(autouse=True)
def _the_power_stays_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk shows nothing here and takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


@pytest.fixture(autouse=True)
def _the_log_is_as_before() -> Iterator[None]:
    log = logging.getLogger("faceprep")
    before, level = log.handlers, log.level
    yield
    log.handlers, log.level = before, level


@pytest.fixture(scope="session")
def rec_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.rec as InsightFace lays it out: 6 drawn people with 5 images each."""
    root = tmp_path_factory.mktemp("rec_set")
    write_insightface_rec(root, n_identities=6, n_images=5)
    return root


@pytest.fixture(scope="session")
def face_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ROOT/IDENTITY/IMAGE.jpg: 4 drawn people with 3 images each."""
    root = tmp_path_factory.mktemp("face_folder")
    write_folder(root, n_identities=4, n_images=3)
    return root
