"""Read a set with tf.data (faceprep[tensorflow]): names from an .npz, images from TFRecord files.

Without a folder it draws a small set.
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
    output = Request((source,), target / "train.tfrecord")
    run_job(Manifest(seed=1, with_images=True), output, ProcessRunner(2))
    manifest = np.load(target / "train.npz")
    rows = tf.data.Dataset.from_tensor_slices((manifest["image_names"], manifest["image_classes"]))
    images = rows.map(lambda path, label: (decode(tf.io.read_file(path)), label))
    faces, labels = next(iter(images.batch(8)))
    print(f"from the .npz: {faces.shape}, classes {labels.numpy().tolist()}")
    layout = {"image_raw": tf.io.FixedLenFeature([], tf.string)}
    layout["label"] = tf.io.FixedLenFeature([], tf.int64)
    records = tf.data.TFRecordDataset(str(output.output))
    record = next(iter(records.map(lambda data: tf.io.parse_single_example(data, layout))))
    print("from the .tfrecord:", decode(record["image_raw"]).shape, int(record["label"]))


if __name__ == "__main__":  # workers import this file: keep the work behind this line
    main(sys.argv[1:])
