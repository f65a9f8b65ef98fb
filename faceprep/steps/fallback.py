"""Several detectors in turn: each looks only at images in which the earlier ones found no face."""

from __future__ import annotations

from collections.abc import Sequence

from faceprep.core.arrays import Pixels
from faceprep.core.types import LOW_SCORE, NO_FACE, OK
from faceprep.steps.find_faces import FaceFinder
from faceprep.steps.found import Found, first_sound

_SEEN = (OK, NO_FACE, LOW_SCORE)


def find_with(
    finders: Sequence[FaceFinder],
    images: Sequence[Pixels],
    most: int | None = None,
    turn: int | None = None,
) -> list[tuple[Found, str]]:
    """Return what was found in each image, and the fingerprint of the detector that found it.

    Each finder looks only at the images in which those before it found no sure face, or none with
    sound landmarks. The first `most` sound faces of an image are refined. If `turn` is given, all
    images are turned by it; otherwise each finder chooses the turn of each image.
    """
    first = finders[0]
    found = [(each, first.fingerprint) for each in first.find(images, most, turn)]
    for finder in finders[1:]:
        missing = [row for row, (each, _) in enumerate(found) if _is_missing(each)]
        again = finder.find([images[row] for row in missing], most, turn)
        for row, each in zip(missing, again, strict=True):
            is_first = len(each.faces) > 0 and not len(found[row][0].faces)
            if is_first or not _is_missing(each):
                found[row] = each, finder.fingerprint
    return found


def _is_missing(found: Found) -> bool:
    """Return whether an image that can be decoded has no face with sound landmarks."""
    return found.status in _SEEN and not len(first_sound(found.faces, 1))
