"""The review page as a folder of plain files, for a machine without a server.

    DIR/index.html, review.js …     the page
    DIR/data.js                     a summary of all decisions
    DIR/pages/0000.js …             the details of 200 decisions each
    DIR/thumbnails/ab/….jpg         each image once

Verdicts stay in the browser (localStorage) until they are saved as a file, which `review PLAN
--import FILE` reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from faceprep.core import storage
from faceprep.core.cpu import n_cores
from faceprep.core.errors import OutputError, SourceError
from faceprep.core.prefetch import map_ahead
from faceprep.core.types import Decision, Outcome
from faceprep.pages.left_out import note_left_out, warning_of_left_out
from faceprep.pages.review.gallery import Gallery
from faceprep.pages.review.page_files import page_files
from faceprep.pages.review.serialize import PAGE, describe_decision, write_plan_script
from faceprep.pages.review.session import Session
from faceprep.pages.review.thumbnails import ImageInSet, identify, make_thumbnail
from faceprep.tables.plan import apply_command

_MOST = 12
_AHEAD = 200


def write_static(session: Session, folder: Path, scratch: Path) -> tuple[int, Collection[str]]:
    """Write the folder as a whole or not at all.

    Return the number of images in it, and why others cannot be read.

    Sets that are not folders are indexed in `scratch`.

    Raises OutputError where `folder` exists.
    """
    storage.refuse_store(folder)
    if os.path.lexists(folder):
        raise OutputError(
            "exists already", path=folder, remedy="Name another folder, or remove it."
        )
    temporary = folder.with_name(f".{folder.name}.tmp")
    storage.remove_tree(temporary)
    try:
        with warning_of_left_out(folder) as left_out:
            n = _write(session, temporary, scratch)
        storage.move(temporary, folder)
    except BaseException:
        with suppress(OutputError):  # a thread may still write there; the next run removes it
            storage.remove_tree(temporary)
        raise
    return n, left_out


def _write(session: Session, folder: Path, scratch: Path) -> int:
    def write(name: str, data: bytes) -> None:
        storage.write_file(folder / name, data, durable=False)

    digest = hashlib.sha256(storage.read_bytes(session.plan)).hexdigest()
    facts = {"mode": "static", "name": session.plan.name, "id": digest}
    facts["next"] = apply_command(session.plan)
    facts["adopt"] = import_command(session.plan)
    write("data.js", write_plan_script(session.judged, session.decisions, **facts))
    for name, file in page_files().items():
        write(name, file.data)
    pictures: dict[str | ImageInSet, str] = {}

    def draw(item: tuple[str | ImageInSet, str]) -> bool:
        thumbnail = make_thumbnail(item[0])
        if isinstance(thumbnail, Outcome):
            note_left_out(thumbnail)
            return False  # the page then shows a gap
        write(item[1], thumbnail)
        return True

    with closing(Gallery(session.judged, scratch, _MOST)) as gallery:
        for number, page in enumerate(_pages(session, gallery, pictures)):
            script = f"faceprepPages[{number}] = {json.dumps(page)};\n"
            write(f"pages/{number:04d}.js", script.encode())
        return sum(map_ahead(draw, pictures.items(), n_cores(), _AHEAD))


def import_command(plan: Path) -> str:
    """Return the command that adopts the file of verdicts that the page saves.

    >>> import_command(Path("merged/plan.jsonl"))
    'faceprep review merged/plan.jsonl --import plan.verdicts.jsonl'
    """
    name = f"{plan.name.removesuffix('.jsonl')}.verdicts.jsonl"
    return shlex.join(["faceprep", "review", os.fspath(plan), "--import", name])


def _pages(
    session: Session, gallery: Gallery, pictures: dict[str | ImageInSet, str]
) -> Iterator[list[dict[str, Any]]]:
    """Yield the details of 200 decisions at a time.

    The place of each image and the name of its thumbnail are added to `pictures`.
    """
    for start in range(0, len(session.decisions), PAGE):
        yield [
            describe_decision(decision, gallery, _thumbnail_namer(decision, gallery, pictures))
            for decision in session.decisions[start : start + PAGE]
        ]


def _thumbnail_namer(
    decision: Decision, gallery: Gallery, pictures: dict[str | ImageInSet, str]
) -> Callable[[str, int, str], str]:
    """Return a function that names the thumbnail of an image and adds it to `pictures`."""

    def name_of(role: str, _: int, name: str) -> str:
        try:
            path = gallery.path_of(decision, role, name)
        except SourceError as error:
            note_left_out(error)
            return ""
        if path not in pictures:
            identifier = identify(path).encode("utf-8", "surrogateescape")
            key = hashlib.sha256(identifier).hexdigest()[:32]
            pictures[path] = f"thumbnails/{key[:2]}/{key}.jpg"
        return pictures[path]

    return name_of
