"""Click commands built from jobs: arguments from the usage line, options from the fields."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from types import FrameType
from typing import Any, cast, get_args, get_origin, get_type_hints

import click

from faceprep.cli.log_lines import log_to_stderr
from faceprep.cli.progress import counting_bar, progress_bar
from faceprep.core import registry
from faceprep.core.cpu import n_cores
from faceprep.core.errors import Interrupted, OptionError
from faceprep.core.job import Continuation, Job, Service
from faceprep.core.text import count_noun, join_lines, on_one_line
from faceprep.core.types import ITEM_TIMEOUT_S, OK, Request, Runner, Share, Summary
from faceprep.run.engine import run_job
from faceprep.tables.ledger import first_failures

_PATH = click.Path(path_type=Path)
_RAY = "ray"
_WORK_OPTIONS = (
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
    click.Option(
        ["--ray-address"],
        metavar="HOST:PORT",
        help="Use the Ray cluster at this address.  [default: the cluster at hand, else this "
        "machine]",
    ),
    click.Option(
        ["--item-timeout"],
        type=click.FloatRange(0, min_open=True),
        default=ITEM_TIMEOUT_S,
        show_default=True,
        help="Give up an image or a step in a video after this many seconds. It takes processes: "
        "--runner serial cannot end one.",
    ),
    click.Option(
        ["--max-failures"],
        type=click.IntRange(0),
        help="Stop when more inputs than this have failed.  [default: no limit]",
    ),
)
_RUN_OPTIONS = (
    *_WORK_OPTIONS,
    click.Option(
        ["--shard"],
        metavar="I/N",
        help="Carry out part I of N in this process, and the others in others; `faceprep finish` "
        "joins them.",
    ),
    click.Option(["--limit"], type=click.IntRange(1), help="Process only the first N inputs."),
    click.Option(
        ["--overwrite"], is_flag=True, help="Start again: remove the output of the earlier run."
    ),
)
_N_NAMED = 3
_SHARED_DETAILS = ("failures", "done_before", "skipped")
"""Details that every run has; the others are the job's own figures."""
_SHARED_OPTIONS = (
    click.Option(
        ["--json", "as_json"], is_flag=True, help="Print one JSON object on stdout at the end."
    ),
    click.Option(["--quiet", "-q"], is_flag=True, help="Show results and errors only."),
    click.Option(["--verbose", "-v"], is_flag=True, help="Log each step with its time."),
)


def command_for(name: str) -> click.Command:
    """Build the Click command for `name` in the registry."""
    entry = registry.COMMANDS[name]
    job = registry.load(registry.COMMANDS, name)
    arguments: list[click.Parameter] = [_argument(word) for word in entry.usage.split()]
    hints = get_type_hints(job)
    options = [_option(field, hints[field.name]) for field in fields(job)]
    callback, shared = _look, list[click.Parameter](_SHARED_OPTIONS)
    if issubclass(job, Job):
        callback, shared = _run, [*_RUN_OPTIONS, *shared]
    elif issubclass(job, Continuation):
        callback, shared = _resume, [*_WORK_OPTIONS, *shared]
    elif issubclass(job, Service):
        callback = _serve
    return click.Command(
        name,
        params=[*arguments, *options, *shared],
        callback=callback,
        help=job.__doc__,
        short_help=entry.help,
        context_settings={"obj": job},
        no_args_is_help=any(argument.required for argument in arguments),
    )


def _argument(word: str) -> click.Parameter:
    """Build the argument for a word of the usage line.

    `SRC` is one path, `SRC...` several, and `[PATH]` an optional one.
    """
    n_values = 1
    if word.endswith("..."):
        n_values = -1
    return click.Argument(
        [word.strip("[].").lower()], type=_PATH, nargs=n_values, required=not word.startswith("[")
    )


def _option(field: Field[Any], hint: Any) -> click.Parameter:
    """Build the option for a field of a job, annotated with `hint`."""
    name = "--" + field.name.rstrip("_").replace("_", "-")  # `import_` avoids a Python keyword
    kind, help_text = _value_type(hint), field.metadata["help"]
    default = field.default
    if default is MISSING:
        default = None
    if kind is bool:
        if default:
            name = f"{name}/--no-{name[2:]}"
        return click.Option(
            [name, field.name],
            is_flag=True,
            default=default,
            show_default=bool(default),
            help=help_text,
        )
    if field.metadata["choices"]:
        kind = click.Choice(field.metadata["choices"])
    elif kind is Path:
        kind = _PATH
    required = field.metadata["required"]
    preset: dict[str, Any] = {"default": default}
    if required:
        preset = {}  # Click 8.5 accepts a missing required option that has a default, even None
    return click.Option(
        [name, field.name],
        type=kind,
        required=required,
        multiple=get_origin(hint) is tuple,
        help=help_text,
        show_default=default not in (None, ()),
        **preset,
    )


def _value_type(hint: Any) -> Any:
    """Return X for the annotations `X`, `X | None` and `tuple[X, ...]`."""
    return next((kind for kind in get_args(hint) if kind is not type(None)), hint)


@contextmanager
def _stoppable(message: str) -> Iterator[None]:
    """Report Ctrl-C with this message, before Click reports it with its own."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(message) from None


@click.pass_context
@_stoppable("stopped. Start the same command again to resume.")
def _run(ctx: click.Context, /, **given: Any) -> int:
    as_object, quiet = given.pop("as_json"), _configure_log(given)
    places = _pop_arguments(ctx, given)
    runner = _pop_runner(given)
    asked = {name: given.pop(name) for name in ("limit", "overwrite", "max_failures")}
    share = _parse_share(given.pop("shard"))
    job = ctx.obj(**given)
    request = Request(*_split_places(places, job), **asked, share=share)
    return _run_job(job, request, runner, as_object, quiet)


@click.pass_context
@_stoppable("stopped. Start the same command again to resume.")
def _resume(ctx: click.Context, /, **given: Any) -> int:
    as_object, quiet = given.pop("as_json"), _configure_log(given)
    (output,) = _pop_arguments(ctx, given)
    runner, max_failures = _pop_runner(given), given.pop("max_failures")
    job, request = ctx.obj(**given).resume(output)
    return _run_job(job, replace(request, max_failures=max_failures), runner, as_object, quiet)


def _pop_runner(given: dict[str, Any]) -> Runner:
    """Return the runner that the options ask for."""
    names = ("runner", "workers", "item_timeout", "ray_address")
    name, workers, item_timeout, address = (given.pop(each) for each in names)
    make = registry.load(registry.RUNNERS, name)
    if name == _RAY:
        return cast(Runner, make(workers or 0, item_timeout, address or ""))
    if address:
        raise OptionError("--ray-address has an effect with --runner ray only")
    return cast(Runner, make(workers or n_cores(), item_timeout))


def _parse_share(text: str | None) -> Share | None:
    """Return the share that `--shard I/N` names. Raises OptionError."""
    if text is None:
        return None
    number, _, n = text.partition("/")
    if not (number.isdecimal() and n.isdecimal() and int(n)):
        raise OptionError("--shard", expected="I/N, such as 1/4", found=repr(text))
    return Share(int(number), int(n))


def _run_job(job: Job, request: Request, runner: Runner, as_object: bool, quiet: bool) -> int:
    """Run the job, print what became of it, and return the exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    summary = run_job(job, request, runner, progress_bar(quiet))
    if as_object:
        click.echo(json.dumps(summary.as_json()))
    else:
        click.echo(_describe(summary, job))
    if not summary.failed:
        return 0
    _print_failures(summary.details["failures"])
    return 3


def _split_places(places: list[Any], job: Job) -> tuple[tuple[Path, ...], Path]:
    """Return (sources, output): the last place is the output, unless the first takes them all."""
    first, *others = places
    sources = first
    if not isinstance(first, tuple):
        sources = (first,)
    if not others:
        return sources, job.output_of(sources)
    *more, output = others
    return (*sources, *more), output


@click.pass_context
def _look(ctx: click.Context, /, **given: Any) -> int:
    as_object, quiet = given.pop("as_json"), _configure_log(given)
    places = _pop_arguments(ctx, given)
    job = ctx.obj(**given)
    with _stoppable(job.stopped), counting_bar(quiet) as progress:
        result = job.look(*places, progress)
    _print_result(result, as_object)
    return int(job.exit_status(result))


@click.pass_context
def _serve(ctx: click.Context, /, **given: Any) -> int:
    as_object, _ = given.pop("as_json"), _configure_log(given)
    (plan,) = _pop_arguments(ctx, given)
    signal.signal(signal.SIGTERM, _interrupt)
    job = ctx.obj(**given)
    with _stoppable(job.stopped):
        result = job.serve(plan, lambda address: click.echo(address, err=as_object))
    _print_result(result, as_object)
    return 0


def _configure_log(given: dict[str, Any]) -> bool:
    """Show the library's log at the level that the options ask for; return whether quiet.

    Raises UsageError.
    """
    quiet, verbose = given.pop("quiet"), given.pop("verbose")
    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose exclude each other.")
    level = logging.INFO
    if quiet:
        level = logging.ERROR
    elif verbose:
        level = logging.DEBUG
    log_to_stderr(level)
    return bool(quiet)


def _pop_arguments(ctx: click.Context, given: dict[str, Any]) -> list[Any]:
    """Remove the values of the usage line's words from `given` and return them in order."""
    return [given.pop(word.name) for word in ctx.command.params if isinstance(word, click.Argument)]


def _print_result(result: Any, as_object: bool) -> None:
    if as_object:
        click.echo(json.dumps(result.as_json()))
    else:
        click.echo(str(result))


def _describe(summary: Summary, job: Job) -> str:
    """Describe a run: the inputs, those that are not ok, and the job's own sentence."""
    preposition = "in"
    if job.writes_file(Path(str(summary.output))):
        preposition = "for"  # there may be several files, named after the output or beside it
    line = (
        f"{summary.ok:,} of {summary.inputs:,} inputs ok, {count_noun(summary.outputs, 'file')} "
        f"{preposition} {_name_places(summary, job)} ({summary.seconds:.1f} s{_rate(summary)})"
    )
    lines = [line]
    others = _describe_others(summary)
    if others:
        lines.append(f"the others: {', '.join(others)}")
    if skipped := summary.details.get("skipped"):
        counts = ", ".join(f"{n:,} {suffix}" for suffix, n in skipped.items())
        lines.append(f"skipped files: {counts}")
    details = summary.details.items()
    figures = {name: value for name, value in details if name not in _SHARED_DETAILS}
    sentence = figures and job.sentence(figures)
    if sentence:
        lines.append(sentence)
    return join_lines(lines)


def _describe_others(summary: Summary) -> list[str]:
    """Describe what is not ok, such as `3 no_face` or `1 video cut_off`."""
    texts, inputs = [], Counter(summary.by_status)
    for unit, by_status in summary.others.items():
        inputs.subtract(by_status)
        texts += [f"{count_noun(n, unit)} {status}" for status, n in by_status.items()]
    own = [f"{n:,} {status}" for status, n in inputs.items() if n and status != OK]
    return own + texts


def _name_places(summary: Summary, job: Job) -> str:
    """Name the output and every folder beside it that the run wrote to."""
    output = str(summary.output)
    beside = [output + ending for ending in job.siblings]
    *first, last = [output, *filter(os.path.isdir, beside)]
    return f"{', '.join(first)} and {last}" if first else last


def _rate(summary: Summary) -> str:
    n_done = summary.inputs - summary.details["done_before"]
    if not n_done or not summary.seconds:
        return ""
    rate = n_done / summary.seconds
    if rate >= 1:
        return f", {rate:,.0f} a second"
    return f", {rate:.1g} a second"


def _print_failures(path: str) -> None:
    """Print the first failures and the path of their list on stderr."""
    failures, n_failures = first_failures(path, _N_NAMED)
    for key, status, reason in failures:
        if key not in reason:
            reason = f"{key}: {reason}"
        click.echo(on_one_line(f"faceprep: {status}: {reason}"), err=True)
    rest = "named"
    if n_failures > _N_NAMED:
        rest = f"{n_failures - _N_NAMED:,} more"
    click.echo(on_one_line(f"faceprep: {rest} in {path}"), err=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
