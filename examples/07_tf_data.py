"""What tf.data reads: paths and classes from an .npz, or the images themselves from TFRecord files.

Needs TensorFlow: pip install 'faceprep[tensorflow]'. Without an argument, a folder, it draws a
small set first.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from faceprep import Manifest, ProcessRunner, Request, run_job
from faceprep.synthetic import write_folder


def main(arguments: list[str]) -> None:
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source, target = Path(*arguments) if arguments else work / "folders", work / "out"
    if not arguments:
        write_folder(source)
    run_job(Manifest(seed=1), Request((source,), target / "train.npz"), ProcessRunner(2))
    run_job(
        Manifest(seed=1, with_images=True),
        Request((source,), target / "train.tfrecord"),
        ProcessRunner(2),
    )

    manifest = np.load(target / "train.npz")
    rows = tf.data.Dataset.from_tensor_slices((manifest["image_names"], manifest["image_classes"]))
    images = rows.map(
        lambda path, label: (
            tf.io.decode_image(tf.io.read_file(path), expand_animations=False),
            label,
        )
    )
    for faces, labels in images.batch(8).take(1):
        print(f"from the .npz: {faces.shape} {faces.dtype.name}, classes {labels.numpy().tolist()}")

    layout = {
        "image_raw": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }
    records = tf.data.TFRecordDataset(str(target / "train.tfrecord"))
    parsed = records.map(lambda record: tf.io.parse_single_example(record, layout))
    for record in parsed.take(1):
        print(
            f"from the .tfrecord: {tf.io.decode_image(record['image_raw']).shape}, class "
            f"{int(record['label'])}"
        )


if __name__ == "__main__":  # workers import this file: keep the work behind this line
    main(sys.argv[1:])
