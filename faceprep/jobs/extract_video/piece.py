"""The work on one piece of a video: its frames become crops, rows of tables, and facts.

The facts are what the verdict on the whole video needs to know of each of its pieces.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from faceprep.core import items, passing_faults, storage
from faceprep.core.arrays import Doubles, Octets
from faceprep.core.cpu import my_cores
from faceprep.core.errors import SourceError
from faceprep.core.io.image_bytes import UNDECODABLE
from faceprep.core.types import NO_CROP, OK, Outcome, Shard, Sink
from faceprep.jobs.extract_video.chunks import Chunk, cut_chunks, cut_segments, map_chunks
from faceprep.jobs.extract_video.cutting import File, FrameCutter
from faceprep.jobs.extract_video.options import VideoOptions
from faceprep.jobs.extract_video.selection import prefer_faces
from faceprep.jobs.extract_video.turn import find_video_turn
from faceprep.jobs.extract_video.videos import Video
from faceprep.steps.crop_faces import Places, face_rows
from faceprep.steps.fallback import find_with
from faceprep.steps.follow_faces import Numbered
from faceprep.steps.found import Found
from faceprep.tables.faces import FaceRow, FacesWriter
from faceprep.tables.frames import FrameRow, FramesWriter
from faceprep.video.index import VideoIndex
from faceprep.video.pieces import Span, unpack_index, within
from faceprep.video.reader import Frame, VideoReader, open_video
from faceprep.vision.tracks import make_face_thumbs, make_thumb

FACES_PART, FRAMES_PART, FACTS_PART = ".faces.parquet", ".frames.parquet", ".json"
CROPS_PART = ".crops"
_MOST_THREADS = 8


class Piece(NamedTuple):
    """The work on one piece: the frames of `span`, or all of a video that is one piece.

    `index_name` names the file with the index of a video of several pieces in the scratch folder.
    `turn` is the turn of all frames; None lets the only piece of a video find it.
    """

    video: Video
    span: Span | None = None
    index_name: str = ""
    turn: int | None = None


@dataclass
class PieceFacts:
    """The facts of a piece: counts of frames by status, damage, and faults of its `.face` rows."""

    n_frames: int | None = None
    """Frames of the whole video; None if it cannot be read."""
    cut_off: str = ""
    n_missed: int = 0
    first_missed: int = 0
    n_after_damage: int = 0
    error: str = ""
    """Reason why the file could not be read to its end."""
    status: str = UNDECODABLE
    """The status of the video if there is an error."""
    by_status: dict[str, int] = field(default_factory=dict)
    notes: list[list[str]] = field(default_factory=list)
    """Outcomes of rows of the `.face` file."""
    converted: list[str] = field(default_factory=list)
    """Conversions that show the frames as a player does."""

    def pack(self) -> bytes:
        """Encode the facts as JSON."""
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def unpack(data: bytes) -> PieceFacts:
        """Decode what `pack` encoded."""
        return PieceFacts(**json.loads(data))


class Extracted(NamedTuple):
    """The result of one frame, ready to be written."""

    outcome: Outcome
    frame: FrameRow
    note: Outcome | None = None
    files: Sequence[File] = ()
    rows: Sequence[FaceRow] = ()
    crops: bytes = b""
    """The part of the frame in CROPS_PART, with --by-track."""


def known_index(piece: Piece, scratch: Path) -> tuple[VideoIndex, str] | None:
    """Load the index of a video of several pieces; None for others. Raises SourceError."""
    if not piece.index_name:
        return None
    return unpack_index(storage.read_bytes(scratch / piece.index_name))


def carry_out_piece(options: VideoOptions, shard: Shard, sink: Sink) -> Iterator[Outcome]:
    """Extract the frames of one piece; yield an Outcome for each wanted frame."""
    crops = sink.open_part(CROPS_PART) if options.by_track else BytesIO()
    with (
        FacesWriter(sink.open_part(FACES_PART)) as faces,
        FramesWriter(sink.open_part(FRAMES_PART)) as frames,
        crops,
    ):
        work = _PieceWork(options, shard.source, shard.payload)
        for extracted in work.run(sink.scratch):
            for name, data, beside in extracted.files:
                sink.write(name, data, beside=beside)
            for row in extracted.rows:
                faces.add(row)
            crops.write(extracted.crops)
            frames.add(extracted.frame)
            yield extracted.outcome
    with sink.open_part(FACTS_PART) as part:
        part.write(work.facts.pack())


class _PieceWork:
    """The work on one piece: one thread decodes, others detect, crop and encode.

    Results are yielded in order.
    """

    def __init__(self, options: VideoOptions, root: str, piece: Piece) -> None:
        self.facts = PieceFacts()
        self._options, self._root, self._piece = options, root, piece
        self._choice = options.choice()
        self._video = piece.video
        self._cutter = FrameCutter(options, root, piece.video)
        self._finders = options.finders(options.fallback)
        self._tracker = options.tracker(self._finders)
        self._turn = piece.turn

    def run(self, scratch: Path) -> Iterator[Extracted]:
        """Yield the result of each wanted frame, and collect the facts."""
        facts, by_status = self.facts, Counter[str]()
        if fault := items.take(self._video.path):
            facts.error, facts.status = fault.reason, fault.status
            yield from self._left_out(fault, scratch)
            return
        if self._cutter.originals and (refusal := self._cutter.originals.refusal()):
            passing_faults.note_loss(refusal.key)
            facts.notes.append(list(refusal))
        try:
            known = known_index(self._piece, scratch)
            path = f"{self._root}/{self._video.path}"
            if self._turn is None:
                self._turn = find_video_turn(self._options, path)
            with open_video(path, known) as reader:
                facts.n_frames, facts.cut_off = len(reader), reader.cut_off
                for extracted in self._with_missed(reader):
                    by_status[extracted.outcome.status] += 1
                    if extracted.note:
                        facts.notes.append(list(extracted.note))
                    yield extracted
            facts.n_missed = len(reader.missed)
            facts.first_missed = reader.missed[0] if reader.missed else 0
            facts.n_after_damage = reader.n_after_damage
            facts.converted = list(reader.notes)
        except SourceError as error:  # the file vanished: keep the frames decoded so far
            passing_faults.note_loss(self._video.path)
            facts.error = str(error)
        facts.by_status = dict(by_status)

    def _left_out(self, fault: Outcome, scratch: Path) -> Iterator[Extracted]:
        """Yield a result for each wanted frame of a piece that is left out.

        The frames of a video of one piece are not known.
        """
        known = known_index(self._piece, scratch)
        if known is not None:
            index, _ = known
            times = index.times if index.has_times else None
            reason = fault.reason.removeprefix(f"{self._video.path}: ")
            choice = within(self._choice, self._piece.span)
            for number in choice.numbers(index.times, index.keyframes):
                yield self._lost(number, times, fault.status, reason)

    def _with_missed(self, reader: VideoReader) -> Iterator[Extracted]:
        """Yield the frames in order, with those between them that could not be decoded."""
        times = reader.index.times if reader.index.has_times else None
        n_yielded = 0
        with closing(self._pass_through(reader)) as frames:
            for extracted in frames:
                while n_yielded < len(reader.missed) and (
                    reader.missed[n_yielded] < extracted.frame.frame
                ):
                    yield self._missed(reader.missed[n_yielded], times)
                    n_yielded += 1
                yield extracted
        for number in reader.missed[n_yielded:]:
            yield self._missed(number, times)

    def _missed(self, number: int, times: Doubles | None) -> Extracted:
        """Return the result of a frame that could not be decoded."""
        return self._lost(number, times, UNDECODABLE, f"frame {number} could not be decoded")

    def _lost(self, number: int, times: Doubles | None, status: str, reason: str) -> Extracted:
        """Return the result of a frame without pixels."""
        path = self._video.path
        time_s = None if times is None else float(times[number])
        row = FrameRow(path, number, time_s, status, reason)
        row = row._replace(has_box=self._cutter.has_box(number))
        return Extracted(Outcome(f"{path}#{number}", status, reason), row)

    def _pass_through(self, reader: VideoReader) -> Generator[Extracted, None, None]:
        n_threads = min(my_cores(), _MOST_THREADS)
        choice = within(self._choice, self._piece.span)
        frames = reader.frames(choice)
        chunks = cut_chunks(frames)
        if self._tracker is not None:
            n_frames = len(choice.numbers(reader.index.times, reader.index.keyframes))
            chunks = cut_segments(frames, self._tracker.every, n_threads, n_frames)
        with closing(map_chunks(self._extract, chunks, n_threads)) as extracted:
            for chunk in extracted:
                yield from chunk

    # In the threads

    def _extract(self, chunk: Chunk) -> list[Extracted]:
        frames, answers = chunk.frames, self._find(chunk)
        found, detectors = [each for each, _ in answers], [detector for _, detector in answers]
        kept = [self._prefer(*each) for each in zip(frames, found, strict=True)]
        places = self._place(frames, kept)
        rows = [self._judge(*each) for each in zip(frames, found, kept, places, strict=True)]
        if self._options.by_track:
            kept, places = found, self._place(frames, found)
        all_facts = zip(frames, rows, kept, places, detectors, strict=True)
        return [self._keep(*each) for each in all_facts]

    def _find(self, chunk: Chunk) -> list[tuple[Found, str]]:
        """Find the faces of each frame, and the fingerprint of what found them."""
        most = self._options.most_found
        if self._tracker is None:
            images = [frame.pixels for frame in chunk.frames]
            return find_with(self._finders, images, most, self._turn)
        numbered = [Numbered(frame.number, frame.pixels) for frame in chunk.frames]
        with chunk.trail() as trail:
            return self._tracker.find(numbered, trail, most, self._turn or 0)

    def _prefer(self, frame: Frame, found: Found) -> Found:
        """Return the faces in the order of preference."""
        size = _size_of(frame)
        box = self._cutter.given_box(frame.number, size)
        return prefer_faces(found, self._options.select, size, box)

    def _place(self, frames: Sequence[Frame], found: Sequence[Found]) -> list[Places]:
        """Place the crops of the faces of several frames."""
        faces, turns = [each.faces for each in found], [each.turn for each in found]
        return self._options.cropper().place(faces, [_size_of(frame) for frame in frames], turns)

    def _judge(self, frame: Frame, found: Found, preferred: Found, places: Places) -> FrameRow:
        """Return the row of a frame: its status follows from the `preferred` faces."""
        status, reason = preferred.status, preferred.reason
        if faults := places.describe_faults():
            status, reason = OK if places.sound() else NO_CROP, faults
        n_faces = len(found.faces)
        return FrameRow(self._video.path, frame.number, frame.time_s, status, reason, n_faces)

    def _keep(
        self, frame: Frame, row: FrameRow, found: Found, places: Places, detector: str
    ) -> Extracted:
        """Return the files and the rows of one frame."""
        options, cutter, path = self._options, self._cutter, self._video.path
        most = None if options.by_track else options.most
        crops = options.cropper().crop(frame.pixels, places, most)
        outputs = cutter.outputs(frame.number, [crop.face for crop in crops])
        known = {"source": path, "frame": frame.number, "time_s": frame.time_s}
        known |= {"detector": detector, "template": options.template}
        original = cutter.original(frame)
        files, packed = cutter.files(outputs, [crop.pixels for crop in crops]), b""
        if options.by_track:
            landmarks = found.faces.landmarks[[crop.face for crop in crops]]
            faces = make_face_thumbs(frame.pixels, landmarks)
            packed = pack_crops(make_thumb(frame.pixels), faces, [data for _, data, _ in files])
            files = []
        files += original.files
        if self._choice.is_pair_of_faces:
            files = []
        return Extracted(
            Outcome(f"{path}#{frame.number}", row.status, row.reason),
            row._replace(has_box=original.has_box),
            original.note,
            files,
            list(face_rows(found, _size_of(frame), places, crops, outputs, **known)),
            packed,
        )


def _size_of(frame: Frame) -> tuple[int, int]:
    """Return (height, width)."""
    return frame.pixels.shape[0], frame.pixels.shape[1]


def pack_crops(thumb: Octets, faces: Octets, crops: Sequence[bytes]) -> bytes:
    """Encode what CROPS_PART keeps of one decoded frame.

    This is the thumbnail of the frame, and for each of its `crops` the thumbnail of the face, the
    length of the crop and the crop.
    """
    parts = [thumb.tobytes()]
    for face, data in zip(faces, crops, strict=True):
        parts += [face.tobytes(), len(data).to_bytes(8, "little"), data]
    return b"".join(parts)
