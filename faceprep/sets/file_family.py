"""The files of a set that may be in parts: one file, a folder of files, or a family.

The files of a family are called NAME-00000-of-00008.SUFFIX. Each of them stands for all of them.
A place in such a set is the number of the file and an offset in it, packed into one number.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.errors import SourceError
from faceprep.core.names import sort_files
from faceprep.core.paths import is_folder

_MEMBER = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<n>\d{5})(?P<suffix>\.\w+)", re.DOTALL)
Number = TypeVar("Number", int, Ints)
_OFFSET_BITS = 44
_OFFSETS = (1 << _OFFSET_BITS) - 1


def find_files(path: Path, suffix: str) -> list[Path]:
    """Find the files of the set at `path`, in order.

    Raises SourceError where a family is not complete, or a folder holds two families.
    """
    if is_folder(path):
        names = [name for name in storage.list_folder(path)[1] if name.lower().endswith(suffix)]
        families = {_family_of(name) for name in names} - {None}
        if len(families) > 1:
            raise SourceError(
                "a folder with several sets",
                path=path,
                expected="the files of one set",
                found=" and ".join(sorted(family[0] for family in families if family)),
                remedy="Name one file of the set.",
            )
        for family in families:
            _check_family(path, names, family)
        return [path / name for name in sort_files(names)]
    if _family_of(path.name) is None:
        return [path]
    names = storage.list_folder(path.parent)[1]
    return [path.parent / name for name in _check_family(path, names, _family_of(path.name))]


def _family_of(name: str) -> tuple[str, int, str] | None:
    """Return (name, number of files, suffix) of the family that a file belongs to.

    >>> _family_of("a-00001-of-00008.parquet"), _family_of("a.parquet")
    (('a', 8, '.parquet'), None)
    """
    match = _MEMBER.fullmatch(name)
    if match is None or int(match["number"]) >= int(match["n"]):
        return None
    return match["name"], int(match["n"]), match["suffix"]


def _check_family(
    path: Path, present: Sequence[str], family: tuple[str, int, str] | None
) -> list[str]:
    """Return the names of a family. Raises SourceError where one is not `present`."""
    if family is None:
        return []
    name, n, suffix = family
    names = [f"{name}-{number:05d}-of-{n:05d}{suffix}" for number in range(n)]
    missing = sorted(set(names).difference(present))
    if missing:
        raise SourceError(
            "the set is not complete",
            path=path,
            expected=f"{n} files",
            found=f"no {missing[0]}",
            remedy="Copy the missing file, or rename this one to read it alone.",
        )
    return names


def pack_place(file: Number, offset: Number) -> Number:
    """Pack the number of a file and an offset below 16 TiB into one number.

    >>> unpack_place(pack_place(3, 1 << 40)) == (3, 1 << 40)
    True
    """
    return file << _OFFSET_BITS | offset


def unpack_place(place: Number) -> tuple[Number, Number]:
    """Return (number of the file, offset)."""
    return place >> _OFFSET_BITS, place & _OFFSETS


def fingerprint_files(files: Sequence[Path]) -> str:
    """Return the present state of the files in a few words. Raises SourceError."""
    state = storage.fingerprint_of(*files)
    if len(files) == 1:
        return state
    return f"{len(files):,} files {hashlib.sha256(state.encode(*_TEXT)).hexdigest()[:16]}"


_TEXT = ("utf-8", "surrogateescape")
