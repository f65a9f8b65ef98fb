"""The help of the commands: groups, metavars, ranges, and examples that can be typed."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import fields

import click
import pytest

from faceprep.cli import faceprep, main
from faceprep.cli.build import command_for
from faceprep.cli.examples import EXAMPLES
from faceprep.core import registry
from faceprep.core.options import typed_name
from tests.real import ROOT

LINES = [(name, line) for name, lines in EXAMPLES.items() if name for line in lines]
MOST_LINES = 8
"""Most lines of the text above the options, at 80 columns."""


def help_of(name: str) -> str:
    command = command_for(name)
    with command.context_class(command, info_name=f"faceprep {name}") as context:
        return command.get_help(context)


def test_each_command_is_in_one_group() -> None:
    grouped = [name for names in registry.COMMAND_GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(registry.COMMANDS)


def test_the_readme_has_the_same_groups() -> None:
    rows = re.findall(
        r"^\| [a-z ]+ \| ((?:`[\w-]+` ?)+)\|$", (ROOT / "README.md").read_text(), re.M
    )
    found = [tuple(re.findall(r"`([\w-]+)`", row)) for row in rows]
    assert found == list(registry.COMMAND_GROUPS.values())


def test_the_help_lists_groups_and_examples() -> None:
    with click.Context(faceprep, info_name="faceprep", **faceprep.context_settings) as context:
        text = faceprep.get_help(context)
    for heading in (*registry.COMMAND_GROUPS, "Examples"):
        assert f"\n{heading}:\n" in text
    assert "Commands:" not in text


@pytest.mark.parametrize("name", registry.COMMANDS)
def test_each_help_ends_with_examples(name: str) -> None:
    examples = EXAMPLES[name]
    assert 2 <= len(examples) <= 3
    assert help_of(name).endswith("Examples:\n" + "\n".join(f"  {line}" for line in examples))


@pytest.mark.parametrize("name", registry.COMMANDS)
def test_no_name_is_broken_at_a_hyphen(name: str) -> None:
    assert not re.search(r"\w-$", help_of(name), re.MULTILINE)
    assert "\u2011" not in help_of(name), "it can be copied"


@pytest.mark.parametrize(("name", "line"), LINES, ids=[line for _, line in LINES])
def test_examples_parse(name: str, line: str) -> None:
    """They are lines of the command that it accepts as far as it can without the files."""
    program, typed, *words = shlex.split(line)
    command = command_for(name)
    with command.make_context(name, words) as context:
        job = context.obj
        options = {field.name: context.params[field.name] for field in fields(job)}
    assert (program, typed) == ("faceprep", name)
    job(**options)


@pytest.mark.parametrize("name", registry.COMMANDS)
def test_no_metavar_is_a_name_of_a_type(name: str) -> None:
    assert not re.search(r"--[\w-]+ (TEXT|INTEGER|FLOAT|INTEGER RANGE)\b", help_of(name))


@pytest.mark.parametrize("name", registry.COMMANDS)
def test_ranges_are_in_the_help(name: str) -> None:
    text = " ".join(help_of(name).split())
    for field in fields(registry.load(registry.COMMANDS, name)):
        if described := field.metadata["values"].range():
            assert f"[{described}]" in text, typed_name(field.name)
    assert not re.search(r"\[x[<>]|\[default: [^\]]*\]  \[", text)


def test_the_options_of_a_command_come_before_those_that_it_shares() -> None:
    found = re.findall(r"^(?:  --[\w-]+|[A-Z].* options:$|Options:$)", help_of("dedupe"), re.M)
    headings = [each for each in found if not each.startswith(" ")]
    assert headings == ["Options:", "Embedder options:", "Run options:", "Global options:"]
    assert found[1] == "  --exact-only"
    assert found[found.index("Embedder options:") + 1] == "  --embedder"


@pytest.mark.parametrize("name", registry.COMMANDS)
def test_the_text_above_the_options_is_short(name: str) -> None:
    with click.Context(command_for(name), terminal_width=80) as context:
        text = re.split(r"^[\w ]*[Oo]ptions:$", context.get_help(), flags=re.MULTILINE)[0]
    assert len([line for line in text.splitlines() if line.strip()]) <= MOST_LINES + 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("align", "a", "b", "--faces", "t", "--quality", "0"), "--quality: expected 1 to 100"),
        (("search", "a", "b", "c.csv", "--top", "0"), "--top: expected 1 or more, found 0"),
        (("extract-photos", "a", "b", "--min-score", "nan"), "--min-score: expected 0 to 1"),
        (("exclude-people", "a", "b", "c", "--threshold", "7"), "--threshold: expected -1 to 1"),
    ],
)
def test_numbers_out_of_range(
    words: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["faceprep", *words])
    assert main() == 2
    assert f"faceprep: invalid {message}" in capsys.readouterr().err
