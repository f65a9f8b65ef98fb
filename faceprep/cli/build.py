"""A Click command from a job: arguments from the registry's usage line, options from the
dataclass's fields.
"""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import FrameType
from typing import Any, get_args, get_origin, get_type_hints

import click

from faceprep.cli.log_lines import log_to_stderr
from faceprep.cli.progress import counting_bar, progress_bar
from faceprep.core import registry
from faceprep.core.cpu import n_cores
from faceprep.core.errors import Interrupted
from faceprep.core.job import Job, Service
from faceprep.core.text import count_noun
from faceprep.core.types import OK, Request, Summary
from faceprep.run.engine import as_json, run_job
from faceprep.run.ledger import first_failures

_PATH = click.Path(path_type=Path)
_RUN_OPTIONS = (
    click.Option(
        ["--workers"], type=click.IntRange(1), help="Use this many processes.  [default: the cores]"
    ),
    click.Option(
        ["--runner"],
        type=click.Choice(list(registry.RUNNERS)),
        default="processes",
        show_default=True,
        help="Run the shards in this way.",
    ),
    click.Option(["--limit"], type=click.IntRange(1), help="Process only the first N inputs."),
    click.Option(
        ["--max-failures"],
        type=click.IntRange(0),
        help="Stop when more inputs than this have failed.  [default: no limit]",
    ),
    click.Option(
        ["--overwrite"], is_flag=True, help="Start again: remove the output of the earlier run."
    ),
)
_N_NAMED = 3
_OF_EVERY_RUN = ("failures", "done_before")
_SHARED_OPTIONS = (
    click.Option(
        ["--json", "as_json"], is_flag=True, help="Print one JSON object on stdout at the end."
    ),
    click.Option(["--quiet", "-q"], is_flag=True, help="Show results and errors only."),
    click.Option(["--verbose", "-v"], is_flag=True, help="Log each step with its time."),
)


def command_for(name: str) -> click.Command:
    """The command `name` of the registry."""
    entry = registry.COMMANDS[name]
    job = registry.load(registry.COMMANDS, name)
    arguments: list[click.Parameter] = [_argument(word) for word in entry.usage.split()]
    hints = get_type_hints(job)
    options = [_option(field, hints[field.name]) for field in fields(job)]
    is_run = issubclass(job, Job)
    shared = [*(_RUN_OPTIONS if is_run else ()), *_SHARED_OPTIONS]
    return click.Command(
        name,
        params=[*arguments, *options, *shared],
        callback=_run if is_run else _serve if issubclass(job, Service) else _look,
        help=job.__doc__,
        short_help=entry.help,
        context_settings={"obj": job},
        no_args_is_help=any(argument.required for argument in arguments),
    )


def _argument(word: str) -> click.Parameter:
    """Of a word of the usage line: `SRC`, `SRC...` for several, `[PATH]` for one that may be
    left out.
    """
    many, name = word.endswith("..."), word.strip("[].").lower()
    return click.Argument(
        [name], type=_PATH, nargs=-1 if many else 1, required=not word.startswith("[")
    )


def _option(field: Field[Any], hint: Any) -> click.Parameter:
    kind = next(
        (kind for kind in get_args(hint) if kind is not type(None)), hint
    )  # of `X | None` and `tuple[X, ...]`
    choices, required = field.metadata["choices"], field.metadata["required"]
    name = "--" + field.name.rstrip("_").replace("_", "-")  # `import_`: a word of Python's own
    default = None if field.default is MISSING else field.default
    preset: dict[str, Any] = (
        {} if required else {"default": default}
    )  # with a default, be it None, Click 8.5 misses nothing
    if kind is bool:
        name = f"{name}/--no-{name[2:]}" if default else name
        return click.Option(
            [name, field.name],
            is_flag=True,
            default=default,
            show_default=bool(default),
            help=field.metadata["help"],
        )
    kind = click.Choice(choices) if choices else _PATH if kind is Path else kind
    return click.Option(
        [name, field.name],
        type=kind,
        required=required,
        multiple=get_origin(hint) is tuple,
        help=field.metadata["help"],
        show_default=default not in (None, ()),
        **preset,
    )


@contextmanager
def _stoppable(told: str) -> Iterator[None]:
    """Ctrl-C is told as it is for this kind of command; before Click, which does not know them
    apart, comes to it.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(told) from None


@click.pass_context
@_stoppable("stopped. Start the same command again to resume.")
def _run(ctx: click.Context, /, **given: Any) -> int:
    as_object, quiet = given.pop("as_json"), _log(given)
    source, *output = _arguments(
        ctx, given
    )  # a job without an output argument has it in its options
    sources = source if isinstance(source, tuple) else (source,)
    workers, runner = given.pop("workers") or n_cores(), given.pop("runner")
    asked = {name: given.pop(name) for name in ("limit", "overwrite", "max_failures")}
    job = ctx.obj(**given)
    request = Request(sources, output[0] if output else job.output_of(sources), **asked)
    signal.signal(signal.SIGTERM, _interrupt)
    summary = run_job(
        job, request, registry.load(registry.RUNNERS, runner)(workers), progress_bar(quiet)
    )
    click.echo(json.dumps(as_json(summary)) if as_object else _told(summary, job))
    if summary.failed:
        _name_failures(summary.details["failures"])
    return 3 if summary.failed else 0


@click.pass_context
def _look(ctx: click.Context, /, **given: Any) -> int:
    as_object, quiet = given.pop("as_json"), _log(given)
    places = _arguments(ctx, given)
    job = ctx.obj(**given)
    with _stoppable(job.stopped), counting_bar(quiet) as progress:
        result = job(*places, progress)
    click.echo(json.dumps(result.as_json()) if as_object else str(result))
    return int(job.exit_status(result))


def _log(given: dict[str, Any]) -> bool:
    """Has the library's log shown as the options ask; whether that is hardly at all. Raises
    UsageError.
    """
    quiet, verbose = given.pop("quiet"), given.pop("verbose")
    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose exclude each other.")
    log_to_stderr(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)
    return bool(quiet)


@click.pass_context
def _serve(ctx: click.Context, /, **given: Any) -> int:
    as_object, _ = given.pop("as_json"), _log(given)
    (plan,) = _arguments(ctx, given)
    signal.signal(signal.SIGTERM, _interrupt)
    job = ctx.obj(**given)
    with _stoppable(job.stopped):
        result = job.serve(plan, lambda address: click.echo(address, err=as_object))
    click.echo(json.dumps(result.as_json()) if as_object else str(result))
    return 0


def _arguments(ctx: click.Context, given: dict[str, Any]) -> list[Any]:
    """What stands in the place of each word of the usage line, taken out of `given`."""
    return [given.pop(word.name) for word in ctx.command.params if isinstance(word, click.Argument)]


def _told(summary: Summary, job: Any) -> str:
    """For people: the inputs, those that are not ok, and what the job found, in a sentence of
    its own.
    """
    where = "for" if job.output_is_file else "in"  # it may be several, named after it or beside it
    line = (
        f"{summary.ok:,} of {summary.inputs:,} inputs ok, {count_noun(summary.outputs, 'file')} "
        f"{where}"
        f" {summary.output} ({summary.seconds:.1f} s{_rate(summary)})"
    )
    others = ", ".join(f"{n:,} {status}" for status, n in summary.by_status.items() if status != OK)
    figures = {name: value for name, value in summary.details.items() if name not in _OF_EVERY_RUN}
    found = job.sentence(figures) if figures else ""
    return "\n".join(filter(None, [line, others and f"the others: {others}", found]))


def _rate(summary: Summary) -> str:
    n_done = summary.inputs - summary.details["done_before"]
    if not n_done or not summary.seconds:
        return ""
    rate = n_done / summary.seconds
    return f", {rate:,.0f} a second" if rate >= 1 else f", {rate:.1g} a second"


def _name_failures(path: str) -> None:
    """The first failures on stderr, and where the others are."""
    failures, n = first_failures(path, _N_NAMED)
    for key, status, reason in failures:
        click.echo(
            f"faceprep: {status}: {reason if key in reason else f'{key}: {reason}'}", err=True
        )
    click.echo(
        f"faceprep: {f'{n - _N_NAMED:,} more' if n > _N_NAMED else 'named'} in {path}", err=True
    )


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
