"""Click parameters built from jobs: arguments from the usage line, options from the fields."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import click
from click.shell_completion import CompletionItem

from faceprep.cli.defaults import place_of, variables_of
from faceprep.core.errors import OptionError
from faceprep.core.options import Values, own_first, typed_name
from faceprep.core.os_errors import refuse_foreign_name
from faceprep.core.paths import is_present
from faceprep.core.text import parse_time

GLOBAL_OPTIONS = "Global options"


class _PathType(click.Path):
    """A path as a shell would take it: `~` is the home folder, and an empty string is refused.

    So is a name with a scheme that faceprep neither reads nor writes, unless there is such a path.

    Commands check themselves whether it can be read, so that all faults of a source look alike.
    """

    def __init__(self) -> None:
        super().__init__(readable=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("expected a path, found an empty string.", param, ctx)
        try:
            refuse_foreign_name(value)
        except OptionError as error:
            if not is_present(value):
                self.fail(str(error), param, ctx)
        if not isinstance(value, str) or not value.startswith("~"):
            return super().convert(value, param, ctx)
        try:
            return super().convert(str(Path(value).expanduser()), param, ctx)
        except RuntimeError:  # no user has this name
            self.fail(f"no home folder for {value!r}.", param, ctx)


class _NamedType(click.types.StringParamType):
    """A string: one of the known names, which the shell completes, or another one."""

    def __init__(self, known: tuple[str, ...]) -> None:
        self._known = known

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete a known name, or else a path."""
        found = [CompletionItem(name) for name in self._known if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]


class _TimeType(click.types.FloatParamType):
    """A time in seconds, or as a clock shows it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, int | float):
            return float(value)
        try:
            return parse_time(value)
        except ValueError:
            self.fail(f"expected seconds or HH:MM:SS, found {value!r}.", param, ctx)


class JobOption(click.Option):
    """An option whose value may come from a variable or a file; its errors say which one.

    On the command line, another option of the command is not a value.
    """

    heading = GLOBAL_OPTIONS
    """Heading of the help that shows it."""

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        self._refuse_options(ctx, opts.get(str(self.name)))
        try:
            return super().handle_parse_result(ctx, opts, args)
        except click.BadParameter as error:
            place = place_of(ctx, self)
            if not place:
                raise
            message = f"{error.message} It comes from {place}."
            raise click.BadParameter(message, ctx, self) from None

    def _refuse_options(self, ctx: click.Context, typed: Any) -> None:
        """Raise BadOptionUsage if what was typed as the value is an option of the command."""
        for value in typed if self.multiple and typed else [typed]:
            if isinstance(value, str) and value.partition("=")[0] in names_of(ctx.command, ctx):
                message = f"Option {self.opts[0]!r} requires an argument, found {value!r}."
                raise click.BadOptionUsage(self.opts[0], message, ctx)


def names_of(command: click.Command, ctx: click.Context) -> list[str]:
    """Return all names of the options of a command, as they are typed."""
    options = [each for each in command.get_params(ctx) if isinstance(each, click.Option)]
    return [name for each in options for name in (*each.opts, *each.secondary_opts)]


PATH = _PathType()


def argument(word: str) -> click.Argument:
    """Build the argument for a word of the usage line.

    `SRC` is one path, `SRC...` several, and `[PATH]` an optional one.
    """
    n_values = 1
    if word.endswith("..."):
        n_values = -1
    return click.Argument(
        [word.strip("[].").lower()], type=PATH, nargs=n_values, required=not word.startswith("[")
    )


def job_options(job: type) -> list[JobOption]:
    """Build the options for the fields of a job, those of its own class first."""
    hints, options = get_type_hints(job), []
    for field, heading in own_first(job):
        option = _job_option(field, hints[field.name])
        option.heading = heading or "Options"
        options.append(option)
    return options


def _job_option(field: Field[Any], hint: Any) -> JobOption:
    """Build the option for a field of a job, annotated with `hint`."""
    name, kind = typed_name(field.name), _value_type(hint)
    default = field.default
    if default is MISSING:
        default = None
    if kind is bool:
        if default:
            name = f"{name}/--no-{name[2:]}"
        return JobOption(
            [name, field.name], is_flag=True, default=default, help=_help_text(field, default)
        )
    values: Values = field.metadata["values"]
    required = field.metadata["required"]
    preset: dict[str, Any] = {"default": default}
    if required:
        preset = {}  # Click 8.5 accepts a missing required option that has a default, even None
    return JobOption(
        [name, field.name],
        type=_click_type(kind, values, field.metadata["choices"]),
        metavar=_metavar(field, kind, values),
        required=required,
        multiple=get_origin(hint) is tuple,
        help=_help_text(field, default),
        **preset,
    )


def _value_type(hint: Any) -> Any:
    """Return X for the annotations `X`, `X | None` and `tuple[X, ...]`."""
    return next((kind for kind in get_args(hint) if kind is not type(None)), hint)


def _click_type(kind: Any, values: Values, choices: tuple[str, ...]) -> Any:
    if choices:
        return click.Choice(choices)
    if values.known:
        return _NamedType(values.known)
    if values.is_time:
        return _TimeType()
    return PATH if kind is Path else kind


_METAVARS = {int: "N", float: "X", Path: "PATH"}


def _metavar(field: Field[Any], kind: Any, values: Values) -> str | None:
    """Return what stands for the value in the help; None where Click lists the choices."""
    if field.metadata["choices"]:
        return None
    return values.metavar or _METAVARS.get(kind) or field.name.rpartition("_")[2].upper()


def _help_text(field: Field[Any], default: Any) -> str:
    """Return the help of an option, with its range and its default."""
    values: Values = field.metadata["values"]
    parts = [field.metadata["help"]]
    if values.range():
        parts.append(f"[{values.range()}]")
    if shown := values.default or _shown(field.name, default):
        parts.append(f"[default: {shown}]")
    return "  ".join(parts)


def _shown(name: str, default: Any) -> str:
    """Return a default as a user would type it; empty where there is none to show."""
    if default is True:
        return typed_name(name).lstrip("-")
    if default is None or default is False or default == ():
        return ""
    if isinstance(default, tuple):
        return ", ".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def with_variables(options: Iterable[click.Option], command: str) -> list[click.Parameter]:
    """Return copies of options that take their values from the variables of `command` as well."""
    copies: list[click.Parameter] = []
    for option in options:
        own = copy.copy(option)
        own.envvar = variables_of(command, option.opts[0].lstrip("-")) or None
        copies.append(own)
    return copies
