"""The last step of a video, after all its pieces: it joins their tables and gives one verdict."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from faceprep.core import storage
from faceprep.core.io.csv import csv_line
from faceprep.core.text import count_noun
from faceprep.core.types import CONVERTED, LOW_SCORE, NO_CROP, NOT_MARKED, OK, Outcome, Shard, Sink
from faceprep.jobs.extract_video.cutting import FrameCutter
from faceprep.jobs.extract_video.options import VideoOptions
from faceprep.jobs.extract_video.pair import PairWork
from faceprep.jobs.extract_video.piece import FACES_PART, FACTS_PART, FRAMES_PART, Piece, PieceFacts
from faceprep.jobs.extract_video.tracking import TrackWork
from faceprep.sets.listing import is_text, refuse_bad_name
from faceprep.tables.faces import FacesWriter, join_faces
from faceprep.tables.frames import FramesWriter, join_frames, read_frame_tables
from faceprep.video.reader import describe_damage
from faceprep.video.sampling import FrameChoice

log = logging.getLogger("faceprep")
NOTES_PART = ".notes.csv"
_VIDEO = "video"
_INCOMPLETE_PAIR = "incomplete_pair"
_PAIR = 2


class Joining(NamedTuple):
    """The work on a whole video: one of its pieces, and the ids of the shards of all."""

    piece: Piece
    shard_ids: tuple[str, ...]


def join_video(options: VideoOptions, shard: Shard, sink: Sink) -> Iterator[Outcome]:
    """Join the pieces of a video; yield the fault of the video and those of its `.face` file."""
    work: Joining = shard.payload
    video = work.piece.video
    if not is_text(video.path):
        yield refuse_bad_name(video.path, _VIDEO)
        return
    cutter = FrameCutter(options, shard.source, video)
    frames = [sink.part_path(id, FRAMES_PART) for id in work.shard_ids]
    faces = [sink.part_path(id, FACES_PART) for id in work.shard_ids]
    error = ""
    if options.by_track:
        with (
            FacesWriter(sink.open_part(FACES_PART)) as face_table,
            FramesWriter(sink.open_part(FRAMES_PART)) as frame_table,
        ):
            TrackWork(options, cutter, work.shard_ids, sink).write(face_table, frame_table)
    else:
        join_frames(frames, sink.open_part(FRAMES_PART))
    if options.choice().is_pair_of_faces:
        with FacesWriter(sink.open_part(FACES_PART)) as writer:
            error = PairWork(options, shard.source, work.piece, cutter).write(faces, writer, sink)
    elif not options.by_track:
        join_faces(faces, sink.open_part(FACES_PART))
    paths = [sink.part_path(id, FACTS_PART) for id in work.shard_ids]
    facts = add_up(PieceFacts.unpack(storage.read_bytes(path)) for path in paths)
    facts.error = facts.error or error
    yield from _judge(video.path, facts, _pair_fault(options.choice(), facts, frames))
    notes = [Outcome(*note) for note in facts.notes]
    if cutter.originals:
        notes += cutter.originals.notes(facts.n_frames)
    notes = list(dict.fromkeys(notes))  # every piece reports a file of boxes that it cannot read
    yield from notes
    if notes:
        _write_notes(notes, sink)


def _write_notes(notes: Iterable[Outcome], sink: Sink) -> None:
    lines = (csv_line((note.key, note.status, note.reason)) for note in notes)
    with sink.open_part(NOTES_PART) as part:
        part.write("".join(lines).encode("utf-8", "backslashreplace"))


def add_up(pieces: Iterable[PieceFacts]) -> PieceFacts:
    """Add up the facts of the pieces of a video, in order."""
    total, by_status = PieceFacts(), Counter[str]()
    for piece in pieces:
        if total.n_frames is None:
            total.n_frames, total.cut_off = piece.n_frames, piece.cut_off
        if not total.n_missed:
            total.first_missed = piece.first_missed
        total.n_missed += piece.n_missed
        total.n_after_damage += piece.n_after_damage
        if not total.error:
            total.error, total.status = piece.error, piece.status
        total.notes += piece.notes
        total.converted += [each for each in piece.converted if each not in total.converted]
        by_status.update(piece.by_status)
    total.by_status = dict(by_status)
    return total


def _judge(path: str, facts: PieceFacts, pair_fault: str) -> Iterator[Outcome]:
    """Describe the fault of the video as a whole, if it has one."""
    if facts.error:
        reason = facts.error.partition(f"{path}: ")[2] or facts.error
        yield Outcome(path, facts.status, reason, _VIDEO)
        return
    n = sum(facts.by_status.values()) - facts.n_missed
    damage = describe_damage(
        facts.cut_off, facts.n_missed, facts.first_missed, facts.n_after_damage
    )
    faceless = _faceless(facts, n)
    statuses = {  # the first that applies counts
        "cut_off": facts.cut_off,
        "damaged": damage,
        "no_frames": not n,
        "no_face_in_video": faceless,
        _INCOMPLETE_PAIR: pair_fault,
    }
    status = next((name for name, applies in statuses.items() if applies), CONVERTED)
    kept = ""
    if damage and n:
        verb = "was" if n == 1 else "were"
        kept = f"{count_noun(n, 'frame')} {verb} kept"
    reasons = [damage, faceless or pair_fault, kept, *facts.converted]
    reason = "; ".join(filter(None, reasons))
    if status == CONVERTED and reason:
        log.info("%s: %s", path, reason)
    if reason:
        yield Outcome(path, status, reason, _VIDEO)


def _faceless(facts: PieceFacts, n: int) -> str:
    """Describe why none of the `n` decoded frames has a face; empty if one has."""
    counts = Counter(facts.by_status)
    if not n:
        if facts.n_missed:
            return "none of the wanted frames could be decoded"
        return "it has none of the wanted frames"
    if counts[OK] + counts[NO_CROP]:
        return ""
    wanted = count_noun(n, "wanted frame")
    if counts[NOT_MARKED]:
        return f"no face in its {wanted} is marked by a box of a .face file"
    n_unsure = counts[LOW_SCORE]
    unsure = f", {n_unsure:,} with a face below the minimum score" if n_unsure else ""
    return f"no face in its {wanted}{unsure}"


def _pair_fault(choice: FrameChoice, facts: PieceFacts, frames: Sequence[Path]) -> str:
    """Describe the missing frames of a pair; empty if both are there or no pair is wanted.

    A frame of a plain pair that lies outside the span of seconds is not wanted.
    """
    n_ok, n_wanted = facts.by_status.get(OK, 0), sum(facts.by_status.values())
    is_span = choice.start > 0 or choice.end < math.inf
    is_whole = n_ok == n_wanted and is_span and not choice.is_pair_of_faces
    if not choice.is_pair or n_ok >= _PAIR or is_whole:
        return ""
    if n_wanted < _PAIR and n_ok == n_wanted:
        n_frames = n_wanted if choice.is_pair_of_faces else facts.n_frames or 0
        return f"too short for a pair: {count_noun(n_frames, 'frame')}"
    if choice.is_pair_of_faces:
        return (
            f"only {n_ok:,} of its {count_noun(n_wanted, 'frame')} has a face, but a pair needs two"
        )
    lost = islice(_lost_frames(frames), _PAIR)
    return "the pair is incomplete: " + ", ".join(lost)


def _lost_frames(frames: Sequence[Path]) -> Iterator[str]:
    for path in frames:
        for table in read_frame_tables(path, ("frame", "status", "reason")):
            for row in table.to_pylist():
                if row["status"] != OK:
                    yield f"frame {row['frame']}: {row['reason']}"
