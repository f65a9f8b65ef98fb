"""`python -m faceprep` and the `faceprep` script."""

from __future__ import annotations

import sys


def main() -> None:
    from faceprep.cli import main as command_line

    sys.exit(command_line())


if __name__ == "__main__":
    main()
