"""A reader of video files: RGB frames with their numbers, decoded by FFmpeg through PyAV.

A frame's number is its place among all frames of the video in the order in which they are shown,
from 0. It stays true where frames before it cannot be decoded or are not wanted. Pictures before
the first key frame do not count if none of them can be decoded. Its time comes from the container
and begins at 0 with the first frame, so a variable frame rate does no harm.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from faceprep.core.arrays import Pixels
from faceprep.core.cpu import my_cores
from faceprep.core.errors import SourceError
from faceprep.core.folder_walk import walk_folders
from faceprep.core.os_errors import missing_source
from faceprep.core.paths import exists, full_path, is_folder
from faceprep.core.text import count_noun
from faceprep.core.untaken import UntakenFiles
from faceprep.video.decoder import WORTH_SEEKING, Decoded, OpenVideo, decode_from
from faceprep.video.deinterlace import deinterlace
from faceprep.video.index import VideoIndex, index_packets, names_fields
from faceprep.video.pictures import PictureConverter
from faceprep.video.restarts import MP4
from faceprep.video.sampling import ALL_FRAMES, FrameChoice
from faceprep.video.truncation import describe_cut, describe_unread

VIDEO_SUFFIXES = (
    *(".mov", ".mp4", ".m4v", ".3gp", ".3g2", ".avi", ".mkv", ".webm", ".wmv", ".asf", ".flv"),
    *(".mpg", ".mpeg", ".vob", ".ts", ".mts", ".m2ts", ".ogv"),
)
"""Suffixes of video files, in lower case."""
_NONE = -1


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a video.

    `pixels` (height, width, 3) are upright RGB. `time_s` are seconds from the first frame, None
    where the file has no times. `after_damage`: an earlier frame was lost and no key frame has
    followed yet, so this one may show remains of others.
    """

    number: int
    time_s: float | None
    pixels: Pixels
    after_damage: bool = False


class DamagedVideo(SourceError):
    """An error: a part of the video could not be decoded. It is raised after all other frames."""


def is_video_name(name: str) -> bool:
    """Return whether the suffix is that of a video, in upper or lower case.

    >>> [is_video_name(name) for name in ("a.MOV", "a.m.mov", "a.face", ".mov")]
    [True, True, False, False]
    """
    dot = name.rfind(".")
    return dot > 0 and name[dot:].lower() in VIDEO_SUFFIXES


def find_videos(path: str | os.PathLike[str], untaken: UntakenFiles | None = None) -> list[Path]:
    """List the videos of a tree, sorted by path; a file is returned as it is. Raises SourceError.

    Names that begin with a dot are skipped. Links are followed, but each real folder is entered
    once. Other files are counted in the log and in `untaken`, except the .face files of videos.
    """
    root = Path(path)
    if not is_folder(root):
        if not exists(root):
            raise missing_source(root)
        return [root]
    untaken, found = untaken or UntakenFiles(root, "videos"), []
    for folder, files, hidden in walk_folders(root):
        videos = [name for name in files if is_video_name(name)]
        stems = {name.rpartition(".")[0].removesuffix(".m") + ".face" for name in videos}
        taken = {*videos, *stems, *(name.rpartition(".")[0] + ".face" for name in videos)}
        others = [name for name in files if name not in taken]
        untaken.add(folder, others + hidden, bool(videos))
        found += [root / folder / name for name in videos]
    untaken.report()
    return sorted(found)


def read_frames(
    path: str | os.PathLike[str], choice: FrameChoice = ALL_FRAMES, n_threads: int = 0
) -> Iterator[Frame]:
    """Yield the chosen frames.

    Raises SourceError for a file that is not a video, DamagedVideo at the end after damage.
    """
    with VideoReader(path, n_threads) as video:
        yield from video.frames(choice)
        if video.damage:
            raise DamagedVideo(video.damage, path=path)


class VideoReader:
    """A reader of one video file.

    Raises SourceError when it is unreadable, MissingExtra without PyAV.

    After `frames`, `missed` has the wanted numbers that could not be decoded. `damage` describes
    the fault of the file in one line and is empty for a sound file. `cut_off` is the part of it
    that is known before. `n_threads` 0 uses all cores. `known` is the index and the `cut_off` of an
    earlier reader of the file: its packets are not read again.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        n_threads: int = 0,
        known: tuple[VideoIndex, str] | None = None,
    ) -> None:
        self.missed: list[int] = []
        self.n_after_damage = 0
        self._path = full_path(path)
        self._opened = OpenVideo(self._path, n_threads)
        try:
            stream = self._opened.stream
            self._converter = PictureConverter(stream.sample_aspect_ratio, self._path)
            if note := self._opened.describe_choice():
                self._converter.note(note)
            self._is_interlaced = names_fields(stream)
            self.index, self.cut_off = known or _index(self._opened)
            if not len(self.index):
                raise SourceError(self.cut_off or "no frame in it", path=path)
            if n := self.index.n_left_out:
                self._converter.note(
                    f"{count_noun(n, 'picture')} before the first key frame left out: the frame "
                    "that they build on is missing"
                )
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        """Return the number of frames in the file, sound or not."""
        return len(self.index)

    def frames(self, choice: FrameChoice = ALL_FRAMES) -> Generator[Frame, None, None]:
        """Yield the chosen frames in order.

        Only these become RGB; long gaps between them are not decoded.
        """
        self.missed, self.n_after_damage = [], 0
        times, is_keys = self.index.times, choice.kind == "keyframes"
        keys_only = is_keys and self.index.has_lone_keyframes and not self._is_interlaced
        keys_by_look = is_keys and not self.index.has_stamps
        if keys_by_look:
            choice = replace(choice, kind="all")
        wanted = choice.numbers(times, self.index.keyframes)
        for run in _runs(wanted, self.index, keys_only):
            first = max(run[0] - self._is_interlaced, 0)  # needs the previous picture, too
            found_pictures = decode_from(self._opened, self.index, first, keys_only)
            decoded = deinterlace(found_pictures, self._converter.note)
            for number, found in _match(run, decoded):
                if found is None:
                    self.missed.append(number)
                elif found.picture.key_frame or not keys_by_look:
                    self.n_after_damage += found.after_damage
                    time_s = float(times[number]) if self.index.has_times else None
                    yield Frame(
                        number, time_s, self._converter.convert(found.picture), found.after_damage
                    )

    @property
    def notes(self) -> list[str]:
        """Return what was converted to show the frames as a player does, each kind once."""
        return self._converter.notes

    @property
    def damage(self) -> str:
        """Describe the damage seen so far; empty where there is none."""
        first = self.missed[0] if self.missed else 0
        return describe_damage(self.cut_off, len(self.missed), first, self.n_after_damage)

    def close(self) -> None:
        """Close the file; findings stay available."""
        self._opened.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_video(
    path: str | os.PathLike[str], known: tuple[VideoIndex, str] | None = None
) -> VideoReader:
    """Open a video for decoding on the cores of this process, with the same frames on any number.

    `known` is that of `VideoReader`. Raises SourceError, MissingExtra.
    """
    return VideoReader(path, my_cores(), known)


def describe_damage(cut_off: str, n_missed: int, first_missed: int, n_after_damage: int) -> str:
    """Describe the faults of a video in one line; empty where there is none.

    >>> describe_damage("", 2, 7, 0)
    '2 frames, the first of them number 7, could not be decoded'
    """
    lost, remains = "", ""
    if n_missed:
        if n_missed == 1:
            lost = f"frame {first_missed}"
        else:
            lost = f"{n_missed:,} frames, the first of them number {first_missed},"
        lost += " could not be decoded"
    if n_after_damage:
        remains = (
            f"{count_noun(n_after_damage, 'frame')} near a lost one may show remains of others"
        )
    return "; ".join(filter(None, [cut_off, lost, remains]))


def _index(opened: OpenVideo) -> tuple[VideoIndex, str]:
    """Read the packets; return their index, and how the file is cut off, if it is."""
    index = index_packets(opened.container, opened.stream, opened.path)
    how = _how_cut_off(opened.path, index)
    if not how:
        return _leave_out_lead(opened, index), _describe_joined(opened, index)
    index = _leave_out_lead(opened, index.without_doubtful_end())
    return index, f"cut off after {count_noun(len(index), 'frame')}: {how}"


def _describe_joined(opened: OpenVideo, index: VideoIndex) -> str:
    if index.restarts and opened.container.format.name == MP4:
        n_parts = len(index.restarts) + 1
        return f"{n_parts} files are joined in it, and FFmpeg hides frames where they meet"
    return describe_unread(opened.path)


def _leave_out_lead(opened: OpenVideo, index: VideoIndex) -> VideoIndex:
    """Return the index without the frames before the first key frame if none can be decoded.

    In a recording that was cut out of another, these build on frames before the cut.
    """
    if not index.has_stamps or not len(index.keyframes) or not index.keyframes[0]:
        return index
    with contextlib.closing(decode_from(opened, index, 0, False)) as decoded:
        first = next(decoded, None)
    if first is None or first.number < index.keyframes[0]:
        return index
    return index.from_number(int(index.keyframes[0]))


def _how_cut_off(path: str, index: VideoIndex) -> str:
    if index.n_claimed and index.n_whole >= index.n_claimed:
        return ""  # no picture is missing
    how = describe_cut(path)
    if not how and index.n_whole < index.n_claimed:
        return f"the file says that it has {index.n_claimed}"
    return how


def _runs(wanted: Sequence[int], index: VideoIndex, keys_only: bool) -> Iterator[Sequence[int]]:
    """Split `wanted` where a seek is faster than decoding the gap."""
    is_dense = isinstance(wanted, range) and wanted.step <= WORTH_SEEKING
    if is_dense or keys_only or not index.can_seek or len(wanted) < 2:
        yield from [wanted] if wanted else []
        return
    numbers = np.asarray(wanted)
    starts = np.concatenate([[0], index.keyframes])  # an edit list may hide all key frames
    before = starts[np.searchsorted(index.keyframes, numbers[1:], "right")]
    cuts = np.flatnonzero(before > numbers[:-1] + WORTH_SEEKING) + 1
    yield from (part.tolist() for part in np.split(numbers, cuts))


def _match(
    wanted: Sequence[int], decoded: Generator[Decoded, None, None]
) -> Iterator[tuple[int, Decoded | None]]:
    """Yield (number, decoded picture or None) for each wanted number, in order.

    Stop after the last.
    """
    waiting = iter(wanted)
    next_wanted = next(waiting)
    with contextlib.closing(decoded):
        for found in decoded:
            while next_wanted < found.number:
                yield next_wanted, None
                if (next_wanted := next(waiting, _NONE)) == _NONE:
                    return
            if next_wanted == found.number:
                yield found.number, found
                if (next_wanted := next(waiting, _NONE)) == _NONE:
                    return
    yield next_wanted, None
    yield from ((number, None) for number in waiting)
