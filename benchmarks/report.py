"""Time `report` on an extract-photos run of a million faces, and its memory.

python benchmarks/report.py              1,000,000 faces of 20,000 identities
python benchmarks/report.py --quick      100,000 faces of 2,000 identities

The ledger and faces.parquet are written as the command leaves them; the table names 500 crops that
are there.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from figures import peak_mb, show_table
from timing import side_by_side

from faceprep.synthetic import write_folder
from faceprep.tables.faces import FaceRow, FacesWriter

_SHARD, _FAILED_IN = 64, 100
_CROPS = 500


def write_run(root: Path, n_faces: int, n_identities: int) -> Path:
    """Write the output folder of a run that found `n_faces`."""
    out = root / "out"
    write_folder(out, n_identities=_CROPS // 10, n_images=10)
    crops = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.jpg"))
    state = out / ".faceprep"
    (state / "ledger").mkdir(parents=True)
    told = {
        "command": "extract-photos",
        "faceprep": "benchmark",
        "sources": ["photos"],
        "options": {"min_score": 0.8},
    }
    (state / "run.json").write_text(json.dumps(told))
    people = np.sort(np.random.default_rng(0).zipf(1.3, n_faces) % n_identities)
    with open(out / "failures.csv", "w", newline="") as file:
        failures = csv.writer(file)
        failures.writerow(("input", "status", "reason"))
        for start in range(0, n_faces, _SHARD):
            keys = [f"{people[i]}/{i}.jpg" for i in range(start, min(start + _SHARD, n_faces))]
            write_page(state / "ledger" / f"{start // _SHARD:06d}.jsonl", keys, failures)
    with open(out / "faces.parquet", "wb") as table, FacesWriter(table) as writer:
        for row in rows(n_faces, crops):
            writer.add(row)
    return out


def write_page(path: Path, keys: list[str], failures: csv.writer) -> None:  # type: ignore[valid-type]
    others = {
        str(i): ["undecodable", f"{keys[i]}: {i} bytes are missing"]
        for i in range(0, len(keys), _FAILED_IN)
    }
    names = [
        f"out/{key[:-4]}_0.png" for position, key in enumerate(keys) if str(position) not in others
    ]
    counts = {"shard": path.stem, "inputs": len(keys), "outputs": len(names)}
    counts["by_status"] = {"ok": len(names), "undecodable": len(others)}
    lines = [[names, [20_000] * len(names)], counts, [keys, others]]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    failures.writerows((keys[int(i)], *told) for i, told in others.items())


def rows(n_faces: int, crops: list[str]) -> Iterator[FaceRow]:
    drawn = np.random.default_rng(1)
    sides, scores = drawn.lognormal(4.5, 0.6, n_faces), 1 - drawn.beta(1, 20, n_faces)
    turns = drawn.normal(0, 25, (n_faces, 2))
    points, transform = np.zeros((5, 2)), np.zeros((2, 3))
    for i in range(n_faces):
        yield FaceRow(
            key=str(i),
            source=f"{i}.jpg",
            image_size=(1000, 1000),
            box=(0, 0, sides[i], 1.2 * sides[i]),
            landmarks=points,
            score=float(scores[i]),
            transform=transform,
            detector="d",
            template="arcface-112",
            output=crops[i % len(crops)],
            roll=float(turns[i, 0]),
            lean=0.0,
            yaw=float(turns[i, 1]),
        )


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--faces", type=int, default=1_000_000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--quick", action="store_true")
    given = options.parse_args()
    n_faces = given.faces // 10 if given.quick else given.faces
    with tempfile.TemporaryDirectory() as folder:
        out = write_run(Path(folder), n_faces, n_faces // 50)
        command = [sys.executable, "-m", "faceprep", "report", str(out)]

        def report() -> None:
            subprocess.run(command, check=True, capture_output=True)

        side_by_side("report", n_faces, {"faceprep report": report}, given.repeats)
        peak = {"MB": peak_mb(resource.RUSAGE_CHILDREN)}
        page = {"MB": (out / "report.html").stat().st_size / 1e6}
        show_table("size", {"most memory": peak, "report.html": page})


if __name__ == "__main__":
    main()
