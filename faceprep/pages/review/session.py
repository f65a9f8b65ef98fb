"""A plan while it is reviewed.

Every verdict is in the journal, PLAN.review.jsonl, and on disk before `decide` returns. `fold`
writes the plan with all of them and removes the journal. Who was killed in between leaves a
journal; the next session takes it over. Each decision has a version, which whoever wants to change
it must know: nobody changes what he has not seen.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faceprep.core import storage
from faceprep.core.errors import FaceprepError, OutputError, SourceError
from faceprep.core.journal import append_durably
from faceprep.core.locks import lock
from faceprep.core.text import count_noun
from faceprep.core.types import Decision
from faceprep.tables.plan import read_plan, write_plan
from faceprep.tables.verdicts import Verdict, format_verdicts, journal_of, read_verdicts


class Stale(FaceprepError):
    """Somebody else has decided meanwhile; `numbers` are the decisions that it is about."""

    def __init__(self, problem: str, numbers: Sequence[int] = ()) -> None:
        super().__init__(problem)
        self.numbers = list(numbers)


class PlanChanged(OutputError):
    """The plan on disk is not the one that is reviewed any more."""


class Session:
    """The decisions of one plan, safe to use from several threads."""

    def __init__(self, plan: Path) -> None:
        self.plan, self.journal = plan, journal_of(plan)
        self.judged: Mapping[str, Any]
        self.decisions: list[Decision]
        self._state, self._digest = _state_of(plan), _digest_of(plan)
        self.judged, decisions = read_plan(plan)
        self.decisions = list(decisions)
        if _state_of(plan) != self._state:
            raise SourceError(
                "is being written", path=plan, remedy="Start again when that is done."
            )
        self.versions = [0] * len(self.decisions)
        self.changes: list[int] = []
        """Numbers of decisions, in the order in which they were changed."""
        self._made_by: dict[int, int] = {}
        self._groups: list[list[tuple[int, str, int]]] = []
        self._lock = threading.RLock()
        self._folding = threading.Lock()
        self._unfolded: list[Verdict] = []
        self._first = [decision.verdict for decision in self.decisions]

    @property
    def n_unfolded(self) -> int:
        """Verdicts that are in the journal only."""
        return len(self._unfolded)

    @property
    def n_changed(self) -> int:
        """Decisions that have another verdict than at the beginning."""
        pairs = zip(self.decisions, self._first, strict=True)
        return sum(decision.verdict != first for decision, first in pairs)

    # Verdicts

    def decide(self, verdict: str, wanted: Sequence[tuple[int, int]]) -> int:
        """Give all decisions (number, version) this verdict, or none of them; the number to `undo`
        it with.

        Raises Stale where a version is another, PlanChanged, OutputError where the journal cannot
        be written.
        """
        with self._lock:
            stale = [number for number, version in wanted if self.versions[number] != version]
            if stale:
                raise Stale("decided elsewhere meanwhile", stale)
            numbers = {number for number, _ in wanted if self.decisions[number].verdict != verdict}
            group, undoing = (
                len(self._groups),
                [
                    (number, self.decisions[number].verdict, self._made_by.get(number, -1))
                    for number in sorted(numbers)
                ],
            )
            self._change([(number, verdict, group) for number, _, _ in undoing])
            self._groups.append(undoing)
            return group

    def undo(self, group: int) -> list[int]:
        """Take back what the `decide` that returned `group` did; the numbers of the decisions that
        it changes.

        Those that were decided again since stay as they are. Raises Stale where that leaves none.
        """
        with self._lock:
            undoing = self._groups[group] if 0 <= group < len(self._groups) else []
            mine = [entry for entry in undoing if self._made_by.get(entry[0]) == group]
            if not mine:
                raise Stale(
                    "nothing to undo: decided again since", [number for number, _, _ in undoing]
                )
            self._change(mine)
            return [number for number, _, _ in mine]

    def _change(self, wanted: Sequence[tuple[int, str, int]]) -> None:
        """The disk first, then what is told."""
        if not wanted:
            return
        self.refuse_changed_plan()
        verdicts = [
            _verdict_on(self.decisions[number], number, verdict) for number, verdict, _ in wanted
        ]
        append_durably(self.journal, format_verdicts(verdicts))
        self._unfolded += verdicts
        for number, verdict, group in wanted:
            self.decisions[number] = self.decisions[number]._replace(verdict=verdict)
            self.versions[number] += 1
            self.changes.append(number)
            self._made_by[number] = group

    # The disk

    def take_over(self, verdicts: Sequence[Verdict], strict: bool = False) -> tuple[int, int]:
        """Verdicts of another session; (how many change a decision, how many of those overrule
        somebody else's).

        `strict`: none may overrule. Raises SourceError then, and for decisions that the plan does
        not have.
        """
        lasts, known = self._lasts(verdicts)
        overruled = [
            number
            for number, passed in known.items()
            if self.decisions[number].verdict not in passed
        ]
        if strict and overruled:
            decision = self.decisions[overruled[0]]
            raise SourceError(
                f"the plan was changed and contradicts {count_noun(len(overruled), 'verdict')} not "
                "yet in it",
                path=self.journal,
                found=f"{decision.action} {decision.subject} is {decision.verdict} in the plan, and"
                f" {lasts[overruled[0]]} here",
                remedy=f"Remove this file if the plan is right; else --import {self.journal.name}.",
            )
        changed = [
            number for number, verdict in lasts.items() if self.decisions[number].verdict != verdict
        ]
        with self._lock:
            self._change([(number, lasts[number], -1) for number in changed])
        return len(changed), len(set(changed) & set(overruled))

    def _lasts(self, verdicts: Sequence[Verdict]) -> tuple[dict[int, str], dict[int, set[str]]]:
        """By number: the last verdict, and all that it has had on the way."""
        named: dict[tuple[str, str, str], int] = {}
        for number, decision in enumerate(self.decisions):
            named.setdefault(decision[:3], number)
        lasts: dict[int, str] = {}
        passed: dict[int, set[str]] = {}
        for verdict in verdicts:
            number, key = verdict.number, verdict[1:4]
            if not 0 <= number < len(self.decisions) or self.decisions[number][:3] != key:
                if key not in named:
                    what = " ".join(filter(None, key))
                    raise SourceError(
                        f"the plan has no decision {what!r}",
                        path=self.plan,
                        remedy="Check the plan.",
                    )
                number = named[key]
            lasts[number] = verdict.verdict
            passed.setdefault(number, set()).update((verdict.verdict, verdict.before))
        return lasts, passed

    def refuse_changed_plan(self) -> None:
        """Raises PlanChanged when somebody else has written the plan, or removed it."""
        state = _state_of(self.plan)
        if state == self._state:
            return
        if not state or _digest_of(self.plan) != self._digest:
            raise PlanChanged(
                "the plan was changed by somebody else while it was reviewed",
                path=self.plan,
                remedy="It is left as it is. What was decided and is not in it is in "
                f"{self.journal.name}:"
                " start the review again to take that over.",
            )
        self._state = state

    def fold(self) -> None:
        """Write the plan as it is decided by now. Raises PlanChanged, OutputError; the journal
        stays then.
        """
        with self._folding:
            with self._lock:
                n, decisions = len(self._unfolded), self.decisions.copy()
            if not n:
                return
            file = io.BytesIO()
            write_plan(file, self.judged, decisions)
            with self._lock:
                self.refuse_changed_plan()
                storage.write_file(self.plan, file.getbuffer(), keep_mode=True)
                self._state, self._digest = (
                    _state_of(self.plan),
                    hashlib.sha256(file.getbuffer()).digest(),
                )
                self._unfolded = self._unfolded[n:]
                if self._unfolded:
                    storage.write_file(self.journal, format_verdicts(self._unfolded))
                else:
                    storage.remove_file(self.journal)


@contextmanager
def open_session(plan: Path, journal: bool = True) -> Iterator[Session]:
    """The plan for this process alone, with what a session before left in the `journal`; folded at
    the end.

    Raises SourceError for what is no plan, OutputError when it is being reviewed already.
    """
    plan = Path(os.path.realpath(plan))
    if not plan.is_file():
        raise SourceError(
            "no such file", path=plan, expected="a plan, as merge-identities and others write it"
        )
    with lock(state_folder(plan)):
        session = Session(plan)
        if journal and session.journal.exists():
            verdicts = read_verdicts(session.journal, cut=True)
            storage.write_file(
                session.journal, format_verdicts(verdicts)
            )  # without half a line at the end
            session.take_over(verdicts, strict=True)
            session.fold()
            storage.remove_file(session.journal)
        yield session
        session.fold()


def state_folder(plan: Path) -> Path:
    """What a review leaves between sessions: its lock, and thumbnails."""
    return plan.parent / ".faceprep" / plan.name


def _verdict_on(decision: Decision, number: int, verdict: str) -> Verdict:
    return Verdict(
        number, decision.action, decision.subject, decision.into, verdict, decision.verdict
    )


def _state_of(plan: Path) -> tuple[int, ...]:
    """Empty where there is no such file."""
    try:
        state = os.stat(plan)
    except OSError:
        return ()
    return state.st_ino, state.st_size, state.st_mtime_ns


def _digest_of(plan: Path) -> bytes:
    return hashlib.sha256(storage.read_bytes(plan)).digest()
