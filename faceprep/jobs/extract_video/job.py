"""`extract-video`: crop aligned faces from videos, one folder per video, one file per frame."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from faceprep.core import storage
from faceprep.core.job import Job
from faceprep.core.types import Outcome, Request, Shard, Sink, Stage, Work
from faceprep.jobs.extract_video.cutting import ORIGINAL
from faceprep.jobs.extract_video.examining import Examined, Question, examine_video
from faceprep.jobs.extract_video.options import VideoOptions
from faceprep.jobs.extract_video.piece import FACES_PART, FRAMES_PART, Piece, carry_out_piece
from faceprep.jobs.extract_video.plan import Planner
from faceprep.jobs.extract_video.verdict import NOTES_PART, join_video
from faceprep.jobs.extract_video.videos import Video, find_all, name_folders
from faceprep.sets.listing import is_text
from faceprep.tables.faces import FACES_TABLE, join_faces
from faceprep.tables.frames import FRAMES_TABLE, join_frames
from faceprep.video.decoder import require_pyav
from faceprep.video.siw_boxes import find_face_file, stem_of

log = logging.getLogger("faceprep")
_NOTES = "face_files.csv"


@dataclass(frozen=True)
class ExtractVideo(VideoOptions, Job):
    """Extract aligned faces from video frames.

    SRC is a video or a tree of videos. The face with the highest score in each frame is written as
    DST/VIDEO/FRAME.png, numbered from 0 as in the video. DST/faces.parquet lists where each face
    comes from. DST/frames.parquet lists every wanted frame, and gives the reason where a frame has
    no face. Boxes of a .face file beside a video are cropped to DST_original. Videos that fail are
    named in DST/failures.csv.

    Details:

    Videos are .mov .mp4 .avi .mkv .webm .wmv .flv .mpg .ts and others. --select takes another face.
    --by-track writes DST/VIDEO/TRACK/FRAME.png, one folder for each tracked face. Faults in the
    rows of .face files are listed in DST_original/face_files.csv. Interlaced, anamorphic and HDR
    video is converted to what a player shows. Videos that cannot be read, are cut off or show no
    face are failures.
    """

    command: ClassVar[str] = "extract-video"
    siblings: ClassVar[tuple[str, ...]] = (ORIGINAL,)
    piece_s: ClassVar[float] = 60.0
    """Seconds in a piece of a long video: each piece is a shard."""

    def may_write_to_store(self, output: Path) -> bool:
        return True

    def plan(self, request: Request, scratch: Path) -> Work:
        found, skipped = find_all(request.sources)
        require_pyav()
        self.announce(*filter(None, [self.fallback]))
        embedding = self.track_embedding()
        if embedding is not None:
            embedding.announce()
        videos, fingerprint = _describe_videos(found, request.limit)
        plans = Planner(self, self.examine, scratch).plan(videos)
        pieces = Stage("frames", [shard for plan in plans for shard in plan.pieces])
        joining = Stage("videos", [plan.joining for plan in plans], unit="video")
        return Work(
            [pieces, joining],
            fingerprint,
            unit="frame",
            n_files=sum(plan.n_files for plan in plans),
            n_bytes=sum(plan.n_bytes for plan in plans),
            skipped=skipped,
        )

    def examine(self, question: Question) -> Examined | None:
        return examine_video(self, self.piece_s, question)

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        if not isinstance(shard.payload, Piece):
            yield from join_video(self, shard, sink)
        elif is_text(shard.payload.video.path):
            yield from carry_out_piece(self, shard, sink)

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """Join the tables of the videos, and the faults of .face files."""
        ids = [shard.id for shard in work.stages[1].shards]

        def parts(suffix: str) -> list[Path]:
            paths = (sink.part_path(id, suffix) for id in ids)
            return [path for path in paths if storage.size_of(path)]

        join_faces(parts(FACES_PART), sink.open(FACES_TABLE))
        join_frames(parts(FRAMES_PART), sink.open(FRAMES_TABLE))
        notes = parts(NOTES_PART)
        if notes:
            rows = b"".join(storage.read_bytes(path) for path in notes)
            sink.write(_NOTES, b"face_file,status,reason\n" + rows, beside=ORIGINAL)
            log.warning(
                "%d of the .face files have rows missing, repaired or left out: %s",
                len(notes),
                f"{request.output}{ORIGINAL}/{_NOTES}",
            )


def _describe_videos(
    found: Sequence[tuple[Path, str]], limit: int | None
) -> tuple[list[tuple[Path, Video]], str]:
    """Return the first videos, each with its root, and the fingerprint of them.

    A folder of crops gets its name among all videos, so that it does not depend on the limit.
    """
    faces = {path: find_face_file(root / path) for root, path in found}
    folders = name_folders({path: stem_of(path, face) for path, face in faces.items()})
    videos = []
    digest = hashlib.sha256()
    for root, path in found[:limit]:
        face = faces[path]
        face_path = os.path.relpath(face, root) if face else ""
        video = Video(path, folders[path], face_path)
        sizes = [storage.file_size(root / name) for name in filter(None, (path, face_path))]
        digest.update(f"{json.dumps(video)} {sizes}".encode())
        videos.append((root, video))
    return videos, f"{len(videos):,} videos, names and sizes {digest.hexdigest()[:16]}"
