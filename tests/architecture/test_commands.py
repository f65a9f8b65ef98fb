"""Command x-y, jobs/x_y.py, class XY, its options, its line in the docs: held together."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path

import click
import pytest

from faceprep.cli.build import command_for
from faceprep.cli.run_options import RunOptions, WorkOptions
from faceprep.core import registry
from faceprep.core.errors import OptionError
from faceprep.core.job import Continuation, Job
from faceprep.core.options import typed_name
from faceprep.core.types import Request
from faceprep.run.processes import ProcessRunner
from tests.real import ROOT

SHARED = {"as_json", "quiet", "verbose"}
OF_WORK = {field.name for field in fields(WorkOptions)}
OF_RUNS = {field.name for field in fields(RunOptions)}


def test_every_job_is_a_command() -> None:
    modules = {path.stem for path in (ROOT / "faceprep" / "jobs").iterdir()}
    modules -= {"__init__", "__pycache__"}
    assert {name.replace("-", "_") for name in registry.COMMANDS} == modules


@pytest.mark.parametrize("name", registry.COMMANDS)
def test_names_agree(name: str) -> None:
    entry = registry.COMMANDS[name]
    module, _, attribute = entry.target.partition(":")
    room = f"faceprep.jobs.{name.replace('-', '_')}"
    assert module in (room, f"{room}.job")
    assert attribute == re.sub(r"(^|-|(?<=\d))([a-z])", lambda match: match[2].upper(), name)
    job = registry.load(registry.COMMANDS, name)
    assert job.command == name
    import faceprep

    assert getattr(faceprep, attribute) is job


@pytest.mark.parametrize("name", registry.COMMANDS)
def test_a_job_made_in_python_checks_the_ranges_of_its_options(name: str) -> None:
    job = registry.load(registry.COMMANDS, name)
    required = dict.fromkeys((each.name for each in fields(job) if each.metadata["required"]), 1)
    in_need = {"out_dir": Path()} if name == "reencode-bin" else {}
    for field in fields(job):
        values = field.metadata["values"]
        if values.range():
            bad = next(each for each in (-1e9, 1e9) if not values.hold(each))
            with pytest.raises(OptionError, match=rf"invalid {typed_name(field.name)}: expected"):
                job(**required | in_need | {field.name: bad})


@pytest.mark.parametrize("name", ["limit", "max_failures", "item_timeout"])
def test_a_request_made_in_python_checks_the_ranges_of_its_options(name: str) -> None:
    with pytest.raises(OptionError, match=rf"invalid {typed_name(name)}: expected .*found -5"):
        Request("set", "set.tar", **{name: -5})


def test_processes_need_a_worker() -> None:
    with pytest.raises(OptionError, match="invalid --workers: expected 1 or more, found 0"):
        ProcessRunner(0)


@pytest.mark.parametrize("name", registry.COMMANDS)
def test_options_are_those_of_the_job(name: str) -> None:
    job = registry.load(registry.COMMANDS, name)
    command = command_for(name)
    options = {option.name: option for option in command.params if isinstance(option, click.Option)}
    declared = {field.name: field for field in fields(job)}
    shared = SHARED
    if issubclass(job, Job):
        shared = SHARED | OF_RUNS | ({"yes"} if job.may_ask else set())
    elif issubclass(job, Continuation):
        shared = SHARED | OF_WORK
    assert set(options) == set(declared) | shared
    for option in options.values():
        assert option.help and option.help.strip().endswith((".", "]")), (
            f"--{option.name} has no help"
        )
    for field_name, field in declared.items():
        option = options[field_name]
        assert option.opts == ["--" + field_name.rstrip("_").replace("_", "-")]
        assert field.default is not MISSING
        assert option.required is bool(field.metadata["required"])
        if option.required:
            with pytest.raises(click.MissingParameter):
                option.handle_parse_result(click.Context(command), {}, [])
        else:
            assert option.get_default(click.Context(command)) == field.default
        if field.metadata["choices"]:
            assert isinstance(option.type, click.Choice)
            assert tuple(option.type.choices) == tuple(field.metadata["choices"])


@pytest.mark.parametrize("name", registry.COMMANDS)
def test_help_is_written(name: str) -> None:
    job, entry = registry.load(registry.COMMANDS, name), registry.COMMANDS[name]
    assert entry.help.endswith(".") and (entry.usage or not issubclass(job, Job))
    assert job.__doc__ and not job.__doc__.startswith(f"{job.__name__}("), (
        "the dataclass wrote its own"
    )
    with click.Context(command_for(name)) as context:
        assert job.__doc__.split("\n")[0] in " ".join(command_for(name).get_help(context).split())


@pytest.mark.parametrize("name", registry.COMMANDS)
def test_the_docs_have_a_line_for_it(name: str) -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    assert re.search(rf"^\| `faceprep {name} .*\|.*\S.*\|$", page, re.MULTILINE)
    assert re.search(rf"^\|.*`{name}`.*\|$", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_runners_can_be_loaded() -> None:
    for name in registry.RUNNERS:
        assert callable(registry.load(registry.RUNNERS, name)(1).start)
