"""Count the false pairs of dedupe in up to 10,000 distinct images.

    python benchmarks/dedupe_false_pairs.py --people ORL CROPS --photos FILE_OR_FOLDER …

No two images show the same part of a photo, except that an aligned crop may show nearly all of it:
a photo and its crop are counted apart, as a pair of one photo. --people are folders of one person
each, such as AT&T's and the aligned crops of them: their images, and blends of each two people,
image by image, which make 190 new people with a series of ten. 1,000 are drawn faces, one of each
person. The rest are pieces of the photos, some of them turned, that overlap by less than half. All
are put into one identity and compared without an embedder, so that every pair may be dropped.
--show OUT writes each false pair side by side.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import chain, combinations, islice
from pathlib import Path

import cv2
import numpy as np
from figures import show_table
from timing import describe_options

from faceprep.core.arrays import Doubles, Pixels
from faceprep.core.boxes import overlaps
from faceprep.synthetic import draw_face
from faceprep.vision.codec import decode, encode

_SUFFIXES = {".jpg", ".jpeg", ".png", ".pgm"}
_MOST_OVERLAP = 0.5
_SMALLEST = 56
_FLAT = 8.0
"""The standard deviation of grey levels below which a piece shows nothing, such as sky."""


def blends_of(root: Path) -> Iterator[tuple[str, Pixels]]:
    """Yield (name, image): those of a folder, and each two people blended image by image."""
    people = {
        folder.name: [photo for _, photo in load_photos([folder])]
        for folder in sorted(root.iterdir())
        if folder.is_dir()
    }
    for name, photos in people.items():
        yield from ((f"{root.name}-{name}-{at}", photo) for at, photo in enumerate(photos))
    for one, other in combinations(people, 2):
        for at, (a, b) in enumerate(zip(people[one], people[other], strict=False)):
            if a.shape == b.shape:
                yield f"blend_{root.name}-{one}-{other}-{at}", cv2.addWeighted(a, 0.5, b, 0.5, 0)


def drawn(n: int) -> Iterator[tuple[str, Pixels]]:
    yield from ((f"drawn-{number}", draw_face(number, 0)[0]) for number in range(n))


def pieces_of(photos: list[tuple[str, Pixels]], n: int) -> Iterator[tuple[str, Pixels]]:
    """Yield up to `n` pieces, in turns of the photos, until none of them has room."""
    random = np.random.default_rng(0)
    taken: dict[str, list[Doubles]] = {name: [] for name, _ in photos}
    found, most_failures = 0, 200
    while photos and found < n:
        still = []
        for name, photo in photos:
            for _ in range(most_failures):
                box = _draw_box(photo, random)
                others = taken[name]
                if not others or overlaps(box, np.stack(others)).max() < _MOST_OVERLAP:
                    break
            else:
                continue
            still.append((name, photo))
            taken[name].append(box)
            piece = _cut_out(photo, box, random)
            if piece.std() >= _FLAT:
                yield f"piece-{name}-{len(taken[name])}", piece
                found += 1
        photos = still


def _draw_box(photo: Pixels, random: np.random.Generator) -> Doubles:
    height, width = photo.shape[:2]
    most = min(height, width)
    side = float(np.exp(random.uniform(np.log(min(_SMALLEST, most)), np.log(most))))
    left, top = random.uniform(0, width - side), random.uniform(0, height - side)
    return np.array([left, top, left + side, top + side])


def _cut_out(photo: Pixels, box: Doubles, random: np.random.Generator) -> Pixels:
    """Return the piece in 112 × 112 pixels; one in two is turned by up to 20 degrees."""
    angle = random.uniform(-20, 20) * random.integers(2)
    side = box[2] - box[0]
    centre = (box[:2] + box[2:]) / 2
    matrix = cv2.getRotationMatrix2D(centre.tolist(), angle, 112 / side)
    matrix[:, 2] += 56 - centre
    how = cv2.INTER_AREA if side > 112 else cv2.INTER_CUBIC
    if side > 224:
        scale = 224 / side
        photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([1 / scale, 1 / scale, 1])
    return np.asarray(
        cv2.warpAffine(photo, matrix, (112, 112), flags=how, borderMode=cv2.BORDER_REFLECT)
    )


def is_one_photo(pair: tuple[str, str]) -> bool:
    """Return whether a photo, or a blend, was compared with the aligned crop of it.

    Their names differ in the folder of people alone.
    """
    one, other = (Path(name).stem.partition("-") for name in pair)
    return one[0] != other[0] and one[2] == other[2]


def load_photos(paths: list[Path]) -> list[tuple[str, Pixels]]:
    files = chain.from_iterable(sorted(p.rglob("*")) if p.is_dir() else [p] for p in paths)
    return [
        (path.stem, decode(path.read_bytes())) for path in files if path.suffix.lower() in _SUFFIXES
    ]


def main() -> None:
    """Write the images, run dedupe and print the false pairs by kind."""
    parser = describe_options(__doc__)
    parser.add_argument("--people", type=Path, nargs="*", default=[], help="folders of people")
    parser.add_argument("--photos", type=Path, nargs="*", default=[], help="files and folders")
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--show", type=Path, help="write the false pairs here")
    asked = parser.parse_args()
    faces = chain(*map(blends_of, asked.people), drawn(1000))
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "set", Path(folder) / "out"
        (source / "all").mkdir(parents=True)
        n = 0
        pieces = pieces_of(load_photos(asked.photos), asked.n)
        for name, image in islice(chain(faces, pieces), asked.n):
            (source / "all" / f"{name}.png").write_bytes(encode(image, ".png"))
            n += 1
        command = [sys.executable, "-m", "faceprep", "dedupe", source, out, "--plan-only"]
        subprocess.run([*command, "--embedder", "none"], check=True, stdout=subprocess.DEVNULL)
        drops = [json.loads(line) for line in (out / "plan.jsonl").read_text().splitlines()[1:]]
        kinds = Counter(path.name.partition("-")[0] for path in (source / "all").iterdir())
        pairs = [(drop["subject"], drop["evidence"]["kept"]) for drop in drops]
        n_of_one = sum(map(is_one_photo, pairs))
        row = {"images": n, "false pairs": len(drops) - n_of_one, "of one photo": n_of_one}
        row |= dict(kinds)
        show_table("false pairs", {"dedupe --embedder none": row}, "distinct images by kind")
        for number, (pair, drop) in enumerate(zip(pairs, drops, strict=True)):
            print(f"  {pair[0]}  {pair[1]}  {drop['reason']}")
            if asked.show:
                asked.show.mkdir(parents=True, exist_ok=True)
                sides = [decode((source / each).read_bytes()) for each in pair]
                sides = [cv2.resize(side, (224, 224)) for side in sides]
                (asked.show / f"{number:03d}.png").write_bytes(encode(np.hstack(sides), ".png"))


if __name__ == "__main__":
    main()
