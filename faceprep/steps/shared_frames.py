"""Merges and moves that put two faces of one photo or frame together, so a person has to decide."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from faceprep.core.arrays import Ints
from faceprep.core.names import identity_of
from faceprep.core.types import ACCEPTED, DROP, MERGE, MOVE, UNDECIDED, Decision
from faceprep.tables.faces import find_faces_table, read_face_tables

_PHOTO = (1 << 24) - 1
"""The frame number that stands for a photo."""
_NONE: Ints = np.zeros(0, np.int64)


def hold_shared_frames(decisions: Sequence[Decision], source: str) -> list[Decision]:
    """Make accepted merges undecided that would put two faces of one photo or frame together.

    `source` is the set of the images; without a table of faces, there or in a folder above it,
    nothing changes. The most alike are merged first. Undecided decisions follow the accepted ones.
    Raises SourceError.
    """
    table = find_faces_table(Path(source))
    merges = [each for each in decisions if each.action == MERGE and each.verdict == ACCEPTED]
    if not merges or table is None:
        return list(decisions)
    frames = _find_frames(table, {name for each in merges for name in (each.subject, each.into)})
    held: dict[str, Decision] = {}
    for merge in sorted(merges, key=lambda each: (-(each.score or 0), each.subject)):
        own, others = frames.get(merge.subject, _NONE), frames.get(merge.into, _NONE)
        shared = np.intersect1d(own, others)
        if not len(shared):
            frames[merge.into] = np.union1d(own, others)
            continue
        why = f"both are in {_describe(int(shared[0]))}"
        held[merge.subject] = _hold(merge, why)
    kept = [each for each in decisions if each.action != MERGE or each.subject not in held]
    n_accepted = sum(each.verdict == ACCEPTED for each in kept)
    return [*kept[:n_accepted], *held.values(), *kept[n_accepted:]]


def _describe(number: int) -> str:
    frame = number & _PHOTO
    if frame == _PHOTO:
        return "one photo"
    return f"frame {frame} of one video"


def hold_shared_moves(decisions: Sequence[Decision], source: str) -> list[Decision]:
    """Make accepted moves of images undecided that put two faces of one photo or frame together.

    The order stays. All accepted moves and drops count as done, then each face that would meet
    another of its photo goes back, until none does: all such moves are undecided, and the order of
    the decisions changes nothing. `source` as in `hold_shared_frames`. Raises SourceError.
    """
    table = find_faces_table(Path(source))
    accepted = [each for each in decisions if each.verdict == ACCEPTED]
    moved = {each.subject: each.into for each in accepted if each.action == MOVE}
    if not moved or table is None:
        return list(decisions)
    places = moved | {each.subject: "" for each in accepted if each.action == DROP}
    photos = _find_photos_of(table, {image for image, into in places.items() if into})
    why: dict[str, str] = {}
    while met := dict(_find_met(photos, places)):
        why |= met
        places = {image: into for image, into in places.items() if image not in met}
    return [_hold_for(each, why.get(each.subject)) for each in decisions]


def _find_met(photos: dict[int, list[str]], places: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (image, reason) for each moved face that meets another of its photo."""
    for number, faces in photos.items():
        homes = [places.get(face, identity_of(face)) for face in faces]
        for face, home in zip(faces, homes, strict=True):
            if places.get(face) and homes.count(home) > 1:
                yield face, f"another face of {_describe(number)}"


def _hold_for(decision: Decision, met: str | None) -> Decision:
    if met is None:
        return decision
    return _hold(decision, f"{decision.into} has {met}")


def _hold(decision: Decision, why: str) -> Decision:
    return decision._replace(verdict=UNDECIDED, reason=f"{decision.reason}; but {why}")


def _find_photos_of(table: tuple[Path, str], images: set[str]) -> dict[int, list[str]]:
    """Return the faces of the photos and frames from which these images are."""
    photos: dict[int, list[str]] = {}
    for number, output in _number_faces(table):
        if output in images:
            photos[number] = []
    for number, output in _number_faces(table):
        if number in photos:
            photos[number].append(output)
    return {number: faces for number, faces in photos.items() if len(faces) > 1}


def _find_frames(table: tuple[Path, str], names: set[str]) -> dict[str, Ints]:
    """Return the photos and frames of the faces of these identities, each as a number."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for number, output in _number_faces(table):
        if identity_of(output) in names:
            found[identity_of(output)].append(number)
    return {name: np.unique(np.array(numbers, np.int64)) for name, numbers in found.items()}


def _number_faces(table: tuple[Path, str]) -> Iterator[tuple[int, str]]:
    """Yield the photo or frame of each face, as a number, and its crop below the source."""
    path, start = table
    for rows in read_face_tables(path, ["source", "frame", "output"]):
        columns = (rows[name].to_pylist() for name in rows.column_names)
        for source, frame, output in zip(*columns, strict=True):
            if output is not None and output.startswith(start):
                yield _number(source, frame), output.removeprefix(start)


def _number(source: str, frame: int | None) -> int:
    """Return a number that tells frames apart: 39 bits of the source's digest, then the frame."""
    name = source.encode("utf-8", "surrogateescape")
    digest = int.from_bytes(hashlib.blake2b(name, digest_size=5).digest(), "big") >> 1
    if frame is None:
        frame = _PHOTO
    return digest << 24 | min(frame, _PHOTO)
