"""Draws faces with known landmarks and writes tiny sets: for tests, examples and a first try.

python -m faceprep.synthetic.images demo            demo/train.rec, train.idx, property
python -m faceprep.synthetic.images demo --layout folder --identities 5 --images 4
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import imageio.v3 as imageio
import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.text import count_noun
from faceprep.sets.recordio.framing import frame_image

_TEMPLATE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ],
    np.float32,
)
"""Left eye, right eye, nose, left and right mouth corner as the viewer sees them, in 112 × 112
pixels.
"""


def draw_face(
    identity: int, image: int, size: int = 112
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Draw a cartoon face: ((size, size, 3) uint8 RGB, (5, 2) float32 landmarks x, y in pixels).

    `identity` sets colours and proportions, `image` light, noise and small shifts.

    >>> pixels, landmarks = draw_face(identity=1, image=2)
    >>> pixels.shape, landmarks.shape
    ((112, 112, 3), (5, 2))
    """
    person = np.random.default_rng([identity, 0])
    photo = np.random.default_rng([identity, image, 1])
    skin, hair, iris, lips, ground = person.integers(40, 216, (5, 3))
    shape = person.uniform(0.9, 1.1, 2)
    points = (
        (_TEMPLATE - 56) * shape + 56 + photo.normal(0, 1.2, 2) + photo.normal(0, 0.4, (5, 2))
    ) * (size / 112)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = ground

    def paint(
        centre: npt.NDArray[np.float64], width: float, height: float, colour: npt.NDArray[np.int64]
    ) -> None:
        scale = size / 112
        inside = ((x - centre[0]) / (width * scale)) ** 2 + (
            (y - centre[1]) / (height * scale)
        ) ** 2 <= 1
        canvas[inside] = colour

    middle = points.mean(axis=0)
    paint(middle - [0, 14 * size / 112], 42 * shape[0], 44 * shape[1], hair)
    paint(middle, 37 * shape[0], 48 * shape[1], skin)
    for eye in points[:2]:
        paint(eye, 8, 5, np.array([245, 245, 245]))
        paint(eye, 3.5, 3.5, iris)
    paint(points[2], 4, 7, skin * 3 // 4)
    paint(points[3:].mean(axis=0), float(np.ptp(points[3:, 0])) / 2 * 112 / size, 4, lips)
    light = photo.uniform(0.75, 1.2) * (1 + photo.uniform(-0.2, 0.2) * (x / size - 0.5))[..., None]
    noisy = canvas * light + photo.normal(0, 4, canvas.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), points.astype(np.float32)


def encode_face(identity: int, image: int, suffix: str = ".jpg") -> bytes:
    """Encode the same face as JPEG or PNG."""
    data: bytes = imageio.imwrite("<bytes>", draw_face(identity, image)[0], extension=suffix)
    return data


def write_folder(root: Path, n_identities: int = 5, n_images: int = 4) -> None:
    """Write ROOT/IDENTITY/IMAGE.jpg, both numbered from 0."""
    for identity in range(n_identities):
        for image in range(n_images):
            storage.write_file(
                root / str(identity) / f"{image}.jpg", encode_face(identity, image), durable=False
            )


def write_insightface_rec(root: Path, n_identities: int = 5, n_images: int = 4) -> None:
    """Write ROOT/train.rec, train.idx and property like face2rec2: header, images, identity
    records.
    """
    n = n_identities * n_images
    lines, offset = [], 0
    with storage.AtomicFile(root / "train.rec") as rec:
        for key, record in enumerate(_insightface_records(n_identities, n_images, n)):
            rec.write(record)
            lines.append(f"{key}\t{offset}\n")
            offset += len(record)
    storage.write_file(root / "train.idx", "".join(lines).encode())
    storage.write_file(root / "property", f"{n_identities},112,112".encode())


def _insightface_records(n_identities: int, n_images: int, n: int) -> Iterator[bytes]:
    yield frame_image([n + 1, n + 1 + n_identities], b"", 0)
    for key in range(1, n + 1):
        identity, image = divmod(key - 1, n_images)
        yield frame_image([identity], encode_face(identity, image), key)
    for identity in range(n_identities):
        yield frame_image(
            [identity * n_images + 1, (identity + 1) * n_images + 1], b"", n + 1 + identity
        )


@click.command()
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--layout", type=click.Choice(["rec", "folder"]), default="rec", show_default=True)
@click.option("--identities", default=20, show_default=True)
@click.option("--images", default=10, show_default=True, help="Images of each identity.")
def main(root: Path, layout: str, identities: int, images: int) -> None:
    """Write a small face set of drawn faces to ROOT."""
    (write_insightface_rec if layout == "rec" else write_folder)(root, identities, images)
    click.echo(
        f"{count_noun(identities * images, 'drawn face')} of "
        f"{count_noun(identities, 'identity', 'identities')} in {root}"
    )
