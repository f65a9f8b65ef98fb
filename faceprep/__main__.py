"""`python -m faceprep` and the `faceprep` script."""

from __future__ import annotations

import sys


def main() -> None:
    """End with the exit status of the command."""
    try:
        from faceprep.cli import main as command_line
    except KeyboardInterrupt:
        sys.exit("faceprep: stopped")
    sys.exit(command_line())


if __name__ == "__main__":
    main()
