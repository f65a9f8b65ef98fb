"""The section that shows decisions of a plan: what is one person, or one image, side by side."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faceprep.core.errors import FaceprepError
from faceprep.core.text import count_noun
from faceprep.core.types import ACCEPTED, DROP, MERGE, MOVE, UNDECIDED, Decision, Outcome
from faceprep.pages.left_out import note_left_out
from faceprep.pages.report.sections import Comparison, Picture, Section, Side
from faceprep.pages.review.gallery import AGAINST, FOR, INTO, LEAD, SUBJECT, Gallery, Strip
from faceprep.pages.review.thumbnails import make_thumbnail

_N_SHOWN, _N_EACH, _SIDE = 8, 3, 80
_TITLES = {MERGE: "Merged people", MOVE: "Images of other people", DROP: "Dropped images"}
_OPEN_TITLES = {
    MERGE: "People who may be one",
    MOVE: "Images that may be of other people",
    DROP: "Images that may be dropped",
}
"""Titles where no decision of the action is accepted."""
_OPEN_TEXT = "None of these was carried out: decide on each with faceprep review."
_UNDECIDED_TEXT = " What is marked undecided was not carried out."
_TEXTS = {
    MERGE: "The names in one box are one person. The least similar are shown first.",
    MOVE: "Each image on the left is moved to the identity on the right.",
    DROP: "Each image on the left is dropped. An image on the right is the one that it matches.",
}


@dataclass
class Doubtful:
    """The decisions that a person should look at first, in bounded memory.

    These are the undecided ones, then accepted ones from the lowest score on.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _heaps: dict[str, list[tuple[tuple[bool, float, int], Decision]]] = field(default_factory=dict)

    def add(self, decision: Decision) -> None:
        """Keep a decision if it is among the most doubtful ones of its action."""
        self.counts[decision.action, decision.verdict] += 1
        if decision.action not in _TITLES or decision.verdict not in (ACCEPTED, UNDECIDED):
            return
        score = 0.0 if decision.score is None else -float(decision.score)
        rank = (decision.verdict == UNDECIDED, score, -self.counts.total())
        heap = self._heaps.setdefault(decision.action, [])
        heapq.heappush(heap, (rank, decision))
        if len(heap) > _N_SHOWN:
            heapq.heappop(heap)

    def of(self, action: str) -> list[Decision]:
        """Return the kept decisions of an action, the most doubtful first."""
        return [decision for _, decision in sorted(self._heaps.get(action, ()), reverse=True)]


def decision_sections(
    judged: Mapping[str, Any], decisions: Iterable[Decision], scratch: Path
) -> list[Section]:
    """Show decisions with the images of both sides, a section for each action.

    Actions without any image that can be shown have no section.
    """
    doubtful = Doubtful()
    for decision in decisions:
        doubtful.add(decision)
    if not any(doubtful.of(action) for action in _TITLES):
        return []
    with closing(Gallery(judged, scratch, _N_EACH)) as gallery:
        found = (_section(action, doubtful, gallery) for action in _TITLES)
        return [section for section in found if section is not None]


def _section(action: str, doubtful: Doubtful, gallery: Gallery) -> Section | None:
    shown = doubtful.of(action)
    groups: dict[tuple[str, str], list[Decision]] = {}
    for decision in shown:
        person = decision.into if action == MERGE else decision.subject
        groups.setdefault((person, decision.verdict), []).append(decision)
    parts = [_compare(decisions, gallery) for decisions in groups.values()]
    if not any(side.items for part in parts for side in part.sides):
        return None
    n_accepted, n_undecided = (doubtful.counts[action, each] for each in (ACCEPTED, UNDECIDED))
    numbers = {
        "accepted": n_accepted,
        "undecided": n_undecided,
        "shown": [[decision.subject, decision.into] for decision in shown],
    }
    text = f"{count_noun(n_accepted, 'decision')} accepted, {n_undecided:,} undecided."
    if len(shown) < n_accepted + n_undecided:
        text += f" {len(shown):,} of them are shown."
    title, meaning = _TITLES[action], _TEXTS[action]
    if n_undecided:
        meaning += _UNDECIDED_TEXT
    if not n_accepted:
        title, meaning = _OPEN_TITLES[action], _OPEN_TEXT
    return Section(f"{action}_pictures", title, numbers, parts, f"{text} {meaning}")


def _compare(decisions: Sequence[Decision], gallery: Gallery) -> Comparison:
    """Compare the sides of decisions that lead to the same image or identity."""
    first = decisions[0]
    if first.action == MERGE:
        sides = [_identity(first, gallery, INTO)]
        sides += [_identity(decision, gallery, SUBJECT) for decision in decisions]
        text = ". ".join(_describe(decision, len(decisions) > 1) for decision in decisions)
        return Comparison(sides, "=", _capital(text))
    return Comparison(_sides(first, gallery), "→", _capital(_describe(first, False)))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _describe(decision: Decision, is_named: bool) -> str:
    """Say why; `is_named` adds the subject, where there are several."""
    text = decision.reason or decision.action
    if decision.verdict == UNDECIDED:
        text = f"undecided, {text}"
    return f"{decision.subject}: {text}" if is_named else text


def _sides(decision: Decision, gallery: Gallery) -> list[Side]:
    """Return the sides of a decision to move or to drop.

    The second side of a drop is the image that is kept, or the most similar one of another set.
    """
    strips = gallery.strips(decision)
    lead, pair = (strips.get(role, Strip("", (), 0)).names for role in (LEAD, FOR))
    first = _identity(decision, gallery, SUBJECT)
    if lead:
        first = _side(decision, gallery, LEAD, lead[:1])
    if decision.action == MOVE:
        return [first, _identity(decision, gallery, INTO)]
    role, names = (LEAD, lead) if len(lead) > 1 else (FOR, pair)
    return [first, *(_side(decision, gallery, role, [name]) for name in names[1:2])]


def _identity(decision: Decision, gallery: Gallery, role: str) -> Side:
    """Show an identity: its images in the pairs of evidence first, then others."""
    strips = gallery.strips(decision)
    name, place = decision.subject, 0
    if role == INTO:
        name, place = decision.into, 1
    pairs = [strips[each].names for each in (FOR, AGAINST) if each in strips]
    evidence = [names[place] for names in pairs if len(names) > place]
    strip = strips.get(role, Strip("", (), 0))
    names = list(dict.fromkeys([*evidence, *strip.names]))[:_N_EACH]
    if strip.total > len(names):
        name = f"{name} ({count_noun(strip.total, 'image')})"
    return _side(decision, gallery, role, names, name)


def _side(
    decision: Decision, gallery: Gallery, role: str, names: Sequence[str], title: str = ""
) -> Side:
    found = (_picture(decision, gallery, role, name) for name in names)
    items = [picture for picture in found if picture is not None]
    return Side(title or ", ".join(names), items)


def _picture(decision: Decision, gallery: Gallery, role: str, name: str) -> Picture | None:
    try:
        thumbnail = make_thumbnail(gallery.path_of(decision, role, name), _SIDE)
    except FaceprepError as error:  # an image is gone, or an extra is missing
        note_left_out(error)
        return None
    if isinstance(thumbnail, Outcome):
        note_left_out(thumbnail)
        return None
    return Picture(name, thumbnail)
