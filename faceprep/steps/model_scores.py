"""Columns of scores that models compute: the options, and the scoring of crops in batches."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from faceprep.core import items
from faceprep.core.arrays import Pixels
from faceprep.core.cpu import my_cores
from faceprep.core.errors import OptionError
from faceprep.core.options import Values, option
from faceprep.core.types import OK, Outcome
from faceprep.models.onnx_session import Runtime
from faceprep.models.scorers.scorer import FileScorer, ScorerSpec, open_scorer
from faceprep.steps.device_options import UsesDevice, device_option, require_gpu_option
from faceprep.steps.fitting import Scaler
from faceprep.steps.stated_template import refuse_unfit_crops
from faceprep.vision.templates import load_template

log = logging.getLogger("faceprep")
_BATCH = 64
NO_SCORE = "no_score"


class ScoredCrop(NamedTuple):
    """A crop with its row of the table, to which the scores are added.

    `note` is a remark on the pixels.
    """

    row: dict[str, Any]
    pixels: Pixels
    note: str = ""


@dataclass(frozen=True)
class ModelOptions(UsesDevice):
    """The options of a command that scores crops with models."""

    model: tuple[str, ...] = option(
        (),
        "Add a column with the score of this model, such as "
        "spoof.onnx:crops=box1.5-256,read=softmax/1. May be repeated.",
        values=Values("SPEC"),
    )
    device: str = device_option("the models")
    require_gpu: bool = require_gpu_option()

    def check_models(self, taken: Iterable[str]) -> None:
        """Raise OptionError for a bad spec, and for a name among the `taken` or given twice."""
        Runtime(self.device, require_gpu=self.require_gpu)
        names = set(taken)
        for spec in self._specs():
            if spec.crops:
                load_template(spec.crops)
            if spec.name in names or not spec.name or "=" in spec.name:
                raise OptionError(
                    f"--model {spec.spec}",
                    expected="a name of its own for the column",
                    found=repr(spec.name),
                    remedy="Add name= to the model spec.",
                )
            names.add(spec.name)

    def columns(self) -> tuple[str, ...]:
        """Return the names of the columns, in the order of the models."""
        return tuple(spec.name for spec in self._specs())

    def refuse_unfit_crops(self, source: Path) -> None:
        """Raise SourceError if the crops in a folder have another template than a model takes."""
        refuse_unfit_crops(self._specs(), source)

    def announce_models(self) -> str:
        """Open all models in the driver, report each once, and return their fingerprint.

        Raises FaceprepError.
        """
        fingerprints = []
        for spec in self._specs():
            scorer = open_scorer(spec)
            log.info("%s runs on %s (%s)", spec.name, scorer.provider, scorer.fingerprint)
            if isinstance(scorer, FileScorer):
                level = logging.WARNING if scorer.is_guessed else logging.INFO
                log.log(level, "%s takes %s", spec.name, scorer.preprocessing)
            fingerprints.append(scorer.fingerprint)
        return ", ".join(fingerprints)

    def warm_up(self) -> None:
        """Open the models in a worker while the driver still plans."""
        for spec in self._specs():
            open_scorer(spec)

    def score_rows(self, crops: Iterable[ScoredCrop | Outcome]) -> Iterator[ScoredCrop | Outcome]:
        """Add the score of each model to the rows, in batches; outcomes pass as they are.

        A score that is not a number becomes None in its row.
        """
        batch: list[ScoredCrop | Outcome] = []
        for each in crops:
            batch.append(each)
            if len(batch) >= items.most_at_once(_BATCH):
                yield from self._score_batch(batch)
                batch = []
        yield from self._score_batch(batch)

    def _score_batch(self, batch: list[ScoredCrop | Outcome]) -> list[ScoredCrop | Outcome]:
        places = [place for place, each in enumerate(batch) if isinstance(each, ScoredCrop)]
        for spec in self._specs():
            scorer = open_scorer(spec)
            scaler = Scaler(scorer.size)
            crops = [each for each in batch if isinstance(each, ScoredCrop)]
            if not crops:
                break
            pixels = np.stack([scaler.fit(crop.pixels) for crop in crops])
            numbers = scorer.score(pixels).tolist()
            for place, crop, number in zip(places, crops, numbers, strict=True):
                score = number if math.isfinite(number) else None
                note = crop.note or scaler.describe_shape(crop.pixels)
                batch[place] = ScoredCrop({**crop.row, spec.name: score}, crop.pixels, note)
        return batch

    def outcome(self, crop: ScoredCrop) -> Outcome:
        """Return the outcome of a scored crop: ok, or the models that gave no number."""
        key = crop.row["path"]
        lacking = [name for name in self.columns() if crop.row[name] is None]
        if lacking:
            return Outcome(key, NO_SCORE, f"{key}: {', '.join(lacking)} gives no number")
        return Outcome(key, OK, crop.note)

    def _specs(self) -> list[ScorerSpec]:
        threads = my_cores()
        return [ScorerSpec(spec, self.device, self.require_gpu, threads) for spec in self.model]
