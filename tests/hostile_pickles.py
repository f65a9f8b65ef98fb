"""Pickles that run code when Python's own pickle loads them, and a watch that sees whether
anything runs.
"""

from __future__ import annotations

import codecs
import pickle
import pickletools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

_ALARMS = (
    "import",
    "exec",
    "compile",
    "os.",
    "subprocess.",
    "pickle.",
    "marshal.",
    "ctypes.",
    "socket.",
    "code.",
)
_events: list[str] | None = None


def _watch(event: str, arguments: object) -> None:
    if _events is not None and event.startswith(_ALARMS):
        _events.append(f"{event} {arguments}")


sys.addaudithook(_watch)


@contextmanager
def nothing_runs() -> Iterator[None]:
    """Fails when the interpreter imports, compiles, unpickles or starts anything inside the
    block, whoever asked.
    """
    global _events
    assert pickletools.opcodes and codecs.lookup(
        "raw-unicode-escape"
    )  # loaded before: no imports of the attack's
    _events = []
    try:
        yield
        assert _events == []
    finally:
        _events = None


def short_text(text: str) -> bytes:
    """SHORT_BINUNICODE"""
    return b"\x8c" + bytes([len(text.encode())]) + text.encode()


def long_text(text: str) -> bytes:
    """BINUNICODE"""
    return b"X" + len(text.encode()).to_bytes(4, "little") + text.encode()


def attacks(canary: Path) -> dict[str, bytes]:
    """Pickles that make the folder `canary` when they are loaded, each by another way."""
    old, new = f"S'{canary}'\n".encode(), long_text(str(canary))
    source = f"V__import__('os').mkdir({str(canary)!r})\n".encode()
    reconstruct = b"cnumpy._core.multiarray\n_reconstruct\n"
    call = b"cos\nmkdir\n" + new + b"\x85R"
    sound = pickle.dumps(([b"one", b"two"], [True]), 2)[2:]
    array = pickle.dumps(np.arange(3, dtype=np.uint8), 2)[:-1]
    os_module = b"cbuiltins\n__import__\nVos\n\x85R"
    return {
        "GLOBAL, protocol 0": b"cos\nmkdir\n(" + old + b"tR.",
        "GLOBAL, protocol 1": b"](cos\nmkdir\n(" + new + b"tRe.",
        "GLOBAL in a frame": b"\x80\x04\x95" + (len(call) + 1).to_bytes(8, "little") + call + b".",
        "INST": b"(" + old + b"ios\nmkdir\n.",
        "OBJ": b"(cos\nmkdir\n" + old + b"o.",
        "STACK_GLOBAL": b"\x80\x04"
        + short_text("os")
        + short_text("mkdir")
        + b"\x93"
        + new
        + b"\x85R.",
        "STACK_GLOBAL from the memo": b"\x80\x04"
        + short_text("mkdir")
        + b"\x940"
        + short_text("os")
        + b"h\x00\x93"
        b"" + new + b"\x85R.",
        "NEWOBJ": b"\x80\x02cbuiltins\nmap\ncos\nmkdir\n]("
        + new
        + b"e\x86\x81\x940cbuiltins\nlist\nh\x00\x85R.",
        "NEWOBJ_EX": b"\x80\x04cbuiltins\nmap\ncos\nmkdir\n]("
        + new
        + b"e\x86}\x92\x940cbuiltins\nlist\nh\x00\x85R.",
        "BUILD that calls __setstate__": b"\x80\x02cfunctools\npartial\ncos\nmkdir\n\x85R"
        b"(cos\nmkdir\n(" + new + b"t}Ntb)R.",
        "eval": b"cbuiltins\neval\n(" + source + b"tR.",
        "exec": b"c__builtin__\nexec\n(" + source + b"tR.",
        "getattr": b"cbuiltins\ngetattr\n(" + os_module + b"Vmkdir\ntR(" + new + b"tR.",
        "map": b"cbuiltins\nlist\n(cbuiltins\nmap\n(cos\nmkdir\n](" + new + b"etRtR.",
        "thrown away": b"\x80\x02" + call + b"0" + sound,
        "thrown away with its mark": b"\x80\x02(" + call + b"1" + sound,
        "doubled": b"\x80\x02" + call + b"20.",
        "in a set": b"\x80\x04\x8f(" + call + b"\x90.",
        "in a dictionary": b"\x80\x02}K\x01" + call + b"s.",
        "among the images": b"\x80\x02](U\x03one" + call + b"e](\x88e\x86.",
        "among the labels": b"\x80\x02](U\x03oneU\x03twoe](" + call + b"e\x86.",
        "after an array": array + b"0" + call + b".",
        "as the shape of an array": b"\x80\x02"
        + reconstruct
        + b"cnumpy\nndarray\n"
        + call
        + b"U\x01b\x87R.",
    }
