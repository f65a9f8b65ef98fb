"""Finds copies among the images of a set: bytes -> signatures -> a plan of images to drop.

sign_images   encoded images -> their signatures
plan_drops    the decisions, with reasons, and how many there are of each kind

The best copy stays: the one that really uses the most pixels. Noise, grey, palettes and borders
count against a copy, so enlarged and noisy copies lose; and so do alterations, which `originals`
finds. Between equals, these decide in turn: more pixels, more detail (in steps of a factor of
1.25), more bytes, the first name.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from faceprep.core.arrays import Bools, Ints, Thumbnails
from faceprep.core.io.image_bytes import check_image_bytes
from faceprep.core.io.image_header import read_header
from faceprep.core.types import DROP, REFUSED, UNDECIDED, Buffer, Decision, Outcome
from faceprep.identity.duplicates import (
    NO_IDENTITY,
    Duplicates,
    Radius,
    choose_radius,
    compare_again,
    find_duplicates,
)
from faceprep.jobs.dedupe.look_alikes import LookAlikes
from faceprep.jobs.dedupe.originals import Copies, Load, find_costs, rank_by_quality
from faceprep.jobs.dedupe.signatures import ROW, Signatures
from faceprep.steps.earlier_plan import IN_TWO_IDENTITIES
from faceprep.vision import perceptual_hash as hashes
from faceprep.vision.encodings import UNKNOWN, measure_coarseness, steps_of
from faceprep.vision.load_image import load_image_bytes
from faceprep.vision.part_summary import LARGE, NO_BORDER, summarize_parts

EXACT, NEAR, AGAINST, CONFLICTS, DAMAGED = "exact", "near", "against", "conflicts", "damaged"
_PNG_COLOUR, _PNG_PALETTE = 25, 3


# Signatures


class NamedImage(NamedTuple):
    """The bytes of an image, or the outcome of a lost one; `number` is its place in the set."""

    number: int
    name: str
    data: Buffer | Outcome


def sign_images(images: Iterable[NamedImage], exact_only: bool) -> Signatures:
    """Yield the signature of each image: digest, and if it decodes thumbnail, hash, size and
    sharpness.

    With `exact_only` nothing is decoded, and the hash is a piece of the digest.
    """
    rows, names = [], []
    thumbnails: list[Thumbnails] = []
    larges: list[Thumbnails] = []
    damaged: dict[int, tuple[str, str]] = {}
    for number, name, data in images:
        if isinstance(data, Outcome):
            damaged[number] = data.status, data.reason
            continue
        found = (_header_row if exact_only else _row)(number, data, name)
        if isinstance(found, Outcome):
            damaged[number] = found.status, found.reason
            continue
        rows.append(found.row)
        names.append(name)
        thumbnails += found.thumbnails
        larges += found.larges
    signed = np.array(rows, ROW) if rows else np.zeros(0, ROW)
    stacked = _stack(thumbnails, hashes.SIDE)
    if len(stacked):
        signed["hash"] = hashes.hash_thumbnails(stacked)
    return Signatures(signed, stacked, names, damaged, _stack(larges, LARGE))


class _Signed(NamedTuple):
    """The row of one image, and its thumbnails if it was decoded."""

    row: tuple[Any, ...]
    thumbnails: Sequence[Thumbnails] = ()
    larges: Sequence[Thumbnails] = ()


def _stack(thumbnails: Sequence[Thumbnails], side: int) -> Thumbnails:
    if thumbnails:
        return np.stack(thumbnails)
    return np.zeros((0, side, side), np.uint8)


def _digest(data: Buffer) -> list[int]:
    words: list[int] = np.frombuffer(hashlib.sha256(data).digest(), "<u8").tolist()
    return words


def _row(number: int, data: Buffer, name: str) -> _Signed | Outcome:
    pixels = load_image_bytes(data, name)
    if isinstance(pixels, Outcome):
        return pixels
    small, parts = hashes.summarize_image(pixels), summarize_parts(pixels)
    is_full = small.has_colour and not _has_palette(data)
    row = (
        number,
        _digest(data),
        0,
        *pixels.shape[:2],
        len(data),
        is_full,
        small.detail,
        small.is_faint,
        parts.border,
        parts.quality,
        parts.clipped,
        measure_coarseness(steps_of(data)),
    )
    return _Signed(row, [small.thumbnail], [parts.large])


def _has_palette(data: Buffer) -> bool:
    """Return whether it is a GIF, or a PNG of colour type 3 (PNG specification, 11.2.1)."""
    suffix = read_header(data).suffix
    return suffix == ".gif" or (suffix == ".png" and data[_PNG_COLOUR] == _PNG_PALETTE)


def _header_row(number: int, data: Buffer, name: str) -> _Signed | Outcome:
    header = check_image_bytes(data, name)
    if isinstance(header, Outcome):
        return header
    digest = _digest(data)
    size = header.size or (0, 0)
    row = (number, digest, digest[0], *size, len(data), False, 0, False, NO_BORDER, 0, 0, UNKNOWN)
    return _Signed(row)


# Decisions


class Named(NamedTuple):
    """Names of images: paths below the source; those of test images start with their set.

    `judge` gives a decision the verdict that a person has given it before. `shown` are the names by
    which `review` finds the images: without them, it finds them by `names`.
    """

    names: Sequence[str]
    identities: Sequence[str]
    judge: Callable[[Decision], Decision] = lambda decision: decision
    shown: Sequence[str] = ()


def plan_drops(
    look: LookAlikes, named: Named, load: Load | None
) -> tuple[list[Decision], dict[str, int]]:
    """Plan accepted, then undecided drops, each in image order.

    Return them with the count of each kind. Without `load`, only the same bytes are copies.

    An image that stays for one accepted drop is not dropped by another. It may be in an undecided
    one, because copies of a mislabelled image share its wrong label.
    """
    found = _find_copies(look, load)
    reasons = _Reasons(look, named, found)
    told = [
        reasons.dropped(image)
        for image in np.flatnonzero(found.kept != np.arange(len(found.kept))).tolist()
    ]
    told += [
        reasons.rival(image)
        for image in np.flatnonzero(found.rivals != np.arange(len(found.kept))).tolist()
    ]
    counts = Counter(dict.fromkeys((EXACT, NEAR, AGAINST, CONFLICTS), 0))
    counts.update(kind for kind, decision in told if decision.verdict != REFUSED)
    return [decision for _, decision in told], dict(counts)


def limits_of(n: int) -> dict[str, Any]:
    """Return the limits for copies among `n` images: of hash distance and thumbnail agreement."""
    return {"distance": choose_radius(n).wholes, "agreement": hashes.MIN_AGREEMENT}


def _find_copies(look: LookAlikes, load: Load | None) -> Duplicates:
    """Find copies, then once more if some of them are altered, so that the originals stay.

    Without `load`, find the same bytes alone.
    """
    table, images = look.table, look.table.images
    if load is None:
        return find_duplicates(images, _never, Radius(0, 0))
    rows, radius = table.signatures.rows, choose_radius(len(images.contents))
    found = find_duplicates(images, look.compare, radius)
    n_source = int(np.count_nonzero(images.identities != NO_IDENTITY))
    costs = find_costs(Copies(rows, table.views, images.contents, found.kept), n_source, load)
    if not costs.any():
        return found
    better = replace(images, order=rank_by_quality(rows, costs))
    return find_duplicates(better, compare_again(found, look.compare), radius)


def _never(image: int, others: Ints) -> Bools:
    return np.zeros(len(others), np.bool_)


@dataclass(frozen=True)
class _Reasons:
    """A writer of reasons."""

    look: LookAlikes
    named: Named
    found: Duplicates

    def dropped(self, image: int) -> tuple[str, Decision]:
        """Return (kind, decision)."""
        kept = int(self.found.kept[image])
        score, how, evidence = self._compared(image, kept)
        images = self.look.table.images
        kind = self._kind(image, kept)
        if images.identities[kept] == NO_IDENTITY:
            kind, how = AGAINST, f"test image: {how}"
        decision = Decision(
            DROP, self.named.names[image], score=score, reason=how, evidence=evidence
        )
        judged = self.named.judge(decision)
        if judged.verdict != REFUSED:  # a plan of 0.2.0 names a test image as the reason does
            before = decision._replace(evidence=evidence | {"kept": self.named.names[kept]})
            judged = self.named.judge(before)._replace(evidence=evidence)
        return kind, judged

    def rival(self, image: int) -> tuple[str, Decision]:
        """Return (kind, decision); a conflict that a person has decided is a copy as any other."""
        rival = int(self.found.rivals[image])
        score, how, evidence = self._compared(image, rival)
        identities = self.look.table.images.identities
        both = [int(identities[image]), int(identities[rival])]
        evidence |= {IN_TWO_IDENTITIES: [self.named.identities[each] for each in both]}
        evidence |= {"images": [self._counts.item(each) for each in both]}
        decision = Decision(
            DROP,
            self.named.names[image],
            score=score,
            reason=f"label conflict: {how}",
            verdict=UNDECIDED,
            evidence=evidence,
        )
        judged = self.named.judge(decision)
        return CONFLICTS if judged.verdict == UNDECIDED else self._kind(image, rival), judged

    def _kind(self, image: int, other: int) -> str:
        contents = self.look.table.images.contents
        return EXACT if contents[image] == contents[other] else NEAR

    @cached_property
    def _counts(self) -> Ints:
        """Return the number of images of each identity of the source."""
        identities = self.look.table.images.identities
        return np.bincount(identities[identities != NO_IDENTITY])

    def _compared(self, image: int, kept: int) -> tuple[float, str, dict[str, Any]]:
        """Return (score, reason, evidence)."""
        name, images = self.named.names[kept], self.look.table.images
        evidence: dict[str, Any] = {"kept": (self.named.shown or self.named.names)[kept]}
        if images.contents[image] == images.contents[kept]:
            return 1.0, f"the same bytes as {name}", evidence
        other = np.array([kept])
        (match,) = self.look.matches(image, other)
        score = round(match.agreement if match else 0.0, 4)
        apart = images.hashes[image, 0] ^ images.hashes[kept, 0]
        evidence["distance"] = int(apart).bit_count()
        how = f" ({match.how})" if match and match.how else ""
        if self.look.vectors is not None and images.identities[kept] != NO_IDENTITY:
            evidence["likeness"] = round(float(self.look.likeness(image, other)[0]), 4)
        return score, f"a copy of {name}{how}: thumbnails agree to {score:.3f}", evidence


def damage_drops(
    damaged: Mapping[int, tuple[str, str]], path_of: Callable[[int], str]
) -> Iterator[Decision]:
    """Plan drops of images that cannot be read, so that the plan is complete."""
    for number, (status, reason) in sorted(damaged.items()):
        yield Decision(DROP, path_of(number), reason=f"{status}: {reason}")
