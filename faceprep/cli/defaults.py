"""Defaults of options from variables and from a file of the working directory.

The command line wins over the variables FACEPREP_COMMAND_OPTION and FACEPREP_OPTION, and these over
the file: faceprep.toml, or else the table [tool.faceprep] of pyproject.toml. A file holds options
of every command that has them, and tables with the options of one command:

    workers = 4
    [extract-photos]
    detector = "mtcnn"
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import click
from click.core import ParameterSource

from faceprep.core import registry, storage
from faceprep.core.errors import FaceprepError, OptionError
from faceprep.core.suggest import did_you_mean

log = logging.getLogger("faceprep")
ONLY_TYPED = ("json", "yes")
"""Options that are read from the command line only: --json changes what scripts read, and --yes
states that a person has looked."""
_OWN, _PROJECT = Path("faceprep.toml"), Path("pyproject.toml")
_FILE = "faceprep.cli.defaults"
"""Key of the file's name in the context of a command."""


def variables_of(command: str, option: str) -> list[str]:
    """Return the variables that set an option, the first one that is set wins.

    >>> variables_of("extract-photos", "min-score")
    ['FACEPREP_EXTRACT_PHOTOS_MIN_SCORE', 'FACEPREP_MIN_SCORE']
    """
    if option in ONLY_TYPED:
        return []
    names = (f"faceprep_{command}_{option}", f"faceprep_{option}")
    return [name.replace("-", "_").upper() for name in names]


def _read_defaults(ctx: click.Context) -> tuple[str, dict[str, Any]]:
    """Return the name of the file of defaults and those of the command, by the parameter's name.

    Raises OptionError for a file that cannot be read and for a key that no command has.
    """
    options = typed_options(ctx.command)
    path, table = _read_table()
    allowed = set(options) - set(ONLY_TYPED)
    shared: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in table.items():
        name = _plain(key)
        if isinstance(value, dict):
            if name not in registry.COMMANDS:
                raise _unknown_key(key, path, registry.COMMANDS)
            if name == ctx.command.name:
                own |= value
        elif name in allowed:
            shared[name] = value
        else:
            _refuse_unknown(key, path, ctx)
    for key in own:
        if _plain(key) not in allowed:
            raise _unknown_key(key, path, allowed, f"[{ctx.command.name}]")
    chosen = shared | {_plain(key): value for key, value in own.items()}
    named = {name: _as_typed(options[name], value, path) for name, value in chosen.items()}
    return str(path), {str(options[name].name): value for name, value in named.items()}


def _read_table() -> tuple[Path, dict[str, Any]]:
    """Return the file of defaults and its table. Without a file, the table is empty."""
    if _OWN.is_file():
        return _OWN, _parse(_OWN)
    if _PROJECT.is_file():
        table = _parse(_PROJECT)
        for name in ("tool", "faceprep"):
            table = table.get(name, {})
            if not isinstance(table, dict):
                raise OptionError(f"{name} is not a table", path=_PROJECT, found=repr(table))
        return _PROJECT, table
    return _OWN, {}


def _parse(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(storage.read_bytes(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OptionError(f"not TOML ({error})", path=path) from error


def _plain(key: str) -> str:
    return key.replace("_", "-")


def _refuse_unknown(key: str, path: Path, ctx: click.Context) -> None:
    """Raise OptionError for a key that is not an option of any command."""
    if _plain(key) in ONLY_TYPED:
        raise OptionError(
            f"{key} cannot have a default", path=path, remedy=f"Type --{key} where you want it."
        )
    known = _options_of_all(ctx)
    if _plain(key) not in known:
        raise _unknown_key(key, path, known)


def _options_of_all(ctx: click.Context) -> set[str]:
    """Return the options of all commands; this loads them, so it comes last."""
    group = cast(click.Group, ctx.find_root().command)
    commands = filter(None, (group.get_command(ctx, name) for name in registry.COMMANDS))
    return {name for command in commands for name in typed_options(command)} - set(ONLY_TYPED)


def _unknown_key(key: str, path: Path, known: Iterable[str], where: str = "") -> OptionError:
    names = sorted(known)
    return OptionError(
        f"unknown key {key!r}",
        path=path,
        where=where or None,
        remedy=did_you_mean(_plain(key), names) or "faceprep COMMAND --help lists the options.",
    )


def _as_typed(option: click.Option, value: Any, path: Path) -> Any:
    """Return a value of TOML as the command line would give it, so that its checks apply."""
    expected = "a string or a number"
    if option.is_flag:
        expected = "true or false"
    elif option.multiple:
        expected = "a list of strings"
    is_list = isinstance(value, list)
    if isinstance(value, bool) != option.is_flag or is_list != option.multiple:
        name = option.opts[0]
        raise OptionError(name, path=path, expected=expected, found=repr(value))
    if is_list:
        return [str(each) for each in value]
    return value if option.is_flag else str(value)


def typed_options(command: click.Command) -> dict[str, click.Option]:
    """Return the options of a command by their typed names, without hyphens in front."""
    options = (each for each in command.params if isinstance(each, click.Option))
    return {option.opts[0].lstrip("-"): option for option in options}


def set_defaults(ctx: click.Context) -> None:
    """Give a command the defaults of the file before it parses its line. Raises OptionError."""
    ctx.meta[_FILE], ctx.default_map = _read_defaults(ctx)


def place_of(ctx: click.Context, option: click.Parameter) -> str:
    """Return the variable or the file that a value comes from; empty for the command line."""
    source = ctx.get_parameter_source(str(option.name))
    if source is ParameterSource.DEFAULT_MAP:
        return str(ctx.meta.get(_FILE))
    if source is not ParameterSource.ENVIRONMENT:
        return ""
    names = option.envvar or ()
    return next(name for name in names if os.environ.get(name))


def add_places(error: FaceprepError, ctx: click.Context) -> None:
    """Add to an error the variables and the files that its values come from.

    These are the options that it names by themselves or by their value. A wrong value that it does
    not name may be any of them.
    """
    placed = {each: place for each in ctx.command.params if (place := place_of(ctx, each))}
    meant = [each for each in placed if _is_named(each, ctx.params.get(str(each.name)), error)]
    if not meant and isinstance(error, OptionError):
        meant = list(placed)
    for each in meant:
        error.add_remedy(f"{each.opts[0]} comes from {placed[each]}.")


def _is_named(option: click.Parameter, value: Any, error: FaceprepError) -> bool:
    """Return whether an error names an option, or its value as a string or as a path."""
    line = str(error)
    names = "|".join(map(re.escape, (*option.opts, *option.secondary_opts)))
    if re.search(rf"(?<![\w-])({names})(?![\w-])", line):
        return True
    values = [str(each) for each in (value if isinstance(value, tuple) else (value,))]
    return any(repr(each) in line or each == error.path for each in values)


def log_defaults(ctx: click.Context) -> None:
    """Log each option that a variable or a file has set, at debug level."""
    for option in ctx.command.params:
        place = place_of(ctx, option)
        if place:
            log.debug("%s %s comes from %s", option.opts[0], ctx.params.get(option.name), place)
