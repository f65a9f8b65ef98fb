"""Finds what a container cannot hold of a set, before anything is written."""

from __future__ import annotations

from collections.abc import Iterator

from faceprep.sets.listing import is_text
from faceprep.sets.set_writer import Capabilities, SetNames, SetWriter, are_labels


def find_losses(names: SetNames, writer: type[SetWriter]) -> list[str]:
    """Name what a container cannot hold of this set; empty where it can hold all of it."""
    can, is_other_kind = writer.can, names.kind != writer.kind
    losses = _find_lost_names(names, writer, is_other_kind)
    if names.n_unnamed and not can.unnamed:
        losses.append("images without an identity")
    if names.max_labels > 1 and not can.many_labels:
        losses.append(f"all but one of {names.max_labels} labels of an image")
    if names.own and is_other_kind:
        losses.append(names.own)
    return losses


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
    if can.any_bytes and not can.forbids:
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
