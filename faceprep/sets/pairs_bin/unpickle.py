"""A pickle reader that runs nothing: it never imports a name and never calls a function.

A pickle is a program for a stack machine, and unpickling runs it. The machine below knows only the
instructions that bytes, text, numbers, lists, tuples, dicts and sets need. The few calls by which
NumPy arrays and old byte strings are written become plain descriptions (`pickle_values`). Any other
instruction or name is refused, with its offset; what was read before it is data and nothing else.
Strings stay where they are: the result holds their places in the file, so the largest set costs no
second copy, and no size is believed before the file was seen to hold that many bytes.

Instructions: CPython's Lib/pickletools.py, protocols 0 to 5. Calls: what Python 2 and 3 and NumPy 1
and 2 write.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from os import PathLike
from typing import Any

from faceprep.sets.pairs_bin.pickle_machine import Machine
from faceprep.sets.pairs_bin.pickle_values import (
    Coding,
    NotAllowed,
    Other,
    Span,
    describe_call,
    describe_state,
    name_of,
)

_DICT, _SET = "a dict", "a set"
_MAX_INTEGER = 8
_MAX_PROTOCOL = 5
_STEPS = 1 << 20
_BYTES_A_STEP = 32
"""An image takes two to thirty instructions. Their number is bounded by the file's size, so
memory is too.
"""


def read_pickle(data: bytes, path: str | PathLike[str]) -> Any:
    """Read the value of the pickle `data`: tuples, lists, bools, numbers, None, `Span` for strings,
    `Array`, `Other` for a dict or a set.

    `path` is for messages. Raises SourceError for all other content, for a truncated file and for
    sizes beyond the file. Nothing was called by then.

    >>> read_pickle(b"\\x80\\x02]U\\x02hia.", "a.bin")
    [Span(start=5, n_bytes=2, coding=<Coding.RAW: 0>)]
    >>> read_pickle(b"cos\\nsystem\\n.", "a.bin")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    faceprep.core.errors.SourceError: a.bin: not a sound pickle of images and labels at byte 0: ...
    """
    machine = Machine(data, path)
    n_steps = _STEPS + len(data) // _BYTES_A_STEP
    try:
        for _ in range(n_steps):
            machine.here = machine.at
            opcode = data[machine.skip(1)]
            if opcode == _STOP:
                return machine.result()
            step = _TABLE.get(opcode)
            if step is None:
                raise machine.unknown(opcode)
            step(machine)
    except NotAllowed as error:
        raise machine.forbidden(str(error)) from None
    raise machine.damaged(f"more than {n_steps:,} instructions in {len(data):,} bytes")


# Steps for constants and numbers

_Step = Callable[[Machine], None]


def _constant(value: object) -> _Step:
    return lambda machine: machine.stack.append(value)


def _integer(n_bytes: int, signed: bool = False) -> _Step:
    return lambda machine: machine.stack.append(machine.number(n_bytes, signed))


def _long(width: int) -> _Step:
    def step(machine: Machine) -> None:
        n_bytes = machine.number(width)
        if n_bytes > _MAX_INTEGER:
            raise machine.damaged(f"a whole number of {n_bytes:,} bytes")
        machine.stack.append(machine.number(n_bytes, signed=True))

    return step


def _integer_line(machine: Machine) -> None:
    digits = machine.short_line()
    truths = {b"00": False, b"01": True}
    machine.stack.append(truths[digits] if digits in truths else machine.decimal(digits))


def _long_line(machine: Machine) -> None:
    machine.stack.append(machine.decimal(machine.short_line().removesuffix(b"L")))


# Steps for strings


def _string(width: int, coding: Coding, signed: bool = False) -> _Step:
    def step(machine: Machine) -> None:
        n_bytes = machine.number(width, signed)
        if n_bytes < 0:
            raise machine.damaged(f"a string of {n_bytes:,} bytes")
        machine.stack.append(Span(machine.skip(n_bytes), n_bytes, coding))

    return step


def _quoted_line(machine: Machine) -> None:
    start, n_bytes = machine.line()
    quotes = machine.data[start : start + 1] + machine.data[start + n_bytes - 1 : start + n_bytes]
    if n_bytes < 2 or quotes not in (b"''", b'""'):
        raise machine.damaged("a string without its quotes")
    machine.stack.append(Span(start + 1, n_bytes - 2, Coding.STRING_ESCAPE))


def _text_line(machine: Machine) -> None:
    machine.stack.append(Span(*machine.line(), Coding.UNICODE_ESCAPE))


# Steps for lists, tuples and the memo


def _mark(machine: Machine) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


def _empty_list(machine: Machine) -> None:
    machine.stack.append([])


def _marked_list(machine: Machine) -> None:
    items = machine.pop_mark()
    machine.stack.append(items)


def _marked_tuple(machine: Machine) -> None:
    items = machine.pop_mark()
    machine.stack.append(tuple(items))


def _tuple_of(n: int) -> _Step:
    def step(machine: Machine) -> None:
        if len(machine.stack) < n:
            raise machine.damaged(f"a tuple of {n} without its values")
        machine.stack[-n:] = [tuple(machine.stack[-n:])]

    return step


def _extend(machine: Machine, items: list[Any]) -> None:
    if not machine.stack or type(machine.stack[-1]) is not list:
        raise NotAllowed("values to append, but no list")
    machine.stack[-1] += items


def _append(machine: Machine) -> None:
    _extend(machine, [machine.pop()])


def _appends(machine: Machine) -> None:
    _extend(machine, machine.pop_mark())


# Steps for data that no verification set has, so that an error can say what the file holds


def _other(kind: str) -> _Step:
    return lambda machine: machine.stack.append(Other(kind))


def _marked_other(kind: str) -> _Step:
    def step(machine: Machine) -> None:
        machine.pop_mark()
        machine.stack.append(Other(kind))

    return step


def _add(kind: str, n: int) -> _Step:
    """Return the instruction that adds `n` values, or those since the mark with 0, to a `kind`."""

    def step(machine: Machine) -> None:
        if n:
            for _ in range(n):
                machine.pop()
        else:
            machine.pop_mark()
        target = machine.stack[-1] if machine.stack else None
        if type(target) is not Other or target.kind != kind:
            raise NotAllowed(f"values to add, but not {kind}")

    return step


def _float(machine: Machine) -> None:
    start = machine.skip(8)
    machine.stack.append(struct.unpack(">d", machine.data[start : machine.at])[0])


def _float_line(machine: Machine) -> None:
    digits = machine.short_line()
    try:
        machine.stack.append(float(digits))
    except ValueError:
        raise machine.damaged(f"{digits[:20]!r} for a number") from None


def _remember(machine: Machine, number: int) -> None:
    if not machine.stack:
        raise machine.damaged("nothing to remember")
    machine.memo[number] = machine.stack[-1]


def _recall(machine: Machine, number: int) -> None:
    if number not in machine.memo:
        raise machine.damaged(f"a reference to value {number}, which is not there")
    machine.stack.append(machine.memo[number])


def _memo(act: Callable[[Machine, int], None], width: int) -> _Step:
    """Return a memo instruction whose number has `width` bytes, or is a line of text with width
    0.
    """
    return lambda machine: act(
        machine, machine.number(width) if width else machine.decimal(machine.short_line())
    )


def _memoize(machine: Machine) -> None:
    _remember(machine, len(machine.memo))


# Steps for names, and for calls, which are never made


def _name_lines(machine: Machine) -> None:
    module, name = (machine.short_line().decode("ascii", "backslashreplace") for _ in range(2))
    machine.stack.append(name_of(f"{module}.{name}"))


def _name_from_stack(machine: Machine) -> None:
    name, module = machine.strings.word(machine.pop()), machine.strings.word(machine.pop())
    machine.stack.append(name_of(f"{module}.{name}"))


def _call(machine: Machine) -> None:
    values = machine.pop_arguments()
    machine.stack.append(describe_call(machine.pop(), values, machine.strings))


def _state(machine: Machine) -> None:
    values, target = machine.pop_arguments(), machine.pop()
    describe_state(target, values, machine.strings)
    machine.stack.append(target)


# The table of instructions


def _protocol(machine: Machine) -> None:
    number = machine.number(1)
    if number > _MAX_PROTOCOL:
        raise machine.damaged(f"pickle protocol {number}")


def _frame(machine: Machine) -> None:
    """Check the promised size of a frame; nothing else depends on it."""
    n_bytes = machine.number(8)
    if machine.at + n_bytes > len(machine.data):
        raise machine.cut_off(n_bytes)


_STOP = ord(".")
_TABLE: dict[int, _Step] = {
    ord(code): step
    for code, step in {
        "\x80": _protocol,
        "\x95": _frame,
        "N": _constant(None),
        "\x88": _constant(True),
        "\x89": _constant(False),
        "I": _integer_line,
        "L": _long_line,
        "J": _integer(4, signed=True),
        "K": _integer(1),
        "M": _integer(2),
        "\x8a": _long(1),
        "\x8b": _long(4),
        "S": _quoted_line,
        "V": _text_line,
        "T": _string(4, Coding.RAW, signed=True),
        "U": _string(1, Coding.RAW),
        "B": _string(4, Coding.RAW),
        "C": _string(1, Coding.RAW),
        "\x8e": _string(8, Coding.RAW),
        "\x96": _string(8, Coding.RAW),
        "X": _string(4, Coding.UTF8),
        "\x8c": _string(1, Coding.UTF8),
        "\x8d": _string(8, Coding.UTF8),
        "G": _float,
        "F": _float_line,
        "}": _other(_DICT),
        "d": _marked_other(_DICT),
        "s": _add(_DICT, 2),
        "u": _add(_DICT, 0),
        "\x8f": _other(_SET),
        "\x90": _add(_SET, 0),
        "\x91": _marked_other(_SET),
        "(": _mark,
        "]": _empty_list,
        "l": _marked_list,
        "a": _append,
        "e": _appends,
        ")": _constant(()),
        "t": _marked_tuple,
        "\x85": _tuple_of(1),
        "\x86": _tuple_of(2),
        "\x87": _tuple_of(3),
        "p": _memo(_remember, 0),
        "q": _memo(_remember, 1),
        "r": _memo(_remember, 4),
        "\x94": _memoize,
        "g": _memo(_recall, 0),
        "h": _memo(_recall, 1),
        "j": _memo(_recall, 4),
        "c": _name_lines,
        "\x93": _name_from_stack,
        "R": _call,
        "b": _state,
    }.items()
}
