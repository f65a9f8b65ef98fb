"""Scorers by model spec: a model in a file with the rule that reads its outputs, or a class."""

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
from faceprep.core.scores import Scorer
from faceprep.models.files.kinds import find_file_kind, open_file
from faceprep.models.files.open_model import OpenModel, Output, ReadyModel
from faceprep.models.files.preparation import InputOptions
from faceprep.models.onnx_session import Runtime
from faceprep.models.own import PREFIX, class_name, open_scorer_class
from faceprep.models.scorers.rule import Rule
from faceprep.models.spec import SCORER_SETTINGS, ModelSpec, parse_spec

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
        if given.model.startswith(PREFIX):
            _refuse_settings_of_files(given)
            return
        _find_kind(given.model)
        if given.read:
            load_rule(given.read)

    @property
    def name(self) -> str:
        """Return the name of the column: `name=` in the spec, else that of the file or class."""
        given = parse_spec(self.spec, SCORER_SETTINGS)
        if given.model.startswith(PREFIX):
            return given.name or class_name(given.model)
        return given.name or Path(given.model).stem

    @property
    def crops(self) -> str:
        """Return the template of the crops that the model takes; empty for any crops."""
        return parse_spec(self.spec, SCORER_SETTINGS).input_options.crops


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
def open_scorer(spec: ScorerSpec) -> Scorer:
    """Open the scorer that `spec` names, once per process.

    Raises OptionError, SourceError, MissingExtra, or FaceprepError if a required GPU cannot be
    used.
    """
    given = parse_spec(spec.spec, SCORER_SETTINGS)
    runtime = Runtime(spec.device, spec.threads, spec.require_gpu)
    with hush_libraries():
        if given.model.startswith(PREFIX):
            return open_scorer_class(runtime, given.model.removeprefix(PREFIX))
        kind = _find_kind(given.model)
        return FileScorer(open_file(runtime, kind, given.model), given.input_options, given.read)


def _refuse_settings_of_files(given: ModelSpec) -> None:
    """Raise OptionError if the spec of a class states what only a file needs."""
    own = given.input_options._replace(crops="")
    if any(own) or given.read:
        raise OptionError(
            f"--model {given.model} prepares its crops and reads its output itself",
            remedy="Leave out all settings but crops= and name=.",
        )


def _find_kind(model: str) -> str:
    """Return the kind in MODEL_FILES of a model. Raises OptionError."""
    kind = find_file_kind(model)
    if not kind:
        known = ", ".join(entry.usage for entry in registry.MODEL_FILES.values())
        known += f" or {PREFIX}MODULE:CLASS"
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
