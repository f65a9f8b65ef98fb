"""Finds what a container cannot hold of a set, before anything is written."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from faceprep.core.text import list_words
from faceprep.sets.image_set import MAX_LABELS, UNREAD
from faceprep.sets.listing import is_text
from faceprep.sets.set_writer import Capabilities, SetNames, SetWriter, are_labels

log = logging.getLogger("faceprep")


class _Contents(Protocol):
    """A set by its kind, the facts of its index, and what only its kind of container can hold."""

    @property
    def kind(self) -> str: ...

    @property
    def facts(self) -> Mapping[str, Any]: ...

    @property
    def own(self) -> str: ...


def find_losses(names: SetNames, writer: type[SetWriter]) -> list[str]:
    """Name what a container cannot hold of this set; empty where it can hold all of it."""
    can, is_other_kind = writer.can, names.kind != writer.kind
    losses = _find_lost_names(names, writer, is_other_kind)
    if is_other_kind and names.n_unnamed and not can.unnamed:
        losses.append("images without an identity")
    return losses + find_lost_contents(names, writer)


def find_lost_contents(found: _Contents, writer: type[SetWriter] | None = None) -> list[str]:
    """Name what a container cannot hold of a set besides the images and their names.

    Without a writer, it holds one label of an image and nothing else.
    """
    losses, n_labels = list[str](), found.facts.get(MAX_LABELS, 1)
    if n_labels > 1 and not (writer and writer.can.many_labels):
        losses.append(f"{n_labels} labels of an image")
    if found.own and not (writer and writer.kind == found.kind):
        losses.append(found.own)
    if unread := found.facts.get(UNREAD):
        losses.append(unread)
    return losses


def warn_of_losses(path: str, container: str, losses: Sequence[str]) -> None:
    """Warn that a container cannot hold something of the set at `path`, if there is anything."""
    if losses:
        log.warning("%s: %s cannot hold %s", path, container, list_words(losses))


def _find_lost_names(names: SetNames, writer: type[SetWriter], is_other_kind: bool) -> list[str]:
    """Name the lost names of images and identities; the same kind of container keeps its own."""
    can, losses = writer.can, list[str]()
    if can.keys and can.text_keys:
        losses += _find_unwritable(names, writer)
    elif is_other_kind and not (can.keys and names.are_number_keys):
        losses.append("the names of the images")
    if not can.identities and len(names.identities):
        losses.append("the identities")
    elif is_other_kind and not can.identity_names and not are_labels(names.identities):
        losses.append("the names of the identities")
    return losses


def can_write(name: str, can: Capabilities) -> bool:
    """Return whether a container can hold the name of an image.

    >>> can_write("a\\udcff", Capabilities(any_bytes=False)), can_write("a", Capabilities())
    (False, True)
    """
    if can.forbids and can.forbids(name):
        return False
    return can.any_bytes or is_text(name)


def _find_unwritable(names: SetNames, writer: type[SetWriter]) -> list[str]:
    """Name the keys and identities that cannot be written; empty where all can."""
    can = writer.can
    is_safe = names.keys_are_plain and writer.holds_plain_keys
    if can.any_bytes and (is_safe or not can.forbids):
        return []
    n, first = 0, ""
    for name in _unwritable(names, writer):
        n, first = n + 1, first or name
    if n > 1:
        return [f"{n:,} names, such as {ascii(first)}"]
    return [f"the name {ascii(first)}"] * n


def _unwritable(names: SetNames, writer: type[SetWriter]) -> Iterator[str]:
    blocks = names.blocks()
    if writer.has_paths:
        blocks = names.path_blocks()
    for block in blocks:
        listed = block
        if writer.refers_to_files:
            listed = [names.listed(key) for key in block]
        yield from (name for name in listed if not can_write(name, writer.can))
    if not writer.can.any_bytes:
        yield from (name for name in names.identities if not is_text(name))
