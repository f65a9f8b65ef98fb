"""The job of an earlier run, made again from the description that the run left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from faceprep.core import registry
from faceprep.core.errors import ResumeError
from faceprep.core.job import Job


def restore_job(run: Mapping[str, Any], output: Path) -> Job:
    """Make the job of a run from its description. Raises ResumeError."""
    command, options = run["command"], run.get("options", {})
    kind: type[Job] | None = None
    if command in registry.COMMANDS:
        kind = registry.load(registry.COMMANDS, command)
    names = [field.name for field in fields(kind)] if kind else []  # type: ignore[arg-type]
    if kind is None or set(options) - {"limit"} != set(names):
        raise ResumeError(
            f"the options of {command} are not those of this version",
            path=output,
            remedy=f"Use faceprep {run.get('faceprep')}.",
        )
    hints = get_type_hints(kind)
    return kind(**{name: _restore(options[name], hints[name]) for name in names})


def _restore(value: Any, hint: Any) -> Any:
    """Return an option as its annotation has it, where JSON has a list or a text.

    >>> _restore(["a"], tuple[str, ...]), _restore("a", Path | None), _restore(None, Path | None)
    (('a',), PosixPath('a'), None)
    """
    if value is None:
        return None
    if get_origin(hint) is tuple:
        return tuple(_restore(each, get_args(hint)[0]) for each in value)
    if Path in (hint, *get_args(hint)):
        return Path(value)
    return value
