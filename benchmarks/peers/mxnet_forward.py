"""MXNet's own forward pass on the CPU, for `benchmarks/mxnet_models.py`; run in its environment.

python mxnet_forward.py SYMBOLS OUT BATCH REPEATS

Each symbol gets random weights where it has none. OUT then holds the checkpoints and, for each, the
data and outputs of one batch (NAME.npz). Stdout gets seconds to load and processor seconds a batch,
as JSON.
"""

import json
import os
import shutil
import statistics
import sys
import time

import mxnet as mx
import numpy as np

SHAPES = {
    "det1": (3, 120, 160),
    "det2": (3, 24, 24),
    "det3": (3, 48, 48),
    "retinaface-like": (3, 384, 640),
}


def draw(name, shape, rng):
    """Draw weights that keep sigmoids and softmax from saturation."""
    if name.endswith("moving_var"):
        return rng.uniform(0.5, 1.5, shape)
    if name.endswith("gamma"):
        return rng.uniform(0.3, 0.7, shape)
    return rng.standard_normal(shape) / max(1, np.prod(shape[1:])) ** 0.5


def make_weights(symbol, prefix, shape):
    rng = np.random.default_rng(0)
    arguments, running = symbol.list_arguments(), symbol.list_auxiliary_states()
    shapes, _, running_shapes = symbol.infer_shape(data=shape)
    arrays = {}
    for prefix_, names, sizes in (("arg:", arguments, shapes), ("aux:", running, running_shapes)):
        for name, size in zip(names, sizes):  # noqa: B905
            if name != "data" and not name.endswith("label"):
                values = draw(name, size, rng)
                if name.startswith("bn_data_moving"):  # pixels, not normalised values
                    values = np.full(size, 127.5 if name.endswith("mean") else 5000.0)
                arrays[prefix_ + name] = mx.nd.array(values)
    mx.nd.save(prefix + "-0000.params", arrays)


def forward(executor, data):
    values = mx.nd.array(data)
    started = time.process_time()
    outputs = [each.asnumpy() for each in executor.forward(is_train=False, data=values)]
    return time.process_time() - started, outputs


def measure(name, folder, batch, repeats):
    prefix = os.path.join(folder, name)
    epoch = 1 if os.path.exists(prefix + "-0001.params") else 0
    shape = (batch, *SHAPES.get(name, (3, 112, 112)))
    symbol = mx.sym.load(prefix + "-symbol.json")
    if not os.path.exists(f"{prefix}-{epoch:04d}.params"):
        make_weights(symbol, prefix, shape)
    data = np.random.default_rng(1).uniform(0, 255, shape).astype("f4")
    if name.startswith("det"):
        data = (data - 127.5) / 128
    started = time.perf_counter()
    symbol, arguments, running = mx.model.load_checkpoint(prefix, epoch)

    def bind():
        executor = symbol.simple_bind(mx.cpu(), grad_req="null", data=shape)
        executor.copy_params_from(arguments, running, allow_extra_params=True)
        mx.nd.waitall()
        return executor

    executor = bind()
    load = time.perf_counter() - started
    first, outputs = forward(executor, data)
    np.savez(prefix + ".npz", data=data, **{f"o{n}": each for n, each in enumerate(outputs)})
    try:
        seconds = [forward(executor, data)[0] for _ in range(repeats)]
    except mx.base.MXNetError:  # 1.9.1 fails in the second pass of y1 and y2: take first passes
        seconds = [forward(bind(), data)[0] for _ in range(repeats)]
    return {"load": load, "first": first, "batch": statistics.median(seconds)}


def main():
    symbols, folder, batch, repeats = sys.argv[1:]
    end = "-symbol.json"
    names = sorted(each[: -len(end)] for each in os.listdir(symbols) if each.endswith(end))
    for file in os.listdir(symbols):
        shutil.copyfile(os.path.join(symbols, file), os.path.join(folder, file))
    found = {name: measure(name, folder, int(batch), int(repeats)) for name in names}
    print(json.dumps(found))


main()
