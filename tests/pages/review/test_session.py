"""Each verdict is on disk before anyone hears of it, whatever happens then; nobody overwrites
what he has not seen.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceprep.core import storage
from faceprep.core.errors import OutputError, SourceError
from faceprep.core.types import VERDICTS, Decision
from faceprep.pages.review.session import PlanChanged, Session, Stale, open_session
from faceprep.tables.plan import read_plan
from faceprep.tables.verdicts import journal_of
from tests.reviews import UNKNOWN, A, R, U, merge, save_plan, saved, verdicts


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    decisions = [merge(i, 9, i / 10) for i in range(4)]
    return save_plan(tmp_path / "out" / "plan.jsonl", tmp_path / "faces", decisions)


def killed(plan: Path) -> Session:
    """A session that nobody ends."""
    return Session(plan)


def test_what_is_decided_is_in_the_plan_at_the_end(plan: Path) -> None:
    before = list(read_plan(plan)[1])
    with open_session(plan) as session:
        session.decide(A, [(1, 0)])
        session.decide(R, [(2, 0), (3, 0)])
        assert verdicts(plan) == [U, U, U, U]
        assert saved(plan) == [U, A, R, R]
        assert session.n_changed == session.n_unsaved == 3
    judged, after = read_plan(plan)
    assert list(after) == [
        decision._replace(verdict=verdict)
        for decision, verdict in zip(before, [U, A, R, R], strict=True)
    ], "order and evidence stay"
    assert UNKNOWN.items() <= judged.items()
    assert os.listdir(plan.parent) == [plan.name], "neither journal nor lock"


def test_nothing_decided_writes_nothing(plan: Path) -> None:
    before = plan.read_bytes(), plan.stat().st_mtime_ns
    with open_session(plan) as session:
        session.decide(U, [(0, 0)])
        assert session.versions[0] == 0
    assert (plan.read_bytes(), plan.stat().st_mtime_ns) == before


def test_a_plan_keeps_its_mode(plan: Path) -> None:
    for mode in (0o664, 0o600):
        plan.chmod(mode)
        with open_session(plan) as session:
            session.decide(A if mode == 0o600 else R, [(0, 0)])
        assert plan.stat().st_mode & 0o777 == mode


def test_plan_through_a_link(plan: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.jsonl"
    link.symlink_to(plan)
    with open_session(link) as session:
        session.decide(A, [(0, 0)])
    assert link.is_symlink() and verdicts(plan)[0] == A


# Versions


def test_stale_verdict_changes_nothing(plan: Path) -> None:
    with open_session(plan) as session:
        session.decide(R, [(1, 0)])
        with pytest.raises(Stale) as caught:
            session.decide(A, [(0, 0), (1, 0), (2, 0)])
        assert caught.value.numbers == [1]
        assert [decision.verdict for decision in session.decisions] == saved(plan) == [U, R, U, U]


def test_of_two_at_once_one_wins(plan: Path) -> None:
    with open_session(plan) as session:
        start, won = threading.Barrier(8), []

        def decide(verdict: str) -> None:
            start.wait()
            try:
                session.decide(verdict, [(0, 0)])
                won.append(verdict)
            except Stale:
                pass

        threads = [threading.Thread(target=decide, args=[verdict]) for verdict in (A, R) * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [session.decisions[0].verdict]
    assert verdicts(plan)[0] == won[0]


def test_undo(plan: Path) -> None:
    with open_session(plan) as session:
        first = session.decide(A, [(0, 0), (1, 0), (2, 0)])
        second = session.decide(R, [(1, 1)])
        assert session.undo(second) == [1]
        assert session.undo(first) == [0, 1, 2], "also the one that was decided again and undone"
        assert saved(plan) == [U, U, U, U]
        for group in (first, second, -1, 99):
            with pytest.raises(Stale, match="nothing to undo"):
                session.undo(group)


def test_undo_leaves_what_was_decided_again(plan: Path) -> None:
    with open_session(plan) as session:
        both = session.decide(A, [(0, 0), (1, 0)])
        session.decide(R, [(1, 1)])
        assert session.undo(both) == [0]
        assert saved(plan) == [U, R, U, U]


# The disk

steps = st.lists(
    st.tuples(st.sampled_from(VERDICTS), st.sets(st.integers(0, 3), min_size=1))
    | st.sampled_from(["undo", "fold", "kill", "end"]),
    max_size=12,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_the_disk_knows_all_that_was_told(
    steps: list[object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is decided, undone, folded, killed and ended."""
    root = tmp_path_factory.mktemp("law")
    plan = save_plan(root / "plan.jsonl", root, [merge(i, 9, i / 10) for i in range(4)])
    session, groups, told = Session(plan), [0], [U] * 4
    for step in steps:
        if isinstance(step, tuple):
            verdict, numbers = step
            groups.append(
                session.decide(verdict, [(number, session.versions[number]) for number in numbers])
            )
            told = [verdict if number in numbers else told[number] for number in range(4)]
        elif step == "undo":
            try:
                changed = session.undo(groups.pop() if groups else -1)
            except Stale:
                changed = []
            told = [session.decisions[i].verdict if i in changed else told[i] for i in range(4)]
        elif step == "fold":
            session.save()
            assert verdicts(plan) == told
        else:
            if step == "end":
                session.save()
            with open_session(plan):
                assert not journal_of(plan).exists()
            session, groups = Session(plan), []
        assert [decision.verdict for decision in session.decisions] == saved(plan) == told


def test_half_a_line_of_a_killed_writer(plan: Path) -> None:
    killed(plan).decide(A, [(0, 0)])
    whole = journal_of(plan).read_bytes()
    for n in range(1, len(whole) + 1, 7):
        journal_of(plan).write_bytes(whole + whole.replace(b'"number": 0', b'"number": 1')[: n - 1])
        with open_session(plan) as session:
            assert [decision.verdict for decision in session.decisions] == [A, U, U, U]


def test_killed_between_plan_and_journal(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = killed(plan)
    session.decide(A, [(0, 0)])
    session.decide(R, [(0, 1)])
    monkeypatch.setattr(storage, "remove_file", lambda path: None)
    session.save()
    monkeypatch.undo()
    assert journal_of(plan).exists() and verdicts(plan)[0] == R
    with open_session(plan):
        assert verdicts(plan)[0] == R
    assert not journal_of(plan).exists()


def test_decided_while_it_is_folded(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict that arrives while the plan is written stays in the journal."""
    session = killed(plan)
    session.decide(A, [(0, 0)])
    write = session.refuse_changed_plan

    def late() -> None:
        monkeypatch.setattr(session, "refuse_changed_plan", write)
        session.decide(R, [(1, 0)])

    monkeypatch.setattr(session, "refuse_changed_plan", late)
    session.save()
    assert verdicts(plan) == [A, U, U, U]
    assert saved(plan) == [A, R, U, U]
    assert session.n_unsaved == 1
    with open_session(plan):
        assert verdicts(plan) == [A, R, U, U]


def test_disk_that_takes_nothing_more(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_session(plan) as session:
        session.decide(A, [(0, 0)])

        def full(fd: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OutputError, match="No space left"):
            session.decide(R, [(1, 0)])
        assert session.decisions[1].verdict == U and session.versions[1] == 0
        monkeypatch.undo()
        assert saved(plan) == [A, U, U, U]


# Others


def test_second_session_is_refused(plan: Path) -> None:
    with (
        open_session(plan),
        pytest.raises(OutputError, match="another faceprep run is at work"),
        open_session(plan),
    ):
        raise AssertionError("opened twice")


def edited(plan: Path, edit: Callable[[list[str]], list[str]]) -> None:
    """Edit the plan like an editor that writes a new file."""
    lines = plan.read_text().splitlines()
    other = plan.with_suffix(".edited")
    other.write_text("\n".join(edit(lines)) + "\n")
    other.rename(plan)


def accept_second(lines: list[str]) -> list[str]:
    return [line.replace(U, A) if number == 2 else line for number, line in enumerate(lines)]


def test_plan_changed_by_hand_is_not_overwritten(plan: Path) -> None:
    refused = pytest.raises(
        PlanChanged, match=r"changed by somebody else .* are in plan.jsonl.review.jsonl"
    )
    with refused, open_session(plan) as session:
        session.decide(R, [(2, 0)])
        edited(plan, accept_second)
        by_hand = plan.read_bytes()
        for act in (lambda: session.decide(R, [(3, 0)]), lambda: session.undo(0), session.save):
            with pytest.raises(PlanChanged):
                act()
    assert plan.read_bytes() == by_hand
    with open_session(plan) as session:
        assert session.n_changed == 1
    assert verdicts(plan) == [U, A, R, U], "both, where they do not contradict each other"


def test_plan_removed_meanwhile(plan: Path) -> None:
    with pytest.raises(PlanChanged), open_session(plan) as session:
        plan.unlink()
        session.decide(R, [(2, 0)])
    assert not plan.exists()


def test_plan_touched_is_the_same(plan: Path) -> None:
    with open_session(plan) as session:
        plan.touch()
        session.decide(A, [(0, 0)])
    assert verdicts(plan)[0] == A


def test_journal_that_contradicts_the_plan(plan: Path) -> None:
    killed(plan).decide(R, [(1, 0)])
    edited(plan, accept_second)
    before = plan.read_bytes()
    told = (
        r"contradicts 1 verdict not yet in it: .*merge person-1 is accepted in the plan, and "
        r"refused"
    )
    refused = pytest.raises(SourceError, match=told)
    with refused, open_session(plan):
        raise AssertionError("opened")
    assert plan.read_bytes() == before and journal_of(plan).exists()


def test_journal_finds_decisions_that_moved(plan: Path) -> None:
    killed(plan).decide(R, [(1, 0)])
    edited(plan, lambda lines: [lines[0], *lines[:0:-1]])
    with open_session(plan) as session:
        assert [decision.verdict for decision in session.decisions] == [U, U, R, U]


def test_journal_of_another_plan(plan: Path) -> None:
    killed(plan).decide(R, [(1, 0)])
    edited(plan, lambda lines: [lines[0], lines[1]])
    with (
        pytest.raises(SourceError, match="the plan has no decision 'merge person-1 person-9'"),
        open_session(plan),
    ):
        raise AssertionError("opened")


def test_no_plan(tmp_path: Path) -> None:
    missing = tmp_path / "none" / "plan.jsonl"
    for path, message in ((missing, "no such file"), (tmp_path, "not a plan: .* found a folder")):
        with pytest.raises(SourceError, match=message), open_session(path):
            raise AssertionError("opened")
    assert os.listdir(tmp_path) == [], "no folder was made for its lock"
    (tmp_path / "text").write_text(json.dumps({"kind": "letter"}))
    with pytest.raises(SourceError, match="not a plan"), open_session(tmp_path / "text"):
        raise AssertionError("opened")


def test_a_plan_without_its_suffix_is_suggested(plan: Path) -> None:
    with (
        pytest.raises(SourceError, match=rf"Did you mean .*{plan.name}"),
        open_session(plan.with_suffix("")),
    ):
        raise AssertionError("opened")


def test_decisions_that_are_the_same_twice(tmp_path: Path) -> None:
    plan = save_plan(tmp_path / "plan.jsonl", tmp_path, [Decision("drop", "a/1.png")] * 2)
    session = killed(plan)
    session.decide(R, [(1, 0)])
    with open_session(plan):
        assert verdicts(plan) == [A, R]


@pytest.mark.parametrize(
    ("name", "n"), [("plan.jsonl", 0), ("plan.jsonl", 2), ("plan.jsonl.review.jsonl", 0)]
)
def test_a_plan_that_cannot_be_looked_at_is_named_with_the_reason(
    name: str, n: int, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails after `n` looks at it."""
    real, left = os.stat, [n]

    def look(path: str | os.PathLike[str], **options: bool) -> os.stat_result:
        if str(path).endswith(f"/{name}"):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, **options)

    monkeypatch.setattr(os, "stat", look)
    problem = rf"{name}: cannot look at: Input/output error"
    with pytest.raises(SourceError, match=problem), open_session(plan) as session:
        session.decide(A, [(0, 0)])
