"""A plan under review.

Every verdict is on disk in the journal, PLAN.review.jsonl, before `decide` returns. `save` writes
the plan with all of them and removes the journal. A session that is killed in between leaves its
journal, which the next session adopts. Each decision has a version, and a change must name it. So
a change never replaces a verdict unseen.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from faceprep.core import storage
from faceprep.core.errors import FaceprepError, OutputError, SourceError
from faceprep.core.journal import append_durably
from faceprep.core.locks import lock
from faceprep.core.os_errors import guard, missing_source
from faceprep.core.paths import exists, is_file, is_folder
from faceprep.core.text import count_noun
from faceprep.core.types import Decision
from faceprep.tables.plan import read_plan, write_plan
from faceprep.tables.verdicts import Verdict, format_verdicts, journal_of, read_verdicts


class Stale(FaceprepError):
    """A change of decisions, `numbers`, that somebody else has changed meanwhile."""

    def __init__(self, problem: str, numbers: Sequence[int] = ()) -> None:
        super().__init__(problem)
        self.numbers = list(numbers)


class PlanChanged(OutputError):
    """The plan on disk has changed since the review began."""


class Session:
    """The decisions of one plan under review; safe to use from several threads."""

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
        """Numbers of changed decisions, in the order of the changes."""
        self._made_by: dict[int, int] = {}
        self._groups: list[list[tuple[int, str, int]]] = []
        self._lock = threading.RLock()
        self._saving = threading.Lock()
        self._unsaved: list[Verdict] = []
        self._first = [decision.verdict for decision in self.decisions]

    @property
    def n_unsaved(self) -> int:
        """Count the verdicts that are only in the journal."""
        return len(self._unsaved)

    @property
    def n_changed(self) -> int:
        """Count the decisions whose verdict differs from that at the start."""
        pairs = zip(self.decisions, self._first, strict=True)
        return sum(decision.verdict != first for decision, first in pairs)

    # Verdicts

    def decide(self, verdict: str, wanted: Sequence[tuple[int, int]]) -> int:
        """Give this verdict to all decisions (number, version) or to none of them.

        Returns the number of the group for `undo`. Raises Stale where a version differs,
        PlanChanged, and OutputError where the journal cannot be written.
        """
        with self._lock:
            stale = [number for number, version in wanted if self.versions[number] != version]
            if stale:
                raise Stale("decided elsewhere meanwhile", stale)
            numbers = {number for number, _ in wanted if self.decisions[number].verdict != verdict}
            group = len(self._groups)
            before = [
                (number, self.decisions[number].verdict, self._made_by.get(number, -1))
                for number in sorted(numbers)
            ]
            self._change([(number, verdict, group) for number, _, _ in before])
            self._groups.append(before)
            return group

    def undo(self, group: int) -> list[int]:
        """Undo the `decide` that returned `group`; return the numbers of the changed decisions.

        Decisions that were decided again since stay unchanged. Raises Stale where none is left.
        """
        with self._lock:
            before = self._groups[group] if 0 <= group < len(self._groups) else []
            still_made = [entry for entry in before if self._made_by.get(entry[0]) == group]
            if not still_made:
                numbers = [number for number, _, _ in before]
                raise Stale("nothing to undo: it was decided again since then", numbers)
            self._change(still_made)
            return [number for number, _, _ in still_made]

    def _change(self, wanted: Sequence[tuple[int, str, int]]) -> None:
        """Set verdicts: (number, verdict, group). The journal is written first."""
        if not wanted:
            return
        self.refuse_changed_plan()
        verdicts = [
            _verdict_on(self.decisions[number], number, verdict) for number, verdict, _ in wanted
        ]
        append_durably(self.journal, format_verdicts(verdicts))
        self._unsaved += verdicts
        for number, verdict, group in wanted:
            self.decisions[number] = self.decisions[number]._replace(verdict=verdict)
            self.versions[number] += 1
            self.changes.append(number)
            self._made_by[number] = group

    # The disk

    def adopt(self, verdicts: Sequence[Verdict], strict: bool = False) -> tuple[int, int]:
        """Adopt the verdicts of another session.

        Returns the number of decisions that they change, and how many of these somebody else had
        changed. With `strict` the latter raise SourceError. Raises SourceError also for decisions
        that the plan does not have.
        """
        lasts, seen = self._collect(verdicts)
        overruled = [
            number for number, past in seen.items() if self.decisions[number].verdict not in past
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
        changed = {
            number: verdict
            for number, verdict in lasts.items()
            if self.decisions[number].verdict != verdict
        }
        with self._lock:
            self._change([(number, verdict, -1) for number, verdict in changed.items()])
        return len(changed), len(changed.keys() & set(overruled))

    def _collect(self, verdicts: Sequence[Verdict]) -> tuple[dict[int, str], dict[int, set[str]]]:
        """Return the last verdict of each decision, and all verdicts that it has had before."""
        named: dict[tuple[str, str, str], int] = {}
        for number, decision in enumerate(self.decisions):
            named.setdefault(decision[:3], number)
        lasts: dict[int, str] = {}
        seen: dict[int, set[str]] = {}
        for verdict in verdicts:
            number, key = verdict.number, verdict[1:4]
            if not 0 <= number < len(self.decisions) or self.decisions[number][:3] != key:
                if key not in named:
                    name = " ".join(filter(None, key))
                    raise SourceError(
                        f"the plan has no decision {name!r}",
                        path=self.plan,
                        remedy="Check the plan.",
                    )
                number = named[key]
            lasts[number] = verdict.verdict
            seen.setdefault(number, set()).update((verdict.verdict, verdict.before))
        return lasts, seen

    def refuse_changed_plan(self) -> None:
        """Raise PlanChanged when somebody else has written or removed the plan.

        Raises SourceError where it cannot be looked at.
        """
        state = _state_of(self.plan)
        if state == self._state:
            return
        if not state or _digest_of(self.plan) != self._digest:
            raise PlanChanged(
                "the plan was changed by somebody else while it was reviewed",
                path=self.plan,
                remedy="It is left unchanged. Verdicts that it lacks are in "
                f"{self.journal.name}. Start the review again to adopt them.",
            )
        self._state = state

    def save(self) -> None:
        """Write the plan with all verdicts, and remove the journal.

        Raises PlanChanged, OutputError or SourceError, and keeps the journal then.
        """
        with self._saving:
            with self._lock:
                n, decisions = len(self._unsaved), self.decisions.copy()
            if not n:
                return
            file = io.BytesIO()
            write_plan(file, self.judged, decisions)
            with self._lock:
                self.refuse_changed_plan()
                storage.write_file(self.plan, file.getbuffer(), keep_mode=True)
                self._state = _state_of(self.plan)
                self._digest = hashlib.sha256(file.getbuffer()).digest()
                self._unsaved = self._unsaved[n:]
                if self._unsaved:
                    storage.write_file(self.journal, format_verdicts(self._unsaved))
                else:
                    storage.remove_file(self.journal)


@contextmanager
def open_session(plan: Path, journal: bool = True, read_only: bool = False) -> Iterator[Session]:
    """Open the plan for this process alone, and save it at the end.

    With `journal`, the verdicts of a session that was killed are adopted. With `read_only`, a plan
    in a folder that cannot be written is opened without a lock: nobody else can review it either.
    Raises SourceError if `plan` is not a plan, and OutputError if it is under review already.
    """
    plan = Path(os.path.realpath(plan))
    if not exists(plan):
        raise missing_source(plan)
    if not is_file(plan):
        raise SourceError(
            "not a plan",
            path=plan,
            expected="a plan, as merge-identities and others write it",
            found="a folder without one" if is_folder(plan) else "",
        )
    is_lockable = os.access(plan.parent, os.W_OK | os.X_OK) or exists(journal_of(plan))
    with nullcontext() if read_only and not is_lockable else lock(state_folder(plan)):
        session = Session(plan)
        if journal and exists(session.journal):
            verdicts = read_verdicts(session.journal)
            data = format_verdicts(verdicts)  # drops an incomplete last line
            storage.write_file(session.journal, data)
            session.adopt(verdicts, strict=True)
            session.save()
            storage.remove_file(session.journal)
        yield session
        session.save()


def state_folder(plan: Path) -> Path:
    """Return the folder that a review keeps between sessions: its lock and thumbnails."""
    return plan.parent / ".faceprep" / plan.name


def _verdict_on(decision: Decision, number: int, verdict: str) -> Verdict:
    return Verdict(
        number, decision.action, decision.subject, decision.into, verdict, decision.verdict
    )


def _state_of(plan: Path) -> tuple[int, ...]:
    """Return the inode, size and time of the plan, or an empty tuple if it does not exist.

    Raises SourceError.
    """
    with guard("look at", plan, SourceError), suppress(FileNotFoundError, NotADirectoryError):
        state = os.stat(plan)
        return state.st_ino, state.st_size, state.st_mtime_ns
    return ()


def _digest_of(plan: Path) -> bytes:
    return hashlib.sha256(storage.read_bytes(plan)).digest()
