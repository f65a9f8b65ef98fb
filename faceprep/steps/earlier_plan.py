"""Earlier plans: their verdicts are not erased, and what a person refused stays refused."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from faceprep.core import storage
from faceprep.core.errors import OutputError, SourceError
from faceprep.core.names import identity_of
from faceprep.core.options import Values, option
from faceprep.core.os_errors import SuppressDamage
from faceprep.core.paths import are_same, exists
from faceprep.core.text import count_noun
from faceprep.core.types import ACCEPTED, MERGE, REFUSED, UNDECIDED, Decision
from faceprep.tables.plan import digest_of, read_plan, refuse_output
from faceprep.tables.verdicts import refuse_open_review

log = logging.getLogger("faceprep")
IN_TWO_IDENTITIES = "identities"
"""The evidence of a label conflict: the two identities that have copies of one image."""
_LEFT_UNDECIDED = "left_undecided"
"""The evidence that a command left a decision undecided, so that only a person accepts it."""


@dataclass(frozen=True)
class VerdictOptions:
    """The option of the commands that plan: an earlier plan with verdicts."""

    verdicts: Path | None = option(
        None,
        "Keep the verdicts of this earlier plan: refused decisions stay refused, and undecided "
        "ones that you accepted stay accepted.",
        values=Values("PLAN"),
    )


def keep_reviewed(plan: Path, overwrite: bool, verdicts: Path | None = None) -> None:
    """Refuse to plan again over verdicts of a person; with `overwrite`, copy the plan first.

    `verdicts` is the earlier plan that is to be read. Raises OutputError, and SourceError where a
    review is not finished.
    """
    if storage.size_of(plan) is None:
        return
    refuse_open_review(plan)
    if overwrite and verdicts and exists(verdicts) and are_same(plan, verdicts):
        raise OutputError(
            "--overwrite would remove the plan that --verdicts names",
            path=plan,
            remedy="Choose another output, or copy the plan to another place first.",
        )
    if not _is_reviewed(plan):
        return
    if not overwrite:
        raise OutputError(
            "a person has set verdicts in this plan, and planning again would erase them",
            path=plan,
            remedy=f"Carry it out with faceprep apply {plan} DST. Or plan into another output with "
            f"--verdicts {plan}, or here with --overwrite, which keeps {plan.name}.bak.",
        )
    storage.write_file(_free_name(plan), storage.read_bytes(plan))


def _is_reviewed(plan: Path) -> bool:
    """Return whether the decisions differ from those that a command wrote.

    Raises SourceError where the disk fails.
    """
    with SuppressDamage():
        header, found = read_plan(plan)
        decisions = list(found)
        if "digest" in header:
            return bool(header["digest"] != digest_of(decisions))
        return any(decision.verdict == REFUSED for decision in decisions)
    return True  # an edit may have broken the plan, but must be kept


def _free_name(plan: Path) -> Path:
    names = (f"{plan.name}.bak{number or ''}" for number in count())
    return next(path for path in map(plan.with_name, names) if not path.exists())


# Verdicts for a new plan


def mark_undecided(decisions: Sequence[Decision]) -> list[Decision]:
    """Note in each undecided decision that it was left to a person, whose verdict is then kept."""
    return [_mark(each) if each.verdict == UNDECIDED else each for each in decisions]


def _mark(decision: Decision) -> Decision:
    return decision._replace(evidence={**decision.evidence, _LEFT_UNDECIDED: True})


def carry_verdicts(
    decisions: Sequence[Decision], plan: Path | None, identities: Set[str]
) -> list[Decision]:
    """Give the decisions the verdicts of a person in an earlier `plan`, if there is one.

    A refused pair stays refused, and no other merges bring the two together: those are undecided.
    Refused pairs among `identities` that are not judged now are added. A decision that only a
    person can have accepted is accepted. Raises SourceError.
    """
    if plan is None:
        return list(decisions)
    earlier = _load(plan)
    judged = earlier.judge_merges(map(earlier.judge, decisions))
    return [*judged, *earlier.list_absent(judged, identities)]


def open_verdicts(plan: Path | None) -> Callable[[Decision], Decision]:
    """Return a function that gives one decision the verdict that it had in an earlier `plan`.

    Raises SourceError.
    """
    if plan is None:
        return lambda decision: decision
    return _load(plan).judge


def warn_of_renamed(plan: Path | None, identities: Set[str]) -> None:
    """Warn of refused decisions of an earlier `plan` about others than these identities.

    A folder may have another name since, so what a person refused may be done. Raises SourceError.
    """
    missing = list(_load(plan).list_missing(identities)) if plan else []
    if missing:
        log.warning(
            "%s: %s no effect, because the set has no %r; if it was renamed, rename it in the plan",
            plan,
            count_noun(len(missing), "refused decision has", "refused decisions have"),
            missing[0],
        )


def state_of_verdicts(plan: Path | None, command: str) -> str:
    """Return the state of an earlier plan for the fingerprint of a run; empty without one.

    Raises SourceError if it is not a plan that `command` wrote.
    """
    if plan is None:
        return ""
    refuse_output(plan, f"faceprep {command} with --verdicts {{plan}}")
    header, _ = read_plan(plan)
    found = "an undo plan" if "origin" in header else f"one of {header.get('command', command)}"
    expected = f"one of {command}"
    if found != expected:
        raise SourceError(
            "--verdicts needs a plan of the same command",
            path=plan,
            expected=expected,
            found=found,
            remedy=f"Name the plan.jsonl that {command} wrote.",
        )
    _load(plan)
    return f", verdicts {storage.fingerprint_of(plan)}"


def _load(plan: Path) -> _Earlier:
    refuse_open_review(plan)
    header, found = read_plan(plan)
    earlier = _Earlier(plan.name, _threshold_of(header))
    for decision in found:
        earlier.add(decision)
    return earlier


def count_refused(decisions: Sequence[Decision]) -> dict[str, int]:
    """Return the number of refused decisions for a summary; nothing without any."""
    n = Counter(decision.verdict for decision in decisions)[REFUSED]
    return {"refused": n} if n else {}


def describe_open(found: Mapping[str, Any]) -> str:
    """Describe the decisions of a summary that are not carried out.

    >>> describe_open({"undecided": 2}), describe_open({"undecided": 0, "refused": 1})
    ('2 undecided', '0 undecided, 1 refused')
    """
    refused = f", {found['refused']:,} refused" if "refused" in found else ""
    return f"{found['undecided']:,} undecided{refused}"


def _threshold_of(header: Mapping[str, Any]) -> float | None:
    threshold = header.get("summary", {}).get("threshold")
    return threshold if isinstance(threshold, int | float) else None


@dataclass
class _Earlier:
    """The verdicts of an earlier plan: refused and accepted pairs."""

    name: str
    threshold: float | None
    refused: dict[tuple[str, frozenset[str]], Decision] = field(default_factory=dict)
    accepted: dict[tuple[str, frozenset[str]], Decision] = field(default_factory=dict)
    apart: dict[str, set[str]] = field(default_factory=dict)
    """The identities that each one is not to be merged with."""

    def add(self, decision: Decision) -> None:
        """Note a decision of the earlier plan."""
        if decision.verdict == REFUSED:
            self.refused[_pair_of(decision)] = decision
            if decision.action == MERGE:
                self.apart.setdefault(decision.subject, set()).add(decision.into)
                self.apart.setdefault(decision.into, set()).add(decision.subject)
        elif decision.verdict == ACCEPTED and self._needs_person(decision):
            self.accepted[_pair_of(decision)] = decision

    def _needs_person(self, decision: Decision) -> bool:
        """Return whether only a person can have accepted a decision.

        It is marked, or about copies in two identities. A plan of 0.2.0 has no marks, so that a
        decision below its threshold counts, too.
        """
        if not decision.evidence.keys().isdisjoint((_LEFT_UNDECIDED, IN_TWO_IDENTITIES)):
            return True
        if decision.score is None or self.threshold is None:
            return False
        return decision.score < self.threshold

    def judge(self, decision: Decision) -> Decision:
        """Return a decision with the verdict that it had."""
        if _pair_of(decision) in self.refused and decision.verdict != REFUSED:
            return _change(decision, REFUSED, f"refused in {self.name}")
        if decision.verdict == UNDECIDED and self._was_accepted(decision):
            return _change(_mark(decision), ACCEPTED, f"accepted in {self.name}")
        return decision

    def _was_accepted(self, decision: Decision) -> bool:
        """Return whether a person accepted a decision; among copies, the same one is dropped."""
        earlier = self.accepted.get(_pair_of(decision))
        if earlier is None:
            return False
        return decision.action == MERGE or decision.subject == earlier.subject

    def judge_merges(self, decisions: Iterator[Decision]) -> list[Decision]:
        """Make merges undecided that bring a refused pair together; refuse undecided ones that do.

        The most alike are merged first. Undecided decisions follow the accepted ones.
        """
        judged, held = list(decisions), set[int]()
        members: dict[str, set[str]] = {}
        ranked = sorted(range(len(judged)), key=lambda at: -(judged[at].score or 0))
        for wanted, verdict in ((ACCEPTED, UNDECIDED), (UNDECIDED, REFUSED)):
            for at in ranked:
                each = judged[at]
                if each.action != MERGE or each.verdict != wanted or at in held:
                    continue
                one = members.setdefault(each.subject, {each.subject})
                other = members.setdefault(each.into, {each.into})
                if pair := self._refused_between(one, other):
                    apart = f"{' and '.join(sorted(pair))} are refused in {self.name}"
                    judged[at] = _change(each, verdict, apart)
                    held.add(at)
                elif wanted == ACCEPTED:
                    other |= one
                    members[each.subject] = other
        return sorted(judged, key=lambda each: each.verdict != ACCEPTED)

    def _refused_between(self, one: set[str], other: set[str]) -> tuple[str, ...]:
        """Return a refused pair of an identity of `one` and an identity of `other`, or nothing."""
        for name in sorted(one & self.apart.keys()):
            if found := self.apart[name] & other:
                return name, min(found)
        return ()

    def list_absent(self, judged: Sequence[Decision], identities: Set[str]) -> Iterator[Decision]:
        """Yield the refused merges of these identities that the new decisions do not name."""
        named = set(map(_pair_of, judged))
        for pair, decision in self.refused.items():
            if pair not in named and decision.action == MERGE and pair[1] <= identities:
                yield decision

    def list_missing(self, identities: Set[str]) -> Iterator[str]:
        """Yield a name of each refused decision that is about another identity than these."""
        for decision in self.refused.values():
            names = [decision.subject]
            if decision.action == MERGE:
                names.append(decision.into)
            missing = [name for name in names if identities.isdisjoint({name, identity_of(name)})]
            yield from missing[:1]


def _pair_of(decision: Decision) -> tuple[str, frozenset[str]]:
    """Return what a verdict is about: the action, and its two sides in any order.

    The other side of a drop is the image that is kept, or the person of the other set.
    """
    sides = (decision.evidence.get(name) for name in ("kept", "person"))
    other = next((side for side in sides if isinstance(side, str)), decision.into)
    return decision.action, frozenset({decision.subject, other})


def _change(decision: Decision, verdict: str, why: str) -> Decision:
    return decision._replace(verdict=verdict, reason=f"{decision.reason}; {why}")
