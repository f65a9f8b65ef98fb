"""Click commands built from jobs: arguments from the usage line, options from the fields."""

from __future__ import annotations

import inspect
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click

from faceprep.cli.defaults import add_places, log_defaults, set_defaults
from faceprep.cli.examples import EXAMPLES
from faceprep.cli.log_lines import log_to_stderr
from faceprep.cli.parameters import (
    GLOBAL_OPTIONS,
    JobOption,
    argument,
    job_options,
    names_of,
    with_variables,
)
from faceprep.cli.progress import counting_bar, progress_bar
from faceprep.cli.run_options import ConfirmedRunOptions, RunOptions, WorkOptions
from faceprep.cli.summary import describe_preview, describe_summary, print_failures
from faceprep.cli.terminal_text import HelpContext, show_error, write_examples
from faceprep.core import registry
from faceprep.core.errors import FaceprepError, Interrupted, Unconfirmed
from faceprep.core.job import Continuation, Job, Look, Service
from faceprep.core.options import check_ranges
from faceprep.core.suggest import did_you_mean
from faceprep.core.types import Request, Runner, Summary
from faceprep.run.engine import run_job
from faceprep.run.preview import preview_job

_SHARED_OPTIONS = (
    JobOption(
        ["--json", "as_json"], is_flag=True, help="Print one JSON object on stdout at the end."
    ),
    JobOption(["--quiet", "-q"], is_flag=True, help="Show results and errors only."),
    JobOption(["--verbose", "-v"], is_flag=True, help="Log each step with its time."),
)


_Options = TypeVar("_Options", bound=WorkOptions)


class _Command(click.Command):
    """A command with defaults from variables and files, and with examples in its help."""

    context_class = HelpContext

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the line; suggest similar options for a misspelt one."""
        if not ctx.resilient_parsing:
            set_defaults(ctx)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            names = [name for name in names_of(self, ctx) if name.startswith("--")]
            meant = did_you_mean(error.option_name, names)
            return ctx.fail(f"No such option {error.option_name!r}. {meant}".strip())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under the headings of their classes, those of every command last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            heading = param.heading if isinstance(param, JobOption) else GLOBAL_OPTIONS
            if record and isinstance(param, click.Option):  # the usage line has the arguments
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(formatter, EXAMPLES.get(str(self.name), ()))

    def invoke(self, ctx: click.Context) -> Any:
        """Carry out the command, in a folder that still exists."""
        try:
            os.getcwd()
        except FileNotFoundError:
            remedy = "Change to another folder."
            raise FaceprepError("the current folder was removed", remedy=remedy) from None
        try:
            return super().invoke(ctx)
        except FaceprepError as error:
            add_places(error, ctx)
            raise


def command_for(name: str) -> click.Command:
    """Build the Click command for `name` in the registry."""
    entry = registry.COMMANDS[name]
    job = registry.load(registry.COMMANDS, name)
    arguments = [argument(word) for word in entry.usage.split()]
    options = job_options(job)
    callback = _look
    if issubclass(job, Job):
        callback = _run
        options += job_options(ConfirmedRunOptions if job.may_ask else RunOptions)
    elif issubclass(job, Continuation):
        callback = _resume
        options += job_options(WorkOptions)
    elif issubclass(job, Service):
        callback = _serve
    return _Command(
        name,
        params=[*arguments, *with_variables([*options, *_SHARED_OPTIONS], name)],
        callback=callback,
        help=help_text(job)[0],
        short_help=entry.help,
        context_settings={"obj": job},
        no_args_is_help=any(each.required for each in arguments),
    )


def help_text(job: type) -> tuple[str, str]:
    """Return what `--help` says of a job, and the details that only the reference shows."""
    text, _, details = inspect.cleandoc(job.__doc__ or "").partition("\n\nDetails:\n\n")
    return text, details


def _make_job(ctx: click.Context, given: dict[str, Any]) -> Any:
    """Make the job of a command from its options. Raises OptionError."""
    log_defaults(ctx)
    return ctx.obj(**given)


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
    run = _pop_options(ConfirmedRunOptions, given)
    runner, share = run.make_runner(), run.share()
    job = _make_job(ctx, given)
    request = Request(
        *_split_places(places, job),
        limit=run.limit,
        overwrite=run.overwrite,
        max_failures=run.max_failures,
        share=share,
        is_confirmed=run.yes,
        item_timeout=run.item_timeout,
    )
    if run.dry_run:
        return _preview_job(job, request, run.make_local_runner(), as_object, quiet)
    try:
        return _run_job(job, request, runner, as_object, quiet)
    except Unconfirmed as error:
        if as_object or not _confirm(error):
            raise
    return _run_job(job, replace(request, is_confirmed=True), runner, as_object, quiet)


def _confirm(error: Unconfirmed) -> bool:
    """Ask a person on the terminal; return False where there is none, or the answer is no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    show_error(str(error))
    return click.confirm("Continue?", err=True)


@click.pass_context
@_stoppable("stopped. Start the same command again to resume.")
def _resume(ctx: click.Context, /, **given: Any) -> int:
    as_object, quiet = given.pop("as_json"), _configure_log(given)
    (output,) = _pop_arguments(ctx, given)
    run = _pop_options(WorkOptions, given)
    runner = run.make_runner()
    job, request = _make_job(ctx, given).resume(output)
    request = replace(request, item_timeout=run.item_timeout, max_failures=run.max_failures)
    if run.dry_run:
        return _preview_job(job, request, run.make_local_runner(), as_object, quiet)
    return _run_job(job, request, runner, as_object, quiet)


def _pop_options(kind: type[_Options], given: dict[str, Any]) -> _Options:
    """Remove the options of `kind` from `given` and return them. Raises OptionError."""
    names = {field.name for field in fields(kind)} & set(given)
    options = kind(**{name: given.pop(name) for name in names})
    check_ranges(options)
    return options


def _run_job(job: Job, request: Request, runner: Runner, as_object: bool, quiet: bool) -> int:
    """Run the job, print its summary, and return the exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    summary = run_job(job, request, runner, progress_bar(quiet))
    if as_object:
        click.echo(json.dumps(summary.as_json()))
    else:
        click.echo(describe_summary(summary, job, request.share))
    if not summary.failed:
        return 0
    print_failures(summary.details["failures"])
    return 3


@_stoppable(Look.stopped)
def _preview_job(job: Job, request: Request, runner: Runner, as_object: bool, quiet: bool) -> int:
    """Plan and check the run, print what it would do, and return the exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    summary = preview_job(job, request, runner, progress_bar(quiet))
    click.echo(json.dumps(summary.as_json()) if as_object else describe_preview(summary))
    return 3 if summary.failed else 0


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
    job = _make_job(ctx, given)
    began = time.monotonic()
    with _stoppable(job.stopped), counting_bar(quiet) as progress:
        result = job.look(*places, progress)
    _print_result(job.command, result, as_object, began)
    return int(job.exit_status(result))


@click.pass_context
def _serve(ctx: click.Context, /, **given: Any) -> int:
    as_object, _ = given.pop("as_json"), _configure_log(given)
    (plan,) = _pop_arguments(ctx, given)
    signal.signal(signal.SIGTERM, _interrupt)
    job, began = _make_job(ctx, given), time.monotonic()
    with _stoppable(job.stopped):
        result = job.serve(plan, lambda address: click.echo(address, err=as_object))
    _print_result(job.command, result, as_object, began)
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


def _print_result(command: str, result: Any, as_object: bool, began: float) -> None:
    """Print a result; as an object, it has all keys that a run has."""
    if as_object:
        shared = Summary(command, seconds=round(time.monotonic() - began, 3)).as_json()
        click.echo(json.dumps(shared | result.as_json()))
    else:
        click.echo(str(result))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
