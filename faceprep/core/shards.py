"""Cut work into shards; every job cuts here, so ids and bounds look the same in each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from faceprep.core.errors import OptionError
from faceprep.core.types import Shard

NUMBERED = "{n:06d}"
"""The id of a shard in a job of one stage: its number."""
EXAMINE = "examine"
"""The stage of the shards that examine inputs for the plan, before there are others."""


def even_bounds(stop: int, size: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield the bounds of pieces of `size` items that fill [start, stop); the last may be shorter.

    >>> list(even_bounds(5, 2))
    [(0, 2), (2, 4), (4, 5)]
    """
    for first in range(start, stop, size):
        yield first, min(first + size, stop)


def refuse_empty_files(n_files: int, most: int) -> None:
    """Raise OptionError if some of `n_files` would be empty, as only `most` can be filled."""
    if n_files > most:
        expected = f"at most {most}, so that no file is empty"
        raise OptionError("--shards", expected=expected, found=str(n_files))


def cut_evenly(
    stop: int,
    size: int,
    source: str | os.PathLike[str],
    *,
    start: int = 0,
    stage: str = "",
    id_format: str = NUMBERED,
) -> list[Shard]:
    """Return shards of `size` items that fill [start, stop) of `source`.

    `id_format` is a format string, as in `cut_at`.

    >>> [(shard.id, shard.start, shard.stop) for shard in cut_evenly(5, 3, "photos")]
    [('000000', 0, 3), ('000001', 3, 5)]
    """
    bounds = even_bounds(stop, size, start)
    return cut_at(bounds, source, stage=stage, id_format=id_format)


def cut_at(
    bounds: Iterable[tuple[int, int]],
    source: str | os.PathLike[str],
    *,
    stage: str = "",
    id_format: str = NUMBERED,
    first: int = 0,
) -> list[Shard]:
    """Return one shard of `source` for each (start, stop) of `bounds`.

    `id_format` may name `n`, the shard's number counted from `first`, and `start` and `stage`. A
    resumed run compares ids and bounds, so a job must not change its format.

    >>> cut_at([(0, 7)], "photos", stage="pack", id_format="{stage}-{start:010d}")[0].id
    'pack-0000000000'
    """
    return [
        Shard(id_format.format(n=n, start=start, stage=stage), str(source), start, stop, stage)
        for n, (start, stop) in enumerate(bounds, first)
    ]


def whole_stage(
    stage: str, source: str | os.PathLike[str], n: int = 0, payload: Any = None
) -> Shard:
    """Return the only shard of its kind, whose id is `stage`; it stands for `n` items.

    >>> whole_stage("decide", "photos").id
    'decide'
    """
    return Shard(stage, str(source), 0, n, stage, payload)


def cut_examination(questions: Sequence[tuple[str, Any]]) -> list[Shard]:
    """Return a shard for each (source, question about one input of it).

    >>> [(shard.id, shard.payload) for shard in cut_examination([("videos", "a.mp4")])]
    [('examine-000000', 'a.mp4')]
    """
    shards = cut_evenly(len(questions), 1, "", stage=EXAMINE, id_format="{stage}-{n:06d}")
    return [
        replace(shard, source=source, payload=question)
        for shard, (source, question) in zip(shards, questions, strict=True)
    ]
