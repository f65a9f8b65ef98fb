"""Compare a shuffled epoch from faceprep's shards with one from a peer's, by the same reader.

    python benchmarks/epoch.py --dir /dev/shm

Needs tensorflow, webdataset and Pillow. tf.data reads .tfrecord, by tf.io.TFRecordWriter or by
`convert`; webdataset reads .tar, by its own ShardWriter or by `convert`. Images are JPEGs of
112 × 112 that differ. They are decoded and put into batches of 128. Where PyTorch is installed,
webdataset also reads with two workers of its loader, as trainers do; their start is in the time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from timing import Candidate, side_by_side

from faceprep.sets.webdataset import END, key_of, sample_bytes
from faceprep.synthetic import draw_face

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
import tensorflow as tf  # noqa: E402
import webdataset as wds  # noqa: E402

_N_SHARDS = 4
_N_OF_IDENTITY = 50
_BATCH, _SHUFFLED = 128, 1000
_FEATURES = {
    "image_raw": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
}

Image = tuple[int, bytes]


def draw_images(n: int) -> Iterator[Image]:
    """Yield the class and the bytes of `n` JPEGs of 112 × 112, about 6 kB each."""
    rng = np.random.default_rng(0)
    faces = [draw_face(identity, 0)[0].astype(np.int16) for identity in range(64)]
    for i in range(n):
        noise = rng.integers(-12, 13, (112, 112, 1), np.int16)
        pixels = np.clip(faces[i % 64] + noise, 0, 255).astype(np.uint8)
        _, data = cv2.imencode(".jpg", pixels)
        yield i // _N_OF_IDENTITY, data.tobytes()


def write_ours(images: list[Image], root: Path) -> None:
    """Write the set in one .tar, and convert it to shards of both kinds."""
    with (root / "set.tar").open("wb") as file:
        for i, (label, data) in enumerate(images):
            file.write(sample_bytes(key_of(f"{label}/{i}"), data, ".jpg", label))
        file.write(END)
    for suffix in ("tfrecord", "tar"):
        target = root / "ours" / f"a.{suffix}"
        words = ["convert", str(root / "set.tar"), str(target), "--shards", str(_N_SHARDS), "-q"]
        command = [sys.executable, "-m", "faceprep", *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def write_theirs(images: list[Image], root: Path) -> None:
    """Write the same images by the writers of TensorFlow and of webdataset."""
    folder = root / "theirs"
    folder.mkdir()
    size = -(-len(images) // _N_SHARDS)
    for shard in range(_N_SHARDS):
        with tf.io.TFRecordWriter(str(folder / f"a-{shard}.tfrecord")) as file:
            for label, data in images[shard * size : (shard + 1) * size]:
                image = tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))
                number = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
                features = tf.train.Features(feature={"image_raw": image, "label": number})
                file.write(tf.train.Example(features=features).SerializeToString())
    with wds.ShardWriter(str(folder / "a-%d.tar"), maxcount=size, verbose=0) as sink:
        for i, (label, data) in enumerate(images):
            sink.write({"__key__": f"{label}/{i}", "jpg": data, "cls": label})


def _parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    found = tf.io.parse_single_example(record, _FEATURES)
    return tf.io.decode_jpeg(found["image_raw"], channels=3), found["label"]


def read_tfrecord(folder: Path, n: int) -> None:
    files = tf.data.Dataset.list_files(str(folder / "*.tfrecord"), seed=1)
    records = files.interleave(tf.data.TFRecordDataset, cycle_length=_N_SHARDS)
    images = records.shuffle(_SHUFFLED, seed=1).map(_parse, tf.data.AUTOTUNE)
    _count(images.batch(_BATCH).prefetch(2), n)


def _samples(folder: Path) -> wds.WebDataset:
    paths = sorted(map(str, folder.glob("*.tar")))
    samples = wds.WebDataset(paths, shardshuffle=_N_SHARDS, seed=1).shuffle(_SHUFFLED)
    return samples.decode("rgb8").to_tuple("jpg", "cls").batched(_BATCH)


def read_tar(folder: Path, n: int) -> None:
    _count(_samples(folder), n)


def load_tar(folder: Path, n: int) -> None:
    """Read as `read_tar` does, in two processes."""
    _count(wds.WebLoader(_samples(folder), batch_size=None, num_workers=2), n)


def _count(batches: object, n: int) -> None:
    found = sum(len(labels) for _, labels in batches)
    if found != n:
        raise RuntimeError(f"expected {n} images, found {found}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, default=20_000)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--dir", help="where to work; a folder on the disk to be measured")
    given = options.parse_args()
    n = given.images
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        root = Path(folder)
        images = list(draw_images(n))
        write_ours(images, root)
        write_theirs(images, root)
        readers = {"tf.data, .tfrecord": read_tfrecord, "webdataset, .tar": read_tar}
        if find_spec("torch"):
            readers["webdataset, .tar, two workers"] = load_tar
        for title, read in readers.items():
            candidates: dict[str, Candidate] = {
                "its own files": partial(read, root / "theirs", n),
                "files of faceprep convert": partial(read, root / "ours", n),
            }
            side_by_side(f"epoch of {title}", n, candidates, given.repeats)


if __name__ == "__main__":
    main()
