"""The pickle reader against what scanners of pickles have missed: nothing of it ever runs."""

from __future__ import annotations

import io
import pickle
import pickletools
from contextlib import suppress
from pathlib import Path

import pytest

from faceprep.core.errors import SourceError
from faceprep.sets.pairs_bin.unpickle import read_pickle
from tests.hostile_pickles import nothing_runs
from tests.published_pickles import CALLS, calls, tricks, wrapped

ANYWHERE = Path("canary")


def refuse(data: bytes) -> str:
    """Read a pickle that must be refused, and return the line that says why."""
    with nothing_runs(), pytest.raises(SourceError, match="not a sound pickle") as caught:
        read_pickle(data, "a.bin")
    return str(caught.value)


def test_calls_that_scanners_took_for_harmless() -> None:
    for what, data in calls():
        _, module, name = what.split()[:3]
        line = refuse(data)
        assert f"{module}.{name}" in line or "the instruction INST" in line, what
        assert f"{module} {name}" in _names(data), f"{what}: Python would call something else"


def _names(data: bytes) -> list[str]:
    """Return the names that Python would look up, as its own disassembler reads them."""
    found, texts = [], []
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("GLOBAL", "INST"):
            found.append(str(argument))
        elif isinstance(argument, str):
            texts.append(argument)
    return [*found, " ".join(texts[:2])]


def test_each_call_is_there_once() -> None:
    lines = CALLS.strip().splitlines()
    assert len(lines) == len(set(lines)) > 100
    assert {len(line.split()) for line in lines} == {3}


@pytest.mark.parametrize("name", tricks(ANYWHERE))
def test_streams_that_scanners_misread(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    data = tricks(canary)[name]
    refuse(data)
    assert not canary.exists()
    with suppress(Exception):
        pickle.load(io.BytesIO(data))  # noqa: S301
    assert canary.is_dir(), "the trick works on Python"


@pytest.mark.parametrize("name", wrapped(ANYWHERE))
def test_pickles_inside_other_formats(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    refuse(wrapped(canary)[name])
    assert not canary.exists()
