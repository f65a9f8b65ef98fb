"""Images that a page leaves out because they cannot be read.

One warning names the first ones, and so does the --json answer.
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
from faceprep.core.text import count_noun
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
        named = first_reasons(reasons) + ["…"] * (len(reasons) > _N_NAMED)
        count = count_noun(len(reasons), "image is", "images are")
        log.warning("%s: %s left out: %s", page, count, "; ".join(named))


def first_reasons(reasons: Collection[str]) -> list[str]:
    """Return the first of the reasons, which are named."""
    return list(islice(reasons, _N_NAMED))


def describe_left_out(reasons: Collection[str]) -> dict[str, Any]:
    """Describe the images that are left out for the --json answer."""
    return {"pictures_left_out": {"count": len(reasons), "such_as": first_reasons(reasons)}}


def note_left_out(found: Outcome | FaceprepError) -> None:
    """Note why an image is left out. A missing package, such as OpenCV, is not noted."""
    reasons = _reasons.get()
    if reasons is not None and not isinstance(found, MissingExtra):
        reasons[found.reason if isinstance(found, Outcome) else str(found)] = None
