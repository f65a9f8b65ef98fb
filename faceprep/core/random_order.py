"""Random orders that depend on the seed alone.

SplitMix64 computes a 64-bit number from the seed and the position of each item, and the items are
sorted by it. So an order is the same with every version of NumPy. Workers can compute pieces of it,
and it can be cut into ranges for a shuffle in external memory. SplitMix64: Steele, Lea, Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

_GAMMA = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_BLOCK = 1 << 14
_FEW = 1 << 20


def random_keys(seed: int, start: int, stop: int) -> npt.NDArray[np.uint64]:
    """Compute a uniform 64-bit number for each of the positions [start, stop).

    >>> bool((random_keys(7, 0, 10)[4:] == random_keys(7, 4, 10)).all())
    True
    """
    with np.errstate(over="ignore"):
        state = np.arange(start + 1, stop + 1, dtype=np.uint64) * np.uint64(_GAMMA)
        state += np.uint64(_mix(seed & _MASK))
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return state ^ (state >> np.uint64(31))


def _mix(number: int) -> int:
    """Apply the same final mix to one Python integer, so that neighbouring seeds differ widely."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _MASK
    return number ^ number >> 31


def shuffled(n: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the numbers 0 … n-1 in the order of `seed`.

    >>> order = shuffled(5, seed=1).tolist()
    >>> order == shuffled(5, seed=1).tolist(), sorted(order)
    (True, [0, 1, 2, 3, 4])
    """
    return np.argsort(random_keys(seed, 0, n), kind="stable")


def draw_distinct(n: int, seed: int) -> Iterator[int]:
    """Yield the numbers 0 … n-1 in the order of `seed`; a few of very many need little memory.

    >>> sorted(draw_distinct(5, seed=1)), next(draw_distinct(10**15, seed=1)) < 10**15
    ([0, 1, 2, 3, 4], True)
    """
    if n <= _FEW:
        yield from shuffled(n, seed).tolist()
        return
    seen: set[int] = set()
    start = 0
    while len(seen) < n:
        numbers = random_keys(seed, start, start + _BLOCK) % np.uint64(n)
        for number in numbers.tolist():
            if number not in seen:
                seen.add(number)
                yield number
        start += _BLOCK
