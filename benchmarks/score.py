"""All measures of `score` on one decoded crop of 112 × 112, in one thread.

python benchmarks/score.py
"""

from __future__ import annotations

import statistics
import time

from faceprep.core.opencv import opencv
from faceprep.synthetic.images import draw_face
from faceprep.vision.quality import measure_crop

_CROPS, _RUNS = 400, 7


def main() -> None:
    opencv().setNumThreads(1)
    crop, _ = draw_face(identity=1, image=1)
    runs = []
    for _ in range(_RUNS + 1):  # the first warms up
        started = time.perf_counter()
        for _ in range(_CROPS):
            measure_crop(crop)
        runs.append((time.perf_counter() - started) / _CROPS * 1e3)
    print(f"{crop.shape}: {statistics.median(runs[1:]):.2f} ms a crop, median of {_RUNS}")


if __name__ == "__main__":
    main()
