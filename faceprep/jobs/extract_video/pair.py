"""`--frames pair:faces`: two of the frames with a face, chosen when all of these are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from faceprep.core.arrays import Ints
from faceprep.core.errors import SourceError
from faceprep.core.types import Sink
from faceprep.jobs.extract_video.cutting import FrameCutter
from faceprep.jobs.extract_video.options import VideoOptions
from faceprep.jobs.extract_video.piece import Piece, known_index
from faceprep.tables.faces import FaceRow, FacesWriter, read_face_tables, rows_of
from faceprep.video.reader import Frame, open_video
from faceprep.video.sampling import choose_pair, frames_at

_NO_NUMBERS: Ints = np.zeros(0, np.int64)


class PairWork:
    """The choice of a pair in one video, and its crops.

    The frames are decoded again: to keep crops of all frames would cost more than that.
    """

    def __init__(self, options: VideoOptions, root: str, piece: Piece, cutter: FrameCutter) -> None:
        self._options, self._root, self._piece, self._cutter = options, root, piece, cutter

    def write(self, tables: Sequence[Path], faces: FacesWriter, sink: Sink) -> str:
        """Write the crops of the pair among the rows of `tables`, and these rows.

        Returns the reason if the video cannot be read again, else an empty string.
        """
        found = [
            table["frame"].to_numpy()
            for path in tables
            for table in read_face_tables(path, ["frame"])
        ]
        pair = choose_pair(np.unique(np.concatenate([_NO_NUMBERS, *found])).tolist())
        if not pair:
            return ""
        chosen = list(_rows(tables, pair))
        path = f"{self._root}/{self._piece.video.path}"
        try:
            known = known_index(self._piece, sink.scratch)
            with open_video(path, known) as reader:
                for frame in reader.frames(frames_at(pair)):
                    rows = [row for row in chosen if row.frame == frame.number]
                    self._write_frame(frame, rows, sink)
                    for row in rows:
                        faces.add(row)
        except SourceError as error:
            return str(error)
        return ""

    def _write_frame(self, frame: Frame, rows: Sequence[FaceRow], sink: Sink) -> None:
        cropper = self._options.cropper()
        transforms = [np.asarray(row.transform, np.float64) for row in rows]
        crops = [cropper.cut(frame.pixels, transform) for transform in transforms]
        outputs = [str(row.output) for row in rows]
        for name, data, beside in [
            *self._cutter.files(outputs, crops),
            *self._cutter.original(frame).files,
        ]:
            sink.write(name, data, beside=beside)


def _rows(tables: Sequence[Path], numbers: Sequence[int]) -> Iterator[FaceRow]:
    """Yield the rows of these frames."""
    for path in tables:
        for table in read_face_tables(path):
            is_wanted = np.isin(table["frame"].to_numpy(), numbers)
            yield from rows_of(table.take(np.flatnonzero(is_wanted)))
