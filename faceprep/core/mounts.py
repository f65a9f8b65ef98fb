"""Mounts whose locks are seen on one machine only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.output_tree import is_within
from faceprep.core.paths import real_path

_LONGEST = 1 << 22
_ESCAPE = re.compile(r"\\([0-7]{3})")
_MOUNTS = "/proc/self/mountinfo"
_ALONE = {
    "nfs": ("nolock", "local_lock=all", "local_lock=flock"),
    "nfs4": ("nolock", "local_lock=all", "local_lock=flock"),
    "lustre": ("localflock",),
}
"""Options of network file systems by which each machine keeps its locks for itself."""


class Mount(NamedTuple):
    """A mounted file system: its folder, its kind, and its options."""

    folder: str
    kind: str
    options: tuple[str, ...]


def find_lone_locks(path: str | os.PathLike[str], mounts: str = _MOUNTS) -> str:
    """Return the kind and the option by which locks at `path` are seen on this machine only.

    The text is empty where all machines see them, and where the system does not list its mounts.
    `mounts` is that list.
    """
    try:
        text = os.fsdecode(storage.read_bytes(mounts, _LONGEST))  # /proc states no sizes
    except SourceError:
        return ""
    place = real_path(path)
    around = [mount for mount in _parse(text) if is_within(place, mount.folder)]
    if not around:
        return ""
    mount = max(reversed(around), key=lambda each: len(each.folder))  # the last one lies on top
    named = [option for option in _ALONE.get(mount.kind, ()) if option in mount.options]
    return f"{mount.kind}, {named[0]}" if named else ""


def _parse(text: str) -> Iterator[Mount]:
    """Yield the mounts of a list in the form of Linux: see proc_pid_mountinfo(5)."""
    for line in text.splitlines():
        of_mount, _, of_system = line.partition(" - ")
        first, last = of_mount.split(" "), of_system.split(" ")
        if len(first) > 5 and len(last) > 2:  # noqa: PLR2004
            folder = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), first[4])
            options = (*first[5].split(","), *last[2].split(","))
            yield Mount(folder, last[0], options)
