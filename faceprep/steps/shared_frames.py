"""Merges of tracks that share a frame of a video: two people, so a person has to decide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.names import identity_of
from faceprep.core.types import ACCEPTED, MERGE, UNDECIDED, Decision
from faceprep.tables.faces import FACES_TABLE, read_faces

_FRAMES_A_VIDEO = 1 << 40
_NONE: Ints = np.zeros(0, np.int64)


def hold_shared_frames(decisions: Sequence[Decision], source: str) -> list[Decision]:
    """Make accepted merges undecided that would put two tracks of one frame together.

    `source` is the set of the images; without tracks in its table of faces nothing changes. The
    most alike are merged first. Undecided decisions follow the accepted ones. Raises SourceError.
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
        number = int(shared[0]) % _FRAMES_A_VIDEO
        reason = f"{merge.reason}; but both are in frame {number} of one video"
        held[merge.subject] = merge._replace(verdict=UNDECIDED, reason=reason)
    kept = [each for each in decisions if each.action != MERGE or each.subject not in held]
    n_accepted = sum(each.verdict == ACCEPTED for each in kept)
    return [*kept[:n_accepted], *held.values(), *kept[n_accepted:]]


def _find_frames(table: Path, names: set[str]) -> dict[str, Ints]:
    """Return the frames of the tracks of these identities, each a number among all videos."""
    videos: dict[str, int] = {}
    found: defaultdict[str, list[int]] = defaultdict(list)
    for rows in read_faces(table, ["source", "frame", "track", "output"]):
        for source, frame, track, output in zip(
            *(rows[name].to_pylist() for name in rows.column_names), strict=True
        ):
            if track is None or output is None or identity_of(output) not in names:
                continue
            video = videos.setdefault(source, len(videos))
            found[identity_of(output)].append(video * _FRAMES_A_VIDEO + frame)
    return {name: np.unique(np.array(numbers, np.int64)) for name, numbers in found.items()}
