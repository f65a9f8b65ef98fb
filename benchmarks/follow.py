"""Compare `extract-video --detect-every` with full detection: the same faces, and how much faster.

python benchmarks/follow.py ../shared/data
python benchmarks/follow.py DATA --only faces --every 10
python benchmarks/follow.py DATA --only truth --reference-python VENV/bin/python
python benchmarks/follow.py DATA --only speed --repeats 5

DATA is a folder with video, siw_like and cases/video. `faces` compares what is found in every frame
of its clips, as they are and enlarged to 1080p: boxes, landmarks, tracks. The floor is how much
full detections differ when the frame is shifted by 1 to 3 pixels, at the detection size. `truth`
compares the landmarks of both with those of dlib and MediaPipe, which run in an environment of
their own (`peers/landmark_truth.py`). `speed` runs the command on a clip of one person and on the
last of the clips, both repeated to 900 frames, and on the last at 1080p, with full detection and
with --detect-every auto in turn.
One video is worked on by the threads of one process, which is also timed decoding it alone. Two
videos are worked on by two workers, as a folder of videos is. Rates are those in steady state,
without what 8 frames take: of the time on the clock, and of the time of the processors, which other
programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from figures import show_table
from follow_speed import compare_speed
from landmark_faces import CONTEXT, EYES_112, MIN_FACE, SIDE, agree, warp
from video import enlarge

from faceprep import ExtractVideo
from faceprep.core.arrays import Pixels
from faceprep.core.boxes import overlaps
from faceprep.core.faces import Faces
from faceprep.core.landmarks import ARCFACE_112, apply_transforms, estimate_similarity
from faceprep.steps.fallback import find_with
from faceprep.steps.follow_faces import Numbered
from faceprep.steps.found import Found
from faceprep.steps.trail import Trail
from faceprep.video.reader import read_frames
from faceprep.vision.tracks import SceneCuts, Tracker, make_thumb

SHIFTS = ((2, 1), (-1, 3))
SAME, MATCH = 0.7, 0.5
SHORT = 8
CHUNK = 40


@dataclass
class Counts:
    """The faces of full detection in tracked frames, and what became of them."""

    n_frames: int = 0
    n_followed: int = 0
    overlaps: list[float] = field(default_factory=list)
    moved: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    refiners: list[str] = field(default_factory=list)
    n_new: int = 0
    n_tracks: int = 0
    n_missed: int = 0
    n_switches: int = 0


class Seen(NamedTuple):
    """The frames of a clip, full detection on each, and what was found by tracking."""

    frames: list[Pixels]
    full: list[Found]
    followed: list[Found]


def shifted(pixels: Pixels, dx: int, dy: int) -> Pixels:
    """Move the picture by a few pixels, and repeat its edges."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((8, 8), (8, 8), (0, 0)), mode="edge")
    return np.ascontiguousarray(padded[8 - dy : 8 - dy + height, 8 - dx : 8 - dx + width])


def distance(face: Faces, row: int, others: Faces, other: int) -> float:
    """Compute the mean distance of the landmarks, in per cent of the longer side of the box."""
    side = float(np.ptp(face.boxes[row].reshape(2, 2), axis=0).max())
    apart = np.linalg.norm(face.landmarks[row] - others.landmarks[other], axis=1).mean()
    return float(apart / side * 100)


def best_match(box: np.ndarray, faces: Faces) -> tuple[int, float]:
    if not len(faces):
        return -1, 0.0
    shared = overlaps(box, faces.boxes)
    return int(shared.argmax()), float(shared.max())


def track(frames: Sequence[Pixels], faces: Sequence[Faces]) -> list[np.ndarray]:
    tracker, cuts, numbers = Tracker(), SceneCuts(), []
    for number, (pixels, each) in enumerate(zip(frames, faces, strict=True)):
        if cuts.is_cut(make_thumb(pixels)):
            tracker.cut()
        numbers.append(tracker.link(each, number, None))
    return numbers


def look(options: ExtractVideo, images: list[Pixels]) -> list[Found]:
    finders = options.finders()
    return [
        found
        for start in range(0, len(images), 8)
        for found, _ in find_with(finders, images[start : start + 8], None, 0)
    ]


def see(path: Path, options: ExtractVideo) -> Seen:
    frames = [frame.pixels for frame in read_frames(path)]
    tracker = options.tracker(options.finders())
    assert tracker is not None
    followed: list[Found] = []
    for start in range(0, len(frames), CHUNK):
        numbered = [Numbered(n, frames[n]) for n in range(start, min(start + CHUNK, len(frames)))]
        followed += [found for found, _ in tracker.find(numbered, Trail(), options.most, 0)]
    return Seen(frames, look(options, frames), followed)


def compare_clip(path: Path, options: ExtractVideo, counts: Counts) -> None:
    seen, most = see(path, options), options.most
    frames, full = seen.frames, [found.faces for found in seen.full]
    scale = max(1, round(max(frames[0].shape) / options.det_size))
    floors = []
    for shift in SHIFTS:
        dx, dy = shift[0] * scale, shift[1] * scale
        answers = look(options, [shifted(pixels, dx, dy) for pixels in frames])
        floors.append([found.faces.moved(1, (-dx, -dy)) for found in answers])
    tracks, known = track(frames, full), set[int]()
    counts.n_frames += len(frames)
    for number, (faces, found) in enumerate(zip(full, seen.followed, strict=True)):
        if not found.is_followed:
            known = set(tracks[number][:most].tolist())
            continue
        counts.n_followed += 1
        for row in range(len(faces)):
            if tracks[number][row] in known:
                count_face(faces, row, found, [floor[number] for floor in floors], counts)
            else:
                counts.n_new += most is None
    if most is None:
        count_tracks(tracks, full, [found.faces for found in seen.followed], frames, counts)


def count_face(
    faces: Faces, row: int, found: Found, floors: Sequence[Faces], counts: Counts
) -> None:
    match, shared = best_match(faces.boxes[row], found.faces)
    counts.overlaps.append(shared)
    if shared < SAME:
        return
    matches = [(each, *best_match(faces.boxes[row], each)) for each in floors]
    apart = [distance(faces, row, each, place) for each, place, own in matches if own >= SAME]
    if apart:
        counts.moved.append(distance(faces, row, found.faces, match))
        counts.floor.append(float(np.mean(apart)))
        counts.refiners.append((found.refiners or [""] * len(found.faces))[match])


def count_tracks(
    tracks: Sequence[np.ndarray],
    full: Sequence[Faces],
    followed: Sequence[Faces],
    frames: Sequence[Pixels],
    counts: Counts,
) -> None:
    """Count tracks of full detection that are missed, and tracks that hold two of them."""
    lengths: dict[int, int] = {}
    met: dict[int, set[int]] = {}
    for ours, theirs, own, other in zip(
        track(frames, followed), tracks, followed, full, strict=True
    ):
        for number in theirs.tolist():
            lengths[number] = lengths.get(number, 0) + 1
        for row, number in enumerate(ours.tolist()):
            match, shared = best_match(own.boxes[row], other)
            if shared >= MATCH:
                met.setdefault(number, set()).add(int(theirs[match]))
    seen = set().union(*met.values()) if met else set()
    long = {number for number, length in lengths.items() if length >= SHORT}
    counts.n_tracks += len(long)
    counts.n_missed += len(long - seen)
    for numbers in met.values():
        counts.n_switches += have_met(numbers, tracks)


def have_met(numbers: set[int], tracks: Sequence[np.ndarray]) -> bool:
    """Return whether two of these tracks share a frame: they are two people."""
    return any(len(numbers & set(each.tolist())) > 1 for each in tracks)


def report(title: str, counts: Counts) -> None:
    shared, moved, floor = (
        np.array(each) for each in (counts.overlaps, counts.moved, counts.floor)
    )
    note = f"{counts.n_frames} frames, {counts.n_followed} followed, {len(shared)} faces"
    places = {"IoU >= 0.7": (shared >= SAME).mean(), "IoU >= 0.9": (shared >= 0.9).mean()}
    places |= {"not yet known": counts.n_new}
    if counts.n_tracks:
        places |= {f"tracks of {SHORT} frames": counts.n_tracks, "missed": counts.n_missed}
        places |= {"with two people": counts.n_switches}
    show_table(f"{title}, faces", {"shares and counts": places}, note)
    kinds, rows_of = np.array(counts.refiners), {}
    for kind in ("", "onet", "retinaface", None):
        rows = kinds == kind if kind is not None else np.full(len(kinds), True)
        if rows.any():
            name = {"": "detector", None: "all"}.get(kind, kind)
            mean, floor_mean = moved[rows].mean(), floor[rows].mean()
            row = {"faces": int(rows.sum()), "mean": mean, "median": np.median(moved[rows])}
            row |= {"floor, mean": floor_mean, "floor, median": np.median(floor[rows])}
            rows_of[name] = row | {"mean by floor": mean / floor_mean}
    show_table(f"{title}, landmarks", rows_of, "per cent of the side of the box")


# Truth


def compare_truth(data: Path, every: str, python: str, folder: Path) -> None:
    """Compare the landmarks of full and of followed looks with those of the references."""
    options = ExtractVideo(device="cpu", detect_every=every, all_faces=True)
    crops, landmarks = [], []
    for path in clips(data):
        seen = see(path, options)
        for pixels, full, found in zip(*seen, strict=True):
            for row in range(len(full.faces) * found.is_followed):
                match, shared = best_match(full.faces.boxes[row], found.faces)
                box = full.faces.boxes[row].astype(float)
                side = np.ptp(box.reshape(2, 2), axis=0).max()
                if shared >= SAME and side >= MIN_FACE:
                    scale = SIDE / (CONTEXT * side)
                    shift = SIDE / 2 - scale * (box[:2] + box[2:]) / 2
                    crops.append(warp(pixels, scale, shift, SIDE))
                    both = (full.faces.landmarks[row], found.faces.landmarks[match])
                    landmarks.append(np.stack(both) * scale + shift)
    known, truth = folder / "crops.npz", folder / "truth.npz"
    edge = SIDE / 2 * (1 - 1 / CONTEXT)
    boxes = np.tile([edge, edge, SIDE - edge, SIDE - edge], (len(crops), 1))
    np.savez(known, crops=np.stack(crops), boxes=boxes)
    peer = Path(__file__).parent / "peers" / "landmark_truth.py"
    subprocess.run([python, peer, known, truth], check=True)
    with np.load(truth) as points:
        both = np.stack([points["dlib"], points["mediapipe"]])
    agreed = agree(both)
    mean, ours = both.mean(axis=0)[agreed], np.stack(landmarks)[agreed]
    transforms = estimate_similarity(mean, ARCFACE_112)
    note = f"{agreed.sum()} of {len(agreed)} followed faces; per cent of the eye distance"
    offsets = [
        (apply_transforms(ours[:, kind], transforms) - apply_transforms(mean, transforms))
        / EYES_112
        * 100
        for kind in (0, 1)
    ]
    usual, rows = np.median(offsets[0], axis=0), {}
    for name, offset in zip(("full looks", "followed"), offsets, strict=True):
        errors = np.linalg.norm(offset - usual, axis=2).mean(axis=1)
        rows[name] = {"mean": errors.mean(), "95th percentile": np.percentile(errors, 95)}
    show_table("landmarks and their truth", rows, note)


def clips(data: Path) -> list[Path]:
    found = [*data.glob("video/*.mp4"), *data.glob("siw_like/**/*.mov")]
    found += data.glob("cases/video/two_people/**/*.mov")
    upside_down = {"004-1-2-1-2.mov", "032-2-3-4-2.mov", "121-2-3-2-1.mov"}
    return sorted(path for path in found if path.name not in upside_down)


def compare_faces(data: Path, every: str, folder: Path) -> None:
    large = folder / "1080p.mp4"
    enlarge(clips(data)[-1], large)
    for title, paths in (("640x360", clips(data)), ("1080p", [large])):
        for all_faces in (False, True):
            options = ExtractVideo(device="cpu", detect_every=every, all_faces=all_faces)
            counts = Counts()
            for path in paths:
                compare_clip(path, options, counts)
            kind = "all faces" if all_faces else "one face a frame"
            report(f"{title}, {kind}, --detect-every {every}", counts)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("data", type=Path)
    options.add_argument("--every", default="auto")
    options.add_argument("--repeats", type=int, default=1)
    options.add_argument("--quick", action="store_true", help="the speed of one clip")
    options.add_argument("--only", choices=("faces", "truth", "speed"))
    options.add_argument("--reference-python", help="the interpreter that has the references")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.only in (None, "faces"):
            compare_faces(given.data, given.every, Path(folder))
        if given.reference_python and given.only in (None, "truth"):
            compare_truth(given.data, given.every, given.reference_python, Path(folder))
        if given.only in (None, "speed"):
            n_cases = 1 if given.quick else None
            (person,) = given.data.glob("siw_like/**/009-1-1-1-1.m.mov")
            several = clips(given.data)[-1]
            compare_speed(person, several, given.every, given.repeats, Path(folder), n_cases)


if __name__ == "__main__":
    main()
