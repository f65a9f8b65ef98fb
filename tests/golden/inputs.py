"""Inputs of the golden run: a copy of the real data and sets made of it, with fixed times."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.golden import made_photos

_TIME = 1_600_000_000
_PEOPLE = ("anna", "ben", "carla", "dora", "emil", "frida", "gustav", "hanna")
_NUMBERS = (1, 2, 3, 9, 10, 11, 12, 20, 100, 101)


def make_inputs(data: Path, root: Path) -> None:
    """Copy `data` to ROOT/data and draw ROOT/made; every file gets the same time."""
    shutil.copytree(data, root / "data", ignore=shutil.ignore_patterns("mxnet_reads.json"))
    for folder, _, files in os.walk(root / "data"):
        for path in (Path(folder), *(Path(folder, name) for name in files)):
            path.chmod(0o755 if path.is_dir() else 0o644)
    made, faces = root / "made", Faces(root / "data" / "orl")
    _make_folders(made, faces)
    _make_cut(made / "cut", faces)
    _make_names(made / "names", faces)
    _make_doubles(made / "doubles", faces)
    _make_copies(made / "copies", faces)
    _make_lists(made, faces)
    made_photos.make_ijb(made / "ijb", faces)
    made_photos.make_embedder(made / "tiny.onnx")
    made_photos.make_videos(made / "videos", root / "data" / "photos" / "groups" / "ivan.jpg")
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, (_TIME, _TIME))


def digest(root: Path) -> str:
    """Return one sha256 of the names and bytes of all inputs; empty folders count as well."""
    total = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        total.update(f"{path.relative_to(root)}\0".encode("utf-8", "surrogateescape"))
        data = path.read_bytes() if path.is_file() else b""
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()


class Faces:
    """Crops of 112 × 112 pixels in BGR, made of the photos of AT&T's people."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def crop(self, person: int, image: int) -> Any:
        """Return image 0 to 9 of person 0 to 19, in the tint of the person."""
        path = self._root / f"s{person + 1}" / f"{image + 1}.pgm"
        gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        square = cv2.resize(gray, (112, 112), interpolation=cv2.INTER_LINEAR)
        tint = np.array((0.80, 0.90, 1.0)) - 0.005 * person
        return (square[..., None] * tint).astype(np.uint8)


def encode(pixels: Any, suffix: str, quality: int = 95) -> bytes:
    """Encode BGR pixels."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else []
    done, data = cv2.imencode(suffix, pixels, options)
    if not done:
        raise ValueError(f"OpenCV cannot write {suffix}")
    return bytes(data)


def write(path: Path, data: bytes) -> None:
    """Write a file and the folders that lead to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _make_folders(made: Path, faces: Faces) -> None:
    for person, name in enumerate(_PEOPLE):
        for image in range(6):
            write(
                made / "folders" / name / f"{image}.jpg", encode(faces.crop(person, image), ".jpg")
            )
    for person, number in enumerate(_NUMBERS):
        for image in range(1 + person % 5):
            suffix = ".png" if image % 2 else ".jpg"
            data = encode(faces.crop(person, image), suffix)
            write(made / "numbered" / str(number) / f"{image}{suffix}", data)
    for part, kind, person in _protocol():
        for image in range(4):
            path = made / "live_spoof" / part / kind / f"{person:03}" / f"{image}.jpg"
            write(path, encode(faces.crop(person, image), ".jpg"))


def _protocol() -> Iterator[tuple[str, str, int]]:
    for person in range(8):
        yield ("Train" if person < 5 else "Test"), ("live" if person % 2 else "spoof"), person


def _make_cut(root: Path, faces: Faces) -> None:
    """Write sound images beside cut-off, empty and foreign ones."""
    for person in range(3):
        for image in range(4):
            suffix = ".png" if image == 1 else ".jpg"
            write(
                root / f"p{person}" / f"ok_{image}{suffix}",
                encode(faces.crop(person, image), suffix),
            )
    jpg, png = (encode(faces.crop(1, 5), suffix) for suffix in (".jpg", ".png"))
    write(root / "p0" / "cut.jpg", jpg[: len(jpg) * 6 // 10])
    write(root / "p1" / "cut.png", png[: len(png) * 6 // 10])
    write(root / "p1" / "no_end.jpg", jpg[:-2])
    write(root / "p2" / "empty.jpg", b"")
    write(root / "p2" / "text.jpg", b"not an image\n")
    write(root / "p2" / "zeros.png", bytes(500))


def _make_names(root: Path, faces: Faces) -> None:
    """Write sound images under difficult names, in other formats, and files that are not images."""
    for suffix in (".jpg", ".png", ".bmp", ".webp", ".tiff"):
        write(root / "formats" / f"image{suffix}", encode(faces.crop(0, 0), suffix))
    write(root / "formats" / "png_inside.jpg", encode(faces.crop(0, 1), ".png"))
    write(root / "formats" / "UPPER.JPG", encode(faces.crop(0, 2), ".jpg"))
    write(root / "Müller, Ä" / "two words ü.jpg", encode(faces.crop(1, 0), ".jpg"))
    write(root / "Müller, Ä" / "a.b.c.jpg", encode(faces.crop(1, 1), ".jpg"))
    write(root / "001" / "0.jpg", encode(faces.crop(2, 0), ".jpg"))
    write(root / "1" / "0.jpg", encode(faces.crop(3, 0), ".jpg"))
    write(root / "deep" / "er" / "0.jpg", encode(faces.crop(4, 0), ".jpg"))
    write(root / "1" / ".hidden.jpg", encode(faces.crop(3, 1), ".jpg"))
    write(root / "1" / "Thumbs.db", b"thumbs")
    write(root / "1" / "notes.txt", b"notes")
    (root / "nobody").mkdir()
    write(root.with_name("stray") / "0.jpg", encode(faces.crop(5, 0), ".jpg"))
    write(root.with_name("stray") / "a" / "0.jpg", encode(faces.crop(5, 1), ".jpg"))


def _make_doubles(root: Path, faces: Faces) -> None:
    """Write six people, two of them under two names, and one image in a foreign folder."""
    for person in range(6):
        for image in range(8):
            half = "_b" if person < 2 and image >= 4 else ""
            write(
                root / f"p{person}{half}" / f"{image}.png",
                encode(faces.crop(person, image), ".png"),
            )
    write(root / "p3" / "foreign.png", encode(faces.crop(4, 9), ".png"))
    write(root / "p5" / "stranger.png", encode(faces.crop(15, 0), ".png"))
    write(root / "single" / "0.png", encode(faces.crop(16, 0), ".png"))


def _make_copies(root: Path, faces: Faces) -> None:
    """Write exact and near copies, in one identity and across two."""
    for person in range(4):
        for image in range(3):
            data = encode(faces.crop(person, image), ".png")
            write(root / f"p{person}" / f"{image}.png", data)
    pixels = faces.crop(0, 0)
    large = cv2.resize(pixels, (224, 224), interpolation=cv2.INTER_CUBIC)
    write(root / "p0" / "exact.png", encode(pixels, ".png"))
    write(root / "p0" / "worse.jpg", encode(pixels, ".jpg", 60))
    write(root / "p0" / "large.jpg", encode(large, ".jpg"))
    write(root / "p0" / "mirror.png", encode(np.ascontiguousarray(pixels[:, ::-1]), ".png"))
    write(root / "p3" / "of_p0.png", encode(pixels, ".png"))
    write(root / "p3" / "near_p1.jpg", encode(faces.crop(1, 1), ".jpg", 80))


def _make_lists(made: Path, faces: Faces) -> None:
    """Write lists of pairs as LFW, as lines of two paths and with a missing image."""
    for person, name in ((0, "Ada_Lo"), (1, "Bob_Li"), (2, "Cy_Ma")):
        for image in range(4):
            path = made / "lfw" / name / f"{name}_{image + 1:04}.jpg"
            write(path, encode(faces.crop(person, image), ".jpg"))
    lines = ["Ada_Lo\t1\t4", "Bob_Li\t2\t3", "Ada_Lo\t1\tBob_Li\t1", "Bob_Li\t4\tCy_Ma\t2"]
    write(made / "lfw_pairs.txt", "".join(f"{line}\n" for line in lines).encode())
    lines = ["anna/0.jpg anna/1.jpg 1", "anna/0.jpg ben/1.jpg 0", "ben/2.jpg ben/3.jpg 1"]
    write(made / "paths.txt", "".join(f"{line}\n" for line in lines).encode())
    lines.append("anna/0.jpg carla/99.jpg 0")
    write(made / "paths_missing.txt", "".join(f"{line}\n" for line in lines).encode())
    write(made / "paths_bad.txt", b"anna/0.jpg anna/1.jpg maybe\n")
