"""Every command stands a few faults a day; the harness finds the faults that are planted."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.faults.cases import CASES, SCENES, Case
from tests.faults.harness import Harness, Trial, open_harness
from tests.faults.injection import compiler
from tests.faults.planted import COMMANDS, READING
from tests.faults.points import Point
from tests.turns import TURN, choose_points, points_of_the_day

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="LD_PRELOAD needs Linux"),
    pytest.mark.skipif(compiler() is None, reason="no C compiler (cc, gcc or clang) for fault.c"),
]
N_CASES, N_POINTS = 13, 4
"""Cases a day, and points of each."""
N_READ_CASES, N_READ_POINTS = 5, 6
"""Cases a day whose reads are disturbed, and points of each."""
PLANTED = {
    "in-place": "neither old nor new",
    "silent": "the output is not complete",
    "crashing": "a traceback",
    "no-resume": "second start: exit status 1",
    "input-changing": "in/folder/0/0.jpg is lost",
    "mute": "does not name the error",
    "littering": "other files than an undisturbed run",
    "swallowing": "the output is not that of a calm run",
}


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with open_harness(tmp_path_factory.mktemp("faults")) as harness:
        yield harness


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with open_harness(tmp_path_factory.mktemp("planted"), "tests.faults.planted:main") as harness:
        yield harness


def stand(trial: Trial, chosen: list[Point], words: str, most: int | None = None) -> None:
    """Disturb a command at the chosen points, `most` of them; fail with what was found.

    Says how to repeat it.
    """
    for point in chosen:
        if trial.n_tried != most:
            trial.try_point(point)
    again = " ".join(f"--point {finding.point}" for finding in trial.findings if finding.operation)
    text = "\n".join(map(str, trial.findings))
    assert not trial.findings, f"{text}\nAgain: python -m tests.faults {words} {again}"
    # signs of life are written by the clock, so a run may end before the last operations
    assert trial.n_tried or not chosen, f"turn {TURN}: no operation of {words} came again"


@pytest.mark.parametrize("name", points_of_the_day(list(CASES), N_CASES))
def test_command_stands_the_faults_of_the_day(name: str, harness: Harness) -> None:
    trial = Trial(harness, CASES[name])
    stand(trial, choose_points(trial.points, N_POINTS, TURN), name)


@pytest.mark.parametrize("number", range(N_READ_CASES))
def test_command_stands_the_read_faults_of_the_day(number: int, harness: Harness) -> None:
    """Other commands, other scenes, and now and then worker processes, every day."""
    turn = TURN * N_READ_CASES + number
    name = list(CASES)[turn % len(CASES)]
    round_ = turn // len(CASES)
    scenes = CASES[name].scenes
    scene = scenes[round_ % len(scenes)]
    runner = "processes" if number == 0 and CASES[name].is_run else "serial"
    trial = Trial(harness, CASES[name], runner, scene)
    stand(trial, choose_points(trial.points, N_READ_POINTS, round_), f"{name} --reads")


@pytest.mark.slow
def test_a_command_on_ray_stands_a_read_fault_of_the_day(harness: Harness) -> None:
    """One alone, since each start makes a Ray cluster."""
    pytest.importorskip("ray")
    trial = Trial(harness, CASES["convert-tar"], "ray", SCENES[TURN % len(SCENES)])
    chosen = choose_points(trial.points, 5, TURN)  # not every read comes again
    stand(trial, chosen, "convert-tar --runner ray --reads", most=1)


def test_every_planted_fault_is_expected() -> None:
    assert set(PLANTED) == set(COMMANDS) - {"sound", "reading"}


@pytest.mark.parametrize("command", COMMANDS)
def test_harness_finds_what_is_planted(command: str, planted: Harness) -> None:
    scene = "new" if command in READING else ""
    trial = Trial(planted, Case(command, ("in/folder",), is_run=False), scene=scene)
    for point in trial.points:
        trial.try_point(point)
    problems = [problem for finding in trial.findings for problem in finding.problems]
    assert trial.n_tried == len(trial.points) > 10
    if command not in PLANTED:
        assert not problems
    else:
        assert any(PLANTED[command] in problem for problem in problems), problems


def test_harness_finds_a_command_that_writes_without_saying_so(planted: Harness) -> None:
    trial = Trial(planted, Case("sound", ("in/folder",), is_run=False, writes=False))
    assert [finding.problems for finding in trial.findings] == [["it writes"]]


def test_turns_come_to_every_point() -> None:
    points = [Point("kill", at) for at in range(1, 24)]
    tried = {point for turn in range(5) for point in choose_points(points, 5, TURN + turn)}
    assert tried == set(points)
    assert choose_points(points, 5, 3) == choose_points(points, 5, 3)


@pytest.mark.parametrize("text", ["kill", "kill@", "kill@x", "sleep@3"])
def test_wrong_point_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^invalid point: expected .*, got"):
        Point.parse(text)
