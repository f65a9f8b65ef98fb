"""Images that illustrate a decision.

A request names an image by the number of its decision, its role and its place in that role. So no
path comes from outside: only images that the plan names, and those of the identities that it names,
can be seen. Names and links are resolved within the plan's source, or within its `origin` for a
restored image. Either may be a folder or another set of images. An absolute path is used as the
plan has it; it belongs to a set that was searched for duplicates, or for people to leave out.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from faceprep.core.errors import FaceprepError, SourceError
from faceprep.core.io.image_header import is_image_name
from faceprep.core.names import identity_of
from faceprep.core.paths import exists, is_file, is_folder, is_full, real_path
from faceprep.core.types import DROP, MERGE, MOVE, RESTORE, Decision
from faceprep.core.urls import is_remote
from faceprep.pages.left_out import note_left_out
from faceprep.pages.review.thumbnails import ImageInSet
from faceprep.sets.containers import kind_of
from faceprep.sets.folder import FolderSet, read_identity
from faceprep.steps.list_options import folder_of_names, folder_of_origin
from faceprep.steps.planned_images import PlannedImages

LEAD, FOR, AGAINST, SUBJECT, INTO = "lead", "for", "against", "subject", "into"
ROLES = (LEAD, FOR, AGAINST, SUBJECT, INTO)
_N_CACHED = 4096


class Strip(NamedTuple):
    """Names of images for one role; `total` includes those that are left out."""

    title: str
    names: Sequence[str]
    total: int
    likeness: float | None = None


class Gallery:
    """The images of a plan's decisions, at most `most` of an identity.

    Sets that are not folders are indexed in the folder `scratch`.
    """

    def __init__(self, judged: Mapping[str, Any], scratch: Path, most: int = 40) -> None:
        self._source = str(judged.get("source") or "")
        self._origin = str(judged.get("origin") or "")
        self._names_below = folder_of_names(judged)
        self._folders = {self._origin: folder_of_origin(judged), self._source: self._names_below}
        self._scratch, self._most = scratch, most
        self._names_of = lru_cache(_N_CACHED)(self._list_identity)
        self._sets: dict[str, PlannedImages | None] = {}
        self._opening = threading.Lock()
        self._set_at(self._source)

    def close(self) -> None:
        """Close the sets that were opened."""
        for images in self._sets.values():
            if images is not None:
                images.close()

    def strips(self, decision: Decision) -> dict[str, Strip]:
        """Return the images of a decision by role, without roles that have no image.

        `lead` is the image that is decided upon, with the one that is kept. `for` and `against` are
        the strongest evidence. `subject` and `into` are the identities.
        """
        strips = {LEAD: self._lead(decision)}
        for role in (FOR, AGAINST):
            strips[role] = _evidence(decision.evidence.get(role))
        strips[SUBJECT] = self._identity(self._first_identity(decision))
        if second := self._second_identity(decision):
            strips[INTO] = self._identity(second)
        return {role: strip for role, strip in strips.items() if strip.names or strip.title}

    def locate(self, decision: Decision, role: str, place: int) -> str | ImageInSet:
        """Return the place of an image in a strip. Raises SourceError if it must not be shown."""
        strip = self.strips(decision).get(role)
        if strip is None or not 0 <= place < len(strip.names):
            raise SourceError("no such image", found=f"{role} {place}")
        return self.path_of(decision, role, strip.names[place])

    def path_of(self, decision: Decision, role: str, name: str) -> str | ImageInSet:
        """Return the place of a name in a strip: the path of a file, or an image in a set.

        Raises SourceError where it must not be shown.
        """
        is_restored = decision.action == RESTORE and role == LEAD
        root = self._origin if is_restored else self._source
        images, name = self._find_set(root, name)
        if images is None:
            return _resolve(root, name)
        position = images.find(name) if images is self._set_at(root) else images.find_key(name)
        if position is None:
            raise SourceError("no such image", path=images.path, found=name)
        return ImageInSet(images, name, position)

    def _find_set(self, root: str, name: str) -> tuple[PlannedImages | None, str]:
        """Return the set that has an image, and its name there; None where it is a file.

        An absolute name that is not a file may begin with the path of another set; the rest is the
        key of an image there.
        """
        if not is_full(name):
            return self._set_at(root), name
        path = Path(name)
        other = next(each for each in (path, *path.parents) if exists(each))
        if other == path or other == Path(path.anchor):
            return None, name
        images = self._set_at(str(other))
        if images is None:
            return None, name
        return images, os.path.relpath(name, other)

    def _set_at(self, root: str) -> PlannedImages | None:
        """Open a set once; None for a folder, and for what cannot be opened."""
        with self._opening:
            if root not in self._sets:
                name = f"set-{len(self._sets)}"
                below = self._folders.get(root, self._names_below)
                self._sets[root] = _open_set(root, self._scratch, name, below)
            return self._sets[root]

    def _is_image(self, decision: Decision) -> bool:
        root = self._origin if decision.action == RESTORE else self._source
        images = self._set_at(root)
        if images is None:
            return is_image_name(decision.subject.rpartition("/")[2])
        return not self._images(decision.subject) and images.find(decision.subject) is not None

    def _lead(self, decision: Decision) -> Strip:
        if decision.action == MERGE or not self._is_image(decision):
            return Strip("", (), 0)
        names = [decision.subject]
        kept = decision.evidence.get("kept")
        if isinstance(kept, str):
            names.append(kept)
        likeness = _number(decision.evidence.get("likeness"))
        return Strip(decision.subject, names, len(names), likeness)

    def _first_identity(self, decision: Decision) -> str:
        if decision.action == MERGE or self._images(decision.subject):
            return decision.subject
        if decision.action == RESTORE:
            return ""
        return identity_of(decision.subject)

    def _second_identity(self, decision: Decision) -> str:
        if decision.action in (MERGE, MOVE):
            return decision.into
        kept = decision.evidence.get("kept")
        if decision.action != DROP or not isinstance(kept, str) or is_full(kept):
            return ""
        identity = identity_of(kept)
        if identity == self._first_identity(decision):
            return ""
        return identity

    def _identity(self, name: str) -> Strip:
        names = self._images(name) if name else ()
        n = len(names)
        if n > self._most:
            names = [names[i * n // self._most] for i in range(self._most)]
        if name != ".":
            names = [f"{name}/{image}" for image in names]
        return Strip(name, list(names), n)

    def _images(self, name: str) -> Sequence[str]:
        try:
            return self._names_of(name)
        except SourceError as error:
            note_left_out(error)
            return ()

    def _list_identity(self, name: str) -> Sequence[str]:
        images = self._set_at(self._source)
        if images is not None:
            return images.names_of(name)
        if not self._source:
            return ()
        folder = Path(_inside(self._source, name))
        return read_identity(folder.parent, folder.name).images if is_folder(folder) else ()


def _evidence(found: Any) -> Strip:
    """Return the strip of [image, image, likeness], the evidence in a plan."""
    names = found[:2] if isinstance(found, list) else []
    if len(names) < 2 or not all(isinstance(name, str) for name in names):
        return Strip("", (), 0)
    likeness = _number(found[2]) if len(found) > 2 else None
    return Strip("", names, 2, likeness)


def _number(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None


def _open_set(
    root: str, scratch: Path, name: str, relative_to: Path | None
) -> PlannedImages | None:
    path = Path(root)
    try:
        if not root or not exists(path) or kind_of(path) == FolderSet.kind:
            return None
        return PlannedImages(path, scratch, name, relative_to)
    except FaceprepError as error:
        note_left_out(error)
        return None


def _resolve(root: str, name: str) -> str:
    if not is_image_name(name.rpartition("/")[2]):
        raise SourceError("not an image", path=name)
    path = real_path(name) if is_full(name) else _inside(root, name)
    if not is_file(path):
        raise SourceError("no such file", path=name)
    return path


def _inside(root: str, name: str) -> str:
    """Return the real path of `name` below `root`. Raises SourceError where it lies elsewhere.

    In a store, a name may not lead upwards at all.
    """
    if not root or "\0" in name:
        raise SourceError(
            "the plan does not name the folder of its images", expected="source, an absolute path"
        )
    folder = real_path(root)
    path = real_path(os.path.join(folder, name))
    leads_out = os.path.commonpath([folder, path]) != os.path.normpath(folder)
    if leads_out or (is_remote(folder) and ".." in name.split("/")):
        raise SourceError("lies outside the folder of the plan", path=name, expected=root)
    return path
