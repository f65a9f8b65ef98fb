"""Train a tiny Keras classifier for two steps on a manifest of identity folders.

Needs TensorFlow: pip install 'faceprep[tensorflow]'. Without a folder, it draws a small set.
"""

import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from faceprep import Manifest, ProcessRunner, Request, run_job
from faceprep.synthetic import write_folder


def load(path: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    return (tf.cast(tf.ensure_shape(image, (112, 112, 3)), tf.float32) - 127.5) / 128, label


def main(arguments: list[str]) -> None:
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source = Path(arguments[0]) if arguments else work / "folders"
    if not arguments:
        write_folder(source, n_identities=4, n_images=8)
    run_job(Manifest(seed=1), Request((source,), work / "train.npz"), ProcessRunner(2))
    manifest = np.load(work / "train.npz")
    n, n_classes = len(manifest["image_names"]), int(manifest["image_classes"].max()) + 1
    rows = tf.data.Dataset.from_tensor_slices((manifest["image_names"], manifest["image_classes"]))
    layers = keras.layers.Conv2D(8, 5, 4), keras.layers.Flatten(), keras.layers.Dense(n_classes)
    model = keras.Sequential(layers)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    done = model.fit(rows.map(load).batch(16).repeat(), steps_per_epoch=2, shuffle=False, verbose=0)
    print(f"two steps on {n} images of {n_classes} classes, loss {done.history['loss'][0]:.2f}")


if __name__ == "__main__":  # workers import this file: keep the work behind this line
    main(sys.argv[1:]) if len(sys.argv) in (1, 2) else sys.exit(__doc__)
