"""The option of the commands that read lists, or write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceprep.core.options import Values, option
from faceprep.core.paths import full_path

_RELATIVE_TO = "relative_to"
_ORIGIN_RELATIVE_TO = "origin_relative_to"


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """The option for the folder of the relative names in a list or a .parquet."""

    relative_to: Path | None = option(
        None,
        "Read the relative names of a list or .parquet below this folder.",
        values=Values("DIR", default="the folder of that file"),
    )

    def list_options(self) -> dict[str, str]:
        """Return the option as the header of a plan keeps it; empty without it."""
        if self.relative_to is None:
            return {}
        return {_RELATIVE_TO: full_path(self.relative_to)}


@dataclass(frozen=True, kw_only=True)
class NamingOptions(ListOptions):
    """The same option of the commands that write names of files as well."""

    relative_to: Path | None = option(
        None,
        "Read the relative names of a list or .parquet below this folder, and write names relative "
        "to it.",
        values=Values("DIR", default="the folder of that file; write absolute paths"),
    )


def folder_of_names(header: Mapping[str, Any]) -> Path | None:
    """Return the folder of the relative names of the list that a plan is about."""
    options = header.get("options")
    if not isinstance(options, dict):
        return None
    return _folder(options.get(_RELATIVE_TO))


def folder_of_origin(header: Mapping[str, Any]) -> Path | None:
    """Return the folder of the relative names of the list that a plan restores images from."""
    return _folder(header.get(_ORIGIN_RELATIVE_TO))


def origin_options(relative_to: str) -> dict[str, str]:
    """Return what the header of an undo plan keeps of the list it restores from, if anything."""
    if not relative_to:
        return {}
    return {_ORIGIN_RELATIVE_TO: relative_to}


def _folder(value: object) -> Path | None:
    if not isinstance(value, str):
        return None
    return Path(value)
