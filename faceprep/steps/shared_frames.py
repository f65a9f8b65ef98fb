"""Merges of two faces of one photo or frame: two people, so a person has to decide."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.names import identity_of
from faceprep.core.types import ACCEPTED, MERGE, UNDECIDED, Decision
from faceprep.tables.faces import FACES_TABLE, read_faces

_PHOTO = (1 << 24) - 1
"""The frame number that stands for a photo."""
_NONE: Ints = np.zeros(0, np.int64)


def hold_shared_frames(decisions: Sequence[Decision], source: str) -> list[Decision]:
    """Make accepted merges undecided that would put two faces of one photo or frame together.

    `source` is the set of the images; without a table of faces nothing changes. The most alike are
    merged first. Undecided decisions follow the accepted ones. Raises SourceError.
    """
    table = Path(source) / FACES_TABLE
    merges = [each for each in decisions if each.action == MERGE and each.verdict == ACCEPTED]
    if not merges or storage.size_of(table) is None:
        return list(decisions)
    frames = _find_frames(table, {name for each in merges for name in (each.subject, each.into)})
    held: dict[str, Decision] = {}
    for merge in sorted(merges, key=lambda each: (-(each.score or 0), each.subject)):
        own, others = frames.get(merge.subject, _NONE), frames.get(merge.into, _NONE)
        shared = np.intersect1d(own, others)
        if not len(shared):
            frames[merge.into] = np.union1d(own, others)
            continue
        reason = f"{merge.reason}; but both are in {_describe(int(shared[0]))}"
        held[merge.subject] = merge._replace(verdict=UNDECIDED, reason=reason)
    kept = [each for each in decisions if each.action != MERGE or each.subject not in held]
    n_accepted = sum(each.verdict == ACCEPTED for each in kept)
    return [*kept[:n_accepted], *held.values(), *kept[n_accepted:]]


def _describe(number: int) -> str:
    frame = number & _PHOTO
    if frame == _PHOTO:
        return "one photo"
    return f"frame {frame} of one video"


def _find_frames(table: Path, names: set[str]) -> dict[str, Ints]:
    """Return the photos and frames of the faces of these identities, each as a number."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for rows in read_faces(table, ["source", "frame", "output"]):
        for source, frame, output in zip(
            *(rows[name].to_pylist() for name in rows.column_names), strict=True
        ):
            if output is not None and identity_of(output) in names:
                found[identity_of(output)].append(_number(source, frame))
    return {name: np.unique(np.array(numbers, np.int64)) for name, numbers in found.items()}


def _number(source: str, frame: int | None) -> int:
    """Return a number that tells frames apart: 39 bits of the source's digest, then the frame."""
    name = source.encode("utf-8", "surrogateescape")
    digest = int.from_bytes(hashlib.blake2b(name, digest_size=5).digest(), "big") >> 1
    if frame is None:
        frame = _PHOTO
    return digest << 24 | min(frame, _PHOTO)
