"""The set that a plan is about, or the embeddings of one, and the images that they leave out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from faceprep.core.embeddings import Embeddings
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.io.columns import find_missing, pack_strings
from faceprep.core.names import identity_of
from faceprep.core.output_tree import refuse_overlap
from faceprep.core.paths import exists, full_path
from faceprep.core.types import Outcome, Request
from faceprep.sets.listing import Listing
from faceprep.steps.embedded_sets import Loaded
from faceprep.steps.listed_set import ListedSet, list_source
from faceprep.tables.embeddings import is_embeddings, load_embeddings, load_place

log = logging.getLogger("faceprep")
NO_EMBEDDING = "no_embedding"


class About(NamedTuple):
    """Facts about the run that its shards need."""

    source: str
    """The set of the images, or the file of embeddings where there are none."""
    embeddings: str
    """The file of embeddings; empty where the images are embedded here."""
    fingerprint: str
    n_images: int
    has_images: bool
    """True where there is a listing of them."""
    mismatch: str = ""
    """A description of images that are not crops of the stated template."""


def look_at_source(
    request: Request, scratch: Path, relative_to: Path | None
) -> tuple[About, ListedSet | None]:
    """Return facts about the first source, and its wanted images if they are there.

    Raises SourceError, OptionError.
    """
    source = request.sources[0]
    if is_embeddings(source):
        return _look_at_embeddings(source, request, scratch)
    listed = list_source(source, scratch, relative_to=relative_to)
    return _keep_listed(listed, "", request.limit, scratch)


def _look_at_embeddings(
    source: Path, request: Request, scratch: Path
) -> tuple[About, ListedSet | None]:
    file = full_path(source)
    if request.limit is not None:
        raise OptionError(
            "--limit: a file of embeddings is judged as a whole", remedy="Leave it out."
        )
    root = load_place(source).root
    found = _find_images(load_embeddings(source), Path(root), scratch) if root else None
    if found is None:
        return About(file, file, "", 0, False), None
    refuse_overlap(Path(root), request.output, [request.output])
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
    if not exists(root):
        log.warning("%s, the set of the images, is not there: only a plan is written", root)
        return None
    listed = list_source(root, scratch, may_be_empty=True)
    there = pack_strings(listed.listing.prefixed_paths(""))
    missing = list(find_missing(embeddings.keys, there))
    if len(missing) == len(embeddings):
        log.warning("%s has none of the images: only a plan is written", root)
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
            "the images in %s have other identities than these embeddings: only a plan is written",
            root,
        )
        return None
    return listed


def find_unembedded(listing: Listing, loaded: Loaded) -> Iterator[Outcome]:
    """Yield an outcome for each image that has no embedding; faulty ones have theirs already."""
    faulty = {outcome.key for outcome in loaded.left_out}
    for path in find_missing(listing.prefixed_paths(""), loaded.embeddings.keys):
        if path not in faulty:
            yield Outcome(path, NO_EMBEDDING, "has no embedding")
