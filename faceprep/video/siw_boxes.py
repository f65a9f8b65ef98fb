"""`.face` files of SiW: the face box of each frame of the video beside the file.

    524 47 564 100      x1 y1 x2 y2 in pixels, one line per frame, one space between
    0 0 0 0             no face in this frame
    200  257 161        a known defect: a value is missing between two spaces

A missing value is filled from the rows before and after. The number of a row is that of its frame,
from 0.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.arrays import Doubles
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.paths import exists, is_file
from faceprep.video.reader import VIDEO_SUFFIXES

FILLS = ("neighbours", "origin")
_ORIGIN_FILL = 48.0
"""What the first users of SiW wrote for any missing value."""
_REACH = 5
"""How many rows away a neighbour may be."""
_NUMBER = re.compile(r"-?[0-9]{1,7}(\.[0-9]+)?", re.ASCII)
_COLUMNS = ("x1", "y1", "x2", "y2")


@dataclass(frozen=True, slots=True)
class Repair:
    """A repaired row: `row` read `found` in the file, and the missing value of `column` became
    `value`.
    """

    row: int
    found: str
    column: str
    value: float

    def __str__(self) -> str:
        return f"row {self.row}: {self.found!r}: {self.column} is missing, {self.value:g} taken"


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row without a usable box: it read `found` in the file; `reason` says why."""

    row: int
    found: str
    reason: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.found!r}: {self.reason}"


@dataclass(frozen=True, slots=True)
class FaceBoxes:
    """Boxes (n, 4) float64 x1 y1 x2 y2, one row per frame.

    NaN where there is no face or the row is in `bad`.
    """

    boxes: Doubles
    repairs: tuple[Repair, ...] = ()
    bad: tuple[BadRow, ...] = ()

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def has_face(self) -> npt.NDArray[np.bool_]:
        """Return the mask (n,) of the rows that hold a box."""
        return ~np.isnan(self.boxes[:, 0])


def find_face_file(video: str | os.PathLike[str]) -> Path | None:
    """Find the file with the boxes of a video; None where there is none.

    `x.face` belongs to `x.mov`. It also belongs to `x.m.mov` if there is no `x.m.face` and no other
    video x.
    """
    named = Path(video).with_suffix(".face")
    if is_file(named):
        return named
    if named.stem.endswith(".m"):
        bare = named.with_name(named.stem.removesuffix(".m") + ".face")
        if is_file(bare) and not any(exists(bare.with_suffix(suffix)) for suffix in VIDEO_SUFFIXES):
            return bare
    return None


def stem_of(video: str, face: Path | None) -> str:
    """Return the path of a video without its suffix, as its file of boxes has it.

    >>> stem_of("live/009-1-1-1-1.m.mov", Path("/siw/live/009-1-1-1-1.face"))
    'live/009-1-1-1-1'
    >>> stem_of("a.m.mov", None)
    'a.m'
    """
    if face is None:
        return os.path.splitext(video)[0]
    return os.path.join(os.path.dirname(video), face.stem)


def read_face_boxes(path: str | os.PathLike[str], fill: str = "neighbours") -> FaceBoxes:
    """Read the boxes of a file.

    Raises SourceError as `parse_face_boxes`, and for an unreadable file.
    """
    return parse_face_boxes(storage.read_bytes(path), fill, path)


def parse_face_boxes(
    data: bytes, fill: str = "neighbours", path: str | os.PathLike[str] | None = None
) -> FaceBoxes:
    """Parse the bytes of a file.

    `fill` is one of FILLS, where `origin` writes 48 for every missing value.

    Raises SourceError when no row can be parsed.

    >>> found = parse_face_boxes(b"1 2 3 4\\n1  3 4\\n1 4 3 9\\n0 0 0 0\\n")
    >>> found.boxes[1].tolist(), str(found.repairs[0])
    ([1.0, 3.0, 3.0, 4.0], "row 1: '1  3 4': y1 is missing, 3 taken")
    """
    if fill not in FILLS:
        raise OptionError("face-fill", expected=" or ".join(FILLS), found=repr(fill))
    lines = [line.rstrip("\r") for line in data.decode("utf-8-sig", "replace").split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise SourceError(
            "an empty .face file", path=path, expected="a line 'x1 y1 x2 y2' for each frame"
        )
    values, bad = np.full((len(lines), 4), np.nan), []
    is_partial, is_face = np.zeros(len(lines), np.bool_), np.zeros(len(lines), np.bool_)
    for row, line in enumerate(lines):
        read = _read_row(line)
        if isinstance(read, str):
            bad.append(BadRow(row, line[:80], read))
            continue
        values[row] = read
        is_face[row] = read != [0.0] * 4
        is_partial[row] = is_face[row] and bool(np.isnan(values[row]).any())
    if len(bad) == len(lines):
        raise SourceError(
            "not a .face file",
            path=path,
            where="line 1",
            expected="x1 y1 x2 y2",
            found=repr(lines[0][:80]),
        )
    repairs, unfilled = _repair(values, is_face, is_partial, fill, lines)
    values[~is_face | np.isnan(values).any(axis=1)] = np.nan
    bad += unfilled + list(_upside_down(values, lines))
    refused = {each.row for each in bad}
    values[sorted(refused)] = np.nan
    return FaceBoxes(
        values,
        tuple(each for each in repairs if each.row not in refused),
        tuple(sorted(bad, key=lambda each: each.row)),
    )


def _read_row(line: str) -> list[float] | str:
    """Parse a row of four numbers, NaN for a missing one; or return why it is not such a row."""
    words = line.split()
    if not all(_NUMBER.fullmatch(word) for word in words):
        return "not four numbers"
    fields = line.split(" ")
    if len(words) == 4:
        return [float(word) for word in words]
    if len(words) == 3 and len(fields) == 4 and sorted(filter(None, fields)) == sorted(words):
        return [float(field) if field else np.nan for field in fields]
    return f"expected 4 numbers, found {len(words)}"


def _repair(
    values: Doubles,
    is_face: npt.NDArray[np.bool_],
    is_partial: npt.NDArray[np.bool_],
    fill: str,
    lines: list[str],
) -> tuple[list[Repair], list[BadRow]]:
    """Fill missing values in place.

    Return the repairs, and the rows without a neighbour to fill from.
    """
    repairs: list[Repair] = []
    unfilled: list[BadRow] = []
    sound = np.flatnonzero(is_face & ~is_partial)
    for row in np.flatnonzero(is_partial).tolist():
        column = int(np.flatnonzero(np.isnan(values[row]))[0])
        near = sound[np.abs(sound - row) <= _REACH]
        if fill == "origin":
            value = _ORIGIN_FILL
        elif len(near):
            value = float(np.interp(row, near, values[near, column]))
        else:
            unfilled.append(
                BadRow(
                    row,
                    lines[row][:80],
                    f"{_COLUMNS[column]} is missing, and no nearby row can fill it",
                )
            )
            continue
        values[row, column] = value
        repairs.append(Repair(row, lines[row], _COLUMNS[column], value))
    return repairs, unfilled


def _upside_down(values: Doubles, lines: list[str]) -> Iterator[BadRow]:
    with np.errstate(invalid="ignore"):
        is_wrong = (values[:, 2] <= values[:, 0]) | (values[:, 3] <= values[:, 1])
    for row in np.flatnonzero(is_wrong).tolist():
        box = " ".join(f"{value:g}" for value in values[row])
        yield BadRow(
            row, lines[row][:80], f"an empty box, {box}: x2 must be greater than x1, and y2 than y1"
        )


def face_lines(boxes: Iterable[npt.ArrayLike]) -> bytes:
    """Encode a .face file: x1 y1 x2 y2 per frame; NaN stands for no face.

    >>> face_lines([(1, 2, 3.5, 4), [float("nan")] * 4])
    b'1 2 3.5 4\\n0 0 0 0\\n'
    """
    return b"".join(_face_line(np.asarray(box, np.float64)) for box in boxes)


def _face_line(box: Doubles) -> bytes:
    values = np.zeros(4) if np.isnan(box).any() else box
    return (
        " ".join(np.format_float_positional(value, trim="-") for value in values) + "\n"
    ).encode()
