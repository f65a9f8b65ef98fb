"""Compare `apply` on small files with cp, with cp that keeps times, and with Python's copytree.

python benchmarks/apply.py              20,000 files of 6 kB in 400 folders, a tenth merged
python benchmarks/apply.py --quick      2,000 files
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from timing import Candidate, side_by_side

_AN_IDENTITY = 50
_BYTES = os.urandom(6000)


def write_tree(root: Path, n_identities: int) -> None:
    for identity in range(n_identities):
        folder = root / "set" / str(identity)
        folder.mkdir(parents=True)
        for image in range(_AN_IDENTITY):
            (folder / f"{image}.jpg").write_bytes(_BYTES)
    merges = [
        {"action": "merge", "subject": str(i), "into": str(i + 1)}
        for i in range(0, n_identities, 10)
    ]
    head = {"kind": "plan", "source": str(root / "set")}
    (root / "plan.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (head, *merges)))


def run(act: Callable[[Path], object], root: Path) -> float:
    """Return the seconds of the command, without the removal of its output."""
    with tempfile.TemporaryDirectory(dir=root) as folder:
        started = time.perf_counter()
        act(Path(folder) / "out")
        return time.perf_counter() - started


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--identities", type=int, default=400)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--dir", help="where to work; a folder on the disk to be measured")
    given = options.parse_args()
    n_identities = given.identities // 10 if given.quick else given.identities
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        root = Path(folder)
        source, plan = root / "set", root / "plan.jsonl"
        write_tree(root, n_identities)

        def shell(*words: object) -> Callable[[Path], object]:
            return lambda output: subprocess.run(
                [*map(str, words), output], check=True, capture_output=True
            )

        def ours(mode: str) -> Callable[[Path], object]:
            words = [
                sys.executable,
                "-m",
                "faceprep",
                "apply",
                "--workers",
                given.workers,
                "--mode",
                mode,
                plan,
            ]
            return shell(*words)

        candidates: dict[str, Candidate] = {
            "cp -r": partial(run, shell("cp", "-r", source), root),
            "cp -rp (times kept)": partial(run, shell("cp", "-rp", source), root),
            "shutil.copytree (times kept)": partial(run, partial(shutil.copytree, source), root),
            "cp -rl": partial(run, shell("cp", "-rl", source), root),
            "cp -rs": partial(run, shell("cp", "-rs", source), root),
        }
        candidates |= {
            f"faceprep apply --mode {m}": partial(run, ours(m), root)
            for m in ("copy", "hardlink", "symlink")
        }
        side_by_side("apply", n_identities * _AN_IDENTITY, candidates, given.repeats)


if __name__ == "__main__":
    main()
