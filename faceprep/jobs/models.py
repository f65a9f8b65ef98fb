"""`models`: list detectors, embedders and scorers and their state. Imports none of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from faceprep.core import dependencies as installed
from faceprep.core import registry
from faceprep.core.job import Look
from faceprep.core.registry import Entry
from faceprep.core.slow_step import Progress, ignore_progress
from faceprep.core.text import join_lines
from faceprep.core.types import OK

_NAME_WIDTH = 21


@dataclass(frozen=True)
class ModelState:
    """A model and the packages it needs; `missing` names those that are not installed."""

    kind: str
    name: str
    about: str
    weights: str
    licence: str
    extra: str
    missing: tuple[str, ...]

    @property
    def pip(self) -> str:
        """Return the pip command that installs it; empty if nothing is needed."""
        what = f"'faceprep[{self.extra}]'" if self.extra else " ".join(self.missing)
        return f"pip install {what}" if self.missing else ""


@dataclass(frozen=True)
class Catalogue:
    """All models."""

    models: tuple[ModelState, ...]
    failed: ClassVar[int] = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "command": "models",
            "unit": "model",
            "inputs": len(self.models),
            "ok": len(self.models),
            "by_status": {OK: len(self.models)},
            "models": [
                asdict(model) | {"installed": not model.missing, "pip": model.pip}
                for model in self.models
            ],
        }

    def __str__(self) -> str:
        lines = []
        for kind in dict.fromkeys(model.kind for model in self.models):
            lines.append(f"{kind}s")
            lines += [
                line
                for model in self.models
                if model.kind == kind
                for line in _describe_model(model)
            ]
        return join_lines(lines)


@dataclass(frozen=True)
class Models(Look):
    """List detectors, embedders and scorers, the source of their weights, and which are installed.

    Weights come with packages, or from a file that you name. The commands that use them
    have --download, which downloads a missing insightface pack. Nothing is downloaded without it.
    """

    command: ClassVar[str] = "models"

    def look(self, progress: Progress = ignore_progress) -> Catalogue:
        tables = (
            ("detector", registry.DETECTORS),
            ("embedder", registry.EMBEDDERS),
            ("scorer", registry.SCORERS),
        )
        return Catalogue(
            tuple(_state(kind, name, table[name]) for kind, table in tables for name in table)
        )


def _state(kind: str, name: str, entry: Entry) -> ModelState:
    """Return the state of a model; one without its own packages needs all of its extra."""
    needed = entry.packages
    if entry.extra and not needed:
        modules = installed.requirements().get(entry.extra, ())
        needed = tuple(map(installed.project_of, modules))
    missing = tuple(project for project in needed if installed.version_of(project) is None)
    return ModelState(
        kind, entry.usage or name, entry.help, entry.weights, entry.licence, entry.extra, missing
    )


def _describe_model(model: ModelState) -> list[str]:
    """Describe a model in two or three lines."""
    source = f"weights: {model.weights} (licence: {model.licence})" if model.weights else ""
    if model.missing:
        state = f"not installed: {', '.join(model.missing)}; {model.pip}"
    else:
        state = "installed"
    return [
        f"  {model.name:{_NAME_WIDTH}s}{model.about}",
        *(f"  {'':{_NAME_WIDTH}s}{line}" for line in (source, state) if line),
    ]
