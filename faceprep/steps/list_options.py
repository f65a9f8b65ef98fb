"""The option of the commands that read lists."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceprep.core.options import option

_RELATIVE_TO = "relative_to"


@dataclass(frozen=True)
class ListOptions:
    """The option that says where the relative names of a list lie."""

    relative_to: Path | None = option(
        None,
        "Read the relative names of a list below this folder.  [default: the folder of the list]",
    )

    def list_options(self) -> dict[str, str]:
        """Return the option as the header of a plan keeps it; empty without it."""
        if self.relative_to is None:
            return {}
        return {_RELATIVE_TO: os.path.abspath(self.relative_to)}


def folder_of_names(header: Mapping[str, Any]) -> Path | None:
    """Return the folder of the relative names of the list that a plan is about."""
    options = header.get("options")
    if not isinstance(options, dict) or not isinstance(options.get(_RELATIVE_TO), str):
        return None
    return Path(options[_RELATIVE_TO])
