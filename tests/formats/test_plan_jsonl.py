"""read(write(plan)) == plan; what is no plan is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceprep.errors import SourceError
from faceprep.formats.plan_jsonl import read_plan, write_plan
from faceprep.types import Decision

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
DECISIONS = st.builds(Decision, NAMES, NAMES, NAMES, st.none() | st.floats(allow_nan=False), NAMES)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(DECISIONS, max_size=5))
def test_there_and_back(tmp_path: Path, decisions: list[Decision]) -> None:
    path = tmp_path / "plan.jsonl"
    with path.open("wb") as file:
        write_plan(file, {"table": "a.parquet"}, decisions)
    judged, back = read_plan(path)
    assert judged == {"kind": "plan", "table": "a.parquet"}
    sound = [decision for decision in decisions if decision.action and decision.subject]
    if len(sound) == len(decisions):
        assert list(back) == decisions


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not a plan"),
        ('{"kind": "other"}\n', "not a plan"),
        ("[]\n", "no JSON object at line 1"),
        ("nonsense\n", "no JSON .* at line 1"),
        ('{"kind": "plan"}\n{"action": "drop"}\n', "not a decision at line 2"),
        ('{"kind": "plan"}\n\n{"action": "drop", "subject": "a", "extra": 1}\n', "not a decision at line 3"),
        ('{"kind": "plan"}\n{"action": 1, "subject": "a"}\n', "not a decision at line 2"),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "plan.jsonl"
    path.write_text(text)
    with pytest.raises(SourceError, match=problem):
        list(read_plan(path)[1])
