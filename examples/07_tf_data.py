"""Read a set with tf.data: paths in an .npz, shuffled and cached, or images in TFRecord files.
Needs 'faceprep[tensorflow]'. Without a folder it draws a small set.
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
    records = target / "train.tfrecord"
    run_job(Manifest(seed=1, with_images=True), Request((source,), records), ProcessRunner(2))
    table = np.load(target / "train.npz")
    rows = tf.data.Dataset.from_tensor_slices((table["image_names"], table["image_classes"]))
    images = rows.map(lambda path, label: (decode(tf.io.read_file(path)), label)).cache()
    ((faces, labels),) = images.shuffle(10_000, seed=1).batch(8).prefetch(2).take(1)
    print(f"from the .npz: {faces.shape} {faces.dtype.name}, classes {labels.numpy().tolist()}")
    kinds = {"image_raw": tf.string, "label": tf.int64}
    layout = {name: tf.io.FixedLenFeature([], kind) for name, kind in kinds.items()}
    (data,) = tf.data.TFRecordDataset(str(records)).take(1)
    record = tf.io.parse_single_example(data, layout)
    face = decode(record["image_raw"])
    print(f"from the .tfrecord: {face.shape}, class {int(record['label'])}")


if __name__ == "__main__":  # workers import this file: keep the work behind this line
    main(sys.argv[1:])
