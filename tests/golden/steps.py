"""Types of the golden run: a case is a list of steps that share one work folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

RUN_OPTIONS = ("--json", "--runner", "serial", "--workers", "1")
LOOK_OPTIONS = ("--json",)
LOOKS = {"inspect", "models", "doctor", "report", "review", "verify"}
"""Commands that write no set and therefore take neither a runner nor workers."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the command line, or one edit by the driver.

    `words` may contain `{data}` for the copy of the real data and `{made}` for the drawn inputs.
    """

    words: str
    plain: bool = False
    """Take the words as they are and add no options."""
    edit: str = ""
    """Name of a function in `edits`; `words` are its arguments, paths in the work folder."""


@dataclass(frozen=True, slots=True)
class Case:
    """Steps that run one after the other in one folder, which starts with `copies` of inputs.

    `copies` are pairs of a name in the folder and an input. Cases with a higher `weight` take
    longer and start later.
    """

    name: str
    steps: tuple[Step, ...]
    copies: tuple[tuple[str, str], ...] = ()
    weight: int = 1

    @property
    def folder(self) -> str:
        """Return the name of the work folder, one level deep."""
        return self.name.replace("/", "__")


def plain(words: str) -> Step:
    """Run these words without adding options."""
    return Step(words, plain=True)


def edit(name: str, words: str) -> Step:
    """Let the driver change a file between two commands."""
    return Step(words, edit=name)


def case(
    name: str, *steps: str | Step, copies: Sequence[tuple[str, str]] = (), weight: int = 1
) -> Case:
    """Build a case from command lines and steps."""
    made = tuple(Step(step) if isinstance(step, str) else step for step in steps)
    return Case(name, made, tuple(copies), weight)


def complete(step: Step, words: list[str]) -> list[str]:
    """Add the options that make a run quiet, serial and readable for a program.

    >>> complete(Step("inspect a"), ["inspect", "a"])
    ['inspect', 'a', '--json']
    """
    if step.plain:
        return words
    options = LOOK_OPTIONS if words[0] in LOOKS else RUN_OPTIONS
    missing = [] if options[1:] and "--runner" in words else list(options[1:])
    return [*words, options[0], *missing]
