"""A manifest as a PyTorch Dataset: anything with __len__ and __getitem__ is one.

Without an argument, a folder, it draws a small set first. Where torch is installed, a DataLoader
makes a batch of it.
"""

import importlib.util
import sys
import tempfile
from pathlib import Path

import numpy as np

from faceprep import Manifest, ProcessRunner, Request, run_job
from faceprep.synthetic import write_folder
from faceprep.vision.codec import decode


# (3, 112, 112) float32 in -1 … 1 and the class, as arcface_torch's image folder has them
class Faces:
    def __init__(self, manifest: Path) -> None:
        self.names, self.classes = (
            np.load(manifest)[key] for key in ("image_names", "image_classes")
        )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        image = decode(Path(self.names[row]).read_bytes()).transpose(2, 0, 1)
        return (image.astype(np.float32) - 127.5) / 127.5, int(self.classes[row])


if __name__ == "__main__":  # workers import this file: keep the work behind this line
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source = Path(sys.argv[1]) if sys.argv[1:] else work / "folders"
    if not sys.argv[1:]:
        write_folder(source)
    run_job(Manifest(seed=1), Request((source,), work / "train.npz"), ProcessRunner(2))
    faces = Faces(work / "train.npz")
    print(f"{len(faces)} images, the first {faces[0][0].shape} of class {faces[0][1]}")
    if importlib.util.find_spec("torch"):
        loader = importlib.import_module("torch.utils.data").DataLoader(
            faces, batch_size=8, shuffle=True
        )
        print(next(iter(loader))[0].shape)
