"""Write WebDataset shards, and read them as `webdataset.WebDataset(shards)` does.
Without a folder, it draws a small set.
"""

import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from faceprep import Manifest, ProcessRunner, Request, decode, run_job
from faceprep.synthetic import write_folder


def read_shard(path: Path) -> Iterator[dict[str, bytes]]:
    """Group files whose names are equal up to the first dot; the rest of the name is the key."""
    sample: dict[str, bytes] = {}
    with tarfile.open(path) as shard:
        for member in shard:
            key, _, kind = member.name.partition(".")
            if sample and sample["__key__"] != key:
                yield sample
                sample = {}
            sample |= {"__key__": key, kind: shard.extractfile(member).read()}
    yield sample


if __name__ == "__main__":  # workers import this file: keep the work behind this line
    len(sys.argv) in (1, 2) or sys.exit(__doc__)
    work = Path(tempfile.mkdtemp(prefix="faceprep-example-"))
    source = Path(sys.argv[1]) if sys.argv[1:] else work / "folders"
    if not sys.argv[1:]:
        write_folder(source)
    run_job(Manifest(seed=1, shards=2), Request((source,), work / "train.tar"), ProcessRunner(2))
    shards = sorted(work.glob("train-*.tar"))
    samples = [sample for shard in shards for sample in read_shard(shard)]
    first = samples[0]
    (image,) = (data for kind, data in first.items() if kind not in ("__key__", "cls"))  # jpg, png
    shape, label = decode(image).shape, first["cls"].decode()
    print(f"{len(samples)} samples in {len(shards)} shards, the first {shape} of class {label}")
