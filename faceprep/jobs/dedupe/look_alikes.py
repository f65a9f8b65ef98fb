"""Compares images: signatures -> which images are copies of which.

table_of          the signatures of a source and of test sets as one table
LookAlikes        which images are copies of which, by thumbnails and vectors
find_candidates   the few images that need a vector
with_vectors      the comparison with vectors
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Bools, Floats, Ints
from faceprep.core.embeddings import COSINE, Embeddings
from faceprep.identity.duplicates import (
    NO_IDENTITY,
    Images,
    choose_radius,
    keep_best,
    mark_near_dropped,
)
from faceprep.jobs.dedupe.originals import rank_by_quality
from faceprep.jobs.dedupe.signatures import Signatures
from faceprep.vision import perceptual_hash as hashes
from faceprep.vision.copy_views import PartMatch, Views, view_images


class ImageTable(NamedTuple):
    """The images of the source, then those of test sets, as `find_duplicates` needs them."""

    signatures: Signatures
    images: Images
    views: Views


def table_of(signatures: Signatures, identities: Ints) -> ImageTable:
    """Build the table.

    `identities` (n,) numbers each image's identity, NO_IDENTITY for test images.
    """
    rows = signatures.rows
    digests = rows["digest"]
    by_digest = np.lexsort(digests.T)
    is_new = np.ones(len(rows), np.bool_)
    is_new[1:] = (digests[by_digest[1:]] != digests[by_digest[:-1]]).any(axis=1)
    contents = np.empty(len(rows), np.int64)
    contents[by_digest] = is_new.cumsum() - 1
    order = rank_by_quality(rows, np.zeros(len(rows), np.int64))
    views = view_images(signatures.larges, rows["border"], rows["height"], rows["width"])
    columns = [rows["hash"].astype(np.uint64)[:, None]]
    if len(signatures.larges):
        columns.append(views.hashes)
    return ImageTable(signatures, Images(identities, contents, np.hstack(columns), order), views)


@dataclass(frozen=True)
class LookAlikes:
    """A test for copies: thumbnails or views agree, and vectors are as similar as for one person.

    `vectors` has rows for some source images; `row_of` (n,) gives their numbers, else -1. Two
    source images are copies only if both have a vector. Test images need none.
    """

    table: ImageTable
    vectors: Embeddings | None = None
    row_of: Ints | None = None

    def compare(self, image: int, others: Ints) -> Bools:
        """Return a mask of the others that the image is a copy of."""
        rows = self.table.signatures.rows
        alike: Bools = ~rows["is_faint"][others] & ~rows["is_faint"][image]
        if not alike.any():
            return alike
        alike[alike] = [match is not None for match in self.matches(image, others[alike])]
        if self.vectors is not None and alike.any():
            compared = alike & (self.table.images.identities[others] != NO_IDENTITY)
            alike[compared] = (
                self.likeness(image, others[compared]) >= self.vectors.model.merge_from
            )
        return alike

    def matches(self, image: int, others: Ints) -> list[PartMatch | None]:
        """Compare the whole images, then their views where those do not agree.

        Where both have a border, which agrees in any case, only what is inside counts.
        """
        agreements, is_trimmed = self.agreement(image, others), self.table.views.is_trimmed
        is_framed = is_trimmed[image] & is_trimmed[others]
        is_whole = (agreements >= hashes.MIN_AGREEMENT) & ~is_framed
        matches: list[PartMatch | None] = [PartMatch(float(each), "") for each in agreements]
        rest = np.flatnonzero(~is_whole)
        found = self.table.views.match(image, others[rest]) if len(rest) else []
        for place, match in zip(rest.tolist(), found, strict=True):
            matches[place] = match
        return matches

    def agreement(self, image: int, others: Ints) -> Floats:
        """Compare thumbnails, (n,) from -1 to 1.

        Each sum is separate and does not depend on the others.
        """
        thumbnails = self.table.signatures.thumbnails
        one = hashes.compute_gradients(thumbnails[[image]])
        many = hashes.compute_gradients(thumbnails[others])
        return np.asarray((one * many).sum(axis=1))

    def likeness(self, image: int, others: Ints) -> Floats:
        """Compare vectors (n,); -1 where there is none."""
        if self.vectors is None or self.row_of is None or self.row_of[image] < 0:
            return np.full(len(others), -1, np.float32)
        rows = self.row_of[others]
        one = self.vectors.vectors[self.row_of[[image]]]
        many = self.vectors.vectors[np.maximum(rows, 0)]
        if self.vectors.model.metric == COSINE:
            one, many = _unit(one), _unit(many)
        return np.where(rows < 0, np.float32(-1), 1 - ((one - many) ** 2).sum(axis=1) / 2)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(
        vectors
        / np.maximum(np.sqrt((vectors * vectors).sum(axis=1, keepdims=True)), np.float32(1e-12))
    )


# Which images need a vector


def find_candidates(table: ImageTable) -> Ints:
    """Return the source images that may need a vector, one for each content."""
    look, images = LookAlikes(table), table.images
    order = images.order[images.identities[images.order] != NO_IDENTITY]
    _, firsts = np.unique(images.contents[order], return_index=True)
    order = order[np.sort(firsts)]
    radius = choose_radius(len(images.contents))
    kept = keep_best(images.hashes, order, look.compare, radius)
    rows = np.sort(order)
    places = np.searchsorted(rows, kept[rows])
    return np.asarray(rows[mark_near_dropped(images.hashes[rows], places, radius)])


def with_vectors(table: ImageTable, candidates: Ints, vectors: Embeddings) -> LookAlikes:
    """Keep those of `candidates` that have a vector or need none; the others are not copies."""
    row_of_key = {key: row for row, key in enumerate(vectors.keys)}
    of_content = np.full(len(table.signatures), -1, np.int64)
    names, contents = table.signatures.names, table.images.contents
    for candidate in candidates.tolist():
        of_content[contents[candidate]] = row_of_key.get(names[candidate], -1)
    return LookAlikes(table, vectors, of_content[contents])
