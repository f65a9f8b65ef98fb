"""Work done ahead of its use, in threads: in order, within bounds. For calls that let go of the interpreter's lock.

An error in a thread comes out in the place of the result. When the iterator is closed, its threads have ended.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")
_END = object()


def map_ahead(work: Callable[[T], R], items: Iterable[T], n_threads: int, most: int) -> Generator[R, None, None]:
    """`work` of each item, in order, by `n_threads`; up to `most` items are taken before their turn.

    >>> list(map_ahead(abs, [-1, 2, -3], n_threads=2, most=3))
    [1, 2, 3]
    """
    pool = ThreadPoolExecutor(n_threads)
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            del item  # or it would be held while the next one is waited for
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def read_ahead(items: Iterable[T], most: int = 1) -> Generator[T, None, None]:
    """The items; a thread fetches up to `most` of them before they are asked for.

    >>> list(read_ahead("abc"))
    ['a', 'b', 'c']
    """
    source: Iterator[T] = iter(items)

    def fetch(_: None) -> T | object:
        return next(source, _END)

    with contextlib.closing(map_ahead(fetch, itertools.repeat(None), 1, most)) as fetched:
        for item in fetched:
            if item is _END:
                return
            yield cast(T, item)
            del item
