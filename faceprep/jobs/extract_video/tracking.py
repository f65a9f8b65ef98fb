"""`--by-track`: the faces of a whole video linked to tracks, when all its pieces are done.

A piece keeps the crops of all its faces in a part: for each decoded frame the thumbnail of the
scene, and for each of its rows in the table of faces the thumbnail of the face, the length of the
crop and the crop. They are read twice: to link the faces, and to write those that are selected.
With --track-embedder they are read between these, to compare the tracks.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import BinaryIO, NamedTuple

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Doubles, Ints, Octets
from faceprep.core.faces import Faces
from faceprep.core.types import OK, Sink
from faceprep.jobs.extract_video.cutting import FrameCutter
from faceprep.jobs.extract_video.options import VideoOptions
from faceprep.jobs.extract_video.piece import CROPS_PART, FACES_PART, FRAMES_PART
from faceprep.jobs.extract_video.selection import GIVEN, value_faces
from faceprep.jobs.extract_video.track_joining import choose_samples, embed_samples, join_tracks
from faceprep.tables.faces import FaceRow, FacesWriter, read_face_tables, rows_of
from faceprep.tables.frames import FrameRow, FramesWriter, read_frame_tables
from faceprep.vision.tracks import FACE_SIZE, THUMB_SIZE, SceneCuts, Tracker

log = logging.getLogger("faceprep")
_THUMB_BYTES, _FACE_BYTES = (height * width for height, width in (THUMB_SIZE, FACE_SIZE))


class _Seen(NamedTuple):
    """A wanted frame, its faces, and their crops in the open file of the piece."""

    frame: FrameRow
    rows: Sequence[FaceRow]
    crops: BinaryIO


class TrackWork:
    """The tracks of one video, and the crops of the faces that are selected."""

    def __init__(
        self, options: VideoOptions, cutter: FrameCutter, shard_ids: Sequence[str], sink: Sink
    ) -> None:
        self._options, self._cutter, self._ids, self._sink = options, cutter, shard_ids, sink
        self._path = cutter.path
        self._tracks, self._values = array("q"), array("d")
        self._numbers, self._scores, self._refined = array("q"), array("d"), array("b")

    def write(self, faces: FacesWriter, frames: FramesWriter) -> None:
        """Link the faces; write the crops, their rows, and the rows of the frames."""
        self._link()
        self._join()
        start = 0
        for seen in self._frames():
            crops = _read_crops(seen)
            stop = start + len(seen.rows)
            best = self._select(seen, start, stop)
            frames.add(seen.frame._replace(track=None if best is None else self._tracks[best]))
            for place, row, data in zip(range(start, stop), seen.rows, crops, strict=True):
                if seen.frame.status == OK and (self._options.all_faces or place == best):
                    self._write_face(row, self._tracks[place], data, faces)
            start = stop

    def _link(self) -> None:
        """Find the track of each face, and the value of each track."""
        tracker, cuts = Tracker(), SceneCuts()
        for seen in self._frames():
            if seen.frame.faces is None:
                continue
            if cuts.is_cut(_read_thumb(seen.crops, THUMB_SIZE)):
                tracker.cut()
            frame, thumbs = seen.frame, _read_face_thumbs(seen)
            tracks = tracker.link(_faces_of(seen.rows), frame.frame, frame.time_s, thumbs)
            self._tracks.extend(tracks.tolist())
            self._numbers.extend([frame.frame] * len(tracks))
            self._scores.extend(row.score for row in seen.rows)
            self._refined.extend(bool(row.refiner) for row in seen.rows)
            if len(tracks):
                missing = int(tracks.max()) + 1 - len(self._values)
                self._values.extend([0.0] * missing)
                for track, value in zip(tracks.tolist(), self._value(seen).tolist(), strict=True):
                    self._values[track] += value

    def _join(self) -> None:
        """Join tracks whose faces are similar, with --track-embedder."""
        embedding = self._options.track_embedding()
        if embedding is None or not len(self._tracks):
            return
        tracks = np.array(self._tracks, np.int64)
        are_sure = np.array(self._refined, np.bool_) | (not self._options.refine)
        chosen = choose_samples(tracks, np.array(self._scores, np.float64), are_sure)
        embeddings = embed_samples(embedding, self._samples(chosen))
        if n_missing := len(chosen) - len(embeddings):
            problem = "have an embedding that is zero or not finite: tracks are joined without them"
            log.warning("%s: %d of %d faces %s", self._path, n_missing, len(chosen), problem)
        numbers = join_tracks(embeddings, tracks, np.array(self._numbers, np.int64))
        values = np.bincount(numbers, np.array(self._values, np.float64))
        self._tracks = array("q", numbers[tracks].tolist())
        self._values = array("d", values.tolist())

    def _samples(self, chosen: Ints) -> Iterator[tuple[int, bytes]]:
        """Yield the tracks and the crops of the faces `chosen`, ascending places among all."""
        start = 0
        for seen in self._frames():
            stop = start + len(seen.rows)
            first, last = np.searchsorted(chosen, (start, stop)).tolist()
            crops = _read_crops(seen)
            for place in chosen[first:last].tolist():
                yield self._tracks[place], crops[place - start]
            start = stop

    def _value(self, seen: _Seen) -> Doubles:
        """Return the values (n,) of the faces of a frame without regard to tracks."""
        size = seen.rows[0].image_size
        box = self._cutter.given_box(seen.frame.frame, size)
        return value_faces(self._options.select, _faces_of(seen.rows), size, box)

    def _select(self, seen: _Seen, start: int, stop: int) -> int | None:
        """Return the place of the face that is selected; None if there is none.

        The box of a `.face` file marks the face of its own frame; else the track counts.
        """
        if seen.frame.status != OK or start == stop:
            return None
        if self._options.select == GIVEN:
            return start + int(np.argmax(self._value(seen)))
        return start + int(np.argmax([self._values[self._tracks[i]] for i in range(start, stop)]))

    def _write_face(self, row: FaceRow, track: int, data: bytes, faces: FacesWriter) -> None:
        output = self._cutter.in_track(int(row.frame or 0), track)
        self._sink.write(output, data)
        faces.add(row._replace(key=output.rpartition(".")[0], output=output, track=track))

    def _frames(self) -> Iterator[_Seen]:
        """Yield the frames of all pieces; the reader moves on in the file of crops."""
        for id in self._ids:
            frames, faces, crops = (
                self._sink.part_path(id, suffix) for suffix in (FRAMES_PART, FACES_PART, CROPS_PART)
            )
            found = groupby(
                (row for table in read_face_tables(faces) for row in rows_of(table)),
                key=attrgetter("frame"),
            )
            number, rows = next(found, (None, None))
            with storage.open_source(crops) as file:
                for table in read_frame_tables(frames):
                    for values in table.to_pylist():
                        frame = FrameRow(**values)
                        if rows is None or number != frame.frame:
                            yield _Seen(frame, (), file)
                            continue
                        yield _Seen(frame, list(rows), file)
                        number, rows = next(found, (None, None))


def _read_thumb(file: BinaryIO, size: tuple[int, int]) -> Octets:
    return np.frombuffer(file.read(size[0] * size[1]), np.uint8).reshape(size)


def _read_face_thumbs(seen: _Seen) -> Octets:
    """Read the thumbnails of the faces in a frame, and skip the crops between them."""
    thumbs = np.zeros((len(seen.rows), *FACE_SIZE), np.uint8)
    for thumb in thumbs:
        thumb[:] = _read_thumb(seen.crops, FACE_SIZE)
        length = int.from_bytes(seen.crops.read(8), "little")
        seen.crops.seek(length, 1)
    return thumbs


def _read_crops(seen: _Seen) -> list[bytes]:
    if seen.frame.faces is None:
        return []
    seen.crops.seek(_THUMB_BYTES, 1)
    return [_read_crop(seen.crops) for _ in seen.rows]


def _read_crop(file: BinaryIO) -> bytes:
    file.seek(_FACE_BYTES, 1)
    return file.read(int.from_bytes(file.read(8), "little"))


def _faces_of(rows: Sequence[FaceRow]) -> Faces:
    n = len(rows)
    return Faces(
        np.array([row.box for row in rows], np.float32).reshape(n, 4),
        np.array([row.landmarks for row in rows], np.float32).reshape(n, 5, 2),
        np.array([row.score for row in rows], np.float32),
    )
