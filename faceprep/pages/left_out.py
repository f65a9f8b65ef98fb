"""Images that a page leaves out because they, or their folder or set, cannot be read.

One warning names the first reasons, and so does the --json answer.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from pathlib import Path
from typing import Any

from faceprep.core.errors import FaceprepError, MissingExtra
from faceprep.core.types import Outcome

log = logging.getLogger("faceprep")
_N_NAMED = 3
_reasons: ContextVar[dict[str, None] | None] = ContextVar("_reasons", default=None)


@contextmanager
def warning_of_left_out(page: Path) -> Iterator[Collection[str]]:
    """Warn at the end of the block of the images that are missing on `page`.

    Yield their reasons, which are complete by then.
    """
    reasons: dict[str, None] = {}
    token = _reasons.set(reasons)
    try:
        yield reasons.keys()
    finally:
        _reasons.reset(token)
    if reasons:
        named = first_reasons(reasons)
        if (n_more := len(reasons) - len(named)) > 0:
            named.append(f"and {n_more:,} more")
        log.warning("%s: images are left out: %s", page, "; ".join(named))


def first_reasons(reasons: Collection[str]) -> list[str]:
    """Return the first of the reasons, which are named."""
    return list(islice(reasons, _N_NAMED))


def describe_left_out(reasons: Collection[str]) -> dict[str, Any]:
    """Describe the images that are left out for the --json answer."""
    return {"pictures_left_out": {"count": len(reasons), "such_as": first_reasons(reasons)}}


def note_left_out(found: Outcome | FaceprepError) -> None:
    """Note why images are left out, or log it where no page is written but one is served.

    A missing package, such as OpenCV, is not noted.
    """
    if isinstance(found, MissingExtra):
        return
    reasons, reason = _reasons.get(), found.reason if isinstance(found, Outcome) else str(found)
    if reasons is None:
        log.warning("images are left out: %s", reason)
    else:
        reasons[reason] = None
