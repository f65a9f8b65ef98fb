"""FFmpeg's decoder through PyAV: numbered pictures from any key frame on, also after damage."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import stat
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import numpy as np

from faceprep.core import items, os_errors, storage
from faceprep.core.errors import MissingExtra, SourceError
from faceprep.core.paths import look_at
from faceprep.video.ffv1 import are_slices_sound
from faceprep.video.index import VideoIndex, packets_of
from faceprep.video.restarts import StampJoiner
from faceprep.video.truncation import CONTAINERS, describe_cut, is_container

_DEMUXERS = {
    "format_whitelist": (
        "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpeg,mpegvideo,mpegts,flv,asf,ogg"
    ),
    "protocol_whitelist": "file",
}
"""Playlists are not opened, because they lead to other files and hosts."""
WORTH_SEEKING = 24
"""Frames that a seek must save: it empties the decoder, and the threads start again."""
_STRICT = ("mjpeg",)
"""Decoders that hide damage unless an option makes them stop at it."""
_IN_ONE_THREAD = ("hevc", "vp8")
"""Decoders that do not notice all damage, and whose threads show it differently each time."""
_N_LEARNED = 8
"""Packets from which to learn whether a stream has checksums."""
_MOST_PIXELS = 1 << 27
"""Pixels of a frame as it is shown, at most: those of a video of 16K. A header costs nothing."""
_SIZELESS = ("mpeg", "mpegvideo", "mpegts", "flv", "ogg")
"""Containers that leave the size of the frames to the stream."""
_MOST_B_FRAMES = 16
"""The most pictures in a row that build on a later one."""
_MAX_DELAY = 64
"""More frames than any decoder holds back."""


class Decoded(NamedTuple):
    """A PyAV picture with its number.

    `after_damage`: a picture was lost and no key frame has followed yet.
    """

    number: int
    picture: Any
    after_damage: bool


class OpenVideo:
    """An open file and its decoder.

    Raises SourceError for a file without pictures, MissingExtra without PyAV.
    """

    container: Any
    stream: Any

    def __init__(self, path: str, n_threads: int) -> None:
        self.path, self.n_threads = path, n_threads
        self._open()
        self._has_checksums = self.stream.codec_context.name == "ffv1" and _has_checksums(path)

    def _open(self) -> None:
        self._forget()
        self.container = _open(self.path)
        try:
            self.stream = _video_stream(self.container, self.path)
            _refuse_size(self.stream, self.container.format.name, self.path)
        except BaseException:
            self.close()
            raise
        self.stream.thread_type = "AUTO"
        context = self.stream.codec_context
        if context.name in _IN_ONE_THREAD:
            self.n_threads = 1
        context.thread_count = self.n_threads
        options = {"max_pixels": str(_MOST_PIXELS)}  # frames may be larger than the header says
        if self.n_threads != 1 or context.name in _STRICT:  # threads may report damage too late
            options["err_detect"] = "explode"
        context.options = options

    def _forget(self) -> None:
        """Forget what the decoder was given."""
        self._newest, self._n_sent = -1, 0
        self._given = deque[int | None](maxlen=_MAX_DELAY)

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def describe_choice(self) -> str:
        """Describe which of several video streams is shown; empty if there is only one."""
        streams = _find_video_streams(self.container)
        if len(streams) < 2:  # noqa: PLR2004
            return ""
        place = [each.index for each in streams].index(self.stream.index)
        return f"video stream {place + 1} of {len(streams)} used"

    def go_to(self, number: int, index: VideoIndex) -> int:
        """Seek to a key frame at or before `number`; return the number of that key frame."""
        import av

        place = int(np.searchsorted(index.keyframes, number, "right")) - 1
        keyframe = int(index.keyframes[place]) if place >= 0 else 0
        if keyframe > WORTH_SEEKING and index.can_seek:
            with contextlib.suppress(av.FFmpegError):
                self.container.seek(int(index.stamps[keyframe]), stream=self.stream)
                self._forget()
                return keyframe
        self.close()
        self._open()
        return 0

    def reach(self, index: VideoIndex) -> int:
        """Return the highest number of a frame given to the decoder."""
        if index.has_stamps:
            return index.number_of(self._newest, 0, 0) or 0
        return self._n_sent - 1

    def may_build_on(self, picture: Any, other: Any) -> bool:
        """Return whether the decoder was given `other` shortly before `picture`."""
        return other.pts in self._given_before(picture)

    def may_build_on_later(self, picture: Any, shown: Any) -> bool:
        """Return whether `picture` may build on one that is shown after the picture `shown`."""
        if shown.pts is None:
            return False
        return any(stamp > shown.pts for stamp in self._given_before(picture))

    def _given_before(self, picture: Any) -> list[int]:
        """Return the stamps of the pictures before this one; none if it has no stamp itself."""
        stamps = [stamp for stamp in self._given if stamp is not None]
        return stamps[: stamps.index(picture.pts)] if picture.pts in stamps else []

    def pictures(self, index: VideoIndex, keys_only: bool) -> Iterator[Any]:
        """Yield decoded pictures; None stands for one that could not be decoded."""
        context, is_left_out = self.stream.codec_context, False
        joiner = StampJoiner(self.container, self.stream)
        for packet in packets_of(self.container, self.stream, self.path):
            joiner.move(packet)
            if packet.pts is not None:  # a second field has none
                is_left_out = index.is_left_out(packet.pts)
            if is_left_out:
                continue
            if packet.is_corrupt and packet.dts not in index.marked_whole:
                continue  # half a picture at the end of a cut file
            if packet.is_keyframe or not keys_only:
                self._newest, self._n_sent = max(self._newest, packet.pts or 0), self._n_sent + 1
                self._given.append(packet.pts)
                yield from self._try(packet)
            if packet.is_keyframe and keys_only:  # or frames of open groups would come out of order
                yield from self._drain()
                context.flush_buffers()
        yield from self._drain()

    def _drain(self) -> Iterator[Any]:
        for _ in range(_MAX_DELAY):
            drained = self._try(None)
            yield from drained
            if drained != [None]:
                return

    def _try(self, packet: Any) -> list[Any]:
        import av

        items.note_progress()
        if self._has_checksums and packet is not None and not are_slices_sound(bytes(packet)):
            return [None]
        try:
            return list(self.stream.codec_context.decode(packet))
        except av.error.EOFError:
            return []
        except av.FFmpegError:
            return [None]


def decode_from(
    video: OpenVideo, index: VideoIndex, first: int, keys_only: bool
) -> Generator[Decoded, None, None]:
    """Yield all decodable pictures in order, from the last key frame before `first` or earlier.

    From the first damage on, one thread decodes. Several threads hide damage differently each time,
    and drop what they decoded ahead.
    """
    run = _Run(video, index, first, keys_only)
    yield from run.decode()
    if run.must_begin_earlier:
        yield from decode_from(video, index, 0, keys_only)
    elif run.needs_one_thread:
        with contextlib.closing(OpenVideo(video.path, 1)) as again:
            decoded = decode_from(again, index, first, keys_only)
            yield from (found for found in decoded if found.number > run.newest)


class _Run:
    """One attempt to decode a video, from a key frame to the end.

    `newest` is the number of the last picture that was yielded. `must_begin_earlier` says that the
    decoder could not start at this key frame. `needs_one_thread` says that the attempt stopped at
    damage or lost the last pictures, and that one thread must decode the rest.
    """

    def __init__(self, video: OpenVideo, index: VideoIndex, first: int, keys_only: bool) -> None:
        self._video, self._index, self._first, self._keys_only = video, index, first, keys_only
        self._number, self._n_lost = -1, 0
        self._doubtful = -1
        """The last frame so far that may build on a lost one."""
        self._waiting = deque[Decoded]()
        """Pictures that may build on a later one, which may be damaged."""
        self.newest = -1
        self.must_begin_earlier = False
        self.needs_one_thread = False

    def decode(self) -> Iterator[Decoded]:
        """Yield each picture once all pictures that it may build on are decoded."""
        for found in self._decode():
            self.newest = found.number
            yield found

    def _decode(self) -> Iterator[Decoded]:
        video, index, keys_only = self._video, self._index, self._keys_only
        began_at = video.go_to(self._first, index)
        for picture in video.pictures(index, keys_only):
            if began_at and picture is not None and index.is_before(picture.pts, began_at):
                continue  # in an open group, it builds on frames before the key frame
            if video.n_threads != 1 and (picture is None or picture.is_corrupt):
                self.needs_one_thread = True
                return
            if picture is None:
                self._doubtful = max(self._doubtful, video.reach(index))
                self._n_lost += 1
                continue
            number = index.number_of(picture.pts, self._number + 1, self._n_lost)
            if number is None:  # a lost key frame has upset the order
                continue
            if began_at and self._number < 0 and number > max(self._first, began_at):
                self.must_begin_earlier = True  # the seek went too far
                return
            yield from self._add(number, picture)
        yield from self._waiting
        if not keys_only:
            self.must_begin_earlier = began_at > 0 and self._number < 0
            self.needs_one_thread = video.n_threads != 1 and self._number + 1 < len(index)

    def _add(self, number: int, picture: Any) -> Iterator[Decoded]:
        """Take a picture; yield those that need not wait any longer."""
        if 0 <= self._number < number - 1 and not self._keys_only:
            self._doubtful = max(self._doubtful, number - 1)
        if picture.key_frame and number > self._doubtful:
            self._doubtful = -1
        self._number, self._n_lost = number, 0
        waiting, video = self._waiting, self._video
        if picture.is_corrupt:
            self._doubtful = max(self._doubtful, number)
            for place, each in enumerate(waiting):
                if video.may_build_on(each.picture, picture):
                    waiting[place] = each._replace(after_damage=True)
            return
        waiting.append(Decoded(number, picture, self._doubtful >= 0))
        while waiting and not self._must_wait(picture):
            yield waiting.popleft()

    def _must_wait(self, shown: Any) -> bool:
        """Return whether the first waiting picture may build on one that follows `shown`."""
        if self._index.delay and not self._index.has_stamps:
            return len(self._waiting) <= _MOST_B_FRAMES
        return self._video.may_build_on_later(self._waiting[0].picture, shown)


# PyAV


def require_pyav() -> None:
    """Check that the package av is installed, without importing it. Raises MissingExtra."""
    if importlib.util.find_spec("av") is None:
        raise MissingExtra("video needs the package av", remedy="pip install 'faceprep[video]'")


def pyav() -> Any:
    """Import the module av. Raises MissingExtra."""
    require_pyav()
    import av
    from av.sidedata import sidedata

    kinds: Any = sidedata.Type
    kinds._missing_ = classmethod(_name_side_data)
    return av


def _name_side_data(kinds: Any, number: int) -> Any:
    """Return a kind of side data that PyAV has no name for, such as EXIF.

    Without it, PyAV raises ValueError instead of listing any side data of the picture.
    """
    kind = object.__new__(kinds)
    kind._name_, kind._value_ = f"KIND_{number}", number
    return kind


def _open(path: str) -> Any:
    av = pyav()
    with os_errors.guard("open", path, SourceError):
        found = look_at(path)
        if not stat.S_ISREG(found.mode):
            raise SourceError("not a file", path=path)
        if not found.n_bytes:
            raise SourceError("an empty file, not a video", path=path)
        file = storage.open_for_library(path)
        while True:
            try:
                return av.open(file, options=dict(_DEMUXERS), metadata_errors="replace")
            except InterruptedError:  # by a signal: Python opens again, FFmpeg does not
                continue
            except av.FFmpegError as error:
                raise _refusal(path, error.strerror, error) from error


def _has_checksums(path: str) -> bool:
    """Return whether one of the first packets of an FFV1 file has correct checksums."""
    with contextlib.closing(_open(path)) as container:
        packets = packets_of(container, _video_stream(container, path), path)
        return any(are_slices_sound(bytes(each)) for each in itertools.islice(packets, _N_LEARNED))


def _refusal(path: str, problem: str, cause: Exception | None = None) -> Exception:
    """Return the error of a file that FFmpeg does not open; an OSError is one of the disk."""
    if not is_container(path):
        return SourceError("not a video", path=path, expected=CONTAINERS)
    if cut := describe_cut(path):
        return SourceError(f"cut off: {cut}", path=path, remedy="Copy the file again.")
    if isinstance(cause, OSError):
        return os_errors.as_error(SourceError, "read", path, cause)
    return SourceError(f"cannot be read as a video: {problem}", path=path)


def _video_stream(container: Any, path: str) -> Any:
    """Return the stream that a player shows: the first that is marked as default, or the first."""
    streams = _find_video_streams(container)
    known = [stream for stream in streams if stream.codec_context is not None]
    if known:
        flag = pyav().stream.Disposition.default
        return next((stream for stream in known if stream.disposition & flag), known[0])
    if streams:
        raise _refusal(path, "FFmpeg has no decoder for it")
    kinds = {"a cover picture" if each.type == "video" else each.type for each in container.streams}
    held = ", ".join(sorted(kinds)) or "nothing"
    raise _refusal(path, f"it has no video stream; it holds {held}")


def _find_video_streams(container: Any) -> list[Any]:
    """List the video streams of an open PyAV container, without cover pictures."""
    flag = pyav().stream.Disposition.attached_pic
    return [stream for stream in container.streams.video if not stream.disposition & flag]


def _refuse_size(stream: Any, container: str, path: str) -> None:
    """Raise SourceError where the header announces frames that would take too much memory."""
    height, width = stream.codec_context.height, stream.codec_context.width
    if not height * width and container not in _SIZELESS:
        raise SourceError(
            "the size of its frames is missing, or larger than FFmpeg accepts",
            path=path,
            expected=f"at most {_MOST_PIXELS:,} pixels",
        )
    aspect = stream.sample_aspect_ratio or 1
    if height * width * max(aspect, 1 / aspect) > _MOST_PIXELS:
        shape = "" if aspect == 1 else f", each {aspect.numerator}:{aspect.denominator}"
        raise SourceError(
            "its frames are too large",
            path=path,
            expected=f"at most {_MOST_PIXELS:,} pixels",
            found=f"{width:,} × {height:,}{shape}",
            remedy="Scale the video down with ffmpeg.",
        )
