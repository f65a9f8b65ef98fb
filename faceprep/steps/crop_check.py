"""Checks that the images of a set are crops of the stated template, by a sample of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from faceprep.core.arrays import Doubles, Pixels
from faceprep.core.errors import MissingExtra, SourceError
from faceprep.core.spread import spread_places
from faceprep.core.types import ACCEPTED, UNDECIDED, Decision, Outcome
from faceprep.models.detectors.detector import DetectorSpec, SizedDetector, open_detector
from faceprep.steps.embed_options import EmbedOptions
from faceprep.steps.judged_source import About
from faceprep.steps.listed_set import ListedSet, read_listed
from faceprep.vision.load_image import load_image_bytes
from faceprep.vision.templates import load_template

log = logging.getLogger("faceprep")
_SAMPLE, _LOOKED_AT = 48, 12
_FEWEST = 3
"""The number of found faces from which their places count."""
_FAR = 0.35
"""The mean distance of landmarks from the template, in eye distances, from which a face is not
aligned. Crops of AT&T have 0.25 at most, photos cut to squares 0.5 at least."""
_DETECTOR = DetectorSpec("retinaface", device="cpu", det_size=320, min_score=0.5, sure_score=0.8)


def refuse_other_images(
    options: EmbedOptions, listed: ListedSet, scratch: Path, is_overridden: bool
) -> str:
    """Return a description of images that are not crops of the template, empty for crops.

    Raises SourceError for such images unless `is_overridden`.
    """
    mismatch = _find_mismatch(options, listed, scratch)
    if mismatch and not is_overridden:
        raise SourceError(
            f"these images are not crops of {options.source_template}",
            path=listed.path,
            expected="aligned faces",
            found=mismatch,
            remedy="Crop the faces first: faceprep extract-photos PHOTOS CROPS. For crops of "
            "another template, state it with --crops: all decisions are then undecided.",
        )
    if mismatch:
        log.warning("%s: %s: all decisions are undecided", listed.path, mismatch)
    return mismatch


def hold_all(about: About, decisions: Sequence[Decision]) -> list[Decision]:
    """Make all accepted decisions undecided if the images are not crops of the template."""
    if not about.mismatch:
        return list(decisions)
    reason = "; but the images are not crops of the stated template"
    return [
        each._replace(verdict=UNDECIDED, reason=each.reason + reason)
        if each.verdict == ACCEPTED
        else each
        for each in decisions
    ]


def _find_mismatch(options: EmbedOptions, listed: ListedSet, scratch: Path) -> str:
    sample = list(_read_sample(listed, scratch))
    fitter = options.fitter()
    others = [(key, pixels) for key, pixels in sample if fitter.describe_shape(pixels)]
    if 2 * len(others) > len(sample):
        key, pixels = others[0]
        return (
            f"{len(others)} of {len(sample)} examined images have another shape, such as "
            f"{key!r}: {pixels.shape[0]} × {pixels.shape[1]} (height × width)"
        )
    return _find_displacement(options.source_template, [pixels for _, pixels in sample])


def _read_sample(listed: ListedSet, scratch: Path) -> Iterator[tuple[str, Pixels]]:
    """Yield the paths and pixels of sound images, evenly spaced in the set."""
    places = spread_places(len(listed.listing), _SAMPLE)
    for each in read_listed(scratch, places.tolist()):
        if isinstance(each, Outcome):
            continue
        pixels = load_image_bytes(each.data, each.key)
        if not isinstance(pixels, Outcome):
            yield each.key, pixels


def _find_displacement(template: str, images: Sequence[Pixels]) -> str:
    """Describe faces whose landmarks are far from those of the template; empty without a few."""
    points = load_template(template).points
    if points is None or len(images) < _FEWEST:
        return ""
    try:
        detector = open_detector(_DETECTOR)
    except MissingExtra:
        return ""
    step = -(-len(images) // _LOOKED_AT)
    distances = [_distance(detector, image, template) for image in images[::step]]
    found = np.array([each for each in distances if each is not None])
    n_far = int(np.count_nonzero(found > _FAR))
    if len(found) < _FEWEST or 2 * n_far <= len(found):
        return ""
    return (
        f"{n_far} of {len(found)} examined faces are not where the template has them: by "
        f"{np.median(found):.2f} eye distances in the median"
    )


def _distance(detector: SizedDetector, image: Pixels, template: str) -> float | None:
    """Return the mean distance of the closest face's landmarks, None without a face."""
    (faces,) = detector.detect([image])
    wanted = load_template(template)
    if not len(faces.scores) or wanted.points is None:
        return None
    scale = np.array([wanted.size[1] / image.shape[1], wanted.size[0] / image.shape[0]])
    apart: Doubles = np.linalg.norm(faces.landmarks * scale - wanted.points, axis=2).mean(axis=1)
    return float(apart.min() / np.linalg.norm(wanted.points[0] - wanted.points[1]))
