"""Help and errors as a terminal shows them: headings and names in colour, lines in full width.

Colours appear on a terminal only, and never where the variable NO_COLOR is set.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import click

_UNBROKEN_HYPHEN = "\u2011"


def may_color(stream: TextIO) -> bool:
    """Return whether text on `stream` may have colours: see https://no-color.org."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not is_plain


def paint(text: str, stream: TextIO, **style: Any) -> str:
    """Style `text` for `stream` as `click.style` does, if it may have colours."""
    if not may_color(stream):
        return text
    return click.style(text, **style)


class _Formatter(click.HelpFormatter):
    """A formatter that styles headings, commands and options, and never breaks a name at a hyphen.

    Click breaks lines at hyphens. So they are replaced while it does.
    """

    def write(self, string: str) -> None:
        super().write(string.replace(_UNBROKEN_HYPHEN, "-"))

    def write_text(self, text: str) -> None:
        indent = " " * self.current_indent
        unbroken = text.replace("-", _UNBROKEN_HYPHEN)
        self.write(click.wrap_text(unbroken, self.width, indent, indent, preserve_paragraphs=True))
        self.write("\n")

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, prefix or self._heading("Usage:") + " ")

    def write_heading(self, heading: str) -> None:
        super().write_heading(self._heading(heading))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        styled = [
            (self._paint(first, fg="cyan"), second.replace("-", _UNBROKEN_HYPHEN))
            for first, second in rows
        ]
        super().write_dl(styled, col_max, col_spacing)

    def _heading(self, text: str) -> str:
        return self._paint(text, fg="green", bold=True)

    def _paint(self, text: str, **style: Any) -> str:
        return paint(text, sys.stdout, **style)


class HelpContext(click.Context):
    """A context whose help is styled."""

    formatter_class = _Formatter


def write_examples(formatter: click.HelpFormatter, lines: Sequence[str]) -> None:
    """Write the examples at the end of a help, each on its own line."""
    if not lines:
        return
    with formatter.section("Examples"):
        for line in lines:
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def show_error(message: str) -> None:
    """Print the one line of an error on stderr."""
    name = paint("faceprep:", sys.stderr, fg="red", bold=True)
    click.echo(f"{name} {message}", err=True)


def show_wrong_usage(error: click.ClickException) -> None:
    """Print Click's error with the usage of the command and the way to its help, on stderr.

    A command that was given nothing gets its help instead.
    """
    if isinstance(error, click.UsageError) and error.ctx is not None:
        usage = error.ctx.get_usage()
        if error.message.startswith(usage):  # Click 8.2 and later raise the help as an error
            click.echo(error.message, err=True)
            return
        click.echo(usage, err=True)
        click.echo(f"Try '{error.ctx.command_path} --help' for help.\n", err=True)
    start = paint("Error:", sys.stderr, fg="red", bold=True)
    click.echo(f"{start} {error.format_message()}", err=True)
