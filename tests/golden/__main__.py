"""Entry point: `python -m tests.golden OLD_CHECKOUT NEW_CHECKOUT`."""

from __future__ import annotations

import sys

from tests.golden.run import main

if __name__ == "__main__":
    sys.exit(main())
