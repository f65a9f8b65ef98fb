"""Use a detector and a scorer of your own: faceprep opens the class of `python:MODULE:CLASS`.

    faceprep extract-photos photos crops --detector python:19_own_models:Largest

faceprep passes a Runtime (device, threads). Change the fingerprint when the results change.
"""

import tempfile
from pathlib import Path

import numpy as np

from faceprep import ExtractPhotos, Faces, Request, Score, SerialRunner, run_job
from faceprep.synthetic import write_folder


class Largest:  # one face that fills the image; real ones run a network
    fingerprint, provider = "own/1", "CPU"

    def __init__(self, runtime: object, min_score: float = 0.5) -> None: ...

    def detect(self, images: list[np.ndarray]) -> list[Faces]:
        points = np.array([(0.34, 0.46), (0.66, 0.46), (0.5, 0.64), (0.37, 0.82), (0.63, 0.82)])
        boxes = [np.float32([[0, 0, *image.shape[1::-1]]]) for image in images]
        return [Faces(b, np.float32([points * b[0, 2:]]), np.ones(1, "f4")) for b in boxes]


class Redness(Largest):
    size = 112, 112  # height, width of the crops

    def score(self, crops: np.ndarray) -> np.ndarray:  # (n, 112, 112, 3) RGB → (n,)
        return crops[..., 0].mean(axis=(1, 2), dtype=np.float32)


if __name__ == "__main__":
    work, own = Path(tempfile.mkdtemp(prefix="faceprep-example-")), f"python:{Path(__file__).stem}"
    write_folder(work / "photos", n_identities=3, n_images=2)
    find, score = ExtractPhotos(detector=f"{own}:Largest"), Score(model=(f"{own}:Redness",))
    for job, source, target in ((find, "photos", "crops"), (score, "crops", "scores.parquet")):
        print(run_job(job, Request((work / source,), work / target), SerialRunner()).ok, target)
