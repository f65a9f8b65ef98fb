"""Names of identities and files: their order, the identity of a path, and the files of one set."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

CLASSES_CSV = "classes.csv"
"""Name of the class map of a folder, and how that of another output ends."""
VAL_END = "_val"
"""What `manifest` adds to the name of its output for the validation images."""
_LONGEST = 255
"""Digits of a number at most: no name of a file is longer."""
MEMBER = re.compile(
    r"(?P<name>.*)-(?P<number>\d{1,6})-of-(?P<n>\d{1,6})(?P<suffix>(\.\w+)?)", re.DOTALL
)
"""The name of one of several files of a set."""


class Family(NamedTuple):
    """A name, the number of files as text, and a suffix, which the files of one set share.

    The name includes the suffix where that is before the number.
    """

    name: str
    n: str
    suffix: str


def sort_names(names: Iterable[str]) -> list[str]:
    """Sort names as numbers if all are numbers, else as text.

    >>> sort_names(["10", "9", "1"]), sort_names(["10", "9", "a"])
    (['1', '9', '10'], ['10', '9', 'a'])
    """
    names = list(names)
    if are_numbers(names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def sort_files(names: Iterable[str]) -> list[str]:
    """Sort file names by stem as numbers if all stems are numbers, else as text.

    >>> sort_files(["10.jpg", "9.jpg"])
    ['9.jpg', '10.jpg']
    """
    names = list(names)
    stems = [name.rpartition(".")[0] for name in names]
    if are_numbers(stems):
        by_number = dict(zip(map(int, stems), names, strict=True))
        if len(by_number) == len(names):
            return [by_number[number] for number in sorted(by_number)]
        return [name for _, name in sorted(zip(map(int, stems), names, strict=True))]
    return sorted(names)


def are_numbers(names: Sequence[str]) -> bool:
    """Return whether there are names, and all are whole numbers."""
    digits = "".join(names)
    are_digits = digits.isdigit() and digits.isascii() and all(names)
    return are_digits and max(map(len, names)) <= _LONGEST


def is_class_map(name: str) -> bool:
    """Return whether a file is the class map beside an output, by its name.

    >>> is_class_map("train_classes.csv"), is_class_map("train.csv")
    (True, False)
    """
    return name.endswith(f"_{CLASSES_CSV}")


def identity_of(path: str) -> str:
    """Return the folder of an image as its identity, or a dot without a folder.

    >>> identity_of("a/b/1.png"), identity_of("1.png")
    ('a/b', '.')
    """
    return path.rpartition("/")[0] or "."


def family_of(name: str) -> Family | None:
    """Return the family that a file belongs to; the numbers of its files begin at 0 or 1.

    >>> family_of("a-00001-of-00008.parquet"), family_of("a.parquet")
    (Family(name='a', n='00008', suffix='.parquet'), None)
    """
    match = MEMBER.fullmatch(name) if "-of-" in name else None  # most names are not of one
    if match is None or int(match["number"]) > int(match["n"]):
        return None
    return Family(match["name"], match["n"], match["suffix"].lower())


def output_of(name: str) -> str:
    """Return the name of the output that a file was written for as one of several, or as the only.

    >>> output_of("a-00001-of-00008.tar"), output_of("a.tar")
    ('a.tar', 'a.tar')
    """
    family = family_of(name)
    return f"{family.name}{family.suffix}" if family else name


def suffix_of(name: str) -> str:
    """Return the suffix of a file that selects its container, in lower case.

    >>> suffix_of("a.TAR"), suffix_of("a.tfrecord-00001-of-00008")
    ('.tar', '.tfrecord')
    """
    return os.path.splitext(output_of(name))[1].lower()
