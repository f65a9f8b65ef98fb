"""Checksums of FFV1, which FFmpeg's decoder checks without reporting an error.

A packet of FFV1 from version 3 on is a row of slices. Each ends with the u24 size of its content,
a byte, and a CRC-32 that makes the CRC of the whole slice zero. RFC 9043, sections 4.8 and 4.9.
"""

from __future__ import annotations

import zlib

_TRAILER = 8
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_NO_START = 0xFFFFFFFF


def are_slices_sound(packet: bytes) -> bool:
    """Return whether a packet is a row of slices with correct checksums.

    The result is False for every packet of a stream without checksums.
    """
    end = len(packet)
    while end > 0:
        start = end - _TRAILER - int.from_bytes(packet[end - 8 : end - 5], "big")
        if end < _TRAILER or start < 0 or _crc(packet[start:end]):
            return False
        end = start
    return len(packet) > 0


def _crc(data: bytes) -> int:
    """Return the CRC-32 of MPEG and FFV1, its bits reversed: zlib's runs the other way round."""
    return zlib.crc32(data.translate(_REVERSED), _NO_START) ^ _NO_START
