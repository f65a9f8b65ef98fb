"""Sound files of every kind that faceprep reads, as small as they can be."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceprep import Request, SerialRunner, run_job
from faceprep.jobs.convert import Convert
from faceprep.jobs.manifest import Manifest
from faceprep.tables import faces, frames, matches
from faceprep.vision.codec import encode
from faceprep.vision.quality import MEASURES

_DRAWN = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
_PLAN = b"""{"kind": "plan", "command": "score", "source": "a", "fingerprint": "1 image"}
{"action": "merge", "subject": "a", "into": "b", "score": 0.5, "evidence": {"for": ["a/1", 2]}}
{"action": "drop", "subject": "a\\udcff/1.png", "verdict": "refused", "reason": "blurred"}
"""
_VERDICTS = b"""{"number": 0, "action": "drop", "subject": "a", "into": "", "verdict": "refused", \
"before": "accepted"}
"""
_IJB = {
    "face_tid_mid": b"1.jpg 1 5\n2.jpg 2 6\n3.jpg 3 7\n",
    "name_5pts_score": b"".join(
        b"%d.jpg 30.5 50 60 50 45 70 35 90 60 90 0.9\n" % n for n in (1, 2, 3)
    ),
    "template_pair_label": b"1 2 0\n2 3 1\n",
    "1N_probe_mixed": b'TEMPLATE_ID,SUBJECT_ID,FILENAME\n1,7,"a.jpg"\n2,8,b.jpg\n',
}
_TEXTS = {
    "plan": _PLAN,
    "verdicts": _VERDICTS,
    "siw-boxes": b"10 20 90 110\n0 0 0 0\n11 21 91 111\n",
    "class-map": b"class,name,images\n0,a,2\n1,b,2\n",
    "pairs-list": b"1\t1\nAaron\t1\t2\nAaron\t1\tBob\t1\n",
    "symbol": b'{"nodes": [{"op": "null", "name": "data", "inputs": []}, {"op": "Flatten", '
    b'"name": "f", "attrs": {"axis": "1"}, "inputs": [[0, 0, 0]]}], "arg_nodes": [0], '
    b'"heads": [[1, 0, 0]], "attrs": {"mxnet_version": ["int", 10901]}}',
}
_IMAGE_SUFFIXES = (".png", ".jpg", ".webp", ".bmp", ".tiff", ".jp2", ".avif")


def make_seeds(folder: Path) -> Mapping[str, list[bytes]]:
    """Make the files below an empty folder; return their bytes by the name of the target."""
    images = {suffix: _encode(suffix) for suffix in _IMAGE_SUFFIXES}
    _write_folder(folder / "set", images)
    seeds = {name: [data] for name, data in _TEXTS.items()}
    seeds |= {f"ijb-{name}": [data] for name, data in _IJB.items()}
    seeds["image"] = [data for data in images.values() if data]
    for name, outputs in _convert(folder).items():
        seeds[name] = [output.read_bytes() for output in outputs]
    seeds["bin"].append(_pairs_of_arrays())
    seeds["parquet"] += _tables()
    seeds["params"] = [_params()]
    return seeds


def _encode(suffix: str) -> bytes:
    try:
        return encode(_DRAWN, suffix)
    except Exception:  # a build of OpenCV without this format
        return b""


def _write_folder(root: Path, images: Mapping[str, bytes]) -> None:
    for identity in "ab":
        (root / identity).mkdir(parents=True)
        for suffix in (".png", ".jpg"):
            (root / identity / f"1{suffix}").write_bytes(images[suffix])


def _convert(folder: Path) -> Mapping[str, list[Path]]:
    """Write the set in every container, and lists with and without images."""
    source, out = folder / "set", folder / "out"
    for name in ("t.rec", "t.tar", "t.tfrecord", "t.parquet"):
        run_job(Convert(allow_loss=True), Request((source,), out / name), SerialRunner())
    for name in ("m.npz", "m.csv", "m.lst", "m.parquet"):
        run_job(Manifest(seed=1), Request((source,), out / name), SerialRunner())
    (out / "m.txt").write_bytes(b"a/1.png\nb/1.png\n")
    _write_embeddings(out / "e.npz")
    (out / "t.bin").write_bytes(_pairs_of_bytes())
    names = ("t.rec", "t.idx", "t.tar", "t.tfrecord", "m.csv", "m.lst", "m.txt", "t.bin")
    found = {name.partition(".")[2]: [out / name] for name in names}
    found["npz"] = [out / "m.npz", out / "e.npz"]
    found["parquet"] = [out / "t.parquet", out / "m.parquet"]
    return found


def _write_embeddings(path: Path) -> None:
    np.savez(
        path,
        image_names=np.array(["a/1.png", "b/1.png"]),
        image_classes=np.array([0, 1]),
        embeddings=np.ones((2, 4), np.float32),
        identities=np.array(["a", "b"]),
    )


def _pairs_of_bytes() -> bytes:
    """Return a verification set of one pair, a pickle of protocol 2."""
    image = _encode(".png")
    data = b"U" + bytes([min(len(image), 255)]) + image[:255]
    return b"\x80\x02](" + data + data + b"e](\x88e\x86."


def _pairs_of_arrays() -> bytes:
    image = np.frombuffer(_encode(".png"), np.uint8)
    return pickle.dumps(([image, image], [True]), 2)


def _as_parquet(table: pa.Table, **settings: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **settings)
    return file.getvalue()


def _tables() -> list[bytes]:
    """Return the tables of faceprep, and an image set as Hugging Face writes it."""
    image = _encode(".png")
    row = {"path": "a/1.png", "identity": "a", "height": 8, "width": 8} | dict.fromkeys(
        MEASURES, 1.5
    )
    numbers = pa.Table.from_pylist([row])
    cells = ["p"], [1], ["a"], [0.5], ["i"], [0.1]
    found = pa.table(dict(zip(matches.COLUMNS, cells, strict=True)))
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(8, np.float32)), 4)
    embedded = pa.table({"image_names": ["a", "b"], "identity": ["x", "y"], "embeddings": vectors})
    pictures = pa.table(
        {"image": [{"bytes": image, "path": "a.png"}, {"bytes": image, "path": None}]}
        | {"label": [0, 1]}
    )
    tables = [faces.SCHEMA.empty_table(), frames.SCHEMA.empty_table(), numbers, found, embedded]
    plain = {"use_dictionary": False, "compression": "none"}
    return [*map(_as_parquet, tables), _as_parquet(pictures, **plain)]


def _params() -> bytes:
    """Return an MXNet parameter file with one array of two numbers."""
    header = np.array([0x112, 0], "<u8").tobytes() + np.array([1], "<u8").tobytes()
    array = np.array([0xF993FAC9], "<u4").tobytes() + np.array([0], "<i4").tobytes()
    array += np.array([1], "<u4").tobytes() + np.array([2], "<i8").tobytes()
    array += np.array([1, 0, 0], "<i4").tobytes() + np.ones(2, "<f4").tobytes()
    name = b"arg:weight"
    names = np.array([1, len(name)], "<u8").tobytes() + name
    return header + array + names
