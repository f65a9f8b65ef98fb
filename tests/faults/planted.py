"""Commands with known faults, which the harness has to find: the proof that it can."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

TEXT = "0123456789" * 100
_OUT = Path("out/text")


def main() -> int:
    """Run the command named first, as a command line does."""
    try:
        COMMANDS[sys.argv[1]]()
    except OSError as error:
        sys.stderr.write(f"faceprep: {error.filename}: {os.strerror(error.errno or 0)}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("faceprep: stopped\n")
        return 1
    sys.stdout.write('{"ok": 1, "seconds": 0}\n')
    return 0


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    temporary.rename(path)


def sound() -> None:
    """Write beside the output and rename."""
    _replace(_OUT, TEXT)


def in_place() -> None:
    """Write the output under its own name."""
    with _OUT.open("w", buffering=1) as file:
        file.write(TEXT[:500])
        file.flush()
        file.write(TEXT[500:])


def silent() -> None:
    """Report success after an error."""
    try:
        sound()
    except OSError:
        return


def crashing() -> None:
    """Show a traceback for an error."""
    try:
        sound()
    except OSError as error:
        raise ValueError("a bug") from error


def no_resume() -> None:
    """Refuse to start again."""
    Path("out/begun").mkdir()
    sound()


def input_changing() -> None:
    """Move the input away for a while."""
    source = Path("in/folder/0/0.jpg")
    if source.exists():
        source.rename("in/folder/0/.kept")
    sound()
    Path("in/folder/0/.kept").rename(source)


def mute() -> None:
    """Say nothing of an error."""
    try:
        sound()
    except OSError:
        sys.stderr.write("faceprep: something went wrong\n")
        sys.exit(1)


def littering() -> None:
    """Leave a file with a name of its own when killed."""
    scratch = Path(f"out/.scratch-{os.getpid()}")
    scratch.write_text("x")
    sound()
    scratch.unlink()


def _copy(hidden: tuple[type[OSError], ...] = ()) -> None:
    """Join the images of the input to the output, without those whose errors are `hidden`."""
    found = b""
    for path in sorted(Path("in/folder/0").iterdir()):
        with suppress(*hidden):
            found += path.read_bytes()
    _replace(_OUT, found.hex())


def reading() -> None:
    """Read the input, and stop at an error."""
    _copy()


def swallowing() -> None:
    """Leave out an image that cannot be read, and say nothing of it."""
    _copy((OSError,))


def _named(*commands: Callable[[], None]) -> dict[str, Callable[[], None]]:
    return {command.__name__.replace("_", "-"): command for command in commands}


READING = _named(reading, swallowing)
"""Commands whose reads are disturbed."""
COMMANDS = READING | _named(
    sound, in_place, silent, crashing, no_resume, input_changing, mute, littering
)
