"""Signatures of images: rows of numbers, thumbnails and names. Each shard writes three parts.

.rows     (n,) ROW, little-endian: one per image that could be read
.thumbs   (n, 24, 24) uint8, or nothing
.larges   (n, 48, 48) uint8, or nothing
.names    [[name …], {number: [status, reason]}] as JSON: those images, and the ones that could not
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.arrays import Thumbnails
from faceprep.core.large_arrays import join_files
from faceprep.core.types import Sink
from faceprep.vision.part_summary import LARGE
from faceprep.vision.perceptual_hash import SIDE

ROW = np.dtype(
    [
        ("number", "<i8"),
        ("digest", "<u8", (4,)),
        ("hash", "<u8"),
        ("height", "<i4"),
        ("width", "<i4"),
        ("n_bytes", "<i8"),
        ("is_full", "?"),
        ("detail", "<i4"),
        ("is_faint", "?"),
        ("border", "<i4", (4,)),
        ("quality", "<i4"),
        ("clipped", "<i4"),
        ("coarseness", "<i4"),
    ]
)
"""Place in its set; SHA-256 of the bytes; perceptual hash; pixels; bytes; whether it is in full
colour; detail in steps; whether there is too little contrast to compare; pixels of a border at the
left, top, right and bottom; used pixels in steps; thousandths of the pixels that are clipped; the
sum of the steps to which encoding rounded it."""
_ROWS, _NAMES = ".rows", ".names"
_THUMBS, _LARGES = (".thumbs", SIDE), (".larges", LARGE)


@dataclass(frozen=True)
class Signatures:
    """Rows, thumbnails (n, 24, 24) or (0, 24, 24), and names.

    `larges` (n, 48, 48) are larger thumbnails, or none. `damaged` has (status, reason) of images
    without a row, by number.
    """

    rows: npt.NDArray[np.void]
    thumbnails: Thumbnails
    names: Sequence[str]
    damaged: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    larges: Thumbnails = field(default_factory=lambda: np.zeros((0, LARGE, LARGE), np.uint8))

    def __len__(self) -> int:
        return len(self.rows)


def save(sink: Sink, signatures: Signatures) -> None:
    """Write signatures as parts of the current shard."""
    sink.open_part(_ROWS).write(signatures.rows.tobytes())
    sink.open_part(_THUMBS[0]).write(signatures.thumbnails.tobytes())
    sink.open_part(_LARGES[0]).write(signatures.larges.tobytes())
    sink.open_part(_NAMES).write(
        json.dumps([list(signatures.names), dict(signatures.damaged)]).encode()
    )


def load(sink: Sink, shard_ids: Iterable[str], with_thumbnails: bool = True) -> Signatures:
    """Load the signatures of these shards, in order. Many thumbnails are memory-mapped."""
    ids = list(shard_ids)
    rows = np.concatenate([np.zeros(0, ROW), *(_rows(sink, id) for id in ids)])
    names = [name for id in ids for name in _names(sink, id)[0]]
    if not with_thumbnails:
        return Signatures(rows, np.zeros((0, SIDE, SIDE), np.uint8), names)
    thumbnails, larges = (_thumbnails(sink, ids, *each) for each in (_THUMBS, _LARGES))
    return Signatures(rows, thumbnails, names, larges=larges)


def load_damaged(sink: Sink, shard_ids: Iterable[str]) -> dict[int, tuple[str, str]]:
    """Load (status, reason) of the images of one set without a row, by number."""
    return {
        int(number): (outcome[0], outcome[1])
        for id in shard_ids
        for number, outcome in _names(sink, id)[1].items()
    }


def _names(sink: Sink, id: str) -> tuple[list[str], dict[str, list[str]]]:
    names, damaged = json.loads(storage.read_bytes(sink.part_path(id, _NAMES)))
    return names, damaged


def _rows(sink: Sink, id: str) -> npt.NDArray[np.void]:
    return np.frombuffer(storage.read_bytes(sink.part_path(id, _ROWS)), ROW)


def _thumbnails(sink: Sink, ids: Sequence[str], part: str, side: int) -> Thumbnails:
    paths = [sink.part_path(id, part) for id in ids]
    return join_files(paths, sink.scratch / f"thumbnails{part}").reshape(-1, side, side)
