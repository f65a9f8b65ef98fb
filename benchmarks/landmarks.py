"""Compare landmarks with and without refinement: error, jitter, likeness and seconds.

python benchmarks/landmarks.py DATA --reference-python VENV/bin/python
python benchmarks/landmarks.py DATA --reference-python VENV/bin/python --only speed

DATA is a folder with photos, video, siw_like and orl. The reference landmarks come from dlib and
MediaPipe in an environment of their own (`peers/landmark_truth.py` says which); `--cache` keeps
them. Errors are in per cent of the eye distance, without a constant offset of each candidate.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from figures import show_table
from landmark_faces import EYES_112, Face, Scene, find_face, load_faces, show
from video import enlarge

from faceprep import ExtractVideo, Request, SerialRunner, run_job
from faceprep.core.arrays import Doubles, Pixels
from faceprep.core.faces import Faces
from faceprep.core.landmarks import ARCFACE_112, apply_transforms, estimate_similarity
from faceprep.models.detectors.detector import DetectorSpec, SizedDetector, open_detector
from faceprep.models.embedders.dlib_resnet import DlibResnet
from faceprep.models.onnx_session import Runtime
from faceprep.models.refine.refiner import Refiner, open_refiner
from faceprep.vision.align import crop, crop_smooth
from faceprep.vision.codec import decode
from faceprep.vision.templates import load_template

SD, HD, SQUARE = (360, 640), (1080, 1920), (640, 640)
UPRIGHT = [(f"{n} px", n, SD) for n in (24, 32, 48, 64, 100)]
UPRIGHT += [("400 px", 400, SQUARE), ("24 px of 1080p", 72, HD), ("32 px of 1080p", 96, HD)]
TURNED = [(32, SD), (48, SD), (100, SD), (96, HD)]
MIN_DETAIL = 0.8
"""Width of a face in its original by that in a scene; others would be blurred."""
N_SHIFTS = 12
WORSE = 1.0


class Seen(NamedTuple):
    """The landmarks of scenes: truth, without and with refinement (n, 5, 2), and refiners."""

    truth: Doubles
    plain: Doubles
    refined: Doubles
    refiners: list[str]
    n_missed: int


def look(detector: SizedDetector, refiner: Refiner, scenes: Iterator[Scene]) -> Seen:
    truth, plain, refined, refiners, n_missed = [], [], [], [], 0
    for scene in scenes:
        faces = find_face(detector, scene, detector.detect([scene.image])[0])
        if faces is None:
            n_missed += 1
            continue
        (better,) = refiner.refine([scene.image], [faces])
        truth.append(scene.truth)
        plain.append(faces.landmarks[0])
        refined.append(better.faces.landmarks[0])
        refiners += better.refiners
    return Seen(np.array(truth), np.array(plain), np.array(refined), refiners, n_missed)


def upright(points: Doubles, truth: Doubles) -> Doubles:
    """Compute offsets (n, 5, 2) from the truth in an upright face, in per cent of the eye
    distance.
    """
    transforms = estimate_similarity(truth, ARCFACE_112)
    apart = apply_transforms(points, transforms) - apply_transforms(truth, transforms)
    return np.asarray(apart / EYES_112 * 100)


def compare_errors(faces: list[Face], detector: SizedDetector, refiner: Refiner) -> None:
    seen = {}
    for name, width, canvas in UPRIGHT:
        scenes = _scenes(faces, width, canvas, 0)
        seen[name] = look(detector, refiner, scenes)
    for roll in (30, 60):
        scenes = (
            scene
            for width, canvas in TURNED
            for sign in (-1, 1)
            for scene in _scenes(faces, width, canvas, sign * roll)
        )
        seen[f"turned by {roll}°"] = look(detector, refiner, scenes)
    every = list(seen.values())
    offsets = [
        np.median(np.concatenate([upright(getattr(s, kind), s.truth) for s in every]), axis=0)
        for kind in ("plain", "refined")
    ]
    rows = {}
    for name, s in seen.items():
        plain, refined = (
            np.linalg.norm(upright(points, s.truth) - offset, axis=2).mean(axis=1)
            for points, offset in zip((s.plain, s.refined), offsets, strict=True)
        )
        worse = (refined > plain + WORSE).mean()
        shares = [s.refiners.count(kind) / len(s.refiners) for kind in ("onet", "retinaface")]
        rows[name] = {"faces": len(plain), "missed": s.n_missed, "plain": _spread(plain)}
        rows[name] |= {"refined": _spread(refined), "worse": worse}
        rows[name] |= {"by onet": shares[0], "by retinaface": shares[1]}
    show_table("error", rows, "mean/95th percentile, per cent of the eye distance")


def _scenes(
    faces: list[Face], width: float, canvas: tuple[int, int], roll: float
) -> Iterator[Scene]:
    for number, face in enumerate(faces):
        if face.width >= MIN_DETAIL * width:
            yield show(face, number, width, canvas, roll)


def _spread(errors: Doubles) -> str:
    return f"{errors.mean():.1f}/{np.percentile(errors, 95):.1f}"


# Jitter


def compare_jitter(faces: list[Face], detector: SizedDetector, refiner: Refiner) -> None:
    """Show a still face at random fractions of a pixel, after H.264; compare the arcface crops."""
    rows = {}
    for name, width, canvas in UPRIGHT:
        plain, refined = [], []
        for number, face in enumerate(faces):
            if face.width < MIN_DETAIL * width or face.is_video:
                continue
            scenes = [show(face, number, width, canvas, 0, seed) for seed in range(1, N_SHIFTS + 1)]
            images = through_h264([scene.image for scene in scenes])
            found = [
                find_face(detector, scene, answer)
                for scene, answer in zip(scenes, detector.detect(images), strict=True)
            ]
            if any(each is None for each in found):
                continue
            sure: list[Faces] = [each for each in found if each is not None]
            better = [each.faces for each in refiner.refine(images, sure)]
            shifts = np.array([scene.truth.mean(axis=0) for scene in scenes])
            plain.append(jitter(sure, shifts, width))
            refined.append(jitter(better, shifts, width))
        medians = statistics.median(plain), statistics.median(refined)
        rows[name] = {"faces": len(plain), "plain": medians[0], "refined": medians[1]}
    show_table("jitter", rows, "RMS of a still crop's corners in % of its width, median of faces")


def through_h264(images: Sequence[Pixels]) -> list[Pixels]:
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        with av.open(file.name, "w") as target:
            stream = target.add_stream("libx264", rate=30, options={"crf": "23", "preset": "fast"})
            stream.height, stream.width = images[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            for image in images:
                target.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
            target.mux(stream.encode())
        with av.open(file.name) as source:
            return [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]


def jitter(faces: Sequence[Faces], shifts: Doubles, width: float) -> float:
    points = np.stack([each.landmarks[0] for each in faces]) - shifts[:, None]
    turns = estimate_similarity(points, ARCFACE_112)
    inverse = np.linalg.inv(turns[:, :, :2])
    corners = np.array([(0, 0), (112, 0), (0, 112), (112, 112)])
    placed = (corners - turns[:, None, :, 2]) @ inverse.swapaxes(1, 2)
    apart = placed - placed.mean(axis=0)
    return float(np.sqrt((apart**2).sum(axis=2).mean()) / width * 100)


# Likeness


def compare_likeness(folder: Path, detector: SizedDetector, refiner: Refiner) -> None:
    """Paste AT&T's faces at 60 to 120 px into 1080p frames; compare the cosine of genuine pairs."""
    paths = sorted(folder.glob("s*/*.pgm"))
    photos = [decode(path.read_bytes()) for path in paths]
    people = np.array([path.parent.name for path in paths])
    chance = np.random.default_rng(1)
    pasted = [paste(photo, float(chance.uniform(60, 120)), chance) for photo in photos]
    chosen, crops = [], {name: [] for name in ("original", "pasted", "original+", "pasted+")}
    for row, pair in enumerate(zip(photos, pasted, strict=True)):
        answers = detector.detect(list(pair))
        if all(len(each) for each in answers):
            chosen.append(row)
            surest = [each.take([0]) for each in answers]
            better = [each.faces for each in refiner.refine(list(pair), surest)]
            for name, image, found in zip(crops, pair * 2, surest + better, strict=True):
                crops[name].append(aligned(image, found))
    embedder = DlibResnet(Runtime("cpu", 1))
    same = people[chosen][:, None] == people[chosen]
    np.fill_diagonal(same, False)
    rows = {}
    names = ("plain, original", "plain, pasted", "refined, original", "refined, pasted")
    for name, cut in zip(names, crops.values(), strict=True):
        vectors = embedder.embed(np.stack(cut))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        rows[name] = {"cosine": (vectors @ vectors.T)[same].mean()}
    note = f"mean of genuine pairs, dlib-resnet, {len(chosen)} of {len(photos)} faces"
    show_table("likeness", rows, note)


def paste(photo: Pixels, width: float, chance: np.random.Generator) -> Pixels:
    """Paste the photo, whose face takes about 0.7 of its width, somewhere into a 1080p frame."""
    scale = width / 0.7 / photo.shape[1]
    x, y = chance.uniform(100, 1600), chance.uniform(100, 800)
    frame = np.full((*HD, 3), 127, np.uint8)
    move = np.array([[scale, 0, x], [0, scale, y]])
    whole = crop_smooth(photo, move, HD)
    covered = crop_smooth(np.full_like(photo, 255), move, HD) == 255
    frame[covered] = whole[covered]
    return frame


def aligned(image: Pixels, faces: Faces) -> Pixels:
    template = load_template("dlib-150")
    return crop(image, template.fit(faces)[0], template.size)


# Speed


def compare_speed(clip: Path, repeats: int, is_quick: bool) -> None:
    """Run extract-video on all cores, alternately with and without refinement."""
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large" / "1080p.mp4"
        large.parent.mkdir()
        enlarge(clip, large)
        for path in (clip,) if is_quick else (clip, large):
            for all_faces in (False, True):
                seconds: dict[bool, list[float]] = {False: [], True: []}
                for turn in range(repeats):
                    for refine in (False, True):
                        job = ExtractVideo(refine=refine, all_faces=all_faces, device="cpu")
                        job.finder()
                        target = Path(folder) / f"{path.stem}{turn}{refine}{all_faces}"
                        started = time.process_time()
                        run_job(job, Request((path,), target), SerialRunner())
                        seconds[refine].append(time.process_time() - started)
                plain, refined = (min(seconds[refine]) for refine in (False, True))
                kind = "all faces" if all_faces else "one face a frame"
                name = f"{'1080p' if path is large else '640 × 360'}, {kind}"
                rows[name] = {"plain": plain, "refined": refined, "more": refined / plain - 1}
    show_table("extract-video", rows, f"CPU seconds, the least of {repeats}")


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("data", type=Path)
    options.add_argument("--reference-python", help="the interpreter that has the references")
    options.add_argument("--cache", type=Path, help="folder that keeps the references' answers")
    options.add_argument("--detector", default="retinaface")
    options.add_argument("--frames", type=int, default=6, help="of each clip")
    options.add_argument("--repeats", type=int, default=1)
    options.add_argument("--quick", action="store_true", help="no speed at 1080p")
    options.add_argument("--only", choices=("errors", "jitter", "likeness", "speed"))
    given = options.parse_args()
    wanted = [given.only] if given.only else ["errors", "jitter", "likeness", "speed"]
    detector = open_detector(
        DetectorSpec(given.detector, "cpu", threads=1, min_score=0.5, sure_score=0.8)
    )
    refiner = open_refiner(Runtime("cpu", 1))
    with tempfile.TemporaryDirectory() as folder:
        cache = given.cache or Path(folder)
        if given.reference_python and {"errors", "jitter"} & set(wanted):
            faces = load_faces(given.data, given.reference_python, cache, given.frames)
        if given.reference_python and "errors" in wanted:
            compare_errors(faces, detector, refiner)
        if given.reference_python and "jitter" in wanted:
            compare_jitter(faces, detector, refiner)
    if "likeness" in wanted:
        compare_likeness(given.data / "orl", detector, refiner)
    if "speed" in wanted:
        (clip, *_) = sorted((given.data / "video").glob("*.mp4"))
        compare_speed(clip, given.repeats, given.quick)


if __name__ == "__main__":
    main()
