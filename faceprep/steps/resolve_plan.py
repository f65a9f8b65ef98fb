"""Resolves a plan: from decisions and a listing to the new path of every image.

Never reads the disk.

The decision on an image takes precedence over the one on its identity, and a drop of an identity
over a merge of it. Identities that merges connect become one: with a into b and b into c, the
images of all three go to c; with a into b and a into c, they go to the larger of b and c. Images
keep their file names. In a merge, the images of the identity that others are merged into always
keep theirs. An incoming image whose name would collide gets its old identity in front,
`OLD_NAME.png`, and a number at the end if that is taken too. Names that differ only in upper and
lower case are different names, as on Linux.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeVar

import numpy as np

from faceprep.core.arrays import Ints
from faceprep.core.errors import SourceError
from faceprep.core.io.image_header import is_image_name
from faceprep.core.types import ACCEPTED, DROP, MERGE, MOVE, RENAME, RESTORE, Decision
from faceprep.sets.listing import Listing
from faceprep.steps.destinations import Destinations, Row, place_of

_ROOT = "."
_Name = TypeVar("_Name", int, str)


def resolve(
    judged: Mapping[str, Any],
    decisions: Iterable[Decision],
    listing: Listing,
    plan: str | None = None,
    are_files: bool = True,
    order: Ints | None = None,
) -> Destinations:
    """Resolve the accepted decisions for the images of `listing`; their order does not matter.

    `are_files`: the images are files of a folder, which keep the suffix of an image. `order` (n,)
    has the places of the images in the set if they differ from those in the listing.
    Raises SourceError with the path `plan` for unknown subjects, and for decisions that contradict
    each other or form a cycle.
    """
    orders = _Orders(listing, plan, are_files)
    for decision in decisions:
        if decision.verdict == ACCEPTED:
            orders.add(decision)
    if order is None:
        order = np.arange(len(listing))
    return _Sending(orders, str(judged.get("origin", ""))).send(order)


class _Orders:
    """The accepted decisions by subject, each looked up in the listing."""

    def __init__(self, listing: Listing, plan: str | None, are_files: bool) -> None:
        self.listing, self._plan, self._are_files = listing, plan, are_files
        self.numbers = {name: number for number, name in enumerate(listing.identities)}
        self.dropped: set[int] = set()
        self.merged: dict[int, set[int]] = {}
        self.images: dict[int, Decision] = {}
        self.restored: dict[str, Decision] = {}
        self._files: dict[int, dict[str, int]] = {}

    def refused(
        self, problem: str, expected: str | None = None, found: str | None = None
    ) -> SourceError:
        return SourceError(
            problem, path=self._plan, expected=expected, found=found, remedy="Change the plan."
        )

    def add(self, decision: Decision) -> None:
        action, subject, into = decision[:3]
        if action == RESTORE:
            self._check_path(decision)
            before = self.restored.setdefault(into, decision)
            if before.subject != subject:
                raise self.refused(
                    f"two images are to be restored as {into!r}", found=f"{before.subject!r}"
                )
        elif action == MERGE:
            number, target = self._identity(decision, subject), self._identity(decision, into)
            self.merged.setdefault(number, set()).add(target)
        elif action == DROP and subject in self.numbers:
            self.dropped.add(self.numbers[subject])
        else:
            self._add_image(decision)

    def _add_image(self, decision: Decision) -> None:
        position = self.find_image(decision.subject)
        if position is None:
            kind = "an image or an identity" if decision.action == DROP else "an image"
            raise self.refused(
                f"{decision.action} of {decision.subject!r}",
                f"{kind} of the source",
                "none of that name",
            )
        if decision.action == RENAME:
            self._check_path(decision)
        elif decision.action == MOVE and decision.into != _ROOT:
            self._check_name(decision)
        before = self.images.setdefault(position, decision)
        if before[:3] != decision[:3]:
            raise self._contradiction(
                decision, f"{before.action} {f'to {before.into!r}' if before.into else 'it'}"
            )

    def _contradiction(self, decision: Decision, before: str) -> SourceError:
        into = f"to {decision.into!r}" if decision.into else "it"
        return self.refused(
            f"two decisions on {decision.subject!r} contradict each other",
            found=f"{before} and {decision.action} {into}",
        )

    def _identity(self, decision: Decision, name: str) -> int:
        if name not in self.numbers:
            if self.find_image(name) is not None:
                found = "the image of that name"
            else:
                found = "none of that name"
            into = f" into {name!r}" if name == decision.into else ""
            raise self.refused(
                f"merge of {decision.subject!r}{into}", "an identity of the source", found
            )
        return self.numbers[name]

    def _check_path(self, decision: Decision) -> None:
        self._check_name(decision)
        has_suffix = is_image_name(decision.subject.rpartition("/")[2])
        if self._are_files and has_suffix and not is_image_name(decision.into.rpartition("/")[2]):
            raise self.refused(
                f"{decision.action} of {decision.subject!r}",
                "the name of an image",
                repr(decision.into),
            )

    def _check_name(self, decision: Decision) -> None:
        if "\0" in decision.into or any(
            not part or part.startswith(".") for part in decision.into.split("/")
        ):
            expected = "a path below the output, without names that begin with a dot"
            raise self.refused(
                f"{decision.action} of {decision.subject!r}", expected, repr(decision.into)
            )

    def run_of(self, number: int) -> range:
        """Return the positions of the images of an identity."""
        edges = np.searchsorted(self.listing.identity_of, [number, number + 1])
        return range(int(edges[0]), int(edges[1]))

    def find_image(self, path: str) -> int | None:
        """Return the position of the image at a path, or None."""
        folder, _, name = path.rpartition("/")
        number = self.numbers.get(folder or _ROOT)
        if number is None:
            return None
        if number not in self._files:
            self._files[number] = {
                self.listing.files[position]: position for position in self.run_of(number)
            }
        return self._files[number].get(name)

    def final_identity(self, number: int) -> int:
        """Return the identity that an identity's images end up in."""
        return self.final_identities.get(number, number)

    @cached_property
    def final_identities(self) -> dict[int, int]:
        """Map merged identities to their final identity, once all decisions are added.

        Raises SourceError.
        """
        merges = {
            subject: sorted(self.merged[subject])
            for subject in sorted(self.merged.keys() - self.dropped)
        }
        for subject, targets in merges.items():
            for dropped in self.dropped.intersection(targets):
                name, other = self.listing.identities[subject], self.listing.identities[dropped]
                raise self.refused(f"{name!r} is merged into {other!r}, which is dropped")
        try:
            TopologicalSorter(merges).prepare()
        except CycleError as error:
            names = [repr(self.listing.identities[number]) for number in reversed(error.args[1])]
            raise self.refused("the merges form a cycle", found=" into ".join(names)) from error
        final_identities = {}
        for members in connect_merged(merges):
            goals = [number for number in members if number not in merges]
            goal = max(goals, key=lambda number: (len(self.run_of(number)), -number))
            final_identities.update(dict.fromkeys(members, goal))
        return final_identities


def connect_merged(merges: Mapping[_Name, Iterable[_Name]]) -> list[list[_Name]]:
    """Group identities that merges connect.

    >>> connect_merged({1: [2], 3: [2], 4: [5]})
    [[1, 2, 3], [4, 5]]
    """
    group_of: dict[_Name, list[_Name]] = {}
    for subject, targets in merges.items():
        for target in targets:
            larger, smaller = (
                group_of.setdefault(number, [number]) for number in (subject, target)
            )
            if larger is smaller:
                continue
            if len(larger) < len(smaller):
                larger, smaller = smaller, larger
            larger += smaller
            group_of.update(dict.fromkeys(smaller, larger))
    return sorted(
        sorted(group) for group in {id(group): group for group in group_of.values()}.values()
    )


class _Sending:
    """A search for the path of every image; explicit paths come first."""

    def __init__(self, orders: _Orders, origin: str) -> None:
        self._orders, self._listing, self._origin = orders, orders.listing, origin
        self._changed: dict[int, str] = {}
        self._coming: dict[str, list[int]] = defaultdict(list)
        self._given: dict[str, str] = {}

    def send(self, order: Ints) -> Destinations:
        orders = self._orders
        moved = {number for number, end in orders.final_identities.items() if number != end}
        for number in sorted(orders.dropped | moved):
            self._send_identity(number)
        for position in sorted(orders.images):
            self._send_image(position, orders.images[position])
        restored = [
            Row(each.subject, into, self._origin, place_of(each))
            for into, each in sorted(orders.restored.items())
        ]
        restored.sort(key=lambda row: row.place)
        for row in restored:
            self._give(row.into, row.path)
        folders = self._folders()
        self._check_given(folders)
        for folder in sorted(self._coming):
            self._name_all(folder, sorted(self._coming[folder]), folders)
        return Destinations(self._listing, order, self._changed, restored)

    def _send_identity(self, number: int) -> None:
        if number not in self._orders.dropped:
            folder = self._listing.identities[self._orders.final_identity(number)]
        for position in self._orders.run_of(number):
            if position in self._orders.images:
                continue
            if number in self._orders.dropped:
                self._changed[position] = ""
            else:
                self._coming[folder].append(position)
                self._changed[position] = ""

    def _send_image(self, position: int, decision: Decision) -> None:
        path = self._listing.path(position)
        if decision.action == DROP:
            self._changed[position] = ""
        elif decision.action == RENAME:
            self._give(decision.into, path)
            if decision.into != path:
                self._changed[position] = decision.into
        elif folder := self._folder_of_move(position, decision):
            self._coming[folder].append(position)
            self._changed[position] = ""

    def _folder_of_move(self, position: int, decision: Decision) -> str:
        """Return the target folder of an image; empty where it stays."""
        orders, number = self._orders, self._orders.numbers.get(decision.into)
        if number is None:
            return decision.into
        if number in orders.dropped:
            raise orders.refused(
                f"{decision.subject!r} is moved into {decision.into!r}, which is dropped"
            )
        end = orders.final_identity(number)
        if end == self._listing.identity_of[position]:
            return ""
        return self._listing.identities[end]

    def _give(self, into: str, path: str) -> None:
        if into in self._given:
            raise self._orders.refused(
                f"two images would get the name {into!r}", found=f"{self._given[into]!r}, {path!r}"
            )
        self._given[into] = path

    def _folders(self) -> set[str]:
        """Return all folders before or after, with their parents: no image can have their names."""
        folders = {
            *self._listing.identities,
            *self._coming,
            *(into.rpartition("/")[0] for into in self._given),
        }
        nested = [folder.split("/") for folder in folders if "/" in folder]
        return folders | {"/".join(parts[:n]) for parts in nested for n in range(1, len(parts))}

    def _stays(self, path: str) -> bool:
        position = self._orders.find_image(path)
        return position is not None and position not in self._changed

    def _check_given(self, folders: set[str]) -> None:
        """Check that no explicit path belongs to an image that stays, or to a folder."""
        for into, path in self._given.items():
            if (into != path and self._stays(into)) or into in folders:
                found = "a folder of that name" if into in folders else "an image of that name"
                raise self._orders.refused(
                    f"{path!r} cannot get the name {into!r}", "a free name", found
                )
        for folder in folders - self._orders.numbers.keys():
            if self._orders.find_image(folder) is not None:
                raise self._orders.refused(
                    f"images would go into {folder!r}", "a folder", "the image of that name"
                )

    def _name_all(self, folder: str, positions: list[int], folders: set[str]) -> None:
        inside = "" if folder == _ROOT else f"{folder}/"
        files = [self._listing.files[position] for position in positions]
        counts = Counter(files)

        def is_free(name: str) -> bool:
            path = inside + name
            return (
                path not in taken
                and path not in self._given
                and path not in folders
                and not self._stays(path)
            )

        taken: set[str] = set()
        keeps = [counts[file] == 1 and is_free(file) for file in files]
        taken.update(inside + file for file, kept in zip(files, keeps, strict=True) if kept)
        for position, file, kept in zip(positions, files, keeps, strict=True):
            if not kept:
                identity = self._listing.identities[self._listing.identity_of[position]]
                file = next(
                    name for name in _numbered(_with_identity(identity, file)) if is_free(name)
                )
                taken.add(inside + file)
            self._changed[position] = inside + file


def _with_identity(identity: str, file: str) -> str:
    """Put the identity in front of a file name.

    >>> _with_identity("x/y", "1.png"), _with_identity(".", "1.png")
    ('x_y_1.png', '1.png')
    """
    if identity == _ROOT:
        return file
    return f"{identity.replace('/', '_')}_{file}"


def _numbered(file: str) -> Iterator[str]:
    """Yield a file name, then the name with an increasing number.

    >>> names = _numbered("a.b.png")
    >>> next(names), next(names), next(names)
    ('a.b.png', 'a.b_2.png', 'a.b_3.png')
    """
    yield file
    stem, _, suffix = file.rpartition(".")
    number = 2
    while True:
        yield f"{stem}_{number}.{suffix}"
        number += 1
