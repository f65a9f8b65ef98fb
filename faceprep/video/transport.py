"""Packets of an MPEG transport stream (.ts), whose continuity counters show lost packets.

    u8 0x47 | u16 flags << 13 | PID | u8 flags << 4 | counter | payload       188 bytes

There may be 4 bytes before each packet or 16 after it, which belong to it. From one packet of a PID
with a payload (flag 1 of the last byte) to the next, the counter rises by one, modulo 16. Writers
begin at 0. Source: ISO/IEC 13818-1, 2.4.3.
"""

from __future__ import annotations

import numpy as np

from faceprep.core.arrays import Octets
from faceprep.core.storage import ByteSource

SYNC = 0x47
_LAYOUTS = ((188, 0), (192, 4), (204, 0))
"""Bytes of a packet, and how many of them come before SYNC."""
_HEADS = 8
"""Bytes from the start of a packet to the end of its header, at most."""
_LONGEST = 1 << 26


def is_join(source: ByteSource, start: int, stop: int) -> bool:
    """Return whether nothing is lost in the packets [start, stop), and a new part begins at `stop`.

    Both are offsets of packets with the same PID, such as that of the video. Raises SourceError.
    """
    if not 0 <= start < stop <= start + _LONGEST:
        return False
    data = np.frombuffer(source.read_at(start, stop + _HEADS - start), np.uint8)
    for size, sync_at in _LAYOUTS:
        if len(data) == stop + _HEADS - start and not (stop - start) % size:
            rows = np.arange(sync_at, stop - start + size, size)
            heads = data[rows[:, None] + np.arange(4)]
            if (heads[:, 0] == SYNC).all():
                return _is_join(heads)
    return False


def _is_join(heads: Octets) -> bool:
    ids = (heads[:, 1] & 0x1F).astype(int) << 8 | heads[:, 2]
    counts = heads[(ids == ids[0]) & (heads[:, 3] & 0x10 > 0), 3] & 0x0F
    steps = np.diff(counts[:-1]) & 0x0F
    return bool(len(counts) and ids[-1] == ids[0] and not counts[-1] and (steps <= 1).all())
