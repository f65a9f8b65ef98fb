"""Convert identity folders to a .rec for arcface_torch, and read it with MXNet, as it does.

    python examples/11_arcface_torch_rec.py path/to/folders

Without arguments, it draws a small set. Set FACEPREP_MXNET_PYTHON to a Python with MXNet.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from faceprep import Folder2Rec, ProcessRunner, Request, run_job
from faceprep.synthetic import write_folder

READ = """
import numbers, sys
import mxnet as mx
record = mx.recordio.MXIndexedRecordIO(sys.argv[1] + "/train.idx", sys.argv[1] + "/train.rec", "r")
header, _ = mx.recordio.unpack(record.read_idx(0))
keys = range(1, int(header.label[0])) if header.flag > 0 else list(record.keys)
labels = set()
for key in keys:
    header, image = mx.recordio.unpack(record.read_idx(key))
    labels.add(int(header.label if isinstance(header.label, numbers.Number) else header.label[0]))
print(len(keys), "images of", len(labels), "classes, the last", mx.image.imdecode(image).shape)
"""

if __name__ == "__main__":  # workers import this file: keep the work behind this line
    len(sys.argv) in (1, 2) or sys.exit(__doc__)
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source = Path(sys.argv[1]) if sys.argv[1:] else work / "folders"
    if not sys.argv[1:]:
        write_folder(source)
    run_job(Folder2Rec(), Request((source,), work / "set"), ProcessRunner(2))
    python = os.environ.get("FACEPREP_MXNET_PYTHON", ".venv-mxnet/bin/python")
    if not Path(python).exists():
        sys.exit(f"{python}: no such file. Set FACEPREP_MXNET_PYTHON to a Python with MXNet.")
    subprocess.run([python, "-c", READ, str(work / "set")], check=True)
