"""The state of the machine that reads pickles: the stack, the arguments, and the errors.

Every argument is taken from bytes in the file; no memory is allocated for a
size that the file merely states.
"""

from __future__ import annotations

import re
from os import PathLike
from typing import Any

from faceprep.core.errors import SourceError
from faceprep.sets.pairs_bin.pickle_values import NotAllowed, Strings, kind_of

_ALLOWED = "only bytes, text, whole numbers, lists, tuples and NumPy arrays of them"
_NEVER = "Do not open this file with pickle, which would execute it; get it again from its source."
_COPY_AGAIN = "Copy the file again."
_CALLS = {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"}
"""Instructions that call what a pickle names, except for those that `unpickle` handles."""
_MAX_LINE = 256


class Machine:
    """The state of the stack machine.

    A step takes its arguments at byte `at` and changes `stack`, `marks` and `memo`. `here` is the
    start of the current instruction; `path` is for messages.
    """

    def __init__(self, data: bytes, path: str | PathLike[str]) -> None:
        self.data, self.path, self.strings = data, path, Strings(data)
        self.at = self.here = 0
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def result(self) -> Any:
        if self.marks or len(self.stack) != 1:
            raise self.damaged(f"{len(self.stack)} values at the end")
        if self.at != len(self.data):
            raise self.damaged(f"{len(self.data) - self.at:,} bytes after the end")
        return self.stack[0]

    # Errors

    def damaged(self, found: str) -> SourceError:
        """Return the error for a damaged pickle, or a file that is not one."""
        return self._refused(found, _COPY_AGAIN)

    def forbidden(self, found: str) -> SourceError:
        """Return the error for a pickle that needs more than data."""
        return self._refused(found, _NEVER)

    def unknown(self, opcode: int) -> SourceError:
        """Return the error for an unknown instruction."""
        import pickletools

        names = {known.code: known.name for known in pickletools.opcodes}
        name = names.get(chr(opcode))
        no_instruction = f"the byte {opcode:#04x}, which is not an instruction"
        if name in _CALLS:
            return self.forbidden(f"the instruction {name}")
        return self.damaged(f"the instruction {name}" if name else no_instruction)

    def _refused(self, found: str, remedy: str) -> SourceError:
        return SourceError(
            "not a sound pickle of images and labels",
            path=self.path,
            where=f"byte {self.here}",
            expected=_ALLOWED,
            found=found,
            remedy=remedy,
        )

    def cut_off(self, wanted: int) -> SourceError:
        return SourceError(
            "the pickle is cut off",
            path=self.path,
            where=f"byte {self.here}",
            expected=f"{wanted:,} more bytes",
            found=f"{max(len(self.data) - self.at, 0):,}",
            remedy=_COPY_AGAIN,
        )

    # Arguments

    def skip(self, n_bytes: int) -> int:
        """Return the start of the next `n_bytes` bytes and move past them.

        They lie within the file.
        """
        start = self.at
        if start + n_bytes > len(self.data):
            raise self.cut_off(n_bytes)
        self.at = start + n_bytes
        return start

    def number(self, n_bytes: int, signed: bool = False) -> int:
        start = self.skip(n_bytes)
        return int.from_bytes(self.data[start : self.at], "little", signed=signed)

    def line(self) -> tuple[int, int]:
        """Return (start, length) of the text up to the end of the line."""
        start, stop = self.at, self.data.find(b"\n", self.at)
        if stop < 0:
            raise self.cut_off(len(self.data) - start + 1)
        self.at = stop + 1
        return start, stop - start

    def short_line(self) -> bytes:
        start, n_bytes = self.line()
        if n_bytes > _MAX_LINE:
            raise NotAllowed(f"a name or number of {n_bytes:,} characters")
        return self.data[start : start + n_bytes]

    def decimal(self, digits: bytes) -> int:
        if not re.fullmatch(rb"[-+]?[0-9]{1,19}", digits):
            raise self.damaged(f"{digits[:20]!r} for a whole number")
        return int(digits)

    # The stack

    def pop(self) -> Any:
        if not self.stack:
            raise self.damaged("an instruction without its value")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        if not self.marks:
            raise self.damaged("an instruction without its mark")
        items, self.stack = self.stack, self.marks.pop()
        return items

    def pop_arguments(self) -> tuple[Any, ...]:
        values = self.pop()
        if type(values) is not tuple:
            raise NotAllowed(f"{kind_of(values)} where arguments belong")
        return values
