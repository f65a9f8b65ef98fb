"""Give TFLite the representative crops that it needs to quantize a model to integers.

Needs TensorFlow: pip install 'faceprep[tensorflow]'. Without a folder, it draws a small set.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from faceprep import Manifest, ProcessRunner, Request, decode, run_job
from faceprep.synthetic import write_folder


def main(arguments: list[str]) -> None:
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source = Path(arguments[0]) if arguments else work / "folders"
    if not arguments:
        write_folder(source)
    run_job(Manifest(seed=1), Request((source,), work / "train.npz", limit=100), ProcessRunner(2))

    def faces() -> Iterator[list[np.ndarray]]:
        for name in np.load(work / "train.npz")["image_names"]:
            yield [(decode(Path(name).read_bytes())[None].astype(np.float32) - 127.5) / 128]

    pool, dense = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(16)
    layers = [keras.Input((112, 112, 3)), keras.layers.Conv2D(8, 5, 4), pool, dense]
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Sequential(layers))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = faces
    print(f"{sum(1 for _ in faces())} faces, a model of {len(converter.convert()):,} bytes")


if __name__ == "__main__":  # workers import this file: keep the work behind this line
    main(sys.argv[1:]) if len(sys.argv) in (1, 2) else sys.exit(__doc__)
