"""What libraries write is discarded with --quiet, and only there; errors come through."""

from __future__ import annotations

import logging
import os

import pytest

from faceprep.core.hush import hush_libraries


def write_as_a_library_does(text: bytes) -> None:
    os.write(2, text)


@pytest.mark.parametrize(("level", "seen"), [(logging.ERROR, ""), (logging.INFO, "greeting\n")])
def test_only_quiet_runs_are_hushed(
    level: int, seen: str, capfd: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("faceprep").setLevel(level)
    with hush_libraries():
        write_as_a_library_does(b"greeting\n")
    assert capfd.readouterr().err == seen
    write_as_a_library_does(b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_stderr_comes_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("faceprep").setLevel(logging.ERROR)
    with pytest.raises(RuntimeError), hush_libraries():
        raise RuntimeError
    write_as_a_library_does(b"after\n")
    assert capfd.readouterr().err == "after\n"
