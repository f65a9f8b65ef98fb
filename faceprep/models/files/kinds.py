"""Kinds of model files, by suffix."""

from __future__ import annotations

import os

from faceprep.core import registry
from faceprep.models.files.open_model import OpenModel
from faceprep.models.mxnet.checkpoint import is_checkpoint
from faceprep.models.onnx_session import Runtime

_CHECKPOINT = "mxnet"


def find_file_kind(name: str) -> str:
    """Return the kind in MODEL_FILES of the file or folder `name`, or an empty string.

    >>> find_file_kind("nets/r50.ONNX"), find_file_kind("model-r100,0")
    ('onnx', 'mxnet')
    >>> find_file_kind("dlib-resnet")
    ''
    """
    if is_checkpoint(name):
        return _CHECKPOINT
    for kind, entry in registry.MODEL_FILES.items():
        if entry.suffixes and name.lower().endswith(entry.suffixes):
            return kind
    if os.path.isdir(os.path.expanduser(name)):
        return "savedmodel"
    return ""


def open_file(runtime: Runtime, kind: str, source: str) -> OpenModel:
    """Open the model `source` of a kind in MODEL_FILES.

    Raises SourceError, MissingExtra, or FaceprepError if a required GPU cannot be used.
    """
    opened: OpenModel = registry.load(registry.MODEL_FILES, kind)(runtime, source)
    return opened
