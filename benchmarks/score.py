"""Time the measures of `score` on a crop, and compare `score --model` with the network alone.

python benchmarks/score.py [--model SPEC] [--crops 500]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from timing import side_by_side

from faceprep.core.cpu import n_cores
from faceprep.core.opencv import opencv
from faceprep.models.scorers.scorer import ScorerSpec, open_scorer
from faceprep.models.spec import SCORER_SETTINGS, parse_spec
from faceprep.synthetic.images import draw_face
from faceprep.vision.codec import encode
from faceprep.vision.quality import measure_crop

_CROPS, _RUNS = 400, 7


def measures() -> None:
    opencv().setNumThreads(1)
    crop, _ = draw_face(identity=1, image=1)

    def measure() -> None:
        for _ in range(_CROPS):
            measure_crop(crop)

    measure()  # warms up
    side_by_side("all measures, one crop, one thread", _CROPS, {"measure_crop": measure}, _RUNS)


def draw(root: Path, n: int, size: tuple[int, int]) -> None:
    """Write `n` crops of the size of the model."""
    for number in range(n):
        crop = opencv().resize(draw_face(number // 20, number % 20)[0], size[::-1])
        path = root / str(number // 20) / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(crop, ".jpg"))


def with_model(model: str, n: int) -> None:
    scorer = open_scorer(ScorerSpec(model, "cpu", threads=n_cores()))
    crops = np.random.default_rng(0).integers(0, 256, (n, *scorer.size, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        root, runs = Path(folder, "crops"), iter(range(100))
        root.mkdir()
        draw(root, n, scorer.size)

        def command(*options: str) -> None:
            line = [sys.executable, "-m", "faceprep", "score", str(root)]
            line += [f"{folder}/{next(runs)}.parquet", *options]
            subprocess.run(line, check=True, capture_output=True)

        candidates = {
            "the network alone, all cores": lambda: _score(scorer, crops),
            "faceprep score, without the model": command,
            "the same with the model": lambda: command("--model", model),
        }
        name = Path(parse_spec(model, SCORER_SETTINGS).model).name
        side_by_side(f"score, {name}", n, candidates, 3)


def _score(scorer: object, crops: np.ndarray) -> None:
    scorer.score(crops)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--model")
    options.add_argument("--crops", type=int, default=500)
    given = options.parse_args()
    if given.model:
        with_model(given.model, given.crops)
    else:
        measures()


if __name__ == "__main__":
    main()
