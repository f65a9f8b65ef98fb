"""Inputs of the cases, each made once by the command line and kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from faceprep.synthetic import write_folder, write_insightface_rec
from tests.photos import package_file

Command = Callable[[str], None]
"""Carries out a command line, with the paths below the work folder."""
_N_FRAMES = 4
_N_MANY = 33


@dataclass(frozen=True)
class Recipe:
    """One input: `make` gets its path and a way to run commands, with the inputs it needs there."""

    make: Callable[[Path, Command], None]
    needs: tuple[str, ...] = ()
    path: str = ""
    """Below the work folder; the name of the input when empty."""


class Store:
    """Inputs kept in `folder`, and placed anew in `work` for each run."""

    def __init__(self, folder: Path, work: Path, command: Command) -> None:
        self._folder, self._work, self._command = folder, work, command

    def place(self, names: Iterable[str]) -> None:
        """Leave nothing in the work folder but these inputs, with the times they had."""
        missing = [name for name in names if not (self._folder / name).exists()]
        for name in missing:
            self._make(name)
        self._clear()
        for name in names:
            _copy(self._folder / name, self._path(name))

    def keep(self, name: str) -> None:
        """Keep the work folder as it is under a name, in place of what that was."""
        shutil.rmtree(self._folder / name, ignore_errors=True)
        _copy(self._work, self._folder / name)

    def place_again(self, name: str) -> None:
        """Leave nothing in the work folder but what was kept under a name."""
        self._clear()
        _copy(self._folder / name, self._work)

    def _path(self, name: str) -> Path:
        return self._work / (RECIPES[name].path or name)

    def _clear(self) -> None:
        for path in self._work.iterdir():
            shutil.rmtree(path)
        for name in ("in", "out", "tmp"):
            (self._work / name).mkdir()

    def _make(self, name: str) -> None:
        recipe = RECIPES[name]
        self.place(recipe.needs)
        recipe.make(self._path(name), self._command)
        _copy(self._path(name), self._folder / name)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target)


def _folder(path: Path, command: Command) -> None:
    write_folder(path, n_identities=2, n_images=2)


def _with_a_copy(path: Path, command: Command) -> None:
    _folder(path, command)
    shutil.copy2(path / "0/0.jpg", path / "0/copy.jpg")


def _rec(path: Path, command: Command) -> None:
    write_insightface_rec(path, n_identities=2, n_images=2)


def _pairs(path: Path, command: Command) -> None:
    path.write_text("0/0.jpg 0/1.jpg 1\n0/0.jpg 1/0.jpg 0\n")


def _face() -> npt.NDArray[np.uint8]:
    """Cut out a real face: (160, 160, 3) uint8, BGR."""
    photo = cv2.imread(str(package_file("skimage", "data/astronaut.png")))
    return photo[30:190, 145:305]


def _photos(path: Path, command: Command) -> None:
    """Write a photo for each destination: one face, two faces, none."""
    face = _face()
    for name, pixels in (
        ("ada/1", face),
        ("ada/2", np.hstack([face, face])),
        ("ben/1", np.full_like(face, 90)),
    ):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(f"{path / name}.png", pixels)


def _many(path: Path, command: Command) -> None:
    """Write more photos for one folder than one shard takes."""
    path.mkdir()
    for number in range(_N_MANY):
        cv2.imwrite(str(path / f"{number:02}.png"), np.full((16, 16, 3), number, np.uint8))


def _clips(path: Path, command: Command) -> None:
    """Write a video of one face with a .face file beside it."""
    path.mkdir()
    video = cv2.VideoWriter(str(path / "a.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (160, 160))
    for _ in range(_N_FRAMES):
        video.write(_face())
    video.release()
    (path / "a.face").write_text("40 30 120 130\n" * _N_FRAMES)


def _verdicts(path: Path, command: Command) -> None:
    """Refuse the first decision of the plan, as the page does."""
    lines = (path.parent / "plan/plan.jsonl").read_text().splitlines()
    first = json.loads(lines[1])
    verdict = {name: first.get(name, "") for name in ("action", "subject", "into")}
    before = first.get("verdict", "accepted")
    verdict |= {"number": 0, "verdict": "refused", "before": before}
    path.write_text(json.dumps(verdict) + "\n")


def _made_by(argv: str) -> Callable[[Path, Command], None]:
    return lambda path, command: command(argv)


_PLAN = "dedupe in/copies in/plan --exact-only --plan-only"
RECIPES = {
    "in/folder": Recipe(_folder),
    "in/copies": Recipe(_with_a_copy),
    "in/set": Recipe(_rec),
    "in/pairs.txt": Recipe(_pairs),
    "in/photos": Recipe(_photos),
    "in/clips": Recipe(_clips),
    "in/pairs.bin": Recipe(
        _made_by("make-bin in/folder in/pairs.bin --pairs-file in/pairs.txt"),
        ("in/folder", "in/pairs.txt"),
    ),
    "in/crops": Recipe(_made_by("extract-photos in/photos in/crops"), ("in/photos",)),
    "in/vectors.npz": Recipe(_made_by("embed in/folder in/vectors.npz"), ("in/folder",)),
    "in/plan": Recipe(_made_by(_PLAN), ("in/copies",)),
    "in/verdicts.jsonl": Recipe(_verdicts, ("in/copies", "in/plan")),
    "in/many": Recipe(_many),
    "old manifest": Recipe(
        _made_by("manifest in/folder out/t.npz --seed 2"), ("in/folder",), path="out"
    ),
    "old folder": Recipe(_made_by("rec2folder in/set out/d --limit 2"), ("in/set",), path="out"),
}
