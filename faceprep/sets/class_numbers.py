"""The class numbers that a set states for its images, beside those that its identities get.

Identities are numbered in the order of their names, unless the set itself says which class has
which number: in the features of a .parquet, or in the class map beside it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from faceprep.core.os_errors import SuppressDamage
from faceprep.core.paths import is_file
from faceprep.core.text import count_noun
from faceprep.sets import class_map
from faceprep.sets.image_set import CLASS_NAMES, Found, ImageSet, Sample, SampleRun
from faceprep.sets.manifests.class_names import ClassNames
from faceprep.sets.set_writer import Classes

log = logging.getLogger("faceprep")

_N_DRAWN = 16
_NUMBERS = ClassNames({}, are_values=True)
"""Names of classes that a map leaves unnamed: their numbers, including -1."""


def find_stated_classes(images: ImageSet) -> Sequence[str]:
    """Return the names of the classes by number, as the set states them.

    Empty where it states none, or where they are not those of its images. Raises SourceError if the
    disk fails.
    """
    names: Sequence[str] = images.index.facts.get(CLASS_NAMES) or _names_beside(Path(images.path))
    known = set(names)
    if len(known) < len(names) or not known.issuperset(images.index.identities):
        return ()
    return names if names and _are_stated(Classes.in_order(names), images) else ()


def _names_beside(path: Path) -> Sequence[str]:
    """Return the names in the class map beside a file, by number.

    Empty without a map, and for one that is damaged or has a gap.
    """
    table = class_map.find_beside(path) if is_file(path) else None
    if table is None:
        return []
    with SuppressDamage():
        rows = class_map.load(table, "surrogateescape")
        if [row.number for row in rows] == list(range(len(rows))):
            return [row.name for row in rows]
    return []


def _are_stated(classes: Classes, images: ImageSet) -> bool:
    """Return whether some images from all over the set state these numbers.

    In a set that all images were dropped from, nothing contradicts them.
    """
    if not len(images):
        return True
    last = len(images) - 1
    drawn = sorted({last * i // (_N_DRAWN - 1) for i in range(_N_DRAWN)})
    samples = [each for each in images.read(drawn) if isinstance(each, Sample) and each.labels]
    return bool(samples) and all(
        each.labels[0] == classes.number(each.identity) for each in samples
    )


class NumberCheck:
    """Counts the images that get another class number than their set states."""

    def __init__(self, classes: Classes) -> None:
        self._classes = classes
        self.n, self.first = 0, ""

    def watch(self, found: Iterable[Found]) -> Iterator[Found]:
        """Pass the images through, and count."""
        for each in found:
            if isinstance(each, SampleRun):
                labels = each.labels
                if labels and labels != list(map(self._classes.number, each.identities)):
                    for row in zip(each.keys, each.identities, labels, strict=True):
                        self._look_at(*row)
            elif isinstance(each, Sample) and each.labels:
                self._look_at(each.key, each.identity, each.labels[0])
            yield each

    def _look_at(self, key: str, identity: str, stated: float) -> None:
        number = self._classes.number(identity)
        # a number that is the name of the identity is kept by it
        if number in (stated, -1) or _NUMBERS.name(stated) == identity:
            return
        self.n += 1
        self.first = self.first or f"{key} ({number} instead of {stated:g})"

    def to_json(self) -> bytes:
        """Return what `warn_of_changes` needs."""
        return json.dumps([self.n, self.first]).encode()


def warn_of_changes(found: Iterable[bytes], source: str, output: Path) -> None:
    """Warn of images whose class numbers have changed; `found` are those of the parts."""
    counts = [json.loads(each) for each in found]
    n = sum(n for n, _ in counts)
    if n:
        log.warning(
            "%s: %s got another class number than in %s, such as %s, because classes are numbered "
            "by identity. faceprep manifest sets other numbers, with --label-rule or --classes.",
            output,
            count_noun(n, "image"),
            source,
            next(first for _, first in counts if first),
        )
