"""Every parser reads or refuses what is nearly sound, in one line that names the problem.

Each target takes its corpus, which holds what once went wrong, and the mutations of the day.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest

from tests.fuzz.mutations import mutate
from tests.fuzz.targets import TARGETS, Trial

N_MUTATIONS = 150
TURN = int(os.environ.get("FUZZ_TURN") or datetime.datetime.now(datetime.UTC).toordinal())
CORPUS = Path(__file__).with_name("corpus")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", TARGETS)
def test_parser_refuses_by_name(name: str, tmp_path: Path) -> None:
    trial = Trial(name, tmp_path)
    assert all(map(trial.reads, trial.seeds)), "a seed is not sound"
    for path in sorted((CORPUS / name).glob("*")):
        assert not (found := trial.try_input(path.read_bytes())), f"{path}: {found}"
    for number in range(TURN * N_MUTATIONS, (TURN + 1) * N_MUTATIONS):
        found = trial.try_input(mutate(trial.seeds, number))
        assert not found, f"{found}\nAgain: python -m tests.fuzz {name} --mutation {number}"


def test_a_fault_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(path: Path) -> None:
        path.read_text("utf-8")

    monkeypatch.setattr(TARGETS["plan"], "parsers", (parse,))
    trial = Trial("plan", tmp_path)
    assert any(trial.try_input(mutate(trial.seeds, number)) for number in range(200))
