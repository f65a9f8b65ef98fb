"""Verification .bin files as a set of images: the two of each pair, without identities.

A key is PAIR_SIDE, both from 0, as bin2folder numbers its images: 17_1 is the second of pair 17.
Whether a pair shows one person is stored in `same`, and with each image in `Sample.extra`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.io.image_bytes import UNREADABLE, check_image_bytes, undecodable
from faceprep.core.types import Outcome
from faceprep.sets.image_set import ImageSet, Sample
from faceprep.sets.pairs_bin.container import find_pairs
from faceprep.sets.pairs_bin.pickle_values import bytes_of
from faceprep.sets.set_index import IndexWriter, SetIndex

SAME = "same"
"""The column of the index with the labels of the pairs."""
SHOWS_ONE = "bin/same"
"""The name of the label of its pair in the extra of an image."""
_CODING_BITS = 2
SAME_TEXTS = (b"0", b"1")


class BinSet(ImageSet):
    """The images of a verification set; its places are (start, bytes and coding) in the file."""

    kind: ClassVar[str] = "bin"
    keys_are_below: ClassVar[bool] = True

    def __init__(self, path: str, index: SetIndex) -> None:
        super().__init__(path, index)
        self.same: npt.NDArray[np.uint8] = index.column(SAME, "u1")
        """1 for each pair that shows one person, else 0 (pairs,)."""
        self._file: storage.ByteSource | None = None

    @classmethod
    def build_index(cls, path: Path, index: IndexWriter) -> None:
        """Write the places of the images and the labels of the pairs. Raises SourceError."""
        pairs = find_pairs(path)
        spans = pairs["images"].reshape(-1, 3)
        places = spans[:, :2].copy()
        places[:, 1] = spans[:, 1] << _CODING_BITS | spans[:, 2]
        index.add(None, np.full(len(places), -1), places)
        index.add_column(SAME).write(pairs["same"].astype("u1").tobytes())
        index.fingerprint = storage.fingerprint_of(path)

    @property
    def own(self) -> str:
        return "which pairs show one person"

    def keys(self, start: int, stop: int) -> list[str]:
        return [f"{i // 2}_{i % 2}" for i in range(start, min(stop, len(self)))]

    def read(self, positions: Sequence[int]) -> Iterator[Sample | Outcome]:
        if self._file is None:
            self._file = storage.ByteSource(self.path)
        for position in positions:
            yield self._read_image(self._file, position)

    def _read_image(self, file: storage.ByteSource, position: int) -> Sample | Outcome:
        key, pair = self.key(position), position // 2
        start, packed = self.index.places[position].tolist()
        n_bytes, coding = packed >> _CODING_BITS, packed % (1 << _CODING_BITS)
        side = ("first", "second")[position % 2]
        place = f"image {position} (the {side} of pair {pair}) at byte {start}"
        try:
            found = file.read_at(start, n_bytes)
            if len(found) < n_bytes:
                return undecodable(key, f"{n_bytes - len(found):,} bytes are missing", place)
            data = bytes_of(found, coding)
        except SourceError as error:
            return Outcome(key, UNREADABLE, f"{place}: {error.problem}")
        except ValueError as error:
            return undecodable(key, f"not bytes as latin-1 text: {error}", place)
        header = check_image_bytes(data, key, place)
        if isinstance(header, Outcome):
            return header
        extra = {SHOWS_ONE: SAME_TEXTS[self.same[pair]]}
        return Sample(key, "", data, place=place, extra=extra)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
