"""Rows of embeddings as the readers of their files give them, some at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from faceprep.core.arrays import Numbers


class EmbeddedRows(NamedTuple):
    """Names, identities and vectors (n, d) of n images in the file at `path`.

    `identities` is None where the file has none, and `vectors` are as they were found.
    """

    path: str | os.PathLike[str]
    names: Sequence[str]
    identities: Sequence[str] | None
    vectors: Numbers
