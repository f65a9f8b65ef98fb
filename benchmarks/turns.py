"""Count photos that are turned wrongly or examined again, and turned ones that come out right.

python benchmarks/turns.py DATA

DATA is a folder with photos, orl, siw_like and video. Every photo with a face is judged as it is
and turned by 90, 180 and 270 degrees; each wrong turn is printed. Every 5th frame of a video is
taken, but none of videos that are upside down.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from figures import show_table

from faceprep.core.arrays import Pixels
from faceprep.core.errors import SourceError
from faceprep.core.turns import TURNS, turn_image
from faceprep.core.types import Outcome
from faceprep.steps.find_faces import FaceFinder, FaceOptions
from faceprep.video.reader import VideoReader
from faceprep.video.sampling import parse_frames
from faceprep.vision.load_image import load_image

UPSIDE_DOWN = ("upside.mp4", "004-1-2-1-2.mov")
SUFFIXES = (".jpg", ".jpeg", ".png", ".pgm", ".bmp", ".webp", ".gif", ".tif", ".tiff")


def photos(folder: Path) -> Iterator[tuple[str, Pixels]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            loaded = load_image(path, path.name)
            if not isinstance(loaded, Outcome):
                yield path.name, loaded


def frames(folder: Path) -> Iterator[tuple[str, Pixels]]:
    for path in sorted([*folder.rglob("*.mov"), *folder.rglob("*.mp4")]):
        if path.name not in UPSIDE_DOWN:
            with suppress(SourceError), VideoReader(str(path), 2) as reader:
                for frame in reader.frames(parse_frames("every:5")):
                    yield f"{path.name}#{frame.number}", frame.pixels


class Counted(FaceFinder):
    """A finder that counts the images in doubt."""

    n_doubts = 0

    def _doubts(self, *given: object) -> bool:
        is_doubtful = super()._doubts(*given)  # type: ignore[arg-type]
        self.n_doubts += is_doubtful
        return is_doubtful


def measure(name: str, images: list[tuple[str, Pixels]], options: FaceOptions) -> None:
    finder = options.finder()
    finder.__class__ = Counted
    with_faces, rows = images, {}
    for turn in TURNS:
        finder.n_doubts = n_wrong = 0
        seconds, kept = 0.0, []
        for label, image in with_faces:
            turned = turn_image(image, -turn % 360)
            started = time.process_time()
            (found,) = finder.find([turned])
            seconds += time.process_time() - started
            if len(found.faces):
                kept.append((label, image))
            if found.turn != turn and (len(found.faces) or turn):
                n_wrong += 1
                print(f"    turned by {turn}: found at {found.turn}, {found.status}: {label}")
        n = len(with_faces)
        rows[f"turned by {turn}°"] = {"images": n, "wrong": n_wrong}
        rows[f"turned by {turn}°"] |= {"looked at again": finder.n_doubts}
        rows[f"turned by {turn}°"] |= {"CPU ms each": 1000 * seconds / max(n, 1)}
        with_faces = kept if turn == 0 else with_faces
    show_table(name, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--detector", default="retinaface")
    parser.add_argument("--turns", default="auto", choices=("auto", "all"))
    parser.add_argument("--only", nargs="+", default=["photos", "orl", "siw_like", "video"])
    given = parser.parse_args()
    options = FaceOptions(detector=given.detector, turns=given.turns, device="cpu")
    for name, load in (
        ("photos", photos),
        ("orl", photos),
        ("siw_like", frames),
        ("video", frames),
    ):
        if name in given.only:
            measure(name, list(load(given.data / name)), options)


if __name__ == "__main__":
    main()
