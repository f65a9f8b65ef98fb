"""The files of a set that may be in parts: one file, a folder of files, or a family.

The files of a family are called NAME-00000-of-00008.SUFFIX, or NAME.SUFFIX-00000-of-00008 as
TensorFlow names them. Each of them stands for all of them.
Containers whose files mean little alone need all of them; a .tar or .rec is read without the files
that are missing, which are a fault of the set.

A place in such a set is the number of the file and an offset in it, packed into one number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.errors import SourceError
from faceprep.core.names import MEMBER, Family, family_of, sort_files, suffix_of
from faceprep.core.paths import is_folder
from faceprep.core.text import count_noun
from faceprep.core.types import Outcome

_N_NAMED = 8
Number = TypeVar("Number", int, Ints)
_OFFSET_BITS = 44
_OFFSETS = (1 << _OFFSET_BITS) - 1


class Parts(NamedTuple):
    """The files of a set, in order, and the names of those that are missing by their numbers."""

    files: list[Path]
    missing: list[str]


def find_files(path: Path, *suffixes: str) -> list[Path]:
    """Find the files of the set at `path`, which have one of these suffixes, in order.

    Raises SourceError where a family is not complete, or a folder holds two families.
    """
    found = find_parts(path, *suffixes)
    if found.missing:
        raise SourceError(
            "the set is not complete",
            path=path,
            expected=f"{len(found.files) + len(found.missing)} files",
            found=f"no {found.missing[0]}",
            remedy="Copy the missing file, or rename the others to read them alone.",
        )
    return found.files


def find_parts(path: Path, *suffixes: str) -> Parts:
    """Find the files of the set at `path`, and what is missing of their family.

    Raises SourceError where a folder holds two families.
    """
    if is_folder(path):
        folder, only = path, None
    else:
        folder, only = path.parent, family_of(path.name)
        if only is None:
            return Parts([path], [])
    names = [name for name in storage.list_folder(folder)[1] if suffix_of(name) in suffixes]
    if only:
        names = [name for name in names if family_of(name) == only]
    families: dict[Family, list[str]] = {}
    for name in sorted(names):
        if family := family_of(name):
            families.setdefault(family, []).append(name)
    if len(families) > 1:
        raise SourceError(
            "a folder with several sets",
            path=path,
            expected="the files of one set",
            found=" and ".join(members[0] for members in families.values()),
            remedy="Name one of these files: it stands for its whole set.",
        )
    missing = [name for each in families.items() for name in _missing_of(*each)]
    return Parts([folder / name for name in sort_files(names)], missing)


def _missing_of(family: Family, members: Sequence[str]) -> list[str]:
    """Return the names of the files of a family that are not among its `members`."""
    texts = [match["number"] for match in map(MEMBER.fullmatch, members) if match]
    numbers, n, width = set(map(int, texts)), int(family.n), min(map(len, texts))
    first = int(n in numbers and 0 not in numbers)
    return [
        f"{family.name}-{number:0{width}d}-of-{family.n}{family.suffix}"
        for number in range(first, first + n)
        if number not in numbers
    ]


def missing_faults(names: Sequence[str]) -> list[Outcome]:
    """Return the fault of a set whose files with these names are missing."""
    return _faults_of(names, "missing", "Copy what is missing, or rename the other files.")


def empty_faults(names: Sequence[str]) -> list[Outcome]:
    """Return the fault of a set whose files with these names have no bytes."""
    return _faults_of(names, "empty", "Copy it again if it should hold images.")


def damage_fault(name: str, error: SourceError) -> Outcome:
    """Return the fault of a file of a set that is read up to the damage that `error` names."""
    reason = str(error)
    if not error.remedy:
        reason += "; the rest of the file is lost. Copy it again."
    return Outcome(name, "damaged", reason, "part")


def _faults_of(names: Sequence[str], status: str, remedy: str) -> list[Outcome]:
    if not names:
        return []
    place = ", ".join(names[:_N_NAMED]) + (" …" if len(names) > _N_NAMED else "")
    count = count_noun(len(names), "file of the set is", "files of the set are")
    return [Outcome(place, status, f"{count} {status}: {place}. {remedy}", "part")]


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
