"""The Click layer: commands from the registry, options from the fields of the jobs."""

from __future__ import annotations

import importlib
import itertools
import json
import sys
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from faceprep import __version__
from faceprep.cli.examples import EXAMPLES
from faceprep.cli.terminal_text import HelpContext, show_error, show_wrong_usage, write_examples
from faceprep.core import registry
from faceprep.core.suggest import did_you_mean

if TYPE_CHECKING:
    from faceprep.core.types import Summary


class _Commands(click.Group):
    """A group that loads a command when it is called, and lists commands without loading them."""

    context_class = HelpContext

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(registry.COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in registry.COMMANDS:
            return None
        build: Any = importlib.import_module("faceprep.cli.build")
        command: click.Command = build.command_for(name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest commands for a misspelt one; Click knows only those that are loaded."""
        name = args[0]
        if not (name in registry.COMMANDS or name.startswith("-") or ctx.resilient_parsing):
            meant = did_you_mean(name, registry.COMMANDS)
            ctx.fail(f"No such command {name!r}. {meant}".strip())
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete command names without loading the commands, as Click would do for their help."""
        commands = [
            CompletionItem(name, help=entry.help)
            for name, entry in registry.COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, registry.COMMANDS))
        for heading, names in registry.COMMAND_GROUPS.items():
            rows = [(name.ljust(width), registry.COMMANDS[name].help) for name in names]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(formatter, EXAMPLES[""])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="faceprep")
def faceprep() -> None:
    """Turn face data, in whatever container it arrives, into training-ready sets.

    Inputs are never changed. A command that was stopped resumes when it is started again.
    """


def main() -> int:
    """Run the command line and return its exit status.

    The status is 0 if all is done, 3 if some inputs failed, 1 if the command could not be carried
    out, and 2 for wrong usage.
    """
    from faceprep.cli.streams import secure_streams
    from faceprep.core.errors import FaceprepError, OptionError, as_out_of_memory

    secure_streams()
    try:
        return int(faceprep(standalone_mode=False) or 0)
    except click.ClickException as error:
        show_wrong_usage(error)
        return _fail(error.format_message(), error.exit_code)
    except FaceprepError as error:
        show_error(str(error))
        return _fail(str(error), 2 if isinstance(error, OptionError) else 1, error.summary)
    except OSError as error:
        from faceprep.core.os_errors import unforeseen

        found = unforeseen(error)
        show_error(str(found))
        return _fail(str(found), 1)
    except (click.Abort, KeyboardInterrupt):  # only before the command begins
        show_error("stopped")
        return _fail("stopped", 1)
    except (MemoryError, ImportError, RuntimeError) as error:  # click.Abort is a RuntimeError
        lack = as_out_of_memory(error)
        if lack is None:
            raise
        show_error(str(lack))
        return _fail(str(lack), 1)


def _fail(error: str, exit_status: int, summary: Summary | None = None) -> int:
    """Print the JSON object of a failed command if `--json` was given; return `exit_status`.

    Its keys are those of a finished command and `error`. Without a summary no run had begun.
    No option takes `--json` as its value, so it is enough to look for that word.
    """
    options = list(itertools.takewhile(lambda word: word != "--", sys.argv[1:]))
    if "--json" in options:
        from faceprep.core import types

        command = next((word for word in options if word in registry.COMMANDS), None)
        printed = summary or types.Summary(command)
        click.echo(json.dumps(printed.as_json() | {"error": error}))
    return exit_status
