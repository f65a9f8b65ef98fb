"""Work done ahead of its use, in threads: in order, within bounds. For calls that let go of the
interpreter's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_END = object()


def map_ahead(
    work: Callable[[T], R], items: Iterable[T], n_threads: int, most: int
) -> Generator[R, None, None]:
    """`work` of each item, in order, by `n_threads`; one thread more fetches the items.

    At most `most` + 2 items are taken whose results were not asked for. An error, of `work` or of
    `items`, comes after the results before it. When the generator is closed, its threads have
    ended.

    >>> list(map_ahead(abs, [-1, 2, -3], n_threads=2, most=3))
    [1, 2, 3]
    """
    source = iter(items)
    fetcher, pool = ThreadPoolExecutor(1), ThreadPoolExecutor(n_threads)
    waiting: deque[Future[R]] = deque()
    fetched: Future[Any] = fetcher.submit(next, source, _END)
    try:
        while fetched.exception() is None and fetched.result() is not _END:
            waiting.append(pool.submit(work, fetched.result()))
            fetched = fetcher.submit(next, source, _END)
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        fetched.result()
    finally:
        fetcher.shutdown(cancel_futures=True)
        pool.shutdown(cancel_futures=True)
