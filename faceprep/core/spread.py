"""Places that are evenly spaced, for a sample that covers a whole set."""

from __future__ import annotations

import numpy as np

from faceprep.core.arrays import Ints


def spread_places(n: int, most: int) -> Ints:
    """Return at most `most` of the places 0 to `n` - 1, evenly spaced.

    >>> spread_places(9, 3).tolist(), spread_places(2, 3).tolist(), spread_places(0, 3).tolist()
    ([0, 4, 8], [0, 1], [])
    """
    return np.linspace(0, n - 1, min(most, n)).round().astype(np.int64)
