"""Compare `manifest` with the way Keras_insightface lists a folder, on files of one byte.

python benchmarks/manifest.py              1,000,000 files in 10,000 folders
python benchmarks/manifest.py --quick      100,000 files in 1,000 folders
python benchmarks/manifest.py --other DIR  and beside it the faceprep of another checkout
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from figures import peak_mb, show_table
from timing import Candidate, side_by_side

_AN_IDENTITY = 100


def write_tree(root: Path, n_identities: int) -> None:
    for identity in range(n_identities):
        folder = root / str(identity)
        folder.mkdir(parents=True)
        for image in range(_AN_IDENTITY):
            path = f"{folder}/{identity * _AN_IDENTITY + image}.jpg"
            fd = os.open(path, os.O_WRONLY | os.O_CREAT)
            os.write(fd, b"x")
            os.close(fd)


def run(command: Sequence[object], suffix: str, root: Path, package: str = "") -> None:
    environment = dict(os.environ)
    if package:
        environment["PYTHONPATH"] = package
    with tempfile.TemporaryDirectory(dir=root) as folder:
        words = [sys.executable, *map(str, command), f"{folder}/train{suffix}"]
        subprocess.run(words, check=True, capture_output=True, cwd=root, env=environment)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--identities", type=int, default=10_000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--suffixes", nargs="*", default=[".npz", ".csv", ".parquet", ".lst"])
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--other", help="the folder of another checkout of faceprep")
    options.add_argument("--dir", help="where to work; a folder on the disk to be measured")
    given = options.parse_args()
    n_identities = given.identities // 10 if given.quick else given.identities
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        root, source = Path(folder), Path(folder) / "set"
        write_tree(source, n_identities)
        peer = Path(__file__).parent / "peers" / "keras_manifest.py"
        ours = ["-m", "faceprep", "manifest", "--seed", 1, "--workers", given.workers, source]
        candidates: dict[str, Candidate] = {
            "Keras_insightface's way, .npz": partial(run, [peer, source], ".npz", root)
        }
        checkouts = {"faceprep": os.path.abspath(Path(__file__).parents[1])}
        if given.other:
            checkouts["other faceprep"] = os.path.abspath(given.other)
        candidates |= {
            f"{name} manifest, {suffix}": partial(run, ours, suffix, root, package)
            for suffix in given.suffixes
            for name, package in checkouts.items()
        }
        side_by_side("manifest", n_identities * _AN_IDENTITY, candidates, given.repeats)
        peak = {"MB": peak_mb(resource.RUSAGE_CHILDREN)}
        show_table("memory", {"the largest process, the peer's included": peak})


if __name__ == "__main__":
    main()
