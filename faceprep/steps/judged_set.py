"""The images and the vectors that a plan is about, as they are found before the run."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import NamedTuple

from faceprep.core.embeddings import Embeddings
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.io.columns import find_missing, pack_texts
from faceprep.core.names import identity_of
from faceprep.core.types import Request
from faceprep.steps.listed_set import ListedSet, list_source
from faceprep.steps.place_images import refuse_output_within
from faceprep.tables.embeddings import load_embeddings, load_place

log = logging.getLogger("faceprep")


class About(NamedTuple):
    """Facts about the run that its shards need."""

    source: str
    """The set of the images, or the file of embeddings where there are none."""
    embeddings: str
    """The file of embeddings; empty where the images are embedded here."""
    fingerprint: str
    n_images: int
    has_images: bool
    """Whether there is a listing of them."""
    mismatch: str = ""
    """A description of images that are not crops of the stated template."""


def look_at_set(
    source: Path, request: Request, scratch: Path, relative_to: Path | None
) -> tuple[About, ListedSet | None]:
    """List a set whose images are embedded by the run.

    Raises SourceError, and OutputError for an output inside the set.
    """
    refuse_output_within(source, request.output)
    listed = list_source(source, scratch, relative_to=relative_to)
    return _keep_listed(listed, "", request.limit, scratch)


def look_at_embeddings(
    source: Path, request: Request, scratch: Path
) -> tuple[About, ListedSet | None]:
    """Find the images of a file of embeddings; there is no listing where they are not there.

    Raises SourceError if only some exist, OptionError for a limit, and OutputError for an output
    inside the set.
    """
    file = os.path.abspath(source)
    if request.limit is not None:
        raise OptionError(
            "--limit: a file of embeddings is judged as a whole", remedy="Leave it out."
        )
    root = load_place(source).root
    found = _find_images(load_embeddings(source), Path(root), scratch) if root else None
    if found is None:
        return About(file, file, "", 0, False), None
    refuse_output_within(Path(root), request.output)
    return _keep_listed(found, file, None, scratch)


def _keep_listed(
    listed: ListedSet, embeddings: str, limit: int | None, scratch: Path
) -> tuple[About, ListedSet]:
    cut = listed.first(limit)
    cut.save(scratch)
    return About(listed.path, embeddings, listed.state, len(cut.listing), True), cut


def _find_images(embeddings: Embeddings, root: Path, scratch: Path) -> ListedSet | None:
    """Return the set of the images of embeddings, None where they cannot be placed.

    Raises SourceError if only some exist.
    """
    if not root.exists():
        log.warning("%s, the set of the images, is not there: a plan only", root)
        return None
    listed = list_source(root, scratch, may_be_empty=True)
    there = pack_texts(listed.listing.prefixed_paths(""))
    missing = list(find_missing(embeddings.keys, there))
    if len(missing) == len(embeddings):
        log.warning("%s has none of the images: a plan only", root)
        return None
    if missing:
        raise SourceError(
            "images of these embeddings are gone",
            path=root,
            expected=f"{len(embeddings):,} of them",
            found=f"{len(missing):,} fewer, such as {missing[0]!r}",
            remedy="Put them back, or embed again.",
        )
    if any(
        identity_of(key) != name
        for key, name in zip(embeddings.keys, embeddings.identities, strict=True)
    ):
        log.warning(
            "the identities of these embeddings are not those of the images in %s: a plan only",
            root,
        )
        return None
    return listed
