"""Times on the command line: seconds, or as a clock shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceprep.cli.build import command_for
from faceprep.core.text import parse_time
from faceprep.video.sampling import parse_frames
from tests.command import faceprep


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), ("1.5", 1.5), ("1:30", 90), ("01:30.5", 90.5), ("90:00", 5400)]
    + [("00:01:30", 90), ("1:00:00", 3600), ("100:00:59.999", 360_059.999), ("-1", -1)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", ":", "1:", ":30", "1:60", "1:-1", "1:60:00", "1:2:3:4", "a:1", "x", "1:30s", "²:1"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_time(text)


def test_options_take_both_forms(tmp_path: Path) -> None:
    command = command_for("extract-video")
    places = ["src", "dst"]
    context = command.make_context(
        "extract-video", ["--start", "00:01:30", "--end", "100", *places], resilient_parsing=True
    )
    assert (context.params["start"], context.params["end"]) == (90, 100)
    choice = parse_frames("all", context.params["start"], context.params["end"])
    assert (choice.start, choice.end) == (90, 100)
    done = faceprep("extract-video", "a.mp4", "out", "--start", "1:75", cwd=tmp_path)
    assert done.returncode == 2
    assert "--start: expected seconds or HH:MM:SS, found '1:75'." in done.stderr.replace(
        "'--start'", "--start"
    )
