"""MXNet checkpoints drawn for tests: their graphs as JSON, their weights as `.params`."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]
TYPES = ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8")
OLDEST, FIRST, SECOND = "oldest", "first", "second"
"""Versions of the layout of an array."""
_MAGIC = {FIRST: 0xF993FAC8, SECOND: 0xF993FAC9}
_AUXILIARY = ("moving_mean", "moving_var")


def params_bytes(arrays: Arrays, version: str = SECOND) -> bytes:
    """The contents of a `.params` file with these arrays."""
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    for array in arrays.values():
        if version == OLDEST:
            parts.append(struct.pack(f"<I{array.ndim}I", array.ndim, *array.shape))
        else:
            storage = struct.pack("<i", 0) if version == SECOND else b""
            sides = struct.pack(f"<I{array.ndim}q", array.ndim, *array.shape)
            parts.append(struct.pack("<I", _MAGIC[version]) + storage + sides)
        kind = TYPES.index(np.dtype(array.dtype).newbyteorder("<").str.replace("|", ""))
        parts.append(struct.pack("<iii", 1, 0, kind) + array.tobytes())
    parts.append(struct.pack("<Q", len(arrays)))
    for name in arrays:
        prefix = "aux:" if name.endswith(_AUXILIARY) else "arg:"
        text = (prefix + name).encode()
        parts.append(struct.pack("<Q", len(text)) + text)
    return b"".join(parts)


class Step(NamedTuple):
    """An operator of a drawn graph: its attributes, the steps before it, and its own weights.

    Step 0 is the data.
    """

    operator: str
    attributes: Mapping[str, str] = {}
    inputs: Sequence[int] = (0,)
    weights: Sequence[str] = ()
    output: int = 0
    name: str = ""


def symbol_bytes(
    steps: Sequence[Step], heads: Sequence[tuple[int, int]] = (), key: str = "attrs"
) -> bytes:
    """The contents of a `-symbol.json`; attributes are under `key`.

    `heads` are pairs of a step, counted from 1, and an output; without them it is the last step.
    """
    nodes: list[dict[str, Any]] = [{"op": "null", "name": "data", "inputs": []}]
    rows = [0]
    for number, step in enumerate(steps, 1):
        name = step.name or f"s{number}"
        links = [[rows[row], 0, 0] for row in step.inputs]
        for weights in step.weights:
            links.append([len(nodes), 0, 0])
            nodes.append({"op": "null", "name": f"{name}_{weights}", "inputs": []})
        rows.append(len(nodes))
        nodes.append({"op": step.operator, "name": name, "inputs": links})
        if step.attributes:
            nodes[-1][key] = dict(step.attributes)
    chosen = heads or [(len(steps), steps[-1].output)]
    graph = {
        "nodes": nodes,
        "arg_nodes": [row for row, node in enumerate(nodes) if node["op"] == "null"],
        "heads": [[rows[step], output, 0] for step, output in chosen],
    }
    if key == "attrs":
        graph["attrs"] = {"mxnet_version": ["int", 10901]}
    return json.dumps(graph).encode()


CELLS = 7
CONVOLUTION = {"kernel": "(16, 16)", "stride": "(16, 16)", "num_filter": "8", "no_bias": "True"}
EMBEDDER = (
    Step("_minus_scalar", {"scalar": "127.5"}),
    Step("_mul_scalar", {"scalar": "0.0078125"}, (1,)),
    Step("Convolution", CONVOLUTION, (2,), ("weight",)),
    Step("LeakyReLU", {"act_type": "prelu"}, (3,), ("gamma",)),
    Step("FullyConnected", {"num_hidden": "32"}, (4,), ("weight", "bias"), name="pre_fc1"),
    Step(
        "BatchNorm",
        {"eps": "2e-05"},
        (5,),
        ("gamma", "beta", "moving_mean", "moving_var"),
        name="fc1",
    ),
)
"""A network in ArcFace's form on crops of 112 × 112."""


def embedder_arrays(seed: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    """Random weights of `EMBEDDER`."""
    draw = np.random.default_rng(seed).standard_normal
    shapes = {
        "s3_weight": (8, 3, 16, 16),
        "s4_gamma": (8,),
        "pre_fc1_weight": (32, 8 * CELLS**2),
        "pre_fc1_bias": (32,),
        **{f"fc1_{name}": (32,) for name in ("gamma", "beta", "moving_mean", "moving_var")},
    }
    arrays = {name: draw(shape).astype(np.float32) / 8 for name, shape in shapes.items()}
    arrays["fc1_moving_var"] = np.square(arrays["fc1_moving_var"]) + np.float32(0.5)
    return arrays


def save_embedder(prefix: Path, epoch: int = 0, seed: int = 0) -> Path:
    """Write `EMBEDDER` with random weights, and return its symbol."""
    symbol = prefix.with_name(f"{prefix.name}-symbol.json")
    symbol.write_bytes(symbol_bytes(EMBEDDER))
    weights = prefix.with_name(f"{prefix.name}-{epoch:04d}.params")
    weights.write_bytes(params_bytes(embedder_arrays(seed)))
    return symbol


def embedder_vectors(crops: npt.NDArray[Any], seed: int = 0) -> npt.NDArray[np.float64]:
    """Compute what `EMBEDDER` gives for crops (n, 112, 112, 3), in NumPy."""
    arrays = {name: array.astype(np.float64) for name, array in embedder_arrays(seed).items()}
    values = (crops.astype(np.float64) - 127.5) * 0.0078125
    cells = values.reshape(len(crops), CELLS, 16, CELLS, 16, 3)
    maps = np.einsum("niajbc,ocab->noij", cells, arrays["s3_weight"])
    slopes = arrays["s4_gamma"][:, None, None]
    flat = np.where(maps > 0, maps, slopes * maps).reshape(len(crops), -1)
    dense = flat @ arrays["pre_fc1_weight"].T + arrays["pre_fc1_bias"]
    scale = 1 / np.sqrt(arrays["fc1_moving_var"] + 2e-5)  # fix_gamma is True by default
    result: npt.NDArray[np.float64] = (dense - arrays["fc1_moving_mean"]) * scale
    return result + arrays["fc1_beta"]


# RetinaFace

_STRIDES = (32, 16, 8)
FACE_CELL = (2, 1)
"""Column and row, at stride 16, of the cell in which a red image has its face."""


def retinaface_steps() -> list[Step]:
    """Return a network with RetinaFace's nine maps, which are convolutions of the pixels' means.

    Means are taken of cells, so that a face is where the image is red.
    """
    steps: list[Step] = []
    for stride in _STRIDES:
        window = str((stride, stride))
        pool = {"kernel": window, "stride": window, "pool_type": "avg"}
        steps.append(Step("Pooling", pool | {"pooling_convention": "full"}, (0,)))
        cells = len(steps)
        for kind, n in (("cls", 4), ("bbox", 8), ("landmark", 20)):
            name = f"face_rpn_{kind}_stride{stride}"
            attributes = {"kernel": "(1, 1)", "num_filter": str(n)}
            steps.append(Step("Convolution", attributes, (cells,), ("weight", "bias"), name=name))
        scores = len(steps) - 2
        steps.append(Step("Reshape", {"shape": "(0, 2, -1, 0)"}, (scores,)))
        steps.append(Step("SoftmaxActivation", {"mode": "channel"}, (len(steps),)))
        reshaped = {"shape": "(0, 4, -1, 0)"}
        steps.append(Step("Reshape", reshaped, (len(steps),), name=f"scores_stride{stride}"))
    return steps


RETINAFACE_HEADS = [(base + place, 0) for base in (0, 7, 14) for place in (7, 3, 4)]


def retinaface_arrays() -> dict[str, npt.NDArray[np.float32]]:
    """Weights that see a face in the second anchor of each cell at stride 16 that is red.

    Its box is moved by a quarter of its side to the right and is twice as high; its landmarks lie
    at tenths of the side.
    """
    arrays: dict[str, npt.NDArray[np.float32]] = {}
    for stride in _STRIDES:
        for kind, n in (("cls", 4), ("bbox", 8), ("landmark", 20)):
            name = f"face_rpn_{kind}_stride{stride}"
            arrays[f"{name}_weight"] = np.zeros((n, 3, 1, 1), np.float32)
            arrays[f"{name}_bias"] = np.zeros(n, np.float32)
        arrays[f"face_rpn_cls_stride{stride}_bias"][:2] = 8
    scores = "face_rpn_cls_stride16"
    arrays[f"{scores}_weight"][3, :, 0, 0] = np.array([1, -1, -1]) / 16
    arrays["face_rpn_bbox_stride16_bias"][4:] = [0.25, 0, 0, np.log(2)]
    arrays["face_rpn_landmark_stride16_bias"][10:] = np.arange(10) / 10
    return arrays


def save_retinaface(prefix: Path) -> Path:
    """Write the network and return its symbol."""
    symbol = prefix.with_name(f"{prefix.name}-symbol.json")
    symbol.write_bytes(symbol_bytes(retinaface_steps(), RETINAFACE_HEADS))
    weights = prefix.with_name(f"{prefix.name}-0000.params")
    weights.write_bytes(params_bytes(retinaface_arrays()))
    return symbol


def with_red_cell(height: int = 64, width: int = 64) -> npt.NDArray[np.uint8]:
    """A black image with one red cell of 16 × 16."""
    image = np.zeros((height, width, 3), np.uint8)
    x, y = FACE_CELL[0] * 16, FACE_CELL[1] * 16
    image[y : y + 16, x : x + 16, 0] = 255
    return image
