"""Read FOLDER, or a drawn set, as a PyTorch Dataset: a class with __len__ and __getitem__."""

import importlib.util
import sys
import tempfile
from pathlib import Path

import numpy as np

from faceprep import Manifest, ProcessRunner, Request, decode, run_job
from faceprep.synthetic import write_folder


class Faces:
    def __init__(self, path: Path) -> None:
        manifest = np.load(path)
        self.names, self.classes = manifest["image_names"], manifest["image_classes"]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:  # (3, 112, 112), -1 … 1, class
        image = decode(Path(self.names[row]).read_bytes()).transpose(2, 0, 1).astype(np.float32)
        return (image - 127.5) / 127.5, int(self.classes[row])


if __name__ == "__main__":  # workers import this file: keep the work behind this line
    len(sys.argv) in (1, 2) or sys.exit(__doc__)
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
