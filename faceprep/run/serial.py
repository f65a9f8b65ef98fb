"""Shards one after another, in this process."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from faceprep.core.types import ITEM_TIMEOUT_S, CarryOut, Shard, ShardReport, ShardWork


@dataclass(frozen=True)
class SerialRunner:
    """A runner of one shard at a time. It accepts the arguments that every runner has.

    It cannot end an item: a decoder that crashes ends the program, and one that hangs stops it.
    """

    n_workers: int = 1
    item_timeout: float = ITEM_TIMEOUT_S

    @contextmanager
    def start(self, work: ShardWork) -> Iterator[CarryOut]:
        def carry_out(shards: Iterable[Shard]) -> Generator[ShardReport, None, None]:
            for shard in shards:
                yield work.run(shard)

        yield carry_out
