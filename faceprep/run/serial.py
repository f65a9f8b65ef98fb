"""Shards one after another, in this process."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from faceprep.core.types import CarryOut, Shard, ShardReport, ShardWork


@dataclass(frozen=True)
class SerialRunner:
    """A runner of one shard at a time. It accepts `n_workers` as every runner does."""

    n_workers: int = 1

    @contextmanager
    def start(self, work: ShardWork) -> Iterator[CarryOut]:
        def carry_out(shards: Iterable[Shard]) -> Generator[ShardReport, None, None]:
            for shard in shards:
                yield work.run(shard)

        yield carry_out
