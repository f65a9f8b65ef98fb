"""Prefetching: threads compute results before they are used, in order and within bounds.

It pays for calls that release the interpreter's lock.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from faceprep.core.items import is_careful
from faceprep.core.urls import is_remote

T = TypeVar("T")
R = TypeVar("R")
_END = object()
_N_READS = 8
"""Objects that are read at once."""


def map_reads(
    read: Callable[[T], R], items: Iterable[T], path: str | os.PathLike[str]
) -> Iterator[R]:
    """Yield `read(item)` for each item in order; several at once where `path` is in a store.

    >>> list(map_reads(abs, [-1, 2], "/data"))
    [1, 2]
    """
    if not is_remote(path):
        yield from map(read, items)
        return
    with closing(map_ahead(read, items, _N_READS, 4 * _N_READS)) as found:
        yield from found


def map_ahead(
    work: Callable[[T], R], items: Iterable[T], n_threads: int, most: int
) -> Generator[R, None, None]:
    """Yield `work(item)` for each item in order, from `n_threads` threads.

    One more thread fetches the items. At most `most` + 2 items are fetched before their results
    are used. An error in `work` or in `items` is raised after the results before it. Closing the
    generator waits for its threads. They see the context variables of the caller. A shard that
    needs care is worked on in this thread.

    >>> list(map_ahead(abs, [-1, 2, -3], n_threads=2, most=3))
    [1, 2, 3]
    """
    if is_careful():
        yield from map(work, items)
        return
    source = iter(items)
    fetch: Callable[[], Any] = partial(next, source, _END)
    fetcher, pool = ThreadPoolExecutor(1), ThreadPoolExecutor(n_threads)
    waiting: deque[Future[R]] = deque()
    try:  # Ctrl-C must leave no thread behind
        fetched: Future[Any] = fetcher.submit(copy_context().run, fetch)
        while fetched.exception() is None and fetched.result() is not _END:
            waiting.append(pool.submit(copy_context().run, work, fetched.result()))
            fetched = fetcher.submit(copy_context().run, fetch)
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        fetched.result()
    finally:
        fetcher.shutdown(cancel_futures=True)
        pool.shutdown(cancel_futures=True)
