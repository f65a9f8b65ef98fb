"""Draw batches of P people with K images each, for triplet losses in PyTorch and tf.data.
Needs PyTorch or 'faceprep[tensorflow]'. Without a folder, it draws a small set.
"""

import importlib.util
import sys
import tempfile
from pathlib import Path

import numpy as np

from faceprep import Manifest, Request, decode, run_job
from faceprep.synthetic import write_folder


def draw_batches(classes: np.ndarray, rng: np.random.Generator, p: int = 3, k: int = 4):
    """Yield the rows of one epoch; an iterable of them is a DataLoader's `batch_sampler`."""
    order = np.argsort(classes, kind="stable")
    people = np.split(order, np.flatnonzero(np.diff(classes[order])) + 1)
    people = [people[i] for i in rng.permutation(len(people)) if len(people[i]) >= k]
    for chosen in zip(*[iter(people)] * p, strict=False):
        yield np.concatenate([rng.choice(rows, k, replace=False) for rows in chosen]).tolist()


if __name__ == "__main__":
    len(sys.argv) in (1, 2) or sys.exit(__doc__)
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source = Path(*sys.argv[1:] or [work / "folders"])
    sys.argv[1:] or write_folder(source, n_identities=7, n_images=5)
    run_job(Manifest(seed=1), Request(source, work / "train.npz"))
    names, classes = map(np.load(work / "train.npz").get, ("image_names", "image_classes"))
    batches = [*draw_batches(classes, np.random.default_rng(1))] or sys.exit("needs 3 × 4 images")
    if importlib.util.find_spec("torch"):
        loader = importlib.import_module("torch.utils.data").DataLoader
        drawn = loader(range(len(names)), batch_sampler=batches, collate_fn=np.array)
    else:  # a tf.data.Dataset
        drawn = importlib.import_module("tensorflow").data.Dataset.from_tensor_slices(batches)
    for batch in map(np.array, drawn):
        faces = np.stack([decode(Path(names[row]).read_bytes()) for row in batch])
        print(f"{faces.shape}, classes {classes[batch].tolist()}")
