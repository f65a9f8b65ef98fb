"""Write a TFRecord with a teacher's embeddings, as Keras_insightface reads it to distill.

Needs TensorFlow: pip install 'faceprep[tensorflow,embed]'. Without FOLDERS OUT, it draws a set.
"""

import sys
import tempfile
from pathlib import Path

import tensorflow as tf

from faceprep import Embed, Manifest, ProcessRunner, Request, run_job
from faceprep.synthetic import write_folder


def main(arguments: list[str]) -> None:
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source, target = map(Path, arguments) if arguments else (work / "folders", work / "out")
    if not arguments:
        write_folder(source)
    run_job(Embed(), Request((source,), target / "teacher.npz"), ProcessRunner(1))
    manifest = Manifest(seed=1, embeddings=target / "teacher.npz")
    run_job(manifest, Request((source,), target / "train.tfrecord"), ProcessRunner(2))

    records = tf.data.TFRecordDataset(str(target / "train.tfrecord"))
    number, text = tf.io.FixedLenFeature([], tf.int64), tf.io.FixedLenFeature([], tf.string)
    in_first = dict.fromkeys(("classes", "emb_shape", "total", "use_fp16"), number)
    example = tf.io.parse_single_example(next(iter(records)), in_first)
    first = {name: int(value) for name, value in example.items()}
    print(f"{first['total']} images of {first['classes']} classes, vectors of {first['emb_shape']}")

    each = {"image_names": text, "image_classes": number, "embeddings": text}
    rows = records.map(lambda record: tf.io.parse_single_example(record, each))
    dtype = tf.float16 if first["use_fp16"] else tf.float32
    vectors = rows.map(lambda row: tf.io.decode_raw(row["embeddings"], dtype))
    print(f"a batch of teacher vectors: {next(iter(vectors.batch(8))).shape}")


if __name__ == "__main__":  # workers import this file: keep the work behind this line
    main(sys.argv[1:]) if len(sys.argv) in (1, 3) else sys.exit(__doc__)
