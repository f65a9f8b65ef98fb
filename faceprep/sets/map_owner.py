"""The owner of the class map beside a set or a manifest: the run that wrote it.

Outputs of one stem, such as a.csv and a.tar, share a map where their classes are the same. Only the
run that wrote a map may write it again, and only while no other output relies on it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from faceprep.core import storage
from faceprep.core.errors import OutputError
from faceprep.core.os_errors import SuppressDamage
from faceprep.core.state_file import STATE, load_run
from faceprep.core.types import Sink
from faceprep.sets import class_map
from faceprep.tables.ledger import FINISH, Page, page_name

_COMMANDS = (
    "manifest",
    "convert",
    "dedupe",
    "merge-identities",
    "clean-identities",
    "exclude-people",
    "apply",
)
"""The commands whose outputs may rely on the map of another."""


def may_write_map(output: Path, names: Sequence[str], may_drop: bool = False) -> bool:
    """Return whether the run of `output` is to write its map, of the classes `names`.

    Return False where another run or a person has written a map of the same classes. Raises
    OutputError where that map has other classes, and SourceError where the disk fails. With
    `may_drop`, some of the classes may turn out to be left out, so a map of only some of them may
    stay until they are known.
    """
    path = output.with_name(class_map.name_for(output))
    if not os.path.lexists(path):
        return True
    has_same = class_map.has_classes(path, names)
    if has_same and path.name in _earlier_files(output):
        return True
    if _is_ours(output, path) and not _find_sharing(output):
        return True
    if has_same or (may_drop and class_map.has_some_classes(path, names)):
        return False
    raise _map_of_other_classes(path)


def write_map(
    sink: Sink,
    output: Path,
    names: Sequence[str],
    counts: Iterable[int],
    planned: Sequence[str] | None = None,
) -> None:
    """Write the class map of `output`, with the images of each class, unless it shares another's.

    With `planned`, the files that the run is to write, it is written only if it is one of them. A
    map that another run makes meanwhile is not replaced. Raises OutputError for a map of other
    classes.
    """
    name = class_map.name_for(output)
    is_new = not os.path.lexists(output.with_name(name))
    if not may_write_map(output, names) or (planned is not None and name not in planned):
        return
    write = sink.write_new if is_new else sink.write
    write(name, class_map.encode(names, counts))


def refuse_other_map(output: Path) -> None:
    """Raise OutputError where the map of another run or of a person is beside `output`.

    The classes of `output` are not known yet.
    """
    path = output.with_name(class_map.name_for(output))
    if os.path.lexists(path) and not _is_ours(output, path):
        raise other_map(path)


def other_map(path: Path) -> OutputError:
    """Return the error about a map of another run or of a person, whose classes may be any."""
    return OutputError(
        "exists already; it belongs to another output or to you",
        path=path,
        remedy="Choose an output of another name.",
    )


def _map_of_other_classes(path: Path) -> OutputError:
    return OutputError(
        "exists already, with other classes; it belongs to another output or to you",
        path=path,
        remedy="Choose another output; manifest --classes keeps the numbers of a map.",
    )


def _is_ours(output: Path, path: Path) -> bool:
    """Return whether the earlier run of `output` wrote the map, and nobody has replaced it.

    Raises SourceError for a fault of the disk.
    """
    state = output.parent / STATE / output.name
    with SuppressDamage(), suppress(ValueError):
        page = Page(FINISH, storage.read_bytes(state / page_name(FINISH)))
        sizes = dict(zip(page.outputs, page.sizes, strict=True))
        return sizes.get(path.name) == storage.size_of(path)
    return False


def _earlier_files(output: Path) -> Sequence[str]:
    """Return the names of the files that the earlier run of `output` was to write."""
    return load_run(output.parent / STATE / output.name).get("files") or ()


def _find_sharing(output: Path) -> list[str]:
    """Return the names of other outputs of the same stem."""
    states = output.parent / STATE
    return [
        name
        for name in storage.list_folder(states)[0]
        if name != output.name
        and Path(name).stem == output.stem
        and load_run(states / name).get("command") in _COMMANDS
    ]
