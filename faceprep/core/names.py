"""Names of identities and files: their order, and the identity of a path."""

from __future__ import annotations

from collections.abc import Iterable

CLASSES_CSV = "classes.csv"
"""Name of the class map of a folder, and how that of another output ends."""
VAL_END = "_val"
"""What `manifest` adds to the name of its output for the validation images."""
_LONGEST = 255
"""Digits of a number at most: no name of a file is longer."""


def sort_names(names: Iterable[str]) -> list[str]:
    """Sort names as numbers if all are numbers, else as text.

    >>> sort_names(["10", "9", "1"]), sort_names(["10", "9", "a"])
    (['1', '9', '10'], ['10', '9', 'a'])
    """
    names = list(names)
    if _are_numbers(names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def sort_files(names: Iterable[str]) -> list[str]:
    """Sort file names by stem as numbers if all stems are numbers, else as text.

    >>> sort_files(["10.jpg", "9.jpg"])
    ['9.jpg', '10.jpg']
    """
    names = list(names)
    stems = [name.rpartition(".")[0] for name in names]
    if _are_numbers(stems):
        by_number = dict(zip(map(int, stems), names, strict=True))
        if len(by_number) == len(names):
            return [by_number[number] for number in sorted(by_number)]
        return [name for _, name in sorted(zip(map(int, stems), names, strict=True))]
    return sorted(names)


def _are_numbers(names: list[str]) -> bool:
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
