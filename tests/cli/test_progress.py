"""Progress on a terminal and in a log, quiet and verbose, without a colour."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faceprep.cli import progress
from faceprep.core.shards import whole_stage
from faceprep.core.types import Outcome, Stage
from faceprep.run import heartbeat
from tests.real import ROOT
from tests.terminal import ONE_LONG_SHARD, RUN, SLOW, SLOW_PLAN, on_a_terminal

OFTEN = "progress._BEAT_S = progress.EVERY_S = heartbeat.EVERY_S = 0.02;"
SOON = "progress._WAIT_S = 0.05;"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


def in_a_log(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment, timeout=60
    )


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}])
def test_nothing_is_coloured(environment: dict[str, str], rec_set: Path, tmp_path: Path) -> None:
    arguments = ["rec2folder", rec_set, tmp_path / "out", "--verbose"]
    status, stdout, shown = on_a_terminal(SLOW + RUN, arguments, environment)
    assert status == 0 and "failed=0" in shown
    assert not COLOUR.search(shown + stdout)


def test_quiet_is_quiet_on_a_terminal(rec_set: Path, tmp_path: Path) -> None:
    status, stdout, shown = on_a_terminal(
        SLOW + RUN, ["rec2folder", rec_set, tmp_path / "out", "--quiet"], {}
    )
    assert (status, shown) == (0, "")
    assert stdout.startswith("30 of 30 images ok")


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"TERM": "xterm"}, "\x1b[31m\x1b[1mfaceprep:\x1b[0m"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "faceprep:"),
        ({"TERM": "dumb"}, "faceprep:"),
    ],
)
def test_quiet_still_tells_errors(tmp_path: Path, environment: dict[str, str], name: str) -> None:
    status, stdout, shown = on_a_terminal(
        RUN, ["rec2folder", tmp_path / "none", tmp_path / "out", "-q"], environment
    )
    assert (status, stdout) == (1, "")
    assert shown == f"{name} {tmp_path / 'none'}: no such file or folder. Check the path.\r\n"


def test_verbose_tells_each_step_with_its_time(rec_set: Path, tmp_path: Path) -> None:
    done = in_a_log(RUN, "rec2folder", rec_set, tmp_path / "out", "--verbose")
    lines = done.stderr.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3} faceprep: ", line) for line in lines)
    assert any(line.endswith("30 files, 30 ok") for line in lines), lines


def test_quiet_and_verbose_exclude_each_other(rec_set: Path, tmp_path: Path) -> None:
    status, _, shown = on_a_terminal(RUN, ["inspect", rec_set, "--quiet", "--verbose"], {})
    assert status == 2
    assert "--quiet and --verbose exclude each other" in shown


def test_lines_in_a_log_are_plain(rec_set: Path, tmp_path: Path) -> None:
    """And the one long shard shows that it lives."""
    done = in_a_log(
        ONE_LONG_SHARD + OFTEN + RUN, "rec2folder", rec_set, tmp_path / "out", "--runner", "serial"
    )
    assert not CONTROL.search(done.stderr)
    lines = done.stderr.splitlines()
    at_work = r"faceprep: write: 0 of 36 images, 00:0\d:\d\d so far(, [\d,]+ in unfinished shards)?"
    done_too = r"faceprep: write: 36 of 36 images, .*"  # where the machine is slow
    assert all(re.fullmatch(f"{at_work}|{done_too}", line) for line in lines), lines
    counts = [
        int(match[1]) for line in lines if (match := re.search(r"(\d+) in unfinished shards", line))
    ]
    assert counts == sorted(counts) and len(set(counts)) > 1, lines


def test_long_shard_shows_life_on_a_terminal(rec_set: Path, tmp_path: Path) -> None:
    arguments = ["rec2folder", rec_set, tmp_path / "out", "--runner", "serial"]
    _, _, shown = on_a_terminal(ONE_LONG_SHARD + OFTEN + RUN, arguments, {}, width=120)
    assert len(set(re.findall(r"in_unfinished_shards=(\d+)", shown))) > 1, shown
    assert shown.count("\n") == 1, "one line"


def test_inspect_shows_progress_too(rec_set: Path) -> None:
    status, _, shown = on_a_terminal(RUN, ["inspect", rec_set], {})
    assert status == 0
    assert re.search(r"37/37 \[", shown), shown


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_long_plan_shows_life(rec_set: Path, tmp_path: Path, options: list[str]) -> None:
    program = SLOW_PLAN + SOON + RUN
    arguments = ["rec2folder", rec_set, tmp_path / "out", "--runner", "serial", *options]
    lines = in_a_log(program, *arguments).stderr.splitlines()
    words = [re.sub(r", 00:00:0\d so far$", "", line) for line in lines]
    finishing = [] if options else ["faceprep: finishing"]
    assert list(dict.fromkeys(words)) == ["faceprep: planning", *finishing], lines
    _, _, shown = on_a_terminal(program, [*arguments, "--overwrite"], {})
    assert re.search(r"\rplanning, 00:00:0\d so far", shown), shown
    _, _, shown = on_a_terminal(program, [*arguments, "--overwrite", "--quiet"], {})
    assert not shown


def test_line_of_a_step_starts_no_thread_of_tqdm(rec_set: Path) -> None:
    told = "import atexit, tqdm; atexit.register(lambda: print('monitor', tqdm.tqdm.monitor));"
    arguments = ["rec2folder", rec_set, "none/out", "--runner", "serial", "--dry-run"]
    _, printed, shown = on_a_terminal(SLOW_PLAN + SOON + told + RUN, arguments, {})
    assert "planning, " in shown and printed.endswith("monitor None\n"), printed


def test_inspect_shows_life_before_its_first_image(rec_set: Path) -> None:
    slow = "from faceprep.sets.recordio import index; import time; write = index.write_index;"
    slow += "index.write_index = lambda *given: [time.sleep(0.3), write(*given)][1];"
    done = in_a_log("from faceprep.cli import progress;" + slow + SOON + RUN, "inspect", rec_set)
    assert done.stderr == "faceprep: preparing, 00:00:00 so far\n"


def test_terminal_without_a_width_gets_lines(rec_set: Path, tmp_path: Path) -> None:
    """Such is the terminal of a container that no one looks at."""
    arguments = ["rec2folder", rec_set, tmp_path / "out", "--runner", "serial"]
    _, _, shown = on_a_terminal(ONE_LONG_SHARD + OFTEN + RUN, arguments, {}, width=0)
    assert "faceprep: write: 0 of 36 images" in shown


def test_a_stage_without_inputs_shows_its_time_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_WAIT_S", 0.0)
    shown = progress.progress_bar()
    shown.start(Stage("index", [whole_stage("index", "set")]), 0, "img")
    told = ""
    while not told:
        told = capsys.readouterr().err
    shown.stop()
    assert told == "faceprep: index, 00:00:00 so far\n"


def test_long_runs_tell_less_often(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    lines = progress._Lines("write", 36_000, 0, "img")
    for second in range(0, 36_000, 10):
        clock[0] = float(second)
        lines.update(10, 36_000, {"failed": second // 1000})
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "faceprep: write: 40 of 36,000 images, 1.33 a second, 07:29:30 left, 0 failed"
    assert 60 < len(told) < 200
    assert told[-1].endswith(", 34 failed") or told[-1].endswith(", 35 failed")


def test_signs_of_life_are_gone_with_their_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.0)
    outcomes = heartbeat.report_progress(
        (Outcome(str(n)) for n in range(3)), tmp_path / "signs" / "a"
    )
    (tmp_path / "signs").mkdir()
    (tmp_path / "signs" / "b").write_bytes(b"40")
    seen = []
    for _ in outcomes:
        seen.append(heartbeat.count_done(tmp_path / "signs"))
    assert seen == [40, 41, 42]
    assert heartbeat.count_done(tmp_path / "signs") == 40


def test_a_heartbeat_that_fails_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work that is abandoned is closed at once, so that a writer in it ends before its file."""
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.0)
    ended: list[bool] = []

    def work() -> Iterator[Outcome]:
        try:
            yield from (Outcome(str(n)) for n in range(9))
        finally:
            ended.append(True)

    (tmp_path / "file").touch()
    sign = tmp_path / "file" / "sign"
    assert len(list(heartbeat.report_progress(work(), sign))) == 9
    outcomes = heartbeat.report_progress(work(), sign)
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    assert ended == [True, True]
