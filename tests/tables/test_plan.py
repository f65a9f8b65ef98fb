"""read(write(plan)) == plan; what is not a plan is refused with its line; a plan edited by hand is
one.
"""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.types import ACCEPTED, REFUSED, UNDECIDED, Decision
from faceprep.tables.plan import apply_command, plan_of, read_plan, refuse_output, write_plan

NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
EVIDENCE = st.dictionaries(
    st.sampled_from(["for", "against", "images", "pairs", "kept"]),
    st.integers() | NAMES | st.tuples(NAMES, NAMES, NUMBERS).map(list),
)
TOLD = {
    "subject": NAMES,
    "score": st.none() | NUMBERS,
    "reason": st.just("") | NAMES,
    "verdict": st.sampled_from([ACCEPTED, REFUSED, UNDECIDED]),
    "evidence": EVIDENCE,
}
DECISIONS = st.builds(Decision, action=st.just("drop"), into=st.just(""), **TOLD) | st.builds(
    Decision, action=st.sampled_from(["merge", "move", "rename", "restore"]), into=NAMES, **TOLD
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(DECISIONS, max_size=5))
def test_there_and_back(tmp_path: Path, decisions: list[Decision]) -> None:
    path = tmp_path / "plan.jsonl"
    with path.open("wb") as file:
        write_plan(file, {"source": "a"}, decisions)
    judged, back = read_plan(path)
    assert judged == {"kind": "plan", "source": "a"}
    assert list(back) == decisions


def test_what_says_nothing_is_left_out() -> None:
    file = io.BytesIO()
    write_plan(
        file,
        {},
        [Decision("drop", "a"), Decision("merge", "a", "b", 0.0, "why", UNDECIDED, {"pairs": 1})],
    )
    assert file.getvalue().splitlines()[1:] == [
        b'{"action": "drop", "subject": "a"}',
        b'{"action": "merge", "subject": "a", "into": "b", "score": 0.0, "reason": "why", '
        b'"verdict": "undecided",'
        b' "evidence": {"pairs": 1}}',
    ]


def test_no_numbers_that_json_does_not_know() -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_plan(io.BytesIO(), {}, [Decision("drop", "a", score=float("nan"))])


def test_names_that_are_no_text_and_names_with_line_breaks(tmp_path: Path) -> None:
    path, decisions = (
        tmp_path / "plan.jsonl",
        [Decision("drop", "a/\udcff.png"), Decision("drop", "a\nb\r\u2028.png")],
    )
    with path.open("wb") as file:
        write_plan(file, {}, decisions)
    assert list(read_plan(path)[1]) == decisions


def test_edited_by_hand(tmp_path: Path) -> None:
    """Lines deleted and reordered, verdicts changed, blank lines, line ends and mark of another
    system.
    """
    path = tmp_path / "plan.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf\r\n{"kind":"plan"}\r\n\r\n{"verdict":"refused","into":"b","subject":"a","action":"merge"}\r\n'
        b'   \r\n  {"action": "drop", "subject": "c", "into": "", "score": 3, "reason": "", '
        b'"evidence": {}}'
    )
    assert list(read_plan(path)[1]) == [
        Decision("merge", "a", "b", verdict=REFUSED),
        Decision("drop", "c", score=3),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"kind": "plan", "source": a}\n', "not JSON .* at line 1"),
        ('\n["plan"]\n', "not a JSON object at line 2"),
        ('{"kind": "plan"}\n\n{"action": "drop",}', r"not JSON \(.*\) at line 3"),
        ('{"kind": "plan"}\n\n[]', "not a JSON object at line 3"),
        (
            '{"kind": "plan"}\n{"action": "drop"}\n',
            "not a decision at line 2: expected subject .*, found none",
        ),
        ('{"kind": "plan"}\n{"subject": "a"}\n', "line 2: expected action .*, found none"),
        (
            '{"kind": "plan"}\n\n{"action": "drop", "subject": "a", "extra": 1}\n',
            "at line 3: .*, found extra",
        ),
        (
            '{"kind": "plan"}\n{"action": 1, "subject": "a"}\n',
            "line 2: expected action one of drop, merge.*, found 1",
        ),
        (
            '{"kind": "plan"}\n{"action": ["drop"], "subject": "a"}\n',
            "line 2: expected action one of drop",
        ),
        ('{"kind": "plan"}\n# no\n', r"not JSON \(Expecting value at character 1\) at line 2"),
        (
            '{"kind": "plan"}\n{"action": "drop", "subject": "a", "action": "merge"}\n',
            r"not JSON \('action' occurs twice\) at line 2",
        ),
        ('{"kind": "plan"}\n{"score": NaN}\n', r"not JSON \(NaN .*\) at line 2"),
        ('{"kind": "plan", "threshold": 1e999}\n', r"not JSON \(a number .*\) at line 1"),
        ('{"kind": "plan", "source": "a\\u0000"}\n', r"not JSON \(.* '.x00'\) at line 1"),
        ('{"kind": "plan"}\n{"subject": "\\ud800"}\n', r"not JSON \(.* '.ud800'\) at line 2"),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "plan.jsonl"
    path.write_text(text)
    with pytest.raises(SourceError, match=problem):
        list(read_plan(path)[1])


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (b"\n \n", "an empty file"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\n", "bytes that are not text"),
        (b"PK\x03\x04\x00", "bytes that are not text"),
        (b"name,identity\na.jpg,1\n", "name,identity"),
        (b'{\n "kind": "plan"\n}', "{"),
        (b'{"kind": "other"}\n', '{"kind": "other"}'),
        (b"[]\n", "[]"),
        (b"[" * 100_000, "[" * 60 + "…"),
        (b'{"action": "drop", "subject": "a"}\n', '{"action": "drop", "subject": "a"}'),
    ],
)
def test_another_file_is_no_plan_and_it_is_said_where_plans_are(
    tmp_path: Path, data: bytes, found: str
) -> None:
    path = tmp_path / "faces.jpg"
    path.write_bytes(data)
    with pytest.raises(SourceError) as told:
        read_plan(path)
    assert str(told.value) == (
        f'{path}: not a plan: expected a first line with {{"kind": "plan", …}}, found {found}.'
        " Plans are the plan.jsonl of merge-identities, clean-identities, exclude-people, dedupe "
        "and score, and undo.jsonl."
    )


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (
            {"action": "delete"},
            "expected action one of drop, merge, move, rename, restore .whether it is accepted is "
            "the .verdict.., found 'delete'",
        ),
        ({"subject": ""}, "expected subject"),
        ({"subject": None}, "expected subject"),
        ({"into": None}, "expected into a string, found None"),
        ({"into": ""}, "expected into, where to merge it, found ''"),
        ({"action": "drop"}, "expected no into, found 'b'"),
        ({"score": True}, "expected score a finite number, found True"),
        ({"score": "0.5"}, "expected score a finite number, found '0.5'"),
        ({"reason": 1}, "expected reason a string, found 1"),
        (
            {"verdict": "perhaps"},
            "expected verdict one of accepted, refused, undecided, found 'perhaps'",
        ),
        ({"verdict": ""}, "expected verdict"),
        ({"evidence": []}, "expected evidence an object"),
    ],
)
def test_decisions_that_cannot_be_meant(
    tmp_path: Path, changed: dict[str, object], problem: str
) -> None:
    path = tmp_path / "plan.jsonl"
    sound = {"action": "merge", "subject": "a", "into": "b", "score": 0.5}
    path.write_text("\n".join(map(json.dumps, [{"kind": "plan"}, sound, sound | changed])))
    with pytest.raises(SourceError, match=f"not a decision at line 3: {problem}"):
        list(read_plan(path)[1])


def test_a_plan_may_have_a_name_of_any_length(tmp_path: Path) -> None:
    """A plan beside it could not be named after it."""
    path = tmp_path / f"{'n' * 249}.jsonl"
    assert plan_of(path) == path
    refuse_output(path, "faceprep review {plan}")


@pytest.mark.parametrize("folder", [".", "..", "/"])
def test_a_folder_without_a_name_is_no_plan(folder: str) -> None:
    with pytest.raises(SourceError, match="not a plan"):
        refuse_output(folder, "faceprep review {plan}")


def test_ten_thousand_decisions(tmp_path: Path) -> None:
    path = tmp_path / "plan.jsonl"
    evidence = {
        "for": ["a/1.png", "b/1.png", 0.9],
        "against": ["a/2.png", "b/2.png", 0.1],
        "images": [3, 4],
    }
    decisions = [
        Decision("merge", f"{i}", f"{i + 1}", i / 7, evidence=evidence) for i in range(10_000)
    ]
    with path.open("wb") as file:
        write_plan(file, {}, decisions)
    assert list(read_plan(path)[1]) == decisions


def test_a_plan_is_utf8_whatever_the_names(tmp_path: Path) -> None:
    path, name = tmp_path / "plan.jsonl", "a/caf\udce9\\udce9 ü.png"
    with path.open("wb") as file:
        write_plan(file, {"source": "/\udcff"}, [Decision("drop", name, reason="x")])
    lines = path.read_bytes().decode("utf-8").splitlines()
    assert [json.loads(line) for line in lines][1]["subject"] == name
    header, decisions = read_plan(path)
    assert header["source"] == "/\udcff" and next(decisions).subject == name


@pytest.mark.parametrize(
    ("name", "plan"), [("merged", "merged/plan.jsonl"), ("a set.tar", "a set.plan.jsonl")]
)
def test_an_output_in_place_of_its_plan_is_named(name: str, plan: str, tmp_path: Path) -> None:
    (tmp_path / plan).parent.mkdir(exist_ok=True)
    (tmp_path / plan).write_text("")
    refuse_output(tmp_path / plan, "faceprep review {plan}")
    refuse_output(tmp_path / "other", "faceprep review {plan}")
    quoted = shlex.quote(str(tmp_path / plan))
    with pytest.raises(SourceError, match="has one") as refused:
        refuse_output(tmp_path / name, "faceprep review {plan}")
    assert f"Run faceprep review {quoted}." in str(refused.value)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ("merged/plan.jsonl", "faceprep apply merged/plan.jsonl merged-reviewed"),
        ("a/set.plan.jsonl", "faceprep apply a/set.plan.jsonl a/set-reviewed"),
        ("plan.jsonl", "faceprep apply plan.jsonl ../set-reviewed"),
        ("../plan.jsonl", "faceprep apply ../plan.jsonl ../../sets-reviewed"),
        ("merged/undo.jsonl", "faceprep apply merged/undo.jsonl merged-undone"),
        ("a/set.undo.jsonl", "faceprep apply a/set.undo.jsonl a/set-undone"),
        ("a b/plan.jsonl", "faceprep apply 'a b/plan.jsonl' 'a b-reviewed'"),
    ],
)
def test_the_command_that_carries_a_plan_out(
    plan: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sets" / "set").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "sets" / "set")
    assert apply_command(Path(plan)) == expected
