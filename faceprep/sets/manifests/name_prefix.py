"""What the names in a manifest have in front of the keys of the set."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from faceprep.core.errors import OptionError, SourceError
from faceprep.core.output_tree import is_within
from faceprep.core.paths import full_path
from faceprep.sets.image_set import ImageSet
from faceprep.sets.listing import is_text
from faceprep.sets.manifests.writers import Format


def find_prefix(images: ImageSet, form: Format, with_images: bool, relative_to: Path | None) -> str:
    """Return what names in the manifest have in front of the keys of the set."""
    root = images.root
    if root is None:
        if not with_images:
            raise OptionError(
                f"images in a {images.kind} set are not files, so a list cannot name them",
                expected="OUT.tar, or OUT.tfrecord or OUT.parquet with --with-images",
                remedy="To write a list, unpack the set into a folder first: "
                f"faceprep convert {shlex.quote(images.path)} FOLDER.",
            )
        return ""
    if not root:  # a list of absolute paths
        if relative_to is not None:
            raise OptionError(
                "--relative-to: the paths in the list are absolute", remedy="Leave it out."
            )
        return ""
    prefix = root.rstrip("/")
    if relative_to is not None:
        base = full_path(relative_to)
        if not is_within(prefix, base):
            raise OptionError("--relative-to", expected=f"a folder that holds {prefix}", found=base)
        prefix = os.path.relpath(prefix, base)
    prefix = "" if prefix == "." else f"{prefix}/"
    if not is_text(prefix) or (form.forbidden and form.forbidden.search(prefix)):
        raise SourceError(
            "a manifest cannot hold this path",
            path=repr(prefix),
            remedy="Rename the folder, or see --relative-to.",
        )
    return prefix
