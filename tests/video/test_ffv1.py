"""Checksums of FFV1, against packets made by hand and a CRC bit by bit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from faceprep.video.ffv1 import are_slices_sound


def crc(data: bytes) -> int:
    """CRC-32 with the polynomial 0x04C11DB7, from 0, highest bit first."""
    value = 0
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x104C11DB7 if value & 1 << 31 else 0)
    return value


def slice_of(content: bytes) -> bytes:
    start = content + len(content).to_bytes(3, "big") + b"\0"
    return start + crc(start).to_bytes(4, "big")


@given(contents=st.lists(st.binary(max_size=40), min_size=1, max_size=4), data=st.data())
def test_any_changed_byte_is_found(contents: list[bytes], data: st.DataObject) -> None:
    packet = bytearray(b"".join(map(slice_of, contents)))
    assert are_slices_sound(bytes(packet))
    packet[data.draw(st.integers(0, len(packet) - 1))] ^= data.draw(st.integers(1, 255))
    assert not are_slices_sound(bytes(packet))


@given(st.binary(max_size=30))
def test_other_bytes_have_no_checksums(data: bytes) -> None:
    assert not are_slices_sound(data) or crc(data) == 0
