"""Scorers by model spec: a model in a file, and the rule that reads its outputs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceprep.core import registry
from faceprep.core.arrays import Floats, Pixels
from faceprep.core.errors import OptionError, naming
from faceprep.core.hush import hush_libraries
from faceprep.models.files.kinds import find_file_kind, open_file
from faceprep.models.files.open_model import OpenModel, Output, ReadyModel
from faceprep.models.files.preparation import InputOptions
from faceprep.models.onnx_session import Runtime
from faceprep.models.scorers.rule import Rule
from faceprep.models.spec import SCORER_SETTINGS, parse_spec

_ONLY_NUMBER = "column/0"


@dataclass(frozen=True, slots=True)
class ScorerSpec:
    """The choice of a scorer by its model spec, and of the device it runs on (see `Runtime`)."""

    spec: str
    device: str = "auto"
    require_gpu: bool = False
    threads: int = 0

    def __post_init__(self) -> None:
        given = parse_spec(self.spec, SCORER_SETTINGS)
        _find_kind(given.model)
        if given.read:
            load_rule(given.read)

    @property
    def name(self) -> str:
        """Return the name of the column: `name=` in the spec, else the stem of the file."""
        given = parse_spec(self.spec, SCORER_SETTINGS)
        return given.name or Path(given.model).stem

    @property
    def crops(self) -> str:
        """Return the template of the crops that the model takes; empty for any crops."""
        return parse_spec(self.spec, SCORER_SETTINGS).crops


class FileScorer:
    """A model in a file with the preparation of its crops and the rule that reads its outputs."""

    def __init__(self, opened: OpenModel, options: InputOptions, read: str) -> None:
        rule = load_rule(read or _ONLY_NUMBER)

        def choose(outputs: Sequence[Output]) -> Sequence[int]:
            return rule.choose(outputs, options.output)

        self._rule, self._ready = rule, ReadyModel(opened, options, choose)
        with naming(opened.path):
            if not read:
                _refuse_several_numbers(self._ready.shapes[0])
            rule.check(self._ready.shapes)
        self.provider, self.size = self._ready.provider, self._ready.preparation.size
        self.preprocessing, self.is_guessed = self._ready.origin, self._ready.is_guessed
        self.fingerprint = f"{self._ready.fingerprint}/{read or _ONLY_NUMBER}"

    def score(self, crops: Pixels) -> Floats:
        numbers = np.empty(len(crops), np.float32)
        for rows, outputs in self._ready.run(crops):
            numbers[rows] = self._rule.read(outputs)
        return numbers


@functools.cache
def open_scorer(spec: ScorerSpec) -> FileScorer:
    """Open the scorer that `spec` names, once per process.

    Raises OptionError, SourceError, MissingExtra, or FaceprepError if a required GPU cannot be
    used.
    """
    given = parse_spec(spec.spec, SCORER_SETTINGS)
    kind = _find_kind(given.model)
    runtime = Runtime(spec.device, spec.threads, spec.require_gpu)
    with hush_libraries():
        return FileScorer(open_file(runtime, kind, given.model), given.input_options, given.read)


def _find_kind(model: str) -> str:
    """Return the kind in MODEL_FILES of a model. Raises OptionError."""
    kind = find_file_kind(model)
    if not kind:
        known = ", ".join(entry.usage for entry in registry.MODEL_FILES.values())
        raise OptionError(f"--model {model!r}", expected=known, found="no such kind of file")
    return kind


def load_rule(read: str) -> Rule:
    """Load the rule that `read=` names, such as softmax/1. Raises OptionError."""
    name, _, argument = read.partition("/")
    if name not in registry.SCORERS:
        known = ", ".join(entry.usage or each for each, entry in registry.SCORERS.items())
        raise OptionError("model spec", expected=f"read= one of {known}", found=f"read={read}")
    rule: Rule = registry.load(registry.SCORERS, name)(argument)
    return rule


def _refuse_several_numbers(shape: tuple[int, ...]) -> None:
    n = int(np.prod(shape))
    if n != 1:
        known = " or ".join(entry.usage or each for each, entry in registry.SCORERS.items())
        raise OptionError(
            "the model spec does not say which number of the output is the score",
            expected=f"read={known}",
            found=f"{n} numbers per crop",
        )
