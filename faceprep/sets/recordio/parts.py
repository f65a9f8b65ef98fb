"""The .rec files of a set: one, or NAME_1.rec, NAME_2.rec and so on in a folder."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.paths import is_folder
from faceprep.sets.members import warn_of_others
from faceprep.sets.recordio.index import RecPaths, find_rec, list_recs

log = logging.getLogger("faceprep")
_PART = re.compile(r"(?P<stem>.*)_(?P<number>\d+)\.rec", re.DOTALL | re.IGNORECASE)
_MOST_A_PART = 100
"""By how much the numbers of parts may exceed their count."""


def find_parts(source: Path) -> list[RecPaths]:
    """Find the .rec files of a set: one, or NAME_1.rec, NAME_2.rec and so on in a folder.

    `source` may also be the .idx. Raises SourceError.
    """
    if is_folder(source):
        numbered = _in_parts(list_recs(source))
        if numbered:
            return [find_rec(source / name) for name in numbered]
    return [find_rec(source)]


def warn_of_other_sets(source: Path, recs: Sequence[Path]) -> None:
    """Warn of what is beside the .rec files of a set: other sets, or the parts it is one of."""
    warn_of_others(source, recs, sets_alone=True)
    match = _PART.fullmatch(recs[0].name)
    if len(recs) > 1 or match is None:
        return
    names = list[str]()
    with suppress(SourceError):  # a file can be read in a folder that cannot be listed
        names = storage.list_folder(recs[0].parent)[1]
    stems = [found["stem"] for name in names if (found := _PART.fullmatch(name))]
    if (n := stems.count(match["stem"])) > 1:
        log.warning(
            "%s: one of %d parts, and only this one is read. Name their folder for all of them.",
            recs[0],
            n,
        )


def _in_parts(names: Sequence[str]) -> list[str]:
    """Return the names in order if they are one stem with the numbers of parts.

    >>> _in_parts(["train_2.rec", "train_10.rec", "train_1.rec"]), _in_parts(["train.rec", "a.rec"])
    (['train_1.rec', 'train_2.rec', 'train_10.rec'], [])
    """
    found = [_PART.fullmatch(name) for name in names]
    stems = {match and match["stem"] for match in found}
    if len(names) < 2 or len(stems) > 1 or None in stems:
        return []
    return sorted(names, key=_number_of)


def _number_of(part: str) -> int:
    """Return the number of a part, 0 for a file by itself."""
    match = _PART.fullmatch(part)
    return int(match["number"]) if match else 0


def find_missing(parts: Sequence[str]) -> list[str]:
    """Return the names that are missing among several parts in order, the first of which is 1.

    Numbers far apart, such as dates, do not count parts.

    >>> find_missing(["a_2.rec", "a_4.rec"]), find_missing(["a_2019.rec", "a_2021.rec"])
    (['a_1.rec', 'a_3.rec'], [])
    """
    numbers = list(map(_number_of, parts))
    if len(parts) < 2 or numbers[-1] > _MOST_A_PART * len(parts):
        return []
    stem = parts[0].rpartition("_")[0]
    missing = sorted(set(range(1, numbers[-1])).difference(numbers))
    return [f"{stem}_{number}.rec" for number in missing]
