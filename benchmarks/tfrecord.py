"""Compare our TFRecord writer with tf.io.TFRecordWriter: the same bytes, one thread each.

python benchmarks/tfrecord.py              50,000 embeddings of 512; 50,000 images of 6 kB
python benchmarks/tfrecord.py --quick      a tenth of it
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from timing import side_by_side

from faceprep.core import storage
from faceprep.sets import tfrecord

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
import tensorflow as tf  # noqa: E402

Columns = dict[str, Sequence[bytes] | Sequence[int]]


def ours(columns: Columns, path: Path) -> None:
    with storage.AtomicFile(
        path, durable=False
    ) as file:  # TensorFlow does not wait for the disk either
        tfrecord.write_records(file, tfrecord.encode_examples(columns))


def theirs(columns: Columns, path: Path) -> None:
    """Write as in TensorFlow's guide, deterministically so that the files can be compared."""
    with tf.io.TFRecordWriter(str(path)) as file:
        for values in zip(*columns.values(), strict=True):
            features = tf.train.Features(
                feature=dict(zip(columns, map(feature, values), strict=True))
            )
            file.write(tf.train.Example(features=features).SerializeToString(deterministic=True))


def feature(value: bytes | int) -> tf.train.Feature:
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--records", type=int, default=50_000)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--dir", help="where to work; a folder on the disk to be measured")
    given = options.parse_args()
    n = given.records // 10 if given.quick else given.records
    classes = [i // 100 for i in range(n)]
    vectors = np.random.default_rng(1).standard_normal((n, 512), np.float32)
    image = os.urandom(6000)
    kinds: dict[str, Columns] = {
        "names, classes, embeddings of 512 float32": {
            "image_names": [
                f"/datasets/ms1m_112x112_folders/{i // 100}/{i}.jpg".encode() for i in range(n)
            ],
            "image_classes": classes,
            "embeddings": [vector.tobytes() for vector in vectors],
        },
        "images of 6,000 bytes, labels": {"image_raw": [image] * n, "label": classes},
    }
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        files = [Path(folder) / name for name in ("theirs", "ours")]
        for title, columns in kinds.items():
            candidates = {
                "tf.io.TFRecordWriter, tf.train.Example": partial(theirs, columns, files[0]),
                "faceprep.sets.tfrecord": partial(ours, columns, files[1]),
            }
            side_by_side(title, n, candidates, given.repeats)
            if files[0].read_bytes() != files[1].read_bytes():
                raise RuntimeError(f"{title}: the files differ")


if __name__ == "__main__":
    main()
