"""Shards one after the other, in this process."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass

from faceprep.types import Shard, ShardReport, ShardWork


@dataclass(frozen=True)
class SerialRunner:
    """Takes `n_workers` as every runner does, and uses one."""

    n_workers: int = 1

    def __call__(self, work: ShardWork, shards: Iterable[Shard]) -> Generator[ShardReport, None, None]:
        for shard in shards:
            yield work(shard)
