"""Convert any set to the Parquet files that Hugging Face's `datasets` reads, and load them.

    python examples/18_hf_datasets.py train.rec

Needs `pip install datasets pillow`. Without a set, it draws one.
"""

import os
import sys
import tempfile
from pathlib import Path

from faceprep import Convert, ProcessRunner, Request, run_job
from faceprep.synthetic import write_insightface_rec

if __name__ == "__main__":  # workers import this file: keep the work behind this line
    len(sys.argv) in (1, 2) or sys.exit(__doc__)
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source = Path(sys.argv[1]) if sys.argv[1:] else work / "set"
    if not sys.argv[1:]:
        write_insightface_rec(source)
    target = work / "parquet" / "train.parquet"
    run_job(Convert(shards=2), Request((source,), target), ProcessRunner(2))

    os.environ["HF_HUB_OFFLINE"] = "1"  # the files are here
    os.environ["HF_HOME"] = str(work / "cache")
    from datasets import load_dataset

    files = sorted(str(path) for path in target.parent.glob("*.parquet"))
    faces = load_dataset("parquet", data_files=files, split="train")
    row = faces[0]
    print(f"{len(faces)} images with {sorted(faces.features)}, the first {row['image'].size}")
