"""Inputs that are examined while a run is planned, in the workers that will carry it out.

The header of a file may crash a decoder in C, or make it hang, just as its pixels may. So a job
does not open its inputs in the driver: it asks workers, and an input that ends its worker costs
nothing but its own answer. Where the runner has no other process, this one examines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from faceprep.core.shards import cut_examination
from faceprep.core.types import CarryOut

Q = TypeVar("Q")
_workers: ContextVar[CarryOut | None] = ContextVar("workers", default=None)


@contextmanager
def use_workers(carry_out: CarryOut) -> Iterator[None]:
    """Let `carry_out` examine the inputs that jobs ask about in the block."""
    token = _workers.set(carry_out)
    try:
        yield
    finally:
        _workers.reset(token)


def examine_each(examine: Callable[[Q], Any], questions: Sequence[tuple[str, Q]]) -> list[Any]:
    """Return the answer to each (source, question about one input of it), in order.

    It is None for an input that makes `examine`, the hook of the job, fail unexpectedly.
    """
    carry_out = _workers.get()
    if carry_out is None:
        return [examine(question) for _, question in questions]
    shards = cut_examination(questions)
    with closing(carry_out(shards)) as reports:
        answers = {report.shard_id: report.answer for report in reports}
    return [answers[shard.id] for shard in shards]
