"""The options of extract-video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from faceprep.core.errors import OptionError
from faceprep.core.options import Values, option
from faceprep.jobs.extract_video.selection import SCORE, SELECTIONS
from faceprep.models.refine.follow import open_square_search
from faceprep.steps.crop_options import WritesCrops, format_option, quality_option
from faceprep.steps.embed_options import EmbedOptions
from faceprep.steps.find_faces import FaceFinder, FaceOptions
from faceprep.steps.follow_faces import FaceTracker, LocalSearch
from faceprep.steps.model_names import DETECTORS, EMBEDDERS
from faceprep.video.sampling import FrameChoice, parse_frames
from faceprep.video.siw_boxes import FILLS

_AUTO = "auto"
_AUTO_EVERY, _AUTO_EVERY_ALONE = 10, 15
"""Frames from one full detection to the next, which finds new faces. They matter less if only the
face with the highest score is kept."""
_MOST_FRAMES = 1_000_000


@dataclass(frozen=True)
class VideoOptions(WritesCrops, FaceOptions):
    """The options of extract-video, besides those of finding faces."""

    every: int = option(
        1, "Take one frame in N; short for --frames every:N.", values=Values(least=1)
    )
    frames: str = option(
        "all",
        "Take these frames: all, every:N, uniform:N, pair (frame 6, and frame 6 plus half the "
        "number of frames), pair:faces (the same among the frames with a face) or keyframes.",
        values=Values(
            "FRAMES", known=("all", "every:", "uniform:", "pair", "pair:faces", "keyframes")
        ),
    )
    start: float | None = option(
        None,
        "Skip frames before this time of the video, in seconds or as HH:MM:SS.",
        values=Values("TIME", is_time=True),
    )
    end: float | None = option(
        None,
        "Skip frames at or after this time of the video, in seconds or as HH:MM:SS.",
        values=Values("TIME", is_time=True),
    )
    fallback: str | None = option(
        None,
        "Try this detector on frames in which the first finds no face above --min-score, or none "
        "with sound landmarks.",
        values=DETECTORS,
    )
    detect_every: str | None = option(
        None,
        "Run full detection only on every Nth frame (auto: 15 if only the face with the highest "
        "score is kept, else 10), and when a face is lost or in doubt; track each face in between.",
        values=Values("N|auto", known=(_AUTO,), default="every frame"),
    )
    format: str = format_option()
    quality: int = quality_option()
    all_faces: bool = option(
        False, "Write every face above --min-score as FRAME_FACE.png, the highest score first."
    )
    select: str = option(
        SCORE,
        "Choose the face to write if a frame has several: the one with the highest score, the "
        "largest, the one nearest to the centre, or the one that the .face file marks (given).",
        choices=SELECTIONS,
    )
    by_track: bool = option(
        False,
        "Write DST/VIDEO/TRACK/FRAME.png. --select then takes the face of the best track in each "
        "frame; with --all-faces, every track is written.",
    )
    track_embedder: str | None = option(
        None,
        "Join tracks whose faces this embedder finds similar: dlib-resnet, insightface:PACK, or a "
        "model file or folder.",
        values=EMBEDDERS,
    )
    margin: float = option(
        1.0,
        "Scale the boxes of the .face file by this factor for the crops in DST_original.",
        values=Values(least=0.1, most=5),
    )
    original_clip: bool = option(
        False, "Clip crops of the .face boxes at the edge of the frame instead of padding them."
    )
    face_fill: str = option(
        "neighbours",
        "Fill missing values in a .face file from nearby rows (neighbours), or with 48 (origin).",
        choices=FILLS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_tracks(self.choice())
        self.segment()
        self.track_embedding()

    def _check_tracks(self, choice: FrameChoice) -> None:
        """Refuse options that contradict each other. Raises OptionError."""
        if self.all_faces and not self.by_track and self.select != SCORE:
            raise OptionError("--all-faces and --select exclude each other", remedy="Choose one.")
        if self.track_embedder is not None and not self.by_track:
            raise OptionError("--track-embedder needs --by-track", remedy="Give both.")
        if self.by_track and choice.is_pair_of_faces:
            raise OptionError(
                "--by-track and --frames pair:faces exclude each other",
                remedy="Write all frames by track, then choose among them.",
            )

    @property
    def most(self) -> int | None:
        """Return the number of crops of a frame; None for all."""
        return None if self.all_faces else 1

    @property
    def most_found(self) -> int | None:
        """Return the number of faces of a frame among which the crops are chosen; None for all."""
        return self.most if self.select == SCORE and not self.by_track else None

    def choice(self) -> FrameChoice:
        """Return the choice of frames. Raises OptionError."""
        if self.every > 1 and self.frames != "all":
            raise OptionError(
                "--every and --frames exclude each other", found=f"{self.every} and {self.frames}"
            )
        frames = f"every:{self.every}" if self.every > 1 else self.frames
        return parse_frames(frames, self.start, self.end)

    def track_embedding(self) -> EmbedOptions | None:
        """Return the embedder that joins tracks; None without --track-embedder."""
        if self.track_embedder is None:
            return None
        return EmbedOptions(
            self.track_embedder, self.device, self.require_gpu, self.download, crops=self.template
        )

    def segment(self) -> int:
        """Return the number of frames from one full detection to the next. Raises OptionError."""
        every = self.detect_every
        if every is None:
            return 1
        if every == _AUTO:
            return _AUTO_EVERY if self.most_found is None else _AUTO_EVERY_ALONE
        if not (every.isascii() and every.isdigit() and 1 <= int(every) <= _MOST_FRAMES):
            raise OptionError(
                "--detect-every",
                expected=f"auto or 1 to {_MOST_FRAMES:,} frames",
                found=repr(every),
            )
        return int(every)

    def tracker(self, finders: Sequence[FaceFinder]) -> FaceTracker | None:
        """Return the tracker between full detections by `finders`; None without --detect-every.

        Raises FaceprepError.
        """
        if self.segment() == 1:
            return None
        return FaceTracker(finders, self.local_search(), self.segment(), self.min_face)

    def local_search(self) -> LocalSearch:
        """Return the search around a tracked face; it is opened once. Raises FaceprepError."""
        spec = replace(self.spec(), threads=self.detector_threads())
        return open_square_search(spec.runtime(), self.det_size)

    def detector_threads(self) -> int:
        """Return one thread: frames are detected in parallel, so no core waits for another."""
        return 1
