"""Measure a model on a verification .bin after each epoch, with a Keras callback.
Needs TensorFlow: pip install 'faceprep[tensorflow]'. Without a .bin, it draws one.
"""

import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

from faceprep import MakeBin, Request, SerialRunner, decode, judge_pairs, load_pairs, run_job
from faceprep.synthetic import write_folder


class Verification(keras.callbacks.Callback):
    def __init__(self, path: Path) -> None:
        super().__init__()
        pairs = load_pairs(path)
        pixels = np.stack([decode(image) for image in pairs.images])
        self.faces, self.same = (pixels.astype(np.float32) - 127.5) / 128, np.array(pairs.same)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        vectors = self.model.predict(self.faces, batch_size=128, verbose=0)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        found = judge_pairs((vectors[::2] * vectors[1::2]).sum(axis=1), self.same)
        print(f"epoch {epoch + 1}: accuracy {found.accuracy:.3f} of {found.pairs} pairs")


if __name__ == "__main__":
    len(sys.argv) in (1, 2) or sys.exit(__doc__)
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source = Path(sys.argv[1]) if sys.argv[1:] else work / "pairs.bin"
    if not sys.argv[1:]:
        write_folder(work / "people", n_identities=8, n_images=4)
        run_job(MakeBin(pairs=40, seed=1), Request((work / "people",), source), SerialRunner())
    layers = keras.layers.AveragePooling2D(8), keras.layers.Flatten(), keras.layers.Dense(64)
    model, check = keras.Sequential([keras.Input((112, 112, 3)), *layers]), Verification(source)
    model.compile("sgd", "mse")
    model.fit(check.faces, np.zeros((len(check.faces), 64)), epochs=2, verbose=0, callbacks=[check])
