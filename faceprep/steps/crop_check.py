"""Checks that the images of a set are crops of the stated template, by a sample of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Doubles, Pixels
from faceprep.core.errors import MissingExtra, SourceError
from faceprep.core.examination import examine_each
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
Ask = Callable[["ImageQuestion"], "ImageAnswer | None"]
_FAR = 0.35
"""The mean distance of landmarks from the template, in eye distances, from which a face is not
aligned. Crops of AT&T have 0.25 at most, photos cut to squares 0.5 at least."""
_DETECTOR = DetectorSpec("retinaface", device="cpu", det_size=320, min_score=0.5, sure_score=0.8)


def refuse_other_images(
    ask: Ask, template: str, listed: ListedSet, scratch: Path, is_overridden: bool
) -> str:
    """Return a description of images that are not crops of `template`, empty for crops.

    `ask` is the hook of the job that calls `examine_image`. Raises SourceError for such images
    unless `is_overridden`.
    """
    mismatch = _find_mismatch(ask, template, listed, scratch)
    if mismatch and not is_overridden:
        raise SourceError(
            f"these images are not crops of {template}",
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


class ImageQuestion(NamedTuple):
    """An encoded image of the sample. Its size is asked for, or its pixels."""

    key: str
    data: bytes
    wants_pixels: bool = False


class ImageAnswer(NamedTuple):
    """The size of an image, whether it has another shape than crops, and the pixels if wanted."""

    size: tuple[int, int]
    is_other: bool
    pixels: Pixels | None = None


def examine_image(options: EmbedOptions, question: ImageQuestion) -> ImageAnswer | None:
    """Decode an image of the sample, in a worker; None for one that is not sound."""
    pixels = load_image_bytes(question.data, question.key)
    if isinstance(pixels, Outcome):
        return None
    is_other = bool(options.fitter().describe_shape(pixels))
    size = (pixels.shape[0], pixels.shape[1])
    return ImageAnswer(size, is_other, pixels if question.wants_pixels else None)


def _find_mismatch(ask: Ask, template: str, listed: ListedSet, scratch: Path) -> str:
    sample = _ask_each(ask, list(_read_sample(listed, scratch)))
    others = [(image.key, answer.size) for image, answer in sample if answer.is_other]
    if 2 * len(others) > len(sample):
        key, (height, width) = others[0]
        return (
            f"{len(others)} of {len(sample)} examined images have another shape, such as "
            f"{key!r}: {height} × {width} (height × width)"
        )
    if len(sample) < _FEWEST or load_template(template).points is None:
        return ""
    step = -(-len(sample) // _LOOKED_AT)
    wanted = [image._replace(wants_pixels=True) for image, _ in sample[::step]]
    found = [answer.pixels for _, answer in _ask_each(ask, wanted)]
    return _find_displacement(template, [pixels for pixels in found if pixels is not None])


def _read_sample(listed: ListedSet, scratch: Path) -> Iterator[ImageQuestion]:
    """Yield images that are evenly spaced in the set."""
    places = spread_places(len(listed.listing), _SAMPLE)
    for each in read_listed(scratch, places.tolist()):
        if not isinstance(each, Outcome):
            yield ImageQuestion(each.key, bytes(each.data))


def _ask_each(ask: Ask, images: Sequence[ImageQuestion]) -> list[tuple[ImageQuestion, ImageAnswer]]:
    """Return the sound images, each with the answer."""
    answers = examine_each(ask, [("", image) for image in images])
    return [(image, answer) for image, answer in zip(images, answers, strict=True) if answer]


def _find_displacement(template: str, images: Sequence[Pixels]) -> str:
    """Describe faces whose landmarks are far from those of the template; empty without a few."""
    try:
        detector = open_detector(_DETECTOR)
    except MissingExtra:
        return ""
    distances = [_distance(detector, image, template) for image in images]
    found = np.array([each for each in distances if each is not None])
    n_far = int(np.count_nonzero(found > _FAR))
    if len(found) < _FEWEST or 2 * n_far <= len(found):
        return ""
    return (
        f"{n_far} of {len(found)} examined faces are not where the template has them: their "
        f"median distance is {np.median(found):.2f} times that between the eyes"
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
