"""How a job declares an option once: the field of its dataclass is the command line's option
too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any


def option(default: Any, help: str, *, choices: Sequence[str] = (), required: bool = False) -> Any:
    """A dataclass field that carries its help text and, where there are few, its allowed values.

    A `required` option has no sensible default (a seed, an output folder): the command line insists
    on it.
    """
    return field(
        default=default, metadata={"help": help, "choices": tuple(choices), "required": required}
    )
