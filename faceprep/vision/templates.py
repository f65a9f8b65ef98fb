"""Named templates: the size of a crop, and the place of the landmarks or the box in it.

arcface-112  least squares to InsightFace's five points; any size; 112x96: high × wide
dlib-150     the same to the five points of dlib's face descriptor
ffhq-256     any size: a square around eyes and mouth as in the FFHQ set
box1.5-256   any factor and size: a square of 1.5 × the longer side of the box, black outside
patch2.7-80  any factor and size: 2.7 × the box, shifted into the image, as Silent-Face cuts it
eyes-256     any size: a square of 4.6 × the eye distance, as for SiW-Mv2
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from faceprep.core.arrays import Complexes, Doubles, Floats, Pixels
from faceprep.core.errors import OptionError
from faceprep.core.faces import Faces
from faceprep.core.landmarks import (
    ARCFACE_112,
    check_landmarks,
    combine_transforms,
    estimate_similarity,
)
from faceprep.core.suggest import did_you_mean
from faceprep.core.turns import turn_faces, turn_image, turn_matrix, turn_of, turned_size
from faceprep.vision import align
from faceprep.vision.patches import cut_patch, fit_patches

_DLIB_150 = np.array([(47.2, 45.4), (101.3, 45.0), (73.6, 77.8), (50.6, 99.7), (99.5, 99.6)])
_NAME = re.compile(
    r"(?P<kind>[a-z]+)(?P<factor>\d+(\.\d+)?)?-(?P<height>\d{1,4})(x(?P<width>\d{1,4}))?", re.ASCII
)
_MIN_SIDE = 8
_BEYOND = "the face lies beyond the image, which is {:,} pixels wide and {:,} high"
_SCALED = ("box", "patch")
"""Kinds whose name holds a factor."""


@dataclass(frozen=True)
class Template:
    """A rule that places faces in crops.

    `size` is (height, width) of the crops. `fit` computes the (n, 2, 3) transforms of n faces, for
    a patch from the (n, 2) sizes of their images as well. `needs_landmarks` is false if only the
    box counts. `points` (5, 2) are the landmarks in the crop, or None if they differ from face to
    face.
    """

    name: str
    size: tuple[int, int]
    fit: Callable[..., Doubles]
    needs_landmarks: bool = True
    points: Doubles | None = field(default=None, compare=False)
    is_patch: bool = False
    """Whether crops are shifted into the image, and so depend on its size."""


def load_template(name: str) -> Template:
    """Load the template `name`. Raises OptionError for an unknown name or size.

    >>> load_template("arcface-112x96").size
    (112, 96)
    >>> load_template("arcface-112x100")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    faceprep.core.errors.OptionError: template 'arcface-112x100': expected arcface-N, ...
    """
    parts = _NAME.fullmatch(name)
    if not parts or parts["kind"] not in KINDS:
        raise _unknown_template(name)
    has_factor, needs_factor = parts["factor"] is not None, parts["kind"] in _SCALED
    if has_factor != needs_factor:
        raise _unknown_template(name)
    height = int(parts["height"])
    size = height, int(parts["width"] or height)
    if min(size) < _MIN_SIDE:
        raise OptionError(f"template {name!r}", expected=f"{_MIN_SIDE} pixels or more")
    return KINDS[parts["kind"]](name, size, float(parts["factor"] or 1))


def _unknown_template(name: str) -> OptionError:
    return OptionError(
        f"unknown template {name!r}",
        expected="one such as " + ", ".join(EXAMPLES),
        remedy=did_you_mean(name, EXAMPLES),
    )


def crop_transforms(
    faces: Faces, template: Template, image_sizes: npt.ArrayLike | None = None
) -> Doubles:
    """Compute the (n, 2, 3) transforms from the image to the crops of `template`.

    `image_sizes` is the (height, width) of the image of all faces, or (n, 2) for each; only patches
    need it. Faces that `check_faces` reports get NaN. Raises OptionError for patches without it.
    """
    if template.is_patch and image_sizes is None:
        raise OptionError(f"template {template.name!r}", expected="crops of images of known size")
    with np.errstate(all="ignore"):
        if template.is_patch:
            sizes = np.broadcast_to(np.asarray(image_sizes, np.float64), (len(faces), 2))
            transforms = template.fit(faces, sizes)
        else:
            transforms = template.fit(faces)
    is_finite = np.isfinite(transforms).all(axis=(1, 2), keepdims=True)
    return np.where(is_finite, transforms, np.nan)


def turn_transforms(
    faces: Faces, template: Template, sizes: npt.ArrayLike, turns: Sequence[int]
) -> Doubles:
    """Compute transforms like `crop_transforms`, for faces upright in turned images.

    `sizes` (n, 2) are (height, width) of the image of each face, and `turns` (n,) the turns. The
    crop of a face is that of the turned image.
    """
    transforms = np.empty((len(faces), 2, 3))
    each_size = np.broadcast_to(np.asarray(sizes), (len(faces), 2))
    for row, turn in enumerate(turns):
        size = (int(each_size[row, 0]), int(each_size[row, 1]))
        turned = turn_faces(faces.take([row]), size, turn)
        (fitted,) = crop_transforms(turned, template, turned_size(size, turn))
        transforms[row] = combine_transforms(fitted, turn_matrix(size, turn, pixel=1))
    return transforms


def cut_crop(image: Pixels, transform: npt.ArrayLike, template: Template) -> Pixels:
    """Cut one crop of `template` out of an image by its transform."""
    if template.is_patch:
        turn = turn_of(transform)
        if turn:
            back = turn_matrix(turned_size(image.shape[:2], turn), -turn % 360, pixel=1)
            transform = combine_transforms(transform, back)
        return cut_patch(turn_image(image, turn), transform, template.size)
    return align.crop(image, transform, template.size)


def check_faces(
    faces: Faces, template: Template, image_sizes: npt.ArrayLike | None = None
) -> list[str]:
    """Describe why each face cannot be cropped to `template`, with an empty string if it can.

    `image_sizes` are as in `crop_transforms`. With them, a face beyond its image is a fault.
    """
    if template.needs_landmarks:
        faults, points = check_landmarks(faces.landmarks), faces.landmarks
    else:
        faults = [_describe_box_fault(box) for box in faces.boxes]
        points = faces.boxes.reshape(-1, 2, 2)
    if image_sizes is None:
        return faults
    limits = np.broadcast_to(np.asarray(image_sizes), (len(faces), 2))[:, ::-1]
    with np.errstate(invalid="ignore"):
        is_beyond = (points.max(axis=1) <= 0) | (points.min(axis=1) >= limits)
    places = zip(faults, is_beyond.any(axis=1).tolist(), limits.tolist(), strict=True)
    return [fault or _BEYOND.format(*limit) * is_out for fault, is_out, limit in places]


def _describe_box_fault(box: Floats) -> str:
    if np.isfinite(box).all() and (box[2:] > box[:2]).all():
        return ""
    return "degenerate box: " + " ".join(f"{x:g}" for x in box)


def map_template(
    source: Template, target: Template, size: tuple[int, int] | None = None
) -> Doubles:
    """Compute the (2, 3) transform from a crop of `source` to a crop of `target`.

    The transform is the similarity between the points of the templates. The crop has `size`
    (height, width), by default that of `source`. A crop of the same shape is the enlarged template;
    a crop of another shape is fitted into the template and centred.

    Templates without points are brought to the same one of another size only. Raises OptionError
    for others.

    >>> source, target = load_template("arcface-112"), load_template("arcface-224")
    >>> map_template(source, target, (56, 56)).round(6) + 0.0
    array([[4., 0., 0.],
           [0., 4., 0.]])
    """
    height, width = source.size
    crop_height, crop_width = size or source.size
    scale = min(height / crop_height, width / crop_width)
    shift = (np.array([width, height]) - scale * np.array([crop_width, crop_height])) / 2
    fitted = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    if source.name == target.name:
        return fitted
    if source.points is None and _kind_of(source) == _kind_of(target):
        rescaled: Doubles = _rescale(source, target) @ np.vstack([fitted, (0, 0, 1)])
        return rescaled
    if source.points is None or target.points is None:
        raise OptionError(
            f"crops of {source.name} cannot be converted to {target.name}",
            expected="templates that fit points, such as arcface-112 or dlib-150",
            remedy=f"If the model takes them, say so in its spec: crops={source.name}.",
        )
    turn = estimate_similarity(source.points[None], target.points)[0]
    return np.hstack([turn[:, :2] @ fitted[:, :2], turn[:, :2] @ fitted[:, 2:] + turn[:, 2:]])


def is_scaled(source: Template, target: Template) -> bool:
    """Return whether crops of `source`, scaled to the size of `target`, are crops of `target`.

    >>> small, large = load_template("arcface-112"), load_template("arcface-224")
    >>> is_scaled(small, large), is_scaled(small, load_template("dlib-150"))
    (True, False)
    """
    if source.points is None or target.points is None:
        return _kind_of(source) == _kind_of(target)
    one, other = source.points / source.size[::-1], target.points / target.size[::-1]
    return np.allclose(one, other, atol=1e-4)


def _kind_of(template: Template) -> str:
    """Return the name without the size, with the ratio of the sides."""
    height, width = template.size
    return f"{template.name.rpartition('-')[0]} {width / height:g}"


def _rescale(source: Template, target: Template) -> Doubles:
    """Compute the (2, 3) transform between two sizes of one template. Pixel centres are whole."""
    scale = target.size[0] / source.size[0]
    shift = (scale - 1) / 2
    return np.array([[scale, 0, shift], [0, scale, shift]])


# Kinds


def _arcface(name: str, size: tuple[int, int], factor: float) -> Template:
    """Build the template for the sizes of InsightFace.

    112k scales the points by k. 128k shifts them by 8 pixels in x first, and 112k × 96k by -8. Any
    other size scales the points of 112 pixels.
    """
    height, width = size
    if height == width and height % 128 == 0 and height % 112:
        points = (ARCFACE_112 + (8, 0)) * (height / 128)
    elif height == width:
        points = ARCFACE_112 * (height / 112)
    elif height % 112 == 0 and height * 96 == width * 112:
        points = (ARCFACE_112 - (8, 0)) * (height / 112)
    else:
        raise OptionError(
            f"template {name!r}", expected="arcface-N, or arcface-112x96 or a multiple of it"
        )
    return _build_point_template(name, size, points)


def _build_point_template(name: str, size: tuple[int, int], points: Doubles) -> Template:
    return Template(name, size, partial(_fit_points, points=points), points=points)


def _dlib(name: str, size: tuple[int, int], factor: float) -> Template:
    _check_square(name, size)
    return _build_point_template(name, size, _DLIB_150 * (size[0] / 150))


def _ffhq(name: str, size: tuple[int, int], factor: float) -> Template:
    _check_square(name, size)
    return Template(name, size, partial(_fit_ffhq, side=size[0]))


def _box(name: str, size: tuple[int, int], factor: float) -> Template:
    _check_square(name, size)
    if not 0.1 <= factor <= 100:
        raise OptionError(f"template {name!r}", expected="a factor of 0.1 to 100")
    return Template(
        name, size, partial(_fit_box, factor=factor, side=size[0]), needs_landmarks=False
    )


def _patch(name: str, size: tuple[int, int], factor: float) -> Template:
    if not 0.1 <= factor <= 100:
        raise OptionError(f"template {name!r}", expected="a factor of 0.1 to 100")
    fit = partial(_fit_patch, factor=factor, size=size)
    return Template(name, size, fit, needs_landmarks=False, is_patch=True)


def _eyes(name: str, size: tuple[int, int], factor: float) -> Template:
    _check_square(name, size)
    return Template(name, size, partial(_fit_eyes, side=size[0]))


def _check_square(name: str, size: tuple[int, int]) -> None:
    if size[0] != size[1]:
        raise OptionError(f"template {name!r}", expected="one number: the crops are square")


KINDS: dict[str, Callable[[str, tuple[int, int], float], Template]] = {
    "arcface": _arcface,
    "dlib": _dlib,
    "ffhq": _ffhq,
    "box": _box,
    "patch": _patch,
    "eyes": _eyes,
}
EXAMPLES = (
    "arcface-112",
    "arcface-112x96",
    "arcface-256",
    "dlib-150",
    "ffhq-256",
    "box1.5-256",
    "patch2.7-80",
    "eyes-256",
)


# Fits


def _fit_points(faces: Faces, points: Doubles) -> Doubles:
    return estimate_similarity(faces.landmarks, points)


def _fit_ffhq(faces: Faces, side: int) -> Doubles:
    """Fit the square of the FFHQ set (Karras et al., CVPR 2019).

    Its centre is a tenth of the way from the eyes to the mouth. Half its side is the larger of
    twice the eye distance and 1.8 × the distance from eyes to mouth. Its x axis is the mean of the
    line of the eyes and the perpendicular to the line from eyes to mouth.

    The square is that of FFHQ, but the crop differs in three ways. Pixels outside of the image are
    black, not reflected and blurred. There is one bilinear step without a reduction before it. The
    eyes are the points of a detector, not means of six points.
    """
    points = faces.landmarks.astype(np.float64) @ (1, 1j)
    eyes, mouth = points[:, :2].mean(axis=1), points[:, 3:].mean(axis=1)
    across, down = points[:, 1] - points[:, 0], mouth - eyes
    axis = across - 1j * down
    half = np.maximum(np.abs(across) * 2.0, np.abs(down) * 1.8)
    return _square_transforms(eyes + down * 0.1, axis / np.abs(axis) * half, side)


def _fit_box(faces: Faces, factor: float, side: int) -> Doubles:
    """Fit an upright square around the middle of the box.

    Boxes give the edges of pixels: x1 = 0 is the left edge of the first pixel.
    """
    corners = faces.boxes.reshape(-1, 2, 2).astype(np.float64)
    middle = corners.mean(axis=1) - 0.5
    half = np.ptp(corners, axis=1).max(axis=1) * factor / 2
    return _square_transforms(middle @ (1, 1j), half.astype(np.complex128), side)


def _fit_patch(faces: Faces, image_sizes: Doubles, factor: float, size: tuple[int, int]) -> Doubles:
    return fit_patches(faces.boxes, image_sizes, factor, size)


def _fit_eyes(faces: Faces, side: int) -> Doubles:
    """Fit an upright square around the eyes.

    In units of the eye distance, and from the middle of the eyes, it reaches from -2.3 to 2.3 in x
    and from -1.6 to 3.0 in y.
    """
    points = faces.landmarks.astype(np.float64) @ (1, 1j)
    eyes, distance = points[:, :2].mean(axis=1), np.abs(points[:, 1] - points[:, 0])
    return _square_transforms(eyes + 0.7j * distance, (2.3 * distance).astype(np.complex128), side)


def _square_transforms(centre: Complexes, half: Complexes, side: int) -> Doubles:
    """Compute the transforms that fill `side` × `side` pixels with squares of the image: (n, 2, 3).

    `centre` (n,) is x + iy in pixels of the image. `half` (n,) is the vector from the centre to the
    middle of the right edge. Pixel centres are whole numbers.
    """
    turn = side / 2 / half
    shift = (1 + 1j) * (side - 1) / 2 - turn * centre
    rows = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    return np.ascontiguousarray(rows.transpose(2, 0, 1))
