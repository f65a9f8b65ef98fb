"""Real MXNet in a process of its own: it runs graphs, one after the other, for tests."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.real import MXNET_PYTHON

_SERVER = """
import json, os, sys
import mxnet as mx
import numpy as np

def weights(name, shape, rng):
    if name.endswith("moving_var"):
        return rng.uniform(0.5, 1.5, shape)
    if name.endswith("gamma"):
        return rng.uniform(0.3, 0.7, shape)  # larger ones would saturate the sigmoids
    return rng.standard_normal(shape) / max(1, np.prod(shape[1:])) ** 0.5

def answer(prefix, shape, seed, epoch):
    symbol = mx.sym.load(prefix + "-symbol.json")
    rng = np.random.default_rng(seed)
    data = rng.standard_normal(shape).astype("f4")
    shapes, _, running = symbol.infer_shape(data=tuple(shape))
    names = zip(symbol.list_arguments() + symbol.list_auxiliary_states(), shapes + running)
    arrays = {name: mx.nd.array(weights(name, each, rng)) for name, each in names}
    if epoch is not None:
        stored = mx.nd.load("%s-%04d.params" % (prefix, epoch))
        arrays.update({name.partition(":")[2]: each for name, each in stored.items()})
    arrays["data"] = mx.nd.array(data)
    auxiliary = symbol.list_auxiliary_states()
    executor = symbol.bind(
        mx.cpu(), {name: arrays[name] for name in symbol.list_arguments()},
        grad_req="null", aux_states={name: arrays[name] for name in auxiliary},
    )
    outputs = [each.asnumpy() for each in executor.forward(is_train=False)]
    if epoch is None:
        kinds = {name: ("aux:" if name in auxiliary else "arg:") + name for name in arrays}
        stored = {kinds[name]: arrays[name] for name in arrays
                  if name != "data" and not name.endswith("label")}
        mx.nd.save(prefix + "-0000.params", stored)
    np.savez(prefix + ".npz", data=data, **{f"o{n}": each for n, each in enumerate(outputs)})

for line in sys.stdin:
    try:
        answer(*json.loads(line))
        problem = ""
    except (mx.base.MXNetError, UnicodeDecodeError) as error:
        problem = str(error).strip() or "MXNetError"
    print("answer", json.dumps(problem), flush=True)
"""


class Refused(Exception):
    """MXNet's refusal of a graph."""


class RealMxnet:
    """The running process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self, prefix: Path, shape: tuple[int, ...], seed: int = 0, epoch: int | None = None
    ) -> tuple[npt.NDArray[Any], list[npt.NDArray[Any]]]:
        """Run `PREFIX-symbol.json` on random data of a `shape`; return the data and the outputs.

        Without an `epoch`, the weights are random and left in `PREFIX-0000.params`. Raises Refused.
        """
        pipe, answers = self._process.stdin, self._process.stdout
        assert pipe and answers
        pipe.write(json.dumps([str(prefix), shape, seed, epoch]) + "\n")
        pipe.flush()
        line = next(line for line in answers if line.startswith("answer "))  # MXNet prints too
        problem = json.loads(line.removeprefix("answer "))
        if problem:
            raise Refused(problem)
        with np.load(f"{prefix}.npz") as arrays:
            return arrays["data"], [arrays[f"o{n}"] for n in range(len(arrays.files) - 1)]


@contextmanager
def real_mxnet() -> Iterator[RealMxnet]:
    """Start MXNet, and end it afterwards."""
    with subprocess.Popen(
        [MXNET_PYTHON, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield RealMxnet(process)
        assert process.stdin
        process.stdin.close()
