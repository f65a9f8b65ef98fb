"""Compare `embed`, the whole command, with dlib's own descriptor on some of the same chips.

    python benchmarks/embed.py [--crops 2000] [--dlib 30] [--repeats 3] [--only
    command|reading|model] [--embedder SPEC] [--quick]

Crops are drawn faces of 112 × 112 in identity folders, JPEG and PNG. dlib-bin takes `--dlib` of
them, as 150 × 150 chips that are in memory already, one at a time, as its users call it, and in
batches.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from timing import side_by_side

from faceprep.core.cpu import n_cores
from faceprep.core.prefetch import map_ahead
from faceprep.models import weights
from faceprep.models.spec import EMBEDDER_SETTINGS, parse_spec
from faceprep.steps.embed_crops import load_file
from faceprep.steps.embed_options import EmbedOptions
from faceprep.synthetic import draw_face
from faceprep.vision.codec import encode


def draw(root: Path, n: int) -> list[str]:
    """Draw `n` crops below `root`, every second one a PNG, and return their paths."""
    paths = []
    for number in range(n):
        suffix = (".jpg", ".png")[number % 2]
        path = root / str(number // 20) / f"{number}{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(draw_face(number // 20, number % 20)[0], suffix))
        paths.append(str(path.relative_to(root)))
    return paths


def command(root: Path, n_runs: list[int], embedder: str) -> None:
    """Run `embed` in a process of its own, from the start to the .npz."""
    n_runs.append(0)
    out = root.parent / f"{len(n_runs)}.npz"
    line = [sys.executable, "-m", "faceprep", "embed", str(root), str(out), "--embedder", embedder]
    subprocess.run(line, check=True, capture_output=True)


def dlib_alone(chips: list[np.ndarray], in_batches: bool) -> float:
    """Return the seconds of dlib's own descriptor, whose file is already open."""
    import dlib

    with tempfile.NamedTemporaryFile(suffix=".dat") as file:
        file.write(weights.dlib_resnet())
        file.flush()
        model = dlib.face_recognition_model_v1(file.name)
    started = time.perf_counter()
    if in_batches:
        model.compute_face_descriptor(chips)
    else:
        for chip in chips:
            model.compute_face_descriptor(chip)
    return time.perf_counter() - started


def read_all(root: Path, paths: list[str], n_threads: int) -> None:
    """Read, decode and fit the images as a shard does, without the model."""
    fitter = EmbedOptions().fitter()
    for _ in map_ahead(partial(load_file, fitter, root), paths, n_threads, 64):
        pass


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--crops", type=int, default=2000)
    options.add_argument("--dlib", type=int, default=20)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--embedder", default="dlib-resnet")
    options.add_argument("--only", choices=["command", "reading", "model"])
    options.add_argument("--quick", action="store_true", help="300 crops, 5 of them by dlib, once")
    given = options.parse_args()
    n, n_dlib, repeats = (300, 5, 1) if given.quick else (given.crops, given.dlib, given.repeats)
    title = "embed"
    if given.embedder != "dlib-resnet":
        title += f", {Path(parse_spec(given.embedder, EMBEDDER_SETTINGS).model).name}"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "crops")
        root.mkdir()
        paths = draw(root, n)
        embed = EmbedOptions(given.embedder)
        images = [
            crop.pixels
            for path in paths[: max(n_dlib, 64)]
            for crop in load_file(embed.fitter(), root, path)
        ]
        chips = np.stack(images)
        dlib_chips = list(chips[:n_dlib])
        runs: list[int] = []
        if given.only in (None, "command"):
            command(root, runs, given.embedder)  # makes the cached graph
            candidates = {
                "dlib-bin, chip by chip": lambda: dlib_alone(dlib_chips, False),
                "dlib-bin, in one batch": lambda: dlib_alone(dlib_chips, True),
            }
            if importlib.util.find_spec("dlib") is None:
                candidates = {}
            if given.embedder != "dlib-resnet":
                many = np.concatenate([chips] * (-(-n // len(chips))))[:n]
                candidates = {"the network alone, all cores": lambda: _embed(embed, many)}
            candidates["faceprep embed, whole command"] = lambda: command(
                root, runs, given.embedder
            )
            fewer = {name: n_dlib for name in candidates if name.startswith("dlib")}
            side_by_side(title, n, candidates, repeats, fewer)
        if given.only in (None, "reading"):
            candidates = {
                "reading, decoding, fitting: one thread": lambda: read_all(root, paths, 1),
                f"the same: {n_cores()} threads": lambda: read_all(root, paths, n_cores()),
            }
            side_by_side(f"{title}, what is not the model", n, candidates, repeats)
        if given.only in (None, "model"):
            chips = np.concatenate([chips] * (-(-min(n, 1000) // len(chips))))
            side_by_side(
                f"{title}, the model alone, all cores",
                len(chips),
                {"the network": lambda: _embed(embed, chips)},
                repeats,
            )


def _embed(embed: EmbedOptions, chips: np.ndarray) -> None:
    embed.embed_fitted(chips)


if __name__ == "__main__":
    main()
