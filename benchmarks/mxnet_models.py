"""Compare MXNet checkpoints in ONNX Runtime with MXNet itself: differences and seconds.

python benchmarks/mxnet_models.py SYMBOLS --mxnet-python .venv-mxnet/bin/python

SYMBOLS is a folder of -symbol.json files, some with .params; the others get random weights from
MXNet. Times an image are processor seconds of a batch in one thread, for both, which other
programs on the machine disturb least. "difference" is the largest one over all outputs, relative to
the largest value of its output.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from figures import show_table

from faceprep.models.mxnet.checkpoint import Checkpoint
from faceprep.models.onnx_session import Runtime

_PEER = Path(__file__).parent / "peers" / "mxnet_forward.py"


def run_mxnet(python: str, symbols: Path, folder: Path, given: argparse.Namespace) -> dict:
    """Run every network in MXNet; its checkpoints, data and outputs are left in `folder`."""
    words = [python, _PEER, symbols, folder, given.batch, given.repeats]
    one_thread = {"OMP_NUM_THREADS": "1", "MXNET_CPU_WORKER_NTHREADS": "1"}
    done = subprocess.run(
        [str(word) for word in words],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | one_thread,
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(symbol: Path, given: argparse.Namespace) -> dict[str, float]:
    """Load a checkpoint as an embedder does, and run the batch that MXNet ran."""
    with np.load(symbol.with_name(symbol.name.replace("-symbol.json", ".npz"))) as arrays:
        data, expected = arrays["data"], [arrays[f"o{n}"] for n in range(len(arrays.files) - 1)]
    started = time.perf_counter()
    network = Runtime("cpu", 1).open(Checkpoint.find(str(symbol)).to_onnx(is_for_cpu=True))
    load = time.perf_counter() - started
    found = network.run(data)
    seconds = []
    for _ in range(given.repeats):
        started = time.process_time()
        network.run(data)
        seconds.append(time.process_time() - started)
    differences = [
        np.abs(one - other).max() / np.abs(other).max()
        for one, other in zip(found, expected, strict=True)
    ]
    image_ms = 1000 * statistics.median(seconds) / len(data)
    return {"difference": float(max(differences)), "load s": load, "image ms": image_ms}


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("symbols", type=Path)
    options.add_argument("--mxnet-python", required=True)
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--repeats", type=int, default=5)
    given = options.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        theirs = run_mxnet(given.mxnet_python, given.symbols, Path(scratch), given)
        for symbol in sorted(Path(scratch).glob("*-symbol.json")):
            name = symbol.name.removesuffix("-symbol.json")
            peer = theirs[name]
            result = measure(symbol, given) | {"MXNet's load s": peer["load"]}
            results[name] = result | {"MXNet's image ms": 1000 * peer["batch"] / given.batch}
    results["largest"] = {"difference": max(row["difference"] for row in results.values())}
    show_table("checkpoints", results, f"batches of {given.batch}, one thread")


if __name__ == "__main__":
    main()
