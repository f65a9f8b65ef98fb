"""Embedders by name, as given with `--embedder` and the options of a file's normalisation."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from faceprep.core import registry
from faceprep.core.embeddings import Embedder
from faceprep.core.errors import OptionError
from faceprep.core.hush import hush_libraries
from faceprep.core.suggest import did_you_mean
from faceprep.models.embedders.file_embedder import FileEmbedder
from faceprep.models.files.kinds import find_file_kind, open_file
from faceprep.models.files.preparation import InputOptions
from faceprep.models.onnx_session import Runtime


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """The choice of an embedder and of the device it runs on (see `Runtime`).

    `input_options` are for model files, and take precedence over what the files state.
    """

    name: str = "dlib-resnet"
    device: str = "auto"
    require_gpu: bool = False
    threads: int = 0
    input_options: InputOptions = InputOptions()


@functools.cache
def open_embedder(spec: EmbedderSpec) -> Embedder:
    """Open the embedder that `spec` names, once per process.

    Raises OptionError, MissingExtra, or FaceprepError if a required GPU cannot be used.
    """
    with hush_libraries():
        return _open(spec)


_WEIGHTS = re.compile(r"(-\d+)?\.params$", re.ASCII)
"""The end of the name of an MXNet checkpoint's weights."""


def _open(spec: EmbedderSpec) -> Embedder:
    name, source = find_kind(spec.name)
    runtime = Runtime(spec.device, spec.threads, spec.require_gpu)
    if name in registry.MODEL_FILES:
        return FileEmbedder(open_file(runtime, name, source), spec.input_options)
    kind = registry.load(registry.EMBEDDERS, name)
    if not source and any(spec.input_options):
        raise OptionError(
            f"{name} has its own normalisation",
            remedy="Leave out mean, std, size, color, crops and output.",
        )
    arguments = (source, spec.input_options) if source else ()
    embedder: Embedder = kind(runtime, *arguments)
    return embedder


def describe_preprocessing(embedder: Embedder) -> str:
    """Describe the preprocessing of a model in a file, and its source; empty for other models."""
    if isinstance(embedder, FileEmbedder):
        return embedder.preprocessing
    return ""


def _suggest_graph(name: str) -> str:
    """Return the remedy where `name` is the weights of an MXNet checkpoint, else nothing."""
    prefix = _WEIGHTS.sub("", name)
    if prefix == name:
        return ""
    return f"Name its graph, {prefix}-symbol.json; the weights beside it are found."


def find_kind(name: str) -> tuple[str, str]:
    """Split `name` into a name in the registry and a file or pack. Raises OptionError.

    >>> find_kind("dlib-resnet"), find_kind("insightface:buffalo_l"), find_kind("nets/r50.onnx")
    (('dlib-resnet', ''), ('insightface', 'buffalo_l'), ('onnx', 'nets/r50.onnx'))
    """
    kind, _, source = name.partition(":")
    named = registry.EMBEDDERS.get(kind)
    if named and named.usage.partition(":")[0] == (kind if source else ""):
        return kind, source
    file_kind = find_file_kind(name)
    if not file_kind:
        known = [entry.usage or each for each, entry in registry.EMBEDDERS.items()]
        remedy = _suggest_graph(name) or did_you_mean(name, known)
        raise OptionError(f"unknown embedder {name!r}", expected=", ".join(known), remedy=remedy)
    return file_kind, name
