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

    Raises SourceError.
    """
    roots: dict[str, Path] = {}
    skipped: Counter[str] = Counter()
    for source in sources:
        root = source if is_folder(source) else source.parent
        untaken = UntakenFiles(source, "videos")
        videos = find_videos(source, untaken)
        skipped.update(untaken.counts)
        for video in videos:
            path = video.relative_to(root).as_posix()
            if path in roots:
                raise SourceError(
                    "two videos would go to one folder",
                    path=video,
                    found=f"{roots[path] / path}",
                    remedy="Extract them to different outputs, or name the folder that both are "
                    "in.",
                )
            roots[path] = root
    if not roots:
        raise SourceError("no videos here", path=sources[0], expected=", ".join(VIDEO_SUFFIXES))
    return [(root, path) for path, root in roots.items()], skipped


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
