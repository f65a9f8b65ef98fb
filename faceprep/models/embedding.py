"""Embedders by name: what `--embedder` and the options of a file's normalisation mean."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from faceprep import registry
from faceprep.embeddings import Embedder
from faceprep.errors import OptionError
from faceprep.models.runtime import Runtime


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """Which embedder, and where it runs: see `Runtime`.

    `mean`, `std` (one number, or three in the order red, green, blue), `size` (height, width) and `color` (rgb or
    bgr) are for files of models that do not say so themselves.
    """

    name: str = "dlib-resnet"
    device: str = "auto"
    require_gpu: bool = False
    threads: int = 0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: tuple[int, int] | None = None
    color: str = ""

    def __post_init__(self) -> None:
        if self.color not in ("", "rgb", "bgr"):
            raise OptionError("unknown order of colours", expected="rgb or bgr", found=repr(self.color))


@functools.cache
def open_embedder(spec: EmbedderSpec) -> Embedder:
    """The embedder that `spec` names, one a process. Raises OptionError, MissingExtra, FaceprepError for a GPU."""
    if spec.name not in registry.EMBEDDERS:
        raise OptionError(f"unknown embedder {spec.name!r}", expected=", ".join(registry.EMBEDDERS))
    embedder: Embedder = registry.load(registry.EMBEDDERS, spec.name)(
        Runtime(spec.device, spec.threads, spec.require_gpu)
    )
    return embedder
