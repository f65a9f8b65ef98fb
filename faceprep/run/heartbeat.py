"""Heartbeats of shards: small files that say how many inputs are finished.

A shard may be one long video. Without a heartbeat, work and a hang would look the same.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

from faceprep.core import passing_faults, storage
from faceprep.core.errors import FaceprepError
from faceprep.core.types import Outcome

EVERY_S = 1.0


def report_progress(outcomes: Iterator[Outcome], sign: Path) -> Iterator[Outcome]:
    """Yield the same outcomes, and write their number to the file `sign` once a second.

    The file appears after the first second and is removed at the end. A heartbeat that cannot be
    written is left out. Outcomes that are abandoned are closed at once, while the files of the
    shard are still open.
    """
    last, has_sign = time.monotonic(), False
    try:
        for n, outcome in enumerate(outcomes, 1):
            yield outcome
            now = time.monotonic()
            if now - last >= EVERY_S:
                last, has_sign = now, True
                with passing_faults.ignored(), suppress(FaceprepError):
                    storage.write_file(sign, b"%d" % n, durable=False)
    finally:
        if isinstance(outcomes, Generator):
            outcomes.close()
        if has_sign:
            with passing_faults.ignored(), suppress(FaceprepError):
                storage.remove_file(sign)


def count_done(folder: Path) -> int:
    """Count the finished inputs of unfinished shards by the heartbeats in `folder`.

    >>> count_done(Path("no such folder"))
    0
    """
    try:
        with passing_faults.ignored():
            names = storage.list_folder(folder)[1]
            return sum(int(storage.read_bytes(folder / name)) for name in names)
    except (FaceprepError, ValueError):  # no shard has been at work for long, or one is just done
        return 0
