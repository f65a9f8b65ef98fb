"""Folders of images: ROOT/IDENTITY/NAME, identities nested as deep as they like.

An identity is a folder that holds images itself; its name is its path below ROOT. Class numbers
follow the order of Keras_insightface: names sorted as numbers if all of them are numbers, else as
text. Names that begin with a dot are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from faceprep.core import storage
from faceprep.core.errors import OutputError, SourceError
from faceprep.core.io.image_header import IMAGE_SUFFIXES
from faceprep.core.names import sort_files, sort_names

_COMMON = (".jpg", ".png", ".jpeg")


@dataclass(frozen=True, slots=True)
class Identity:
    """A folder of images: its name and the sorted names of its image files. `n_others` counts
    other files.
    """

    name: str
    images: tuple[str, ...]
    n_others: int = 0


def is_image_name(name: str) -> bool:
    """Whether the suffix is that of an image, in upper or lower case.

    >>> is_image_name("a.JPG"), is_image_name("a.txt"), is_image_name(".jpg")
    (True, False, False)
    """
    dot = name.rfind(".")
    return dot > 0 and name[dot:].lower() in IMAGE_SUFFIXES


def _images_among(files: list[str]) -> list[str]:
    """Those of a listed folder, in which no name begins with a dot."""
    return [file for file in files if file.endswith(_COMMON) or is_image_name(file)]


def read_identity(root: Path, name: str) -> Identity:
    """The images of one identity, in order. Raises SourceError."""
    _, files = storage.list_folder(f"{root}/{name}")
    images = _images_among(files)
    return Identity(name, tuple(sort_files(images)), len(files) - len(images))


def walk_images(root: Path) -> Iterator[tuple[str, list[str], int]]:
    """(identity, its image files in no order, how many other files) of every identity below `root`,
    in no order.

    Images in `root` itself are the identity ``.``. Raises SourceError when `root` is no folder, or
    one in it cannot be listed. Links are followed, but for those that lead back to a folder they
    lie in.
    """
    if not root.is_dir():
        raise SourceError(
            "no such folder", path=root, expected="a folder of identities with images in them"
        )
    waiting = ["."]
    while waiting:
        name = waiting.pop()
        folders, files = storage.list_folder(root if name == "." else f"{root}/{name}")
        inner = [folder if name == "." else f"{name}/{folder}" for folder in folders]
        waiting += [folder for folder in inner if not storage.leads_back(f"{root}/{folder}")]
        images = _images_among(files)
        if images:
            yield name, images, len(files) - len(images)


def refuse_output_inside(root: Path, output: Path) -> None:
    """Raises OutputError for an output file that would lie in the folder it is made from."""
    inside, folder = os.path.realpath(root), os.path.realpath(output.parent)
    if os.path.commonpath([inside, folder]) == inside:
        raise OutputError(
            "the output would lie in the input", path=output, remedy="Name a place outside of it."
        )


def find_identities(root: Path) -> list[Identity]:
    """Every identity below `root`, in class order; may be empty. Raises SourceError as
    `walk_images` does.
    """
    found = {
        name: Identity(name, tuple(sort_files(images)), n) for name, images, n in walk_images(root)
    }
    return [found[name] for name in sort_names(found)]
