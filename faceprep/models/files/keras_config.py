"""The configuration in a Keras file, searched for code before anything is loaded.

A Lambda layer holds marshalled bytecode. Keras refuses it by default, but versions before 3.12 have
ways around that, and run it from an .h5 even in safe mode.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.io.json_line import parse_json

_CONFIG = "config.json"
_MAX_BYTES = 64 << 20
_CODE = frozenset(["Lambda", "__lambda__"])
_MODULES = ("keras", "builtins")
"""Packages whose classes a file may name."""


def refuse_code(path: Path) -> None:
    """Raise SourceError if the Keras file at `path` holds code, or names some outside of Keras.

    Raises OSError, ValueError or KeyError for what is not a Keras file.
    """
    read = _read_h5
    if path.suffix.lower() == ".keras":
        read = _read_keras
    for item in _dicts_in(parse_json(read(path))):
        kind, module = item.get("class_name"), item.get("module")
        if kind in _CODE:
            raise _holds_code(path, "a Lambda layer")
        if isinstance(module, str) and module.partition(".")[0] not in _MODULES:
            raise _holds_code(path, f"{module}.{kind}")


def _holds_code(path: Path, found: str) -> SourceError:
    return SourceError(
        "holds code, which would run when it is loaded",
        path=path,
        expected="layers of Keras itself",
        found=found,
        remedy="Ask its author for a file without code, or for an .onnx or .tflite.",
    )


def _read_keras(path: Path) -> bytes:
    """Read the configuration in a .keras file, which is a ZIP."""
    with storage.open_source(path) as file:
        try:
            archive = zipfile.ZipFile(file)
        except zipfile.BadZipFile as error:
            raise ValueError(f"not a .keras file: {error}") from error
        if archive.getinfo(_CONFIG).file_size > _MAX_BYTES:
            raise ValueError(f"a {_CONFIG} of more than {_MAX_BYTES:,} bytes")
        return archive.read(_CONFIG)


def _read_h5(path: Path) -> str | bytes:
    """Read the configuration in an .h5 file."""
    import h5py

    with storage.open_source(path) as file, h5py.File(file, "r") as model:
        text: str | bytes = model.attrs["model_config"]
        return text


def _dicts_in(value: Any) -> list[dict[str, Any]]:
    """Return all objects in a JSON value, however deep."""
    found, waiting = [], [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            found.append(each)
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    return found
