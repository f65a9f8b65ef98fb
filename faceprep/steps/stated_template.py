"""The template that the table of faces in a folder of crops states, and refusals of another one."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import pyarrow.compute as pc

from faceprep.core.errors import OptionError, SourceError
from faceprep.models.scorers.scorer import ScorerSpec
from faceprep.steps.embed_options import EmbedOptions
from faceprep.tables.faces import find_faces_table, read_face_tables
from faceprep.vision.templates import is_scaled, load_template

log = logging.getLogger("faceprep")


def find_stated_templates(source: Path) -> list[str]:
    """Return the names of the templates that the table of faces states of the crops in a folder,
    sorted; empty without a table, in the folder or above it.

    A table that cannot be read, or that names an unknown template, states nothing. A warning says
    so.
    """
    found = find_faces_table(source)
    if found is None:
        return []
    table, start = found
    names: set[str] = set()
    try:
        for piece in read_face_tables(table, ("template", "output") if start else ("template",)):
            here = piece.filter(pc.starts_with(piece["output"], start)) if start else piece
            names.update(filter(None, here.column("template").unique().to_pylist()))
        for name in names:
            load_template(name)
    except SourceError as error:
        return _states_nothing(str(error))
    except OptionError as error:
        return _states_nothing(f"{table}: {error}")
    return sorted(names)


def _states_nothing(reason: str) -> list[str]:
    log.warning("%s. The template of the crops is not checked.", reason.rstrip("."))
    return []


def refuse_other_template(options: EmbedOptions, source: Path) -> None:
    """Raise SourceError if the crops in a folder have another template than the options state.

    --crops takes precedence over the table of faces, with a warning.
    """
    wanted = options.source_template
    stated = _find_others(source, wanted)
    if not stated:
        return
    table, named = _table_of(source), ", ".join(stated)
    if options.crops is not None:
        log.warning(
            "%s: the crops are %s; they are treated as %s, as --crops says", table, named, wanted
        )
        return
    raise SourceError(
        "the crops have another template than is assumed",
        path=table,
        expected=wanted,
        found=named,
        remedy=_remedy(stated, wanted),
    )


def refuse_unfit_crops(models: Iterable[ScorerSpec], source: Path) -> None:
    """Raise SourceError if the crops in a folder have another template than a model takes."""
    for model in models:
        if model.crops and (stated := _find_others(source, model.crops)):
            raise SourceError(
                f"the crops have another template than {model.name} takes",
                path=_table_of(source),
                expected=f"{model.crops}, by crops= in --model",
                found=", ".join(stated),
                remedy=f"Cut the faces with --template {model.crops}. If the model takes these "
                "crops, leave crops= out.",
            )


def _find_others(source: Path, wanted: str) -> list[str]:
    """Return the stated templates whose crops are not crops of `wanted` when they are scaled."""
    target = load_template(wanted)
    stated = find_stated_templates(source)
    return [name for name in stated if not is_scaled(load_template(name), target)]


def _table_of(source: Path) -> Path:
    found = find_faces_table(source)
    return found[0] if found else source


def _remedy(stated: list[str], wanted: str) -> str:
    cut_again = f"Cut the faces with --template {wanted}"
    if len(stated) > 1:
        return f"{cut_again}, so that all crops have one."
    (name,) = stated
    if load_template(name).points is None:
        return f"{cut_again}. If the model takes these crops, add crops={name} to --embedder."
    return f"Add --crops {name}."
