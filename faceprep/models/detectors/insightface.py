"""SCRFD and RetinaFace detectors of the insightface library: a pack by name, or an .onnx file.

The library brings no weights. Its packs, for non-commercial research only, lie in
~/.insightface/models; `download_pack` puts one there, on request only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Pixels
from faceprep.core.errors import OptionError, SourceError, loading, naming
from faceprep.core.faces import Faces
from faceprep.models import weights
from faceprep.models.detectors.retinaface_maps import RetinaFaceMaps, are_maps
from faceprep.models.onnx_session import Network, Runtime, onnxruntime

log = logging.getLogger("faceprep")
_VERSION = 1
"""Increase it when the same weights give other faces."""
_MULTIPLE = 32
_OUTPUTS_WITH_LANDMARKS = (9, 15)
_NAMES = ("det", "scrfd", "retinaface")
_PACK = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)
_REMEDY = "pip install 'faceprep[insightface]'"


class InsightFacePack:
    """A detector from a pack or an .onnx file, for faces with a score of at least `min_score`."""

    def __init__(self, runtime: Runtime, source: str, min_score: float = 0.5) -> None:
        path = _find_detector(source)
        model = path.read_bytes()
        network = runtime.open(model)
        n_outputs = len(network.session.get_outputs())
        if n_outputs not in _OUTPUTS_WITH_LANDMARKS:
            allowed = " or ".join(map(str, _OUTPUTS_WITH_LANDMARKS))
            raise SourceError(
                "not a detector with landmarks",
                path=path,
                expected=f"{allowed} outputs (SCRFD, RetinaFace)",
                found=str(n_outputs),
            )
        self._detector: _Scrfd | RetinaFaceMaps
        if are_maps(network):
            with naming(path):
                self._detector = RetinaFaceMaps(network, min_score)
        else:
            self._detector = _Scrfd(network, min_score)
        self.fingerprint = f"{path.stem}/{weights.fingerprint(model)}/v{_VERSION}/min{min_score:g}"
        self.provider = network.provider

    def detect(self, images: Sequence[Pixels]) -> list[Faces]:
        return self._detector.detect(images)


class _Scrfd:
    """The library's own decoding of SCRFD."""

    def __init__(self, network: Network, min_score: float) -> None:
        self._model = _library_class()(session=network.session)
        self._model.det_thresh = min_score

    def detect(self, images: Sequence[Pixels]) -> list[Faces]:
        return [self._detect_image(image) for image in images]

    def _detect_image(self, image: Pixels) -> Faces:
        """Detect faces in one image, padded so that the library does not resize it."""
        height, width = image.shape[:2]
        padded = [-(-side // _MULTIPLE) * _MULTIPLE for side in (height, width)]
        bgr = np.zeros((*padded, 3), np.uint8)
        bgr[:height, :width] = image[..., ::-1]
        boxes, landmarks = self._model.detect(bgr, input_size=(padded[1], padded[0]))
        return Faces(boxes[:, :4], landmarks, boxes[:, 4])


def _find_detector(source: str) -> Path:
    if source.endswith(".onnx"):
        return weights.find_model(source, "an SCRFD or RetinaFace .onnx")
    return pack_detector(source)


def pack_detector(pack: str) -> Path:
    """Return the detector's file in a pack. Raises SourceError."""
    folder = pack_folder(pack)
    files = sorted(folder.rglob("*.onnx"))
    for path in files:
        if any(name in path.stem.lower() for name in _NAMES):
            return path
    found = ", ".join(path.name for path in files) or "no .onnx file"
    raise SourceError(
        "no detector in this pack", path=folder, expected="det_*.onnx or scrfd_*.onnx", found=found
    )


def pack_folder(pack: str) -> Path:
    """Return the folder of a pack that is on this machine. Raises SourceError, OptionError."""
    folder = _folder_of(pack)
    if not folder.is_dir():
        raise SourceError(
            f"the insightface pack {pack!r} is not there",
            path=folder,
            expected="the folder of the pack",
            found="none, and nothing is downloaded without --download",
            remedy="Add --download, or put the files of the pack there.",
        )
    return folder


def download_pack(model: str) -> None:
    """Download the pack that `model` names (insightface:PACK), unless it is there.

    The pack appears whole or not at all. Does nothing for other models. Raises SourceError,
    OptionError, MissingExtra.
    """
    kind, _, pack = model.partition(":")
    if kind != "insightface" or not pack or _folder_of(pack).is_dir():
        return
    onnxruntime()  # switches its telemetry off, before the library loads it
    with loading("insightface cannot be loaded ({0})", _REMEDY):
        from insightface.utils import storage as library
    folder, beside = _folder_of(pack), _home() / f".faceprep-{os.getpid()}"
    log.info("downloading the insightface pack %s to %s", pack, folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # the library prints what it loads
            made = library.ensure_available("models", pack, root=str(beside))
        storage.move(made, folder)
    except (OSError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise SourceError(
            f"the insightface pack {pack!r} cannot be downloaded",
            found=str(error).partition("\n")[0],
            remedy=f"Put its files into {folder}.",
        ) from error
    finally:
        storage.remove_tree(beside)


def _home() -> Path:
    return Path("~/.insightface").expanduser()


def _folder_of(pack: str) -> Path:
    """Return the place of a pack. Raises OptionError for an invalid name."""
    if not _PACK.fullmatch(pack):
        raise OptionError(f"insightface:{pack}", expected="the name of a pack, such as buffalo_l")
    return _home() / "models" / pack


def _library_class() -> type:
    with loading("insightface cannot be loaded ({0})", _REMEDY):
        from insightface.model_zoo.scrfd import SCRFD
    kind: type = SCRFD
    return kind
