"""The options of extract-video."""

from __future__ import annotations

from dataclasses import dataclass

from faceprep.core.errors import OptionError
from faceprep.core.options import option
from faceprep.jobs.extract_video.selection import SCORE, SELECTIONS
from faceprep.steps.find_faces import FaceOptions
from faceprep.video.sampling import FrameChoice, parse_frames
from faceprep.video.siw_boxes import FILLS


@dataclass(frozen=True)
class VideoOptions(FaceOptions):
    """The options of extract-video, besides those of finding faces."""

    every: int = option(1, "Take one frame in N; short for --frames every:N.")
    frames: str = option(
        "all",
        "Take these frames: all, every:N, uniform:N, pair (6 and 6 + half of them), pair:faces "
        "(the same of the frames with a face) or keyframes.",
    )
    start: float | None = option(None, "Skip frames before this time, in seconds from the start.")
    end: float | None = option(
        None, "Skip frames at or after this time, in seconds from the start."
    )
    fallback: str | None = option(
        None,
        "Try this detector on frames in which the first finds no face above --min-score, or none "
        "with sound landmarks.",
    )
    format: str = option("png", "Write crops in this format.", choices=("png", "jpg"))
    quality: int = option(95, "Set the JPEG quality, 1 to 100.")
    all_faces: bool = option(
        False, "Write every face above --min-score as FRAME_FACE.png, the highest score first."
    )
    select: str = option(
        SCORE,
        "Of several faces in a frame, write the one with the highest score, the largest, the one "
        "next to the center, or the one that the box of the .face file marks (given).",
        choices=SELECTIONS,
    )
    by_track: bool = option(
        False,
        "Write DST/VIDEO/TRACK/FRAME.png. --select then takes the face of the best track in each "
        "frame; with --all-faces, every track is written.",
    )
    margin: float = option(
        1.0, "Scale the boxes of the .face file by this factor for the crops in DST_original."
    )
    original_clip: bool = option(
        False, "Clip crops of the .face boxes at the edge of the frame instead of padding them."
    )
    face_fill: str = option(
        "neighbours",
        "Fill a value missing in a .face file from the rows near it, or with 48 (origin).",
        choices=FILLS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_tracks(self.choice())
        for name, expected, is_so in (
            ("format", "png or jpg", self.format in ("png", "jpg")),
            ("quality", "1 to 100", 1 <= self.quality <= 100),
            ("margin", "0.1 to 5", 0.1 <= self.margin <= 5),
            ("select", ", ".join(SELECTIONS), self.select in SELECTIONS),
            ("face-fill", " or ".join(FILLS), self.face_fill in FILLS),
        ):
            if not is_so:
                raise OptionError(
                    name, expected=expected, found=repr(getattr(self, name.replace("-", "_")))
                )

    def _check_tracks(self, choice: FrameChoice) -> None:
        """Refuse options that contradict each other. Raises OptionError."""
        if self.all_faces and not self.by_track and self.select != SCORE:
            raise OptionError("all-faces and select exclude each other", remedy="Choose one.")
        if self.by_track and choice.is_pair_of_faces:
            raise OptionError(
                "by-track and --frames pair:faces exclude each other",
                remedy="Write all frames by track, then choose among them.",
            )

    @property
    def most(self) -> int | None:
        """Return the number of crops of a frame; None for all."""
        return None if self.all_faces else 1

    def choice(self) -> FrameChoice:
        """Return the choice of frames. Raises OptionError."""
        if self.every < 1:
            raise OptionError("every", expected="1 or more", found=str(self.every))
        if self.every > 1 and self.frames != "all":
            raise OptionError(
                "every and frames exclude each other", found=f"{self.every} and {self.frames}"
            )
        frames = f"every:{self.every}" if self.every > 1 else self.frames
        return parse_frames(frames, self.start, self.end)

    def detector_threads(self) -> int:
        """Return one thread: frames are detected in parallel, so no core waits for another."""
        return 1
