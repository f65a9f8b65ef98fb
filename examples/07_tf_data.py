"""Read a set with tf.data: paths in an .npz, shuffled and cached, or images in TFRecord shards.
Needs 'faceprep[tensorflow]'. Without a folder, it draws a small set.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from faceprep import Manifest, ProcessRunner, Request, run_job
from faceprep.synthetic import write_folder


def main(arguments: list[str]) -> None:
    decode = partial(tf.io.decode_image, expand_animations=False)  # JPEG or PNG
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source, target = Path(*arguments or [work / "folders"]), work / "out"
    if not arguments:
        write_folder(source)
    run_job(Manifest(seed=1), Request((source,), target / "train.npz"), ProcessRunner(2))
    shards = Manifest(seed=1, with_images=True, shards=2)
    run_job(shards, Request((source,), target / "train.tfrecord"), ProcessRunner(2))
    table = np.load(target / "train.npz")
    rows = tf.data.Dataset.from_tensor_slices((table["image_names"], table["image_classes"]))
    listed = rows.map(lambda path, label: (decode(tf.io.read_file(path)), label)).cache()
    kinds = {"image_raw": tf.string, "label": tf.int64}
    layout = {name: tf.io.FixedLenFeature([], kind) for name, kind in kinds.items()}
    files = tf.data.Dataset.list_files(str(target / "train-*.tfrecord"), seed=1)
    rows = tf.data.TFRecordDataset(files).map(partial(tf.io.parse_single_example, features=layout))
    packed = rows.map(lambda row: (decode(row["image_raw"]), row["label"]))
    for place, images in {"the .npz": listed, "the shards": packed}.items():
        ((faces, labels),) = images.shuffle(10_000, seed=1).batch(8).prefetch(2).take(1)
        print(f"from {place}: {faces.shape} {faces.dtype.name}, classes {labels.numpy().tolist()}")


if __name__ == "__main__":  # workers import this file: keep the work behind this line
    main(sys.argv[1:]) if len(sys.argv) in (1, 2) else sys.exit(__doc__)
