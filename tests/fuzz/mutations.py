"""Inputs that are nearly sound: a seed with a few changes, the same ones for the same number."""

from __future__ import annotations

import random
from collections.abc import Sequence

_TOKENS = (
    b"\0",
    b"-1",
    b"NaN",
    b"1e999",
    b"-Infinity",
    b"\\u0000",
    b"\\ud800",
    b"\xff\xfe",
    b"\xc3",
    b"\n",
    b"\r\n",
    b",",
    b'"',
    b"\t",
    b"[[[[",
    b"../",
    b"\x1b[31m",
    5000 * b"9",
    5000 * b"[",
)
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 1 << 15, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
_WIDE = (*_NUMBERS, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_MOST = 4


def mutate(seeds: Sequence[bytes], number: int) -> bytes:
    """Return mutation `number` of one of the seeds."""
    choose = random.Random(number)
    data = bytearray(choose.choice(seeds))
    for _ in range(choose.randint(1, _MOST)):
        choose.choice(_MUTATIONS)(data, choose)
    return bytes(data)


def _place(data: bytearray, choose: random.Random) -> int:
    """Return a place: anywhere, or near the beginning or the end, where headers are."""
    near = min(len(data), 64)
    ranges = ((0, len(data)), (0, near), (len(data) - near, len(data)))
    return choose.randint(*choose.choice(ranges))


def _flip(data: bytearray, choose: random.Random) -> None:
    place = _place(data, choose)
    if place < len(data):
        data[place] ^= 1 << choose.randrange(8)


def _set_byte(data: bytearray, choose: random.Random) -> None:
    place = _place(data, choose)
    data[place : place + 1] = bytes([choose.choice((0, 0x7F, 0x80, 0xFF, choose.randrange(256)))])


def _set_number(data: bytearray, choose: random.Random) -> None:
    """Write an extreme number over bytes that may be a length."""
    place, order = _place(data, choose), choose.choice(("little", "big"))
    if choose.random() < 0.5:
        written = choose.choice(_NUMBERS).to_bytes(4, order)
    else:
        written = choose.choice(_WIDE).to_bytes(8, order)
    data[place : place + len(written)] = written


def _insert(data: bytearray, choose: random.Random) -> None:
    place = _place(data, choose)
    data[place:place] = choose.choice(_TOKENS)


def _replace_word(data: bytearray, choose: random.Random) -> None:
    """Write a token over a run of letters or digits."""
    place = _place(data, choose)
    end = place
    while end < len(data) and chr(data[end]).isalnum():
        end += 1
    data[place:end] = choose.choice(_TOKENS)


def _remove(data: bytearray, choose: random.Random) -> None:
    place = _place(data, choose)
    del data[place : place + choose.choice((1, 2, 4, 8, 100))]


def _repeat(data: bytearray, choose: random.Random) -> None:
    place = _place(data, choose)
    piece = data[place : place + choose.choice((1, 4, 16, 512))]
    data[place:place] = piece * choose.choice((1, 2, 30))


def _cut(data: bytearray, choose: random.Random) -> None:
    del data[_place(data, choose) :]


_MUTATIONS = (
    *(_flip, _flip, _set_byte, _set_byte, _set_number, _set_number),
    *(_insert, _replace_word, _remove, _repeat, _cut),
)
