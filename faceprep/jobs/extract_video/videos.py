"""The videos that extract-video finds, and the names of their folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from faceprep.core.errors import SourceError
from faceprep.core.paths import is_folder
from faceprep.core.untaken import UntakenFiles
from faceprep.sets.kinds import VIDEO, describe_other_kind
from faceprep.steps.source_roots import SourceRoots
from faceprep.video.reader import VIDEO_SUFFIXES, find_videos

_TAKEN = (".png", ".jpg", ".parquet")
"""Endings of the names that extract-video writes beside the folders of videos."""


class Video(NamedTuple):
    """A video `path` below its source, the folder of its frames, and the path of its `.face` file,
    if any.
    """

    path: str
    folder: str
    face: str


def find_all(sources: Sequence[Path]) -> tuple[list[tuple[Path, str]], Counter[str]]:
    """List (root, path below it) of all videos, and count the other files by suffix.

    Raises SourceError, also for a source that is a file of another kind.
    """
    roots, skipped = SourceRoots(sources, "video"), Counter[str]()
    for source in sources:
        root = source if is_folder(source) else source.parent
        untaken = UntakenFiles(source, "videos")
        videos = find_videos(source, untaken)
        if source in videos and (found := describe_other_kind(source, VIDEO)):
            raise SourceError(
                f"expected videos, found {found}",
                path=source,
                remedy="Name a video or a folder of videos; extract-photos takes photos.",
            )
        skipped.update(untaken.counts)
        roots.add(root, (video.relative_to(root).as_posix() for video in videos))
    if not roots.of:
        raise SourceError(
            "no videos here",
            path=sources[0],
            expected=", ".join(VIDEO_SUFFIXES),
            remedy="extract-photos takes photos.",
        )
    return [(root, path) for path, root in roots.of.items()], skipped


def name_folders(stems: Mapping[str, str]) -> dict[str, str]:
    """Name the folder of each video: its stem, unless that is taken or looks like an output file.

    >>> name_folders({"a.mov": "a", "a.mp4": "a", "b.m.mov": "b", "0.png.mov": "0.png"})
    {'a.mov': 'a.mov', 'a.mp4': 'a.mp4', 'b.m.mov': 'b', '0.png.mov': '0.png.mov'}
    """
    names = dict(stems)
    while clashing := [
        path for path, name in names.items() if name != path and _clashes(name, names)
    ]:
        names |= {path: path for path in clashing}
    return names


def _clashes(name: str, names: Mapping[str, str]) -> bool:
    hidden = os.path.basename(name).startswith(".")
    return hidden or name.endswith(_TAKEN) or sum(name == other for other in names.values()) > 1
