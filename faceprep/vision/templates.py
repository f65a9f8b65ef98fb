"""What a crop shows, by name: where the landmarks, or the box, of a face come to lie in how many
pixels.

arcface-112  least squares to InsightFace's five points; 112, 224, …, 128, …; 112x96: high × wide
dlib-150     the same to the five points that dlib's face descriptor was made with
ffhq-256     any size: a square around eyes and mouth as in the FFHQ set
box1.5-256   any factor and size: a square of 1.5 × the longer side of the box
eyes-256     any size: a square of 4.6 × the distance of the eyes, as for SiW-Mv2
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from faceprep.core.errors import OptionError
from faceprep.core.faces import Faces
from faceprep.vision.align import ARCFACE_112, Doubles, check_landmarks, estimate_similarity

_DLIB_150 = np.array([(47.2, 45.4), (101.3, 45.0), (73.6, 77.8), (50.6, 99.7), (99.5, 99.6)])
_NAME = re.compile(
    r"(?P<kind>[a-z]+)(?P<factor>\d+(\.\d+)?)?-(?P<height>\d{1,4})(x(?P<width>\d{1,4}))?", re.ASCII
)
_LEAST_SIDE = 8


@dataclass(frozen=True)
class Template:
    """`size` (height, width) of the crops; `fit` makes (n, 2, 3) transforms of n faces.

    `needs_landmarks` is false where the box alone counts; `points` (5, 2) is where the landmarks
    come to lie, None where that differs from face to face.
    """

    name: str
    size: tuple[int, int]
    fit: Callable[[Faces], Doubles]
    needs_landmarks: bool = True
    points: Doubles | None = field(default=None, compare=False)


def load_template(name: str) -> Template:
    """The template of that name. Raises OptionError for an unknown name or size.

    >>> load_template("arcface-112x96").size
    (112, 96)
    >>> load_template("arcface-100")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    faceprep.core.errors.OptionError: template 'arcface-100': expected arcface-112, ...
    """
    parts = _NAME.fullmatch(name)
    kind = KINDS.get(parts["kind"]) if parts else None
    if not parts or not kind or (parts["factor"] is None) == (parts["kind"] == "box"):
        raise OptionError(
            f"unknown template {name!r}", expected="one such as " + ", ".join(EXAMPLES)
        )
    height = int(parts["height"])
    size = height, int(parts["width"] or height)
    if min(size) < _LEAST_SIDE:
        raise OptionError(f"template {name!r}", expected=f"{_LEAST_SIDE} pixels or more")
    return kind(name, size, float(parts["factor"] or 1))


def crop_transforms(faces: Faces, template: Template) -> Doubles:
    """(n, 2, 3) transforms that make the crops of `template`; NaN where `check_faces` finds
    fault.
    """
    with np.errstate(all="ignore"):
        transforms = template.fit(faces)
    return np.where(np.isfinite(transforms).all(axis=(1, 2), keepdims=True), transforms, np.nan)


def check_faces(faces: Faces, template: Template) -> list[str]:
    """Why each face cannot be cropped to `template`; an empty text for those that can."""
    if template.needs_landmarks:
        return check_landmarks(faces.landmarks)
    sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
    return [
        ""
        if np.isfinite(box).all() and (side > 0).all()
        else "degenerate box: " + " ".join(f"{x:g}" for x in box)
        for box, side in zip(faces.boxes, sides, strict=True)
    ]


def between(source: Template, target: Template, size: tuple[int, int] | None = None) -> Doubles:
    """(2, 3): takes a crop of `source` to one of `target`, by the similarity between their points.

    The crop has `size` (height, width), that of `source` by default. One of the same shape is the
    template enlarged; another is fitted into it, in the middle. Raises OptionError where points are
    not known, but for a template to itself.

    >>> between(load_template("arcface-112"), load_template("arcface-224"), (56, 56)).round(6) + 0.0
    array([[4., 0., 0.],
           [0., 4., 0.]])
    """
    height, width = source.size
    given = size or source.size
    scale = min(height / given[0], width / given[1])
    shift = (np.array([width, height]) - scale * np.array(given[::-1])) / 2
    fitted = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    if source.name == target.name:
        return fitted
    if source.points is None or target.points is None:
        raise OptionError(
            f"crops of {source.name} cannot be brought to {target.name}",
            expected="templates that fit points, such as arcface-112 or dlib-150",
        )
    turn = estimate_similarity(source.points[None], target.points)[0]
    return np.hstack([turn[:, :2] @ fitted[:, :2], turn[:, :2] @ fitted[:, 2:] + turn[:, 2:]])


# Kinds


def _arcface(name: str, size: tuple[int, int], factor: float) -> Template:
    """InsightFace's sizes: 112k scales the points by k, 128k by k after 8 pixels in x, 112k ×
    96k after -8.
    """
    height, width = size
    if height == width and height % 112 == 0:
        points = ARCFACE_112 * (height / 112)
    elif height == width and height % 128 == 0:
        points = (ARCFACE_112 + (8, 0)) * (height / 128)
    elif height % 112 == 0 and height * 96 == width * 112:
        points = (ARCFACE_112 - (8, 0)) * (height / 112)
    else:
        raise OptionError(
            f"template {name!r}", expected="arcface-112, 128, or a multiple, or arcface-112x96"
        )
    return _of_points(name, size, points)


def _of_points(name: str, size: tuple[int, int], points: Doubles) -> Template:
    return Template(name, size, partial(_fit_points, points=points), points=points)


def _dlib(name: str, size: tuple[int, int], factor: float) -> Template:
    _refuse_oblong(name, size)
    return _of_points(name, size, _DLIB_150 * (size[0] / 150))


def _ffhq(name: str, size: tuple[int, int], factor: float) -> Template:
    _refuse_oblong(name, size)
    return Template(name, size, partial(_fit_ffhq, side=size[0]))


def _box(name: str, size: tuple[int, int], factor: float) -> Template:
    _refuse_oblong(name, size)
    if not 0.1 <= factor <= 100:
        raise OptionError(f"template {name!r}", expected="a factor of 0.1 to 100")
    return Template(
        name, size, partial(_fit_box, factor=factor, side=size[0]), needs_landmarks=False
    )


def _eyes(name: str, size: tuple[int, int], factor: float) -> Template:
    _refuse_oblong(name, size)
    return Template(name, size, partial(_fit_eyes, side=size[0]))


def _refuse_oblong(name: str, size: tuple[int, int]) -> None:
    if size[0] != size[1]:
        raise OptionError(f"template {name!r}", expected="one number: the crops are square")


KINDS: dict[str, Callable[[str, tuple[int, int], float], Template]] = {
    "arcface": _arcface,
    "dlib": _dlib,
    "ffhq": _ffhq,
    "box": _box,
    "eyes": _eyes,
}
EXAMPLES = (
    "arcface-112",
    "arcface-112x96",
    "arcface-256",
    "dlib-150",
    "ffhq-256",
    "box1.5-256",
    "eyes-256",
)


# Fits


def _fit_points(faces: Faces, points: Doubles) -> Doubles:
    return estimate_similarity(faces.landmarks, points)


def _fit_ffhq(faces: Faces, side: int) -> Doubles:
    """The square that the FFHQ set's builder cuts (Karras et al., CVPR 2019): its centre a tenth of
    the way from the eyes to the mouth, half its side the larger of twice the eye distance and 1.8 ×
    eyes to mouth, its x axis the mean of the eyes' line and of the upright to the line from eyes to
    mouth.

    As there: the square. Not as there: what lies outside of the image is black, not reflected and
    blurred; one bilinear step, no reduction before; the eyes are a detector's points, not means of
    six.
    """
    points = faces.landmarks.astype(np.float64) @ (1, 1j)
    eyes, mouth = points[:, :2].mean(axis=1), points[:, 3:].mean(axis=1)
    across, down = points[:, 1] - points[:, 0], mouth - eyes
    axis = across - 1j * down
    half = np.maximum(np.abs(across) * 2.0, np.abs(down) * 1.8)
    return _square(eyes + down * 0.1, axis / np.abs(axis) * half, side)


def _fit_box(faces: Faces, factor: float, side: int) -> Doubles:
    """A square around the middle of the box, upright. Edges are edges: x1 = 0 is the left edge
    of the first pixel.
    """
    corners = faces.boxes.reshape(-1, 2, 2).astype(np.float64)
    middle = corners.mean(axis=1) - 0.5
    half = np.ptp(corners, axis=1).max(axis=1) * factor / 2
    return _square(middle @ (1, 1j), half.astype(np.complex128), side)


def _fit_eyes(faces: Faces, side: int) -> Doubles:
    """-2.3 d … 2.3 d across and -1.6 d … 3.0 d down from the middle of the eyes, d their
    distance; upright.
    """
    points = faces.landmarks.astype(np.float64) @ (1, 1j)
    eyes, distance = points[:, :2].mean(axis=1), np.abs(points[:, 1] - points[:, 0])
    return _square(eyes + 0.7j * distance, (2.3 * distance).astype(np.complex128), side)


def _square(
    centre: npt.NDArray[np.complex128], half: npt.NDArray[np.complex128], side: int
) -> Doubles:
    """Transforms that fill `side` pixels with the squares around `centre`, x + iy in pixels of the
    image.

    `half` leads from the centre to the middle of the right edge. Pixels have their centres at whole
    numbers.
    """
    turn = side / 2 / half
    shift = (1 + 1j) * (side - 1) / 2 - turn * centre
    rows = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    return np.ascontiguousarray(rows.transpose(2, 0, 1))
