"""Draw batches of P people with K images each, for triplet losses in tf.data and PyTorch.

Needs TensorFlow: pip install 'faceprep[tensorflow]'. Without a folder, it draws a small set.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from faceprep import Manifest, ProcessRunner, Request, decode, run_job
from faceprep.synthetic import write_folder

P, K = 3, 4


def draw_batches(classes: np.ndarray, seed: int):  # a generator
    """Yield the rows of one epoch; `list(...)` of it is a DataLoader's `batch_sampler`."""
    rng, order = np.random.default_rng(seed), np.argsort(classes, kind="stable")
    people = np.split(order, np.flatnonzero(np.diff(classes[order])) + 1)
    people = [people[i] for i in rng.permutation(len(people)) if len(people[i]) >= K]
    for start in range(0, len(people) - P + 1, P):
        chosen = [rng.choice(rows, K, replace=False) for rows in people[start : start + P]]
        yield np.concatenate(chosen).tolist()


if __name__ == "__main__":  # workers import this file: keep the work behind this line
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source = Path(sys.argv[1]) if sys.argv[1:] else work / "folders"
    if not sys.argv[1:]:
        write_folder(source, n_identities=7, n_images=5)
    run_job(Manifest(seed=1), Request((source,), work / "train.npz"), ProcessRunner(2))
    names, classes = map(np.load(work / "train.npz").get, ("image_names", "image_classes"))
    kind = tf.TensorSpec(P * K, tf.int64)
    rows = tf.data.Dataset.from_generator(draw_batches, args=(classes, 1), output_signature=kind)
    for batch in rows.as_numpy_iterator():
        faces = np.stack([decode(Path(names[row]).read_bytes()) for row in batch])
        print(f"{faces.shape}, classes {classes[batch].tolist()}")
