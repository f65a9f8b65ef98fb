"""Contracts of models are tried where what the model needs is installed."""

from __future__ import annotations

import pytest

from faceprep.core import dependencies as installed
from faceprep.core.registry import Entry


def skip_where_packages_are_missing(entry: Entry) -> None:
    missing = [package for package in entry.packages if installed.version_of(package) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
