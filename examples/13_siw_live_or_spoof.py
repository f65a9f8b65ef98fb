"""Train on SiW: videos to faces, faces to a manifest of two classes, one training step.
Needs 'faceprep[video,tensorflow]'. Arguments: SIW (the videos) and FACES (the output). Without
them, it makes a few small videos from a photo, and also needs 'faceprep[insightface]'.
"""

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np

from faceprep import ExtractVideo, Manifest, ProcessRunner, Request, decode, run_job
from faceprep.synthetic import write_siw_like


def main(arguments: list[str]) -> None:
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source, target = map(Path, arguments) if arguments else (work / "siw", work / "faces")
    if not arguments:
        photo = Path(find_spec("insightface").origin).parent / "data" / "images" / "t1.jpg"
        write_siw_like(source, face=decode(photo.read_bytes())[230:440:3, 430:610:3])
    summary = run_job(ExtractVideo(frames="pair"), Request((source,), target), ProcessRunner(2))
    print(f"{summary.ok} of {summary.inputs} frames have a face; failures: {summary.failed}")
    manifest = Manifest(seed=1, label_rule="live=0,spoof=1")
    run_job(manifest, Request((target,), work / "train.npz"), ProcessRunner(2))
    rows = np.load(work / "train.npz")
    faces = np.stack([decode(Path(name).read_bytes()) for name in rows["image_names"]]) / 255
    pool, dense = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1, "sigmoid")
    layers = [keras.Input(faces.shape[1:]), keras.layers.Conv2D(8, 5, 4), pool, dense]
    model = keras.Sequential(layers)
    model.compile("sgd", "binary_crossentropy")
    loss = model.train_on_batch(faces, rows["image_classes"])
    print(f"{len(faces)} faces, {rows['image_classes'].sum()} of them spoof, loss {loss:.2f}")


if __name__ == "__main__":  # workers import this file: keep the work behind this line
    main(sys.argv[1:]) if len(sys.argv) in (1, 3) else sys.exit(__doc__)
