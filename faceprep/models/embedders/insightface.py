"""Embedders of insightface's packs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.io.json_line import parse_json
from faceprep.models.detectors import insightface as insightface_pack
from faceprep.models.embedders.file_embedder import FileEmbedder
from faceprep.models.files.onnx_file import open_onnx
from faceprep.models.files.preparation import UNCHANGED, InputOptions
from faceprep.models.files.scaling import Reading
from faceprep.models.onnx_session import Runtime

_NOT_EMBEDDERS = ("det_", "scrfd", "2d106det", "1k3d68", "genderage", "inswapper")


class InsightFaceEmbedder(FileEmbedder):
    """The recognition model of an insightface pack."""

    def __init__(self, runtime: Runtime, source: str, options: InputOptions) -> None:
        folder = insightface_pack.pack_folder(source)
        path, stated = read_manifest(folder) or (find_embedder(folder), {})
        opened = open_onnx(runtime, str(path))
        if stated:
            reading = Reading({**opened.reading.stated, **stated})
            opened = replace(opened, reading=reading)
        super().__init__(opened, options)


def read_manifest(folder: Path) -> tuple[Path, dict[str, str]] | None:
    """Return the file and normalisation of the recognition model in a pack's manifest.json.

    Returns None if the manifest is missing or names no such model. `preprocessing` in the
    manifest is {"mean": …, "std": …}, or "embedded" if the graph takes pixels. Raises SourceError.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    try:
        task = parse_json(storage.read_bytes(path))["tasks"].get("recognition")
        if task is None:
            return None
        file = folder / task["file"]
        normalisation = _read_preprocessing(task.get("preprocessing"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        expected = "tasks.recognition with file and preprocessing"
        raise SourceError(
            "not a manifest of a pack", path=path, expected=expected, found=str(error)
        ) from error
    if not file.resolve().is_relative_to(folder.resolve()):
        raise SourceError("names a file outside of the pack", path=path, found=str(task["file"]))
    return file, normalisation


def _read_preprocessing(preprocessing: Any) -> dict[str, str]:
    if preprocessing == "embedded":
        return dict(UNCHANGED)
    if not preprocessing:
        return {}
    return {name: str(float(preprocessing[name])) for name in ("mean", "std")}


def find_embedder(folder: Path) -> Path:
    """Return the one .onnx file of a pack whose name is not that of a known other task.

    Other tasks are detection, landmarks, age and sex. Raises SourceError.
    """
    files = sorted(folder.rglob("*.onnx"))
    found = [path for path in files if not path.stem.lower().startswith(_NOT_EMBEDDERS)]
    if len(found) != 1:
        raise SourceError(
            "no single embedder in this pack",
            path=folder,
            expected="one such as w600k_r50.onnx",
            found=", ".join(path.name for path in files) or "no .onnx file",
            remedy="Name the .onnx file itself.",
        )
    return found[0]
