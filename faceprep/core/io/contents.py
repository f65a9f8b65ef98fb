"""Contents of a manifest: the few numbers that `inspect` shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from faceprep.core.errors import SourceError


@dataclass(frozen=True, slots=True)
class Contents:
    """Numbers of intact entries and distinct classes, and the field names of an entry.

    `n_classes` is None where entries have neither class nor identity. `damage` names the place of
    the first damage; only the entries before it are counted.
    """

    n_images: int
    n_classes: int | None
    fields: tuple[str, ...] = ()
    damage: str = ""


def count(entries: Iterable[tuple[object, tuple[str, ...]]]) -> Contents:
    """Count entries, each given as (class, names of its fields), up to the first damage.

    >>> count([(3, ("path",)), (1, ("path",)), (3, ("path",))])
    Contents(n_images=3, n_classes=2, fields=('path',), damage='')
    """
    n, damage = 0, ""
    classes: set[object] = set()
    fields: tuple[str, ...] = ()
    try:
        for label, names in entries:
            n += 1
            classes.add(label)
            fields = fields or names
    except SourceError as error:
        damage = str(error)
    return Contents(n, len(classes), fields, damage)
