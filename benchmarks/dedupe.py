"""Compare dedupe with imagehash and imagededup: planted copies found, and other images kept.

python benchmarks/dedupe.py ../shared/data/orl      copies of its photos, in their identities
python benchmarks/dedupe.py                         drawn faces, harder on hashes
python benchmarks/dedupe.py --quick                 fewer photos, no million hashes

Of each photo there is one copy of each kind. An image is found when it is dropped for a copy of its
own, or another for it; `wrong` are those that are dropped for another photo. `better` is the share
of enlarged and noisy copies that do not stay in place of another. The last table is of pairs of an
original and one copy, each pair apart: the share of those found in which the original stays, for
originals as PNG and as JPEG. A mirrored copy is as good as its original, so it is left out. The
peers are used as their pages show: a phash of every image, and all pairs within a distance, which
is given to NumPy here, so that the loop in Python costs it nothing. They open one image after the
other, in one process.
"""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from figures import Cell, show_table
from PIL import Image
from timing import describe_options, side_by_side

from faceprep.core.arrays import Pixels
from faceprep.identity import duplicates
from faceprep.sets.folder import find_identities
from faceprep.synthetic import draw_face
from faceprep.vision.codec import decode, encode

_QUALITIES = (95, 85, 75, 60, 50, 40)
_DISTANCES = (4, 8)


def load_photos(root: Path | None, n: int) -> list[Pixels]:
    """Load photos of which no two are copies."""
    if root:
        paths = [
            f"{root}/{each.name}/{image}" for each in find_identities(root) for image in each.images
        ]
        return [decode(Path(path).read_bytes()) for path in paths[:n]]
    return [draw_face(identity, image)[0] for identity in range(n // 4) for image in range(4)]


def copies_of(photo: Pixels) -> Iterator[tuple[str, bytes]]:
    """Yield (kind, file), the photo itself first."""
    height, width = photo.shape[:2]
    png = encode(photo, ".png")
    yield from (("0photo.png", png), ("exact.png", png))
    yield from ((f"q{quality}.jpg", encode(photo, ".jpg", quality)) for quality in _QUALITIES)
    for share in (0.5, 0.75, 1.5):
        how = cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC
        sized = cv2.resize(photo, (round(width * share), round(height * share)), interpolation=how)
        yield f"x{share:g}.jpg".replace(".", "", 1), encode(np.asarray(sized), ".jpg", 85)
    with io.BytesIO() as file:
        Image.fromarray(photo).save(file, "webp", quality=60)
        yield "webp.webp", file.getvalue()
    for name, changed in changes_of(photo):
        yield name, encode(np.ascontiguousarray(changed), Path(name).suffix, 90)


def changes_of(photo: Pixels) -> Iterator[tuple[str, Pixels]]:
    """Yield changed copies that hashes of whole images mostly miss, and worse ones."""
    height, width = photo.shape[:2]
    top, left = round(0.05 * height), round(0.05 * width)
    white = (255, 255, 255)
    yield "mirror.png", photo[:, ::-1]
    yield "cut.jpg", photo[top:-top, left:-left]
    yield "corner.jpg", photo[top:, left:]
    yield "border.jpg", cv2.copyMakeBorder(photo, 8, 8, 8, 8, cv2.BORDER_CONSTANT, value=white)
    place, font = (5, round(0.9 * height)), cv2.FONT_HERSHEY_SIMPLEX
    yield "text.jpg", cv2.putText(photo.copy(), "COPYRIGHT", place, font, width / 200, white, 1)
    yield "bright.jpg", np.clip(photo.astype(int) + 40, 0, 255).astype(np.uint8)
    yield "dark.jpg", (photo * 0.6).astype(np.uint8)
    yield "large.png", cv2.resize(photo, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(int(photo.sum())).normal(0, 8, photo.shape)
    yield "noisy.png", np.clip(photo + noise, 0, 255).astype(np.uint8)


def plant(folder: Path, photos: list[Pixels]) -> int:
    """Write SRC/IDENTITY/PHOTO_KIND, ten photos for each identity, and return the number of
    files.
    """
    n = 0
    for number, photo in enumerate(photos):
        identity = folder / f"{number // 10}"
        identity.mkdir(parents=True, exist_ok=True)
        for kind, data in copies_of(photo):
            (identity / f"{number}_{kind}").write_bytes(data)
            n += 1
    return n


def more_changes_of(photo: Pixels) -> Iterator[tuple[str, Pixels]]:
    """Yield copies with other things laid over them."""
    height, width = photo.shape[:2]
    font, size, stroke = cv2.FONT_HERSHEY_SIMPLEX, width / 200, max(round(width / 200), 1)
    black, white = (0, 0, 0), (255, 255, 255)
    place = round(0.05 * width), round(0.9 * height)
    yield "black.jpg", cv2.putText(photo.copy(), "COPYRIGHT", place, font, size, black, stroke)
    corners = (width // 4, height // 3), (3 * width // 4, height // 2)
    yield "bar.jpg", cv2.rectangle(photo.copy(), *corners, black, -1)
    middle = round(0.15 * width), round(0.55 * height)
    mark = cv2.putText(photo.copy(), "SAMPLE", middle, font, 1.4 * size, white, 2 * stroke)
    yield "mark.jpg", cv2.addWeighted(mark, 0.4, photo, 0.6, 0)


def plant_pairs(folder: Path, photos: list[Pixels], form: str) -> None:
    """Write SRC/PHOTO_KIND/: an original and one copy. Every second original comes last by name."""
    for number, photo in enumerate(photos):
        original = encode(photo, form, 90)
        pixels = decode(original)
        copies = [each for each in copies_of(pixels) if each[0][:5] not in ("0phot", "exact")]
        more = [(name, encode(copy, ".jpg", 90)) for name, copy in more_changes_of(pixels)]
        for name, data in copies + more:
            pair = folder / f"{number}_{Path(name).stem}"
            pair.mkdir(parents=True)
            first = "ac"[number % 2]
            (pair / f"{first}-original{form}").write_bytes(original)
            (pair / f"b-copy{Path(name).suffix}").write_bytes(data)


def judge_pairs(photos: list[Pixels]) -> None:
    """Show the share of the pairs found in which the original stays, by kind."""
    rows = {}
    for form in (".png", ".jpg"):
        with tempfile.TemporaryDirectory() as folder:
            plant_pairs(Path(folder), photos, form)
            kept = faceprep(Path(folder), "--embedder", "none")
        found = Counter(kind_of(Path(path).parent.name) for path in kept)
        right = Counter(kind_of(Path(path).parent.name) for path in kept if "-original" not in path)
        del found["mirror"]
        rows[f"originals as {form}"] = {kind: right[kind] / n for kind, n in found.items()}
    show_table("the original stays", rows, f"pairs of {len(photos)} photos and one copy, by kind")


def family(path: str) -> str:
    """Return the common part of all copies of one photo."""
    return Path(path).name.partition("_")[0]


def faceprep(source: Path, *options: str) -> dict[str, str]:
    """Return a mapping from each dropped image to the one that stays for it."""
    with tempfile.TemporaryDirectory() as out:
        command = [
            sys.executable,
            "-m",
            "faceprep",
            "dedupe",
            str(source),
            out,
            "--plan-only",
            *options,
        ]
        subprocess.run(command, check=True, capture_output=True)
        lines = (Path(out) / "plan.jsonl").read_text().splitlines()[1:]
    return {
        told["subject"]: told["evidence"]["kept"]
        for told in map(json.loads, lines)
        if "verdict" not in told
    }


def phashes(name: str, paths: list[Path]) -> np.ndarray:
    """Return the bits (n, 64) of the phash of a package for every image."""
    if name == "imagehash":
        import imagehash

        return np.stack([imagehash.phash(Image.open(path)).hash.ravel() for path in paths])
    from imagededup.methods import PHash

    hasher = PHash(verbose=False)
    numbers = [int(hasher.encode_image(image_file=str(path)), 16) for path in paths]
    return np.unpackbits(np.array(numbers, ">u8").view(np.uint8)).reshape(-1, 64)


def peer(name: str, source: Path, distance: int) -> dict[str, str]:
    """Return such a mapping for a peer: the first copy by name stays, within an identity."""
    paths = sorted(source.glob("*/*"))
    bits = phashes(name, paths)
    kept: dict[str, str] = {}
    for number, path in enumerate(paths):
        near = np.flatnonzero((bits[:number] != bits[number]).sum(axis=1) <= distance)
        staying = [i for i in near if str(paths[i]) not in kept and paths[i].parent == path.parent]
        if staying:
            kept[str(path)] = str(paths[staying[0]])
    return kept


def judge(kept: dict[str, str], photos: list[Pixels]) -> tuple[dict[str, Cell], dict[str, Cell]]:
    """Return precision, recall and wrong ones, and the share of each kind that is found."""
    n_copies = sum(sum(1 for _ in copies_of(photo)) - 1 for photo in photos)
    right = {path: other for path, other in kept.items() if family(path) == family(other)}
    precision, recall = len(right) / max(len(kept), 1), len(right) / n_copies
    worse = [path for path in right.values() if "_large" in path or "_noisy" in path]
    quality = {"precision": precision, "recall": recall, "wrong": len(kept) - len(right)}
    quality["better"] = 1 - len(worse) / max(len(right), 1)
    touched = {(family(path), kind_of(path)) for pair in right.items() for path in pair}
    counts = Counter(kind for _, kind in touched)
    names = [name for name, _ in changes_of(photos[0])]
    stems = [Path(name).stem for name in names]
    return quality, {stem: counts[stem] / len(photos) for stem in stems}


def kind_of(path: str) -> str:
    return Path(path).stem.partition("_")[2]


def million(n: int) -> None:
    """Draw hashes that differ as much as those of aligned face crops (mean distance 27,
    deviation 4.6).
    """
    chance = np.random.default_rng(0)
    common, shared = chance.normal(size=64) * 0.55, chance.normal(size=(12, 64)) * 0.08
    pieces = [
        chance.normal(size=(n // 10, 12)) @ shared + chance.normal(size=(n // 10, 64))
        for _ in range(10)
    ]
    levels = np.concatenate(pieces) + common
    bits = levels > np.median(levels, axis=1, keepdims=True)
    hashes = np.packbits(bits, axis=1).view(">u8").astype(np.uint64).ravel()
    n_copies = n // 10
    flips = np.uint64(1) << chance.integers(0, 64, n_copies).astype(np.uint64)
    hashes[:n_copies] = hashes[n_copies : 2 * n_copies] ^ flips
    sample = hashes[chance.choice(n, 2000, replace=False)]
    apart = np.bitwise_count(sample[:, None] ^ sample)[np.triu_indices(2000, 1)]
    note = f"{n:,}, {n_copies:,} of them one bit from another, "
    note += f"distance {apart.mean():.1f} ± {apart.std():.1f}"
    rows = {}
    for name, values in (("as they are", hashes), ("all the same", np.zeros(n, np.uint64))):
        started = time.perf_counter()
        kept = duplicates.keep_best(
            values, np.arange(n), lambda image, others: np.ones(len(others), np.bool_)
        )
        seconds = time.perf_counter() - started
        rows[name] = {"seconds": seconds, "dropped": int((kept != np.arange(n)).sum())}
    started = time.perf_counter()
    for value in hashes[:200]:
        np.count_nonzero(np.bitwise_count(hashes ^ value) <= duplicates.RADIUS)
    seconds = (time.perf_counter() - started) / 200 * n / 2
    rows["all pairs in NumPy, projected from 200 rows"] = {"seconds": seconds}
    show_table("hashes", rows, note)


def main() -> None:
    """Show the tables."""
    arguments = describe_options(__doc__)
    arguments.add_argument("photos", nargs="?", type=Path, help="a folder of identities")
    arguments.add_argument("--n", type=int, default=100, help="photos")
    arguments.add_argument("--quick", action="store_true")
    asked = arguments.parse_args()
    photos = load_photos(asked.photos, 40 if asked.quick else asked.n)
    peers = [name for name in ("imagehash", "imagededup") if importlib.util.find_spec(name)]
    candidates = {
        "faceprep dedupe --embedder none": lambda source: faceprep(source, "--embedder", "none"),
        "faceprep dedupe --exact-only": lambda source: faceprep(source, "--exact-only"),
    }
    if not asked.quick:
        candidates["faceprep dedupe"] = faceprep
    for name in peers:
        for distance in _DISTANCES:
            candidates[f"{name}, distance {distance}"] = partial(
                lambda name, distance, source: peer(name, source, distance), name, distance
            )
    with tempfile.TemporaryDirectory() as folder:
        source, answers = Path(folder), {}
        n_images = plant(source, photos)

        def kept_by(name: str) -> None:
            answers[name] = candidates[name](source)

        timed = {name: lambda name=name: kept_by(name) for name in candidates}
        side_by_side("images to what stays, whole command", n_images, timed, repeats=1)
        judged = {name: judge(kept, photos) for name, kept in answers.items()}
    note = f"{len(photos)} photos and their copies"
    show_table("copies", {name: quality for name, (quality, _) in judged.items()}, note)
    show_table("copies by kind", {name: shares for name, (_, shares) in judged.items()}, note)
    judge_pairs(photos)
    if not asked.quick:
        million(1_000_000)


if __name__ == "__main__":
    main()
