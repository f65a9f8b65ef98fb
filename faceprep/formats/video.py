"""Video files to RGB frames, numbered as the video numbers them; decoded by FFmpeg through PyAV.

A frame's number is its place among all frames of the video in the order in which they are shown, from 0. It stays
true where frames before it cannot be decoded or are not wanted. Its time is that of the container, from the first
frame on, so that a varying frame rate does no harm.

Colours: the matrix and the range that the video names; BT.601 and limited range where it names none, as FFmpeg and
OpenCV have it. Chroma is not interpolated: within 2 of 255 on even colours, three times as fast.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from faceprep import storage
from faceprep.errors import MissingExtra, SourceError
from faceprep.formats.frame_choice import ALL_FRAMES, FrameChoice
from faceprep.formats.video_end import describe_cut, is_container
from faceprep.formats.video_index import VideoIndex, index_packets, packets_of

Pixels = npt.NDArray[np.uint8]
VIDEO_SUFFIXES = (".mov", ".mp4", ".avi", ".mkv", ".webm")
_DEMUXERS = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm", "protocol_whitelist": "file"}
"""No play lists, which would lead to other files and hosts."""
_WORTH_SEEKING = 24
"""Frames that must be spared: a seek empties the decoder, and its threads start again."""
_MAX_DELAY = 64
"""More frames than a decoder holds back."""
_NONE = -1
_Numbered = tuple[int, Any, bool]


@dataclass(frozen=True, slots=True)
class Frame:
    """`pixels` (height, width, 3) RGB, upright; `time_s` seconds from the first frame, None where the file has none.

    `after_damage`: a frame before it was lost, and no key frame has come since, so it may show remains of others.
    """

    number: int
    time_s: float | None
    pixels: Pixels
    after_damage: bool = False


class DamagedVideo(SourceError):
    """A part of the video could not be decoded; what could be was given out before."""


def is_video_name(name: str) -> bool:
    """Whether the suffix is that of a video, in upper or lower case.

    >>> is_video_name("a.MOV"), is_video_name("a.m.mov"), is_video_name("a.face"), is_video_name(".mov")
    (True, True, False, False)
    """
    dot = name.rfind(".")
    return dot > 0 and name[dot:].lower() in VIDEO_SUFFIXES


def find_videos(path: str | os.PathLike[str]) -> list[Path]:
    """The videos of a tree, sorted by their paths; a file is taken as it is. May be empty. Raises SourceError.

    Names that begin with a dot are passed over; links are followed, but not round in circles.
    """
    root = Path(path)
    if not root.is_dir():
        if not root.exists():
            raise SourceError("no such file or folder", path=root, remedy="Check the path.")
        return [root]
    found, waiting = [], [root]
    while waiting:
        folder = waiting.pop()
        folders, files = storage.list_folder(folder)
        waiting += [folder / name for name in folders if not storage.leads_back(folder / name)]
        found += [folder / name for name in files if is_video_name(name)]
    return sorted(found)


def read_frames(path: str | os.PathLike[str], choice: FrameChoice = ALL_FRAMES, n_threads: int = 0) -> Iterator[Frame]:
    """The chosen frames. Raises SourceError when it is no video; DamagedVideo at the end, if there was damage."""
    with VideoReader(path, n_threads) as video:
        yield from video.frames(choice)
        if video.damage:
            raise DamagedVideo(video.damage, path=path)


class VideoReader:
    """One video file. Raises SourceError when nothing of it can be read, MissingExtra without PyAV.

    After `frames`, `missed` has the wanted numbers that could not be decoded, and `damage` says in a line what is
    wrong with the file; empty where nothing is. `n_threads` 0 takes as many as there are cores.
    """

    def __init__(self, path: str | os.PathLike[str], n_threads: int = 0) -> None:
        self.path = os.path.abspath(path)
        self.missed: list[int] = []
        self.n_after_damage = 0
        self._n_threads = n_threads
        self._error = ""
        self._container = _open(self.path)
        try:
            self._stream = _video_stream(self._container, self.path)
            self.index: VideoIndex = index_packets(self._container, self._stream)
            self._cut = self._how_cut_off()
            if not len(self.index):
                raise SourceError("no frame in it", path=path, found=self._cut or None)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        """How many frames there are in the file, sound or not."""
        return len(self.index)

    def frames(self, choice: FrameChoice = ALL_FRAMES) -> Iterator[Frame]:
        """The chosen frames in order. Only these are converted to RGB; what lies far between them is not decoded."""
        self.missed, self.n_after_damage, self._error = [], 0, ""
        times, is_keys = self.index.times, choice.kind == "keyframes"
        keys_only, keys_by_look = is_keys and self.index.has_lone_keyframes, is_keys and not self.index.has_stamps
        wanted = (replace(choice, kind="all") if keys_by_look else choice).numbers(times, self.index.keyframes)
        for run in _runs(wanted, self.index, keys_only):
            for number, found in _match(run, self._decode(run[0], keys_only)):
                if found is None:
                    self.missed.append(number)
                elif found[0].key_frame or not keys_by_look:
                    self.n_after_damage += found[1]
                    time_s = float(times[number]) if self.index.has_times else None
                    yield Frame(number, time_s, _to_rgb(found[0]), found[1])

    @property
    def damage(self) -> str:
        """What is wrong with the file, as far as it was read; empty where nothing is."""
        lost, remains = "", ""
        if self.missed:
            first, n = self.missed[0], len(self.missed)
            lost = f"frame {first}" if n == 1 else f"{n} frames, the first of them number {first},"
            lost += " could not be decoded" + (f" ({self._error})" if self._error else "")
        if self.n_after_damage:
            remains = f"{self.n_after_damage} frames after a lost one may show remains of others"
        return "; ".join(filter(None, [self._cut, lost, remains]))

    def _how_cut_off(self) -> str:
        how, told = describe_cut(self.path), self.index.n_told
        if self.index.n_read < told:
            how = how or f"the file says that it has {told}"
        return f"cut off after {len(self.index)} frames: {how}" if how else ""

    # Decoding

    def _decode(self, first: int, keys_only: bool) -> Generator[_Numbered, None, None]:
        """The frames that can be decoded, with their numbers, from the last key frame before `first` at the latest."""
        began_at = self._go_to(first)
        number, hurt, n_lost = -1, False, 0
        for picture in self._pictures(keys_only):
            if picture is None:
                hurt, n_lost = True, n_lost + 1
                continue
            previous, number = number, self.index.number_of(picture.pts, number + 1, n_lost)
            if previous < 0 and number > max(first, began_at) and began_at:  # the seek went too far
                self._begin()
                yield from self._decode(0, keys_only)
                return
            is_gap = previous >= 0 and number > previous + 1 and not keys_only
            hurt, n_lost = (hurt or is_gap) and not picture.key_frame, 0
            if picture.is_corrupt:
                hurt = True
            else:
                yield number, picture, hurt

    def _pictures(self, keys_only: bool) -> Iterator[Any]:
        """What the decoder gives out; None for what it could not decode."""
        context = self._stream.codec_context
        for packet in packets_of(self._container, self._stream):
            if packet.is_keyframe or not keys_only:
                yield from self._try(context.decode, packet) if not packet.is_corrupt else [None]
            if packet.is_keyframe and keys_only:  # else they come out in the wrong order where a group is open
                yield from self._drain()
                context.flush_buffers()
        yield from self._drain()

    def _drain(self) -> Iterator[Any]:
        for _ in range(_MAX_DELAY):
            drained = self._try(self._stream.codec_context.decode, None)
            yield from drained
            if drained != [None]:
                return

    def _try(self, decode: Any, packet: Any) -> list[Any]:
        import av

        try:
            return list(decode(packet))
        except av.error.EOFError:
            return []
        except av.FFmpegError as error:
            self._error = self._error or str(error.strerror)
            return [None]

    def _go_to(self, number: int) -> int:
        """Be ready to decode from a key frame at or before `number`; the number of the key frame."""
        import av

        place = int(np.searchsorted(self.index.keyframes, number, "right")) - 1
        keyframe = int(self.index.keyframes[place]) if place >= 0 else 0
        if keyframe > _WORTH_SEEKING and self.index.has_stamps:
            with contextlib.suppress(av.FFmpegError):
                self._container.seek(int(self.index.seek_to[place]), stream=self._stream)
                return keyframe
        self._begin()
        return 0

    def _begin(self) -> None:
        self.close()
        self._container = _open(self.path)
        self._stream = _video_stream(self._container, self.path)
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = self._n_threads

    def close(self) -> None:
        """Let go of the file; what was found out stays."""
        self._container.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: BaseException | type[BaseException] | TracebackType | None) -> None:
        self.close()


def _runs(wanted: Sequence[int], index: VideoIndex, keys_only: bool) -> Iterator[Sequence[int]]:
    """Parts of `wanted`, cut where it is worth while to seek from one to the next."""
    is_dense = isinstance(wanted, range) and wanted.step <= _WORTH_SEEKING
    if is_dense or keys_only or not index.has_stamps or len(wanted) < 2:
        yield from [wanted] if wanted else []
        return
    numbers = np.asarray(wanted)
    before = index.keyframes[np.maximum(np.searchsorted(index.keyframes, numbers[1:], "right") - 1, 0)]
    cuts = np.flatnonzero(before > numbers[:-1] + _WORTH_SEEKING) + 1
    yield from (part.tolist() for part in np.split(numbers, cuts))


def _match(
    wanted: Sequence[int], decoded: Generator[_Numbered, None, None]
) -> Iterator[tuple[int, tuple[Any, bool] | None]]:
    """(number, what was decoded or None) for each wanted number, in order; ends with the last of them."""
    waiting = iter(wanted)
    next_wanted = next(waiting)
    with contextlib.closing(decoded):
        for number, picture, after_damage in decoded:
            while next_wanted < number:
                yield next_wanted, None
                if (next_wanted := next(waiting, _NONE)) == _NONE:
                    return
            if next_wanted == number:
                yield number, (picture, after_damage)
                if (next_wanted := next(waiting, _NONE)) == _NONE:
                    return
    yield next_wanted, None
    yield from ((number, None) for number in waiting)


# PyAV


def _open(path: str) -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtra("video needs the package av", remedy="pip install 'faceprep[video]'") from error
    with storage.guard("open", path, SourceError):
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise SourceError("not a file", path=path)
        try:
            return av.open(path, options=dict(_DEMUXERS))
        except av.FFmpegError as error:
            raise _refusal(path, str(error.strerror)) from error


def _refusal(path: str, reason: str) -> SourceError:
    if not storage.size_of(path):
        return SourceError("an empty file, no video", path=path)
    if not is_container(path):
        return SourceError("not a video", path=path, expected="MP4, MOV, AVI, MKV or WebM")
    if cut := describe_cut(path):
        return SourceError(f"cut off: {cut}", path=path, remedy="Copy the file again.")
    return SourceError(f"cannot be read as a video: {reason}", path=path)


def _video_stream(container: Any, path: str) -> Any:
    import av

    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            if stream.codec_context is None:
                raise SourceError("FFmpeg has no decoder for this video", path=path)
            return stream
    kinds = sorted({stream.type for stream in container.streams})
    raise SourceError("no video stream in it", path=path, found=", ".join(kinds) or "no stream at all")


_FAST = {"format": "rgb24", "interpolation": "FAST_BILINEAR", "threads": 1}


def _to_rgb(picture: Any) -> Pixels:
    pixels: Pixels = picture.reformat(**_FAST).to_ndarray()
    matrix = picture.side_data.get("DISPLAYMATRIX")
    return pixels if matrix is None else _upright(pixels, np.frombuffer(matrix, np.int32))


def _upright(pixels: Pixels, matrix: npt.NDArray[np.int32]) -> Pixels:
    """As a display matrix has it: x' = m[0] x + m[3] y, y' = m[1] x + m[4] y, to the nearest quarter turn or mirror."""
    swapped = abs(int(matrix[1])) > abs(int(matrix[0]))
    turned = pixels.swapaxes(0, 1) if swapped else pixels
    x, y = (matrix[3], matrix[1]) if swapped else (matrix[0], matrix[4])
    return np.ascontiguousarray(turned[:: -1 if y < 0 else 1, :: -1 if x < 0 else 1])
