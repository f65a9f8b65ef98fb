"""Options of jobs: a field of the job's dataclass is also the option of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any


def option(default: Any, help: str, *, choices: Sequence[str] = (), required: bool = False) -> Any:
    """Declare a dataclass field with a help text and, if there are few, its allowed values.

    A `required` option has no sensible default, such as a seed or an output folder.
    """
    return field(
        default=default, metadata={"help": help, "choices": tuple(choices), "required": required}
    )
