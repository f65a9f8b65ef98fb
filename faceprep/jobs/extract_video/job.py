"""`extract-video`: crop aligned faces from videos, one folder per video, one file per frame."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple

from faceprep.core import storage
from faceprep.core.arrays import Pixels
from faceprep.core.cpu import my_cores
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.io.csv import csv_line
from faceprep.core.job import Job
from faceprep.core.options import option
from faceprep.core.prefetch import map_ahead
from faceprep.core.shards import cut_at
from faceprep.core.text import count_noun
from faceprep.core.types import (
    CONVERTED,
    LOW_SCORE,
    NO_CROP,
    OK,
    Outcome,
    Request,
    Shard,
    Sink,
    Stage,
    Work,
)
from faceprep.jobs.extract_video.siw_crops import OriginalCrops, open_crops
from faceprep.jobs.extract_video.sources import find_all, name_folders
from faceprep.sets.listing import is_text
from faceprep.steps.find_faces import FaceFinder, FaceOptions, Found, face_rows
from faceprep.tables.faces import FACES_TABLE, FaceRow, FacesWriter, join_faces
from faceprep.video.decoder import require_pyav
from faceprep.video.reader import Frame, VideoReader
from faceprep.video.sampling import FrameChoice, parse_frames
from faceprep.video.siw_boxes import FILLS, find_face_file, stem_of
from faceprep.vision import codec

log = logging.getLogger("faceprep")
_CHUNK = 8
_CHUNK_BYTES = 25_000_000
_MOST_THREADS = 8
_LEAST_DECODERS = 2
"""One thread alone conceals what is damaged in another way than several do: the same frames on
any number of cores.
"""
_PART, _NOTES_PART = ".parquet", ".csv"
_VIDEO = "video"
_ORIGINAL, _NOTES = "_original", "face_files.csv"


class Video(NamedTuple):
    """A video `path` below its source, the folder of its frames, and the path of its `.face` file,
    if any.
    """

    path: str
    folder: str
    face: str


class Extracted(NamedTuple):
    """The result of one frame, ready to be written: (name, data, sibling folder) of each file."""

    outcomes: Sequence[Outcome]
    files: Sequence[tuple[str, bytes, str]] = ()
    rows: Sequence[FaceRow] = ()


@dataclass(frozen=True)
class ExtractVideo(FaceOptions, Job):
    """Extract aligned faces from video frames.

    SRC is a video or a tree of videos (.mov .mp4 .avi .mkv .webm .wmv .flv .mpg .ts and others).
    DST/VIDEO/FRAME.png is the face
    with the highest score in a frame, numbered from 0 as in the video, and DST/faces.parquet lists
    where each comes from. Where a .face file lies beside a video, its boxes are cropped to
    DST_original, and faults in its rows are listed in DST_original/face_files.csv. Interlaced,
    anamorphic and HDR video is converted to what a player shows. Videos that cannot be read, are
    cut off or show no face are named in DST/failures.csv.
    """

    command: ClassVar[str] = "extract-video"
    siblings: ClassVar[tuple[str, ...]] = (_ORIGINAL,)

    every: int = option(1, "Take one frame in N; short for --frames every:N.")
    frames: str = option(
        "all",
        "Take these frames: all, every:N, uniform:N, pair (6 and 6 + half of them) or keyframes.",
    )
    start: float | None = option(None, "Skip frames before this time, in seconds from the start.")
    end: float | None = option(None, "Skip frames from this time on, in seconds from the start.")
    format: str = option("png", "Write crops in this format.", choices=("png", "jpg"))
    quality: int = option(95, "Set the JPEG quality, 1 to 100.")
    all_faces: bool = option(
        False, "Write every face above --min-score as FRAME_FACE.png, the highest score first."
    )
    margin: float = option(
        1.0, "Scale the boxes of the .face file by this factor for the crops in DST_original."
    )
    face_fill: str = option(
        "neighbours",
        "Fill a value missing in a .face file from the rows near it, or with 48 (origin).",
        choices=FILLS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.choice()
        for name, expected, is_so in (
            ("format", "png or jpg", self.format in ("png", "jpg")),
            ("quality", "1 to 100", 1 <= self.quality <= 100),
            ("margin", "0.1 to 5", 0.1 <= self.margin <= 5),
            ("face-fill", " or ".join(FILLS), self.face_fill in FILLS),
        ):
            if not is_so:
                raise OptionError(
                    name, expected=expected, found=repr(getattr(self, name.replace("-", "_")))
                )

    def choice(self) -> FrameChoice:
        """Return the choice of frames. Raises OptionError."""
        if self.every < 1:
            raise OptionError("every", expected="1 or more", found=str(self.every))
        if self.every > 1 and self.frames != "all":
            raise OptionError(
                "every and frames exclude each other", found=f"{self.every} and {self.frames}"
            )
        return parse_frames(
            f"every:{self.every}" if self.every > 1 else self.frames, self.start, self.end
        )

    def detector_threads(self) -> int:
        """Return one thread: frames are detected in parallel, so no core waits for another."""
        return 1

    def plan(self, request: Request, scratch: Path) -> Work:
        found, skipped = find_all(request.sources, request.output)
        require_pyav()
        self.announce()
        faces = {path: find_face_file(root / path) for root, path in found}
        folders = name_folders({path: stem_of(path, face) for path, face in faces.items()})
        digest = hashlib.sha256()
        shards = []
        for number, (root, path) in enumerate(found[: request.limit]):
            face = faces[path]
            face_path = os.path.relpath(face, root) if face else ""
            video = Video(path, folders[path], face_path)
            sizes = [storage.size_of(root / name) for name in filter(None, (path, face_path))]
            digest.update(f"{json.dumps(video)} {sizes}".encode())
            (shard,) = cut_at([(0, 1)], root, first=number)
            shards.append(replace(shard, payload=video))
        fingerprint = f"{len(shards):,} videos, names and sizes {digest.hexdigest()[:16]}"
        return Work(
            [Stage("videos", shards)],
            fingerprint,
            unit="video",
            counted_unit="frame",
            skipped=skipped,
        )

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        video: Video = shard.payload
        if not is_text(video.path):
            yield Outcome(video.path, "bad_name", "the name is not UTF-8; rename the file", _VIDEO)
            return
        notes: list[Outcome] = []
        with FacesWriter(sink.open_part(_PART)) as table:
            yield from _VideoShard(self, shard.source, video).run(sink, table, notes)
        yield from notes
        if notes:
            with sink.open_part(_NOTES_PART) as part:
                part.write(_as_csv(notes))

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """Join the tables of the shards, and the faults of .face files."""
        ids = [shard.id for shard in work.stages[0].shards]
        with sink.open(FACES_TABLE) as file:
            join_faces(
                [
                    path
                    for path in (sink.part_path(id, _PART) for id in ids)
                    if storage.size_of(path)
                ],
                file,
            )
        parts = [
            path
            for path in (sink.part_path(id, _NOTES_PART) for id in ids)
            if storage.size_of(path)
        ]
        if parts:
            notes = b"".join(storage.read_bytes(path) for path in parts)
            sink.write(_NOTES, b"face_file,status,reason\n" + notes, beside=_ORIGINAL)
            log.warning(
                "%d of the .face files have rows missing, repaired or left out: %s",
                len(parts),
                _NOTES,
            )


class _VideoShard:
    """A video in work: one thread decodes, others detect, crop and encode.

    Results are written in order.
    """

    def __init__(self, job: ExtractVideo, root: str, video: Video) -> None:
        self._job, self._video = job, video
        self._path = f"{root}/{video.path}"
        self._finder: FaceFinder = job.finder()
        self._originals: OriginalCrops | None = None
        if video.face:
            self._originals = open_crops(
                f"{root}/{video.face}", video.face, job.margin, job.face_fill
            )
        self._suffix = f".{job.format}"

    def run(self, sink: Sink, table: FacesWriter, notes: list[Outcome]) -> Iterator[Outcome]:
        """Yield an Outcome per wanted frame, then one for the video if it has a fault."""
        by_status: Counter[str] = Counter()
        n_frames = None
        try:
            with VideoReader(self._path, max(_LEAST_DECODERS, my_cores())) as reader:
                n_frames = len(reader)
                with closing(self._pass_through(reader)) as frames:
                    for frame in frames:
                        yield self._write(frame, sink, table, notes)
                        by_status[frame.outcomes[0].status] += 1
            for number in reader.missed:
                yield Outcome(
                    f"{self._video.path}#{number}",
                    "undecodable",
                    f"frame {number} could not be decoded",
                )
            yield from self._judge(reader, by_status)
        except SourceError as error:  # decoded frames of a file that vanished are kept
            yield Outcome(self._video.path, "undecodable", str(error), _VIDEO)
        if self._originals:
            notes += self._originals.notes(n_frames)

    def _write(
        self, frame: Extracted, sink: Sink, table: FacesWriter, notes: list[Outcome]
    ) -> Outcome:
        for name, data, beside in frame.files:
            sink.write(name, data, beside=beside)
        for row in frame.rows:
            table.add(row)
        notes += frame.outcomes[1:]
        return frame.outcomes[0]

    def _pass_through(self, reader: VideoReader) -> Generator[Extracted, None, None]:
        n_threads = min(my_cores(), _MOST_THREADS)
        chunks = _in_chunks(reader.frames(self._job.choice()))
        with closing(map_ahead(self._extract, chunks, n_threads, n_threads)) as extracted:
            for chunk in extracted:
                yield from chunk

    def _judge(self, reader: VideoReader, by_status: Counter[str]) -> Iterator[Outcome]:
        """Describe the fault of the video as a whole, if it has one."""
        n, path = by_status.total(), self._video.path
        faceless = ""
        if not n:
            if reader.missed:
                faceless = "none of the wanted frames could be decoded"
            else:
                faceless = "no such frames in it"
        elif not by_status[OK] + by_status[NO_CROP]:
            if by_status[LOW_SCORE]:
                unsure = f", {by_status[LOW_SCORE]:,} with an unsure one"
            else:
                unsure = ""
            faceless = f"no face in its {count_noun(n, 'wanted frame')}{unsure}"
        if reader.cut_off:
            status = "cut_off"
        elif reader.damage:
            status = "damaged"
        elif n:
            status = "no_face_in_video"
        else:
            status = "no_frames"
        if reader.damage or faceless:
            kept = f"{n:,} frames were kept" if reader.damage and n else ""
            reason = "; ".join(filter(None, [reader.damage, faceless, kept, *reader.notes]))
            yield Outcome(path, status, f"{path}: {reason}", _VIDEO)
        elif reader.notes:
            log.info("%s: %s", path, "; ".join(reader.notes))
            yield Outcome(path, CONVERTED, "; ".join(reader.notes), _VIDEO)

    # In the threads

    def _extract(self, frames: Sequence[Frame]) -> list[Extracted]:
        found = self._finder.find([frame.pixels for frame in frames])
        return [self._keep(*pair) for pair in zip(frames, found, strict=True)]

    def _keep(self, frame: Frame, found: Found) -> Extracted:
        """Return the files of one frame."""
        key = f"{self._video.path}#{frame.number}"
        most = None if self._job.all_faces else 1
        crops, faults = self._job.cropper().crop(frame.pixels, found.faces, most=most)
        stem = f"{self._video.folder}/{frame.number}"
        names = [f"{stem}_{crop.face}" if self._job.all_faces else stem for crop in crops]
        outputs = [name + self._suffix for name in names]
        files = [
            (name, self._encode(crop.pixels), "") for name, crop in zip(outputs, crops, strict=True)
        ]
        rows = face_rows(
            frame.pixels,
            found.faces,
            crops,
            outputs,
            source=self._video.path,
            frame=frame.number,
            time_s=frame.time_s,
            detector=self._finder.fingerprint,
            template=self._job.template,
        )
        outcomes = [Outcome(key, *found[1:3])]
        if faults:
            outcomes = [Outcome(key, OK if crops else NO_CROP, "; ".join(faults))]
        original = self._originals.crop(frame.number, frame.pixels) if self._originals else None
        if isinstance(original, Outcome):
            outcomes.append(original)
        elif original is not None:
            files.append((stem + self._suffix, self._encode(original), _ORIGINAL))
        return Extracted(outcomes, files, list(rows))

    def _encode(self, pixels: Pixels) -> bytes:
        return codec.encode(pixels, self._suffix, self._job.quality)


def _in_chunks(frames: Iterator[Frame]) -> Iterator[list[Frame]]:
    """Yield frames in chunks, smaller ones for large frames."""
    chunk: list[Frame] = []
    for frame in frames:
        chunk.append(frame)
        if len(chunk) == _CHUNK or len(chunk) * frame.pixels.nbytes >= _CHUNK_BYTES:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


# What was found wrong with .face files


def _as_csv(notes: Iterable[Outcome]) -> bytes:
    lines = (csv_line((note.key, note.status, note.reason)) for note in notes)
    return "".join(lines).encode("utf-8", "backslashreplace")
