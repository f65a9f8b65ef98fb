"""Snapshot of an output folder: a sha256 per file, and what tables and texts contain."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.golden.normalize import Names, parse_object, parse_rows

STATE = ".faceprep"
_TEXT = {".csv", ".lst", ".txt", ".idx", ".html", ".js", ".css", ".svg", ""}
_MAX_TEXT = 1 << 20
_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
_DATA = re.compile(r"base64,([A-Za-z0-9+/=]+)")

Entry = dict[str, Any]


def take_snapshot(root: Path, names: Names) -> tuple[dict[str, Entry], dict[str, str]]:
    """Return the entry of each output file, and the kind of each state file or folder."""
    outputs: dict[str, Entry] = {}
    state: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        for name in [name for name in folders if name.startswith(STATE)]:
            folders.remove(name)
            state[_relative(Path(folder, name), root)] = "folder"
        for name in files:
            path = Path(folder, name)
            if name.startswith(STATE):
                state[_relative(path, root)] = "file"
            else:
                outputs[_relative(path, root)] = describe(path, names)
        for name in [name for name in folders if Path(folder, name).is_symlink()]:
            outputs[_relative(Path(folder, name), root)] = describe(Path(folder, name), names)
    return outputs, state


def _relative(path: Path, root: Path) -> str:
    text = path.relative_to(root).as_posix()
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def describe(path: Path, names: Names) -> Entry:
    """Return the sha256 of a file, its kind of link and, of tables and texts, the content."""
    if path.is_symlink():
        return {"sha256": "", "link": f"symlink to {names.clean(os.readlink(path))}"}
    data = path.read_bytes()
    entry: Entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    if path.stat().st_nlink > 1:
        entry["link"] = "hardlink"
    content = read_content(path.suffix.lower(), data, names)
    if content is not None:
        entry["content"] = content
    return entry


def read_content(suffix: str, data: bytes, names: Names) -> Any:
    """Return what the file contains, for comparison where bytes differ; None of other kinds."""
    if suffix in (".json", ".jsonl"):
        return _json_content(suffix, data, names)
    if suffix in _TEXT and len(data) < _MAX_TEXT:
        return _text_lines(data, names)
    reader = _READERS.get(suffix)
    try:
        return reader(data, names) if reader else None
    except (ValueError, OSError, pa.ArrowException, zipfile.BadZipFile, tarfile.TarError) as error:
        return {"unreadable": names.clean(str(error))}


def _json_content(suffix: str, data: bytes, names: Names) -> Any:
    text = data.decode("utf-8", "replace")
    value = parse_object(text) if suffix == ".json" else parse_rows(text.splitlines())
    return _text_lines(data, names) if value is None else {"json": names.scrub(value)}


def _text_lines(data: bytes, names: Names) -> dict[str, Any]:
    text = _DATA.sub(_shorten, data.decode("utf-8", "backslashreplace"))
    text = _STYLE.sub(lambda style: " ".join(style[0].split()), text)  # lines may be wrapped anew
    return {"lines": names.clean(text).splitlines()}


def _shorten(match: re.Match[str]) -> str:
    return f"base64,sha256:{_hash(match[1].encode())}"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _parquet_columns(data: bytes, names: Names) -> dict[str, Any]:
    table = pq.read_table(io.BytesIO(data))
    columns = {name: _column(table[name]) for name in table.column_names}
    metadata = table.schema.metadata or {}
    texts = {key.decode(): names.clean(value.decode()) for key, value in metadata.items()}
    columns |= {f"metadata {key}": value for key, value in texts.items()}
    return {"columns": columns, "order": table.column_names, "rows": table.num_rows}


def _column(column: pa.ChunkedArray) -> str:
    values = _hash(repr(column.to_pylist()).encode("utf-8", "surrogatepass"))
    return f"{column.type} {values}"


def _npz_arrays(data: bytes, names: Names) -> dict[str, Any]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        columns = {name: _array(arrays[name]) for name in arrays.files}
        return {"columns": columns, "order": list(arrays.files)}


def _array(array: Any) -> str:
    return f"{array.dtype.str} {array.shape} {_hash(np.ascontiguousarray(array).tobytes())}"


def _tar_members(data: bytes, names: Names) -> dict[str, Any]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = [(member.name, tar.extractfile(member)) for member in tar if member.isfile()]
        columns = {name: _hash(file.read()) for name, file in members if file is not None}
    return {"columns": columns, "order": list(columns)}


def _png_pixels(data: bytes, names: Names) -> dict[str, Any]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("OpenCV cannot decode it")
    return {"columns": {"pixels": _array(pixels)}}


_READERS: dict[str, Callable[[bytes, Names], dict[str, Any]]] = {
    ".parquet": _parquet_columns,
    ".npz": _npz_arrays,
    ".tar": _tar_members,
    ".png": _png_pixels,
}
