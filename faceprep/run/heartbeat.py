"""Signs of life from shards at work: how many of their inputs are done, now and then, in small
files of the run.

A shard may be one long video; without a sign nobody could tell work from standstill.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from faceprep.core import storage
from faceprep.core.errors import FaceprepError
from faceprep.core.types import Outcome

EVERY_S = 1.0


def told(outcomes: Iterator[Outcome], sign: Path) -> Iterator[Outcome]:
    """The same outcomes; from the first second on their number lies in the file `sign` until
    they end.
    """
    last, has_sign = time.monotonic(), False
    try:
        for n, outcome in enumerate(outcomes, 1):
            yield outcome
            now = time.monotonic()
            if now - last >= EVERY_S:
                last, has_sign = now, True
                storage.write_file(sign, b"%d" % n, durable=False)
    finally:
        if has_sign:
            storage.remove_file(sign)


def n_done(folder: Path) -> int:
    """How many inputs the shards at work have behind them, by their signs in `folder`.

    >>> n_done(Path("no such folder"))
    0
    """
    try:
        return sum(
            int(storage.read_bytes(folder / name)) for name in storage.list_folder(folder)[1]
        )
    except (FaceprepError, ValueError):  # no shard has been at work for long, or one is just done
        return 0
