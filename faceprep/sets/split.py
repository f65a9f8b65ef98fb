"""Selects the images of a manifest: their classes, the split and the order.

Never reads the disk.

An image is known by its position in the folder's order: identity by identity, names sorted.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Ints
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.names import sort_names
from faceprep.core.random_order import shuffled
from faceprep.core.text import count_noun
from faceprep.core.types import FEW_IMAGES, NOT_DRAWN
from faceprep.sets.class_map import ClassRow
from faceprep.sets.label_rules import LabelRule, Unlabelled
from faceprep.sets.listing import Listing

log = logging.getLogger("faceprep")

_NONE = -1


@dataclass(frozen=True)
class Selection:
    """The images of a manifest.

    `class_of[i]` is the class of image i if it is taken; `names` are the class names by number.
    `train` and `val` are positions of images in the order of writing.
    """

    class_of: Ints
    names: Sequence[str]
    train: Ints
    val: Ints

    def class_counts(self) -> Ints:
        """Count the images of each class, train and val together."""
        taken = self.class_of[np.concatenate([self.train, self.val])]
        return np.bincount(taken, minlength=len(self.names))

    def warn_of_missing_classes(self) -> None:
        """Warn of classes without an image in the training or the validation set."""
        train, val = (np.unique(self.class_of[taken]) for taken in (self.train, self.val))
        for name, here, there in (("training", train, val), ("validation", val, train)):
            missing = np.setdiff1d(there, here)
            if val.size and missing.size:
                log.warning(
                    "the %s set has no images of %s, such as %r. If the class has several groups, "
                    "try another --seed or --val-fraction",
                    name,
                    count_noun(missing.size, "class", "classes"),
                    self.names[missing[0]],
                )


@dataclass(frozen=True)
class Split:
    """The share of images that go to the validation set.

    With `groups`, the number of each image's group (n,), it is the share of groups, and each group
    is on one side.
    """

    fraction: float = 0.0
    groups: Ints | None = None


def label_by_identity(listing: Listing) -> tuple[Ints, Sequence[str]]:
    """Label images by folder; return (label of each image, label names).

    Images outside a folder are refused.
    """
    if "." in listing.identities:
        for position in np.flatnonzero(
            listing.identity_of == listing.identities.index(".")
        ).tolist():
            reason = (
                f"{listing.files[position]}: has no identity, expected IDENTITY/IMAGE, a finite "
                "label, or a --label-rule"
            )
            listing.refused.setdefault(position, Unlabelled("no_identity", reason))
    return listing.identity_of, listing.identities


def label_by_rule(listing: Listing, rule: LabelRule) -> tuple[Ints, list[str]]:
    """Label images by a rule; return (label of each image, label names).

    Unlabelled images are refused.
    """
    names = list(rule.classes)
    numbers = {name: number for number, name in enumerate(names)}
    labels = np.full(len(listing), _NONE, np.int64)
    for position, path in enumerate(listing.prefixed_paths("")):
        label = rule.label(path)
        if isinstance(label, Unlabelled):
            listing.refused.setdefault(position, label)
            continue
        if label not in numbers:
            numbers[label] = len(names)
            names.append(label)
        labels[position] = numbers[label]
    return labels, names


def join_groups(groups: Ints, others: Ints) -> Ints:
    """Return for each image (n,) the smallest group that it has to stay together with.

    Images of one group stay together, and so do those with one number in `others`. Images without a
    group (-1) keep none.

    >>> join_groups(np.array([0, 1, 1, 2, -1]), np.array([5, 5, 6, 7, 6])).tolist()
    [0, 0, 0, 2, -1]
    """
    grouped = groups != _NONE
    number, group = np.unique(np.stack([others[grouped], groups[grouped]]), axis=1)
    smallest = list(range(int(group.max(initial=_NONE)) + 1))

    def find(member: int) -> int:
        while smallest[member] != member:
            smallest[member] = smallest[smallest[member]]
            member = smallest[member]
        return member

    are_joined = number[1:] == number[:-1]
    pairs = group[:-1][are_joined].tolist(), group[1:][are_joined].tolist()
    for one, other in zip(*pairs, strict=True):
        low, high = sorted((find(one), find(other)))
        smallest[high] = low
    joined = np.array([*map(find, range(len(smallest))), _NONE], np.int64)
    return joined[groups]


def leave_out_few(listing: Listing, least: int) -> tuple[int, int]:
    """Refuse identities with fewer than `least` accepted images.

    Return the numbers of identities and images.
    """
    sound = listing.accepted()
    counts = np.bincount(listing.identity_of[sound], minlength=len(listing.identities))
    few = np.flatnonzero(sound & (counts < least)[listing.identity_of])
    for position, identity in zip(few.tolist(), listing.identity_of[few].tolist(), strict=True):
        why = (
            f"{listing.identities[identity]}: {count_noun(counts[identity], 'image')}, "
            f"--min-images asks for {least}"
        )
        listing.refused[position] = Unlabelled(FEW_IMAGES, why)
    return int(((counts > 0) & (counts < least)).sum()), few.size


def keep_known(
    listing: Listing, labels: Ints, names: Sequence[str], rows: Sequence[ClassRow]
) -> tuple[Ints, list[str]]:
    """Give labels the numbers of a class map; return (label of each image, names of its classes).

    Images whose class is not in the map are refused. Raises OptionError for a map with gaps.
    """
    known = {row.name: row.number for row in rows}
    if sorted(known.values()) != list(range(len(rows))):
        raise OptionError(
            "--classes: the classes are not numbered from 0 without gaps",
            expected=f"the numbers 0 to {len(rows) - 1}, each once",
            found=", ".join(str(row.number) for row in rows[:8]),
        )
    numbers = np.array([known.get(name, _NONE) for name in names] or [_NONE], np.int64)
    numbered = np.where(labels == _NONE, _NONE, numbers[labels])
    for position in np.flatnonzero((numbered == _NONE) & listing.accepted()).tolist():
        name = names[labels[position]]
        reason = f"{listing.path(position)}: the class {name!r} is not in --classes"
        listing.refused[position] = Unlabelled("unknown_class", reason)
    return numbered, [row.name for row in sorted(rows)]


def count_labels(listing: Listing, labels: Ints) -> int:
    """Count the labels of the images that are not refused."""
    return len(np.unique(labels[listing.accepted()]))


def draw(
    listing: Listing, labels: Ints, seed: int, max_images: int | None, n_labels: int | None
) -> int:
    """Refuse all but `max_images` images of each label and `n_labels` labels, drawn by `seed`.

    Return the number of images left out; they are not failures.
    """
    kept = np.flatnonzero(listing.accepted())
    order = kept[shuffled(kept.size, seed)]
    left_out = np.zeros(len(listing), np.bool_)
    if n_labels is not None:
        present = np.unique(labels[kept])
        drawn = present[shuffled(present.size, seed)[:n_labels]]
        left_out[kept[~np.isin(labels[kept], drawn)]] = True
    if max_images is not None:
        by_label = order[np.argsort(labels[order], kind="stable")]
        starts = np.flatnonzero(np.diff(labels[by_label], prepend=_NONE - 1))
        rank = np.arange(by_label.size) - np.repeat(
            starts, np.diff(np.append(starts, by_label.size))
        )
        left_out[by_label[rank >= max_images]] = True
    for position in np.flatnonzero(left_out).tolist():
        listing.refused[position] = Unlabelled(NOT_DRAWN, "not drawn")
    return int(left_out.sum())


def select(
    listing: Listing, labels: Ints, names: Sequence[str], fixed: bool, seed: int, split: Split
) -> Selection:
    """Assign class numbers from 0 to C-1, split and shuffle.

    Classes follow their names, sorted as numbers if all are numbers, else as text. `fixed` keeps
    the numbers of the labels. If whole identities go to the validation set, classes that only occur
    there come last, so that the classes of the training set are dense as well. Raises SourceError
    if no split is possible.
    """
    kept = np.flatnonzero(listing.accepted())
    order = kept[shuffled(kept.size, seed)]
    if split.groups is not None:
        in_val = _whole_groups(split.groups[order], seed, split.fraction)
    else:
        in_val = _some_images(labels[order], split.fraction)
    train, val = order[~in_val], order[in_val]
    if split.fraction and not val.size:
        raise SourceError(
            "the validation set would be empty", remedy="Choose a larger --val-fraction."
        )
    if fixed:
        return Selection(labels, names, train, val)
    used = set(np.unique(labels[train]).tolist())
    ranked = [number for _, number in _sorted(names, used)]
    ranked += [number for _, number in _sorted(names, set(np.unique(labels[val]).tolist()) - used)]
    dense = np.full(len(names) + 1, _NONE, np.int64)
    dense[ranked] = np.arange(len(ranked))
    return Selection(dense[labels], [names[number] for number in ranked], train, val)


def _sorted(names: Sequence[str], numbers: set[int]) -> list[tuple[str, int]]:
    by_name = {names[number]: number for number in numbers}
    return [(name, by_name[name]) for name in sort_names(by_name)]


def _some_images(labels: Ints, fraction: float) -> npt.NDArray[np.bool_]:
    """Select a share of the images, except the first image of each class, which stays in the
    training set.
    """
    in_val = np.zeros(labels.size, np.bool_)
    if fraction:
        free = np.ones(labels.size, np.bool_)
        free[np.unique(labels, return_index=True)[1]] = False
        places = np.flatnonzero(free)
        if not places.size:
            raise SourceError(
                "every class has one image only: none can go to the validation set",
                remedy="Use --split-by identity, or no --val-fraction.",
            )
        in_val[places[: _share(fraction, labels.size)]] = True
    return in_val


def _whole_groups(groups: Ints, seed: int, fraction: float) -> npt.NDArray[np.bool_]:
    present = np.unique(groups)
    n = _share(fraction, present.size) if fraction else 0
    if fraction and n >= present.size:
        raise SourceError(
            f"{count_noun(present.size, 'group')} cannot be split with --val-fraction {fraction}",
            expected="at least one identity, or group of --group-by, on either side",
        )
    chosen: npt.NDArray[np.bool_] = np.isin(groups, present[shuffled(present.size, seed)[:n]])
    return chosen


def _share(fraction: float, n: int) -> int:
    return max(round(fraction * n), 1)
