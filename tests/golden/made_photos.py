"""Larger inputs made of the real data: a set in the layout of IJB, an embedder and videos."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np

_POINTS = "38.295 51.696 73.532 51.501 56.025 71.737 41.549 92.366 70.730 92.204"
_N_PEOPLE, _N_TEMPLATES = 6, 3
_CELL = 28


def make_ijb(root: Path, faces: Any) -> None:
    """Write loose crops and the lists of IJB-C; each template has two images."""
    (root / "loose_crop").mkdir(parents=True)
    (root / "meta").mkdir()
    rows, numbers = [], itertools.count(1)
    for person, place in itertools.product(range(_N_PEOPLE), range(_N_TEMPLATES)):
        for image in range(2):
            name = f"{next(numbers)}.jpg"
            cv2.imwrite(str(root / "loose_crop" / name), faces.crop(person, 2 * place + image))
            rows.append((name, person, 10 * person + place))
    _write_ijb_lists(root / "meta", rows)


def _write_ijb_lists(meta: Path, rows: list[tuple[str, int, int]]) -> None:
    media = {name: 1000 + number for number, (name, _, _) in enumerate(rows)}
    _write(meta / "ijbc_face_tid_mid.txt", [f"{name} {tid} {media[name]}" for name, _, tid in rows])
    _write(meta / "ijbc_name_5pts_score.txt", [f"{name} {_POINTS} 0.900000" for name, _, _ in rows])
    people = {template: person for _, person, template in rows}
    pairs = itertools.combinations(people, 2)
    lines = [f"{a} {b} {int(people[a] == people[b])}" for a, b in pairs]
    _write(meta / "ijbc_template_pair_label.txt", lines)
    head = "TEMPLATE_ID,SUBJECT_ID,FILENAME"
    lines = {name: f"{template},{person},img/{name}" for name, person, template in rows}
    first = [(name, person) for name, person, template in rows if template % 10 == 0]
    half = _N_PEOPLE // 2
    galleries = {"G1": range(half), "G2": range(half, _N_PEOPLE)}
    for gallery, members in galleries.items():
        chosen = [lines[name] for name, person in first if person in members]
        _write(meta / f"ijbc_1N_gallery_{gallery}.csv", [head, *chosen])
    probes = [lines[name] for name, _, template in rows if template % 10]
    _write(meta / "ijbc_1N_probe_mixed.csv", [head, *probes])


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def make_embedder(path: Path) -> None:
    """Write an ONNX embedder: means of cells of 28 × 28 pixels, 48 numbers."""
    from onnx import TensorProto, helper

    cell = {"kernel_shape": [_CELL] * 2, "strides": [_CELL] * 2}
    nodes = [
        helper.make_node("AveragePool", ["data"], ["cells"], **cell),
        helper.make_node("Flatten", ["cells"], ["vectors"]),
    ]
    before = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, 112, 112])
    after = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", None])
    graph = helper.make_graph(nodes, "tiny", [before], [after])
    versions = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, ir_version=8, opset_imports=versions)
    path.write_bytes(model.SerializeToString())


def make_videos(root: Path, photo: Path) -> None:
    """Write an .avi of 30 frames in which one face moves, and one that is cut off."""
    root.mkdir(parents=True)
    face = cv2.resize(cv2.imread(str(photo)), (200, 200), interpolation=cv2.INTER_AREA)
    code = cv2.VideoWriter_fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(root / "moving.avi"), code, 25, (480, 270))
    for number in range(30):
        frame = np.full((270, 480, 3), (120, 90, 60), np.uint8)
        left = 20 + 8 * number
        frame[35:235, left : left + 200] = face
        writer.write(frame)
    writer.release()
    data = (root / "moving.avi").read_bytes()
    (root / "cut.avi").write_bytes(data[: len(data) * 2 // 3])
