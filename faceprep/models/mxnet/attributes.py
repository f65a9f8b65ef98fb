"""Attributes of MXNet's operators: strings, read as the types that the operators declare."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from faceprep.core.errors import SourceError

_NONE = "None"
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_INTEGER = re.compile(r"[+-]?\d{1,18}L?")
_LARGEST = float(np.finfo(np.float32).max)
_TUPLE = re.compile(r"[(\[]?([^()\[\]]*)[)\]]?")
_OF_TRAINING = ("ctx_group", "lr_mult", "wd_mult", "force_mirroring", "mirror_stage")
"""Attributes that any node may have, also as the end of a longer name."""


class Attributes:
    """The attributes of one node, which notes those that were read.

    `place` names the node in errors. An attribute whose text is `None` counts as missing.

    >>> attributes = Attributes({"kernel": "(3L, 3L)", "no_bias": "True", "layout": "NHWC"}, "fc")
    >>> attributes.integers("kernel"), attributes.flag("no_bias"), attributes.number("eps", 1e-3)
    ((3, 3), True, 0.001)
    >>> attributes.unread()
    ['layout']
    """

    def __init__(self, texts: Mapping[str, str], place: str) -> None:
        self._place, self._read = place, set[str]()
        self._texts = {name: text for name, text in texts.items() if text != _NONE}

    def unread(self) -> list[str]:
        """Return the names that nobody has read, except those that matter in training only."""
        names = sorted(self._texts.keys() - self._read)
        return [
            name for name in names if not name.startswith("__") and not name.endswith(_OF_TRAINING)
        ]

    def text(self, name: str, default: str = "") -> str:
        """Return a string; `default` if it is missing."""
        self._read.add(name)
        return self._texts.get(name, default)

    def choice(self, name: str, default: str, known: tuple[str, ...]) -> str:
        """Return a string that is one of `known`. Raises SourceError."""
        text = self.text(name, default)
        if text not in known:
            raise self.error(name, " or ".join(known), text)
        return text

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a truth value. Raises SourceError."""
        text = self.text(name, str(default))
        if text.lower() not in _FLAGS:
            raise self.error(name, "True or False", text)
        return _FLAGS[text.lower()]

    def number(self, name: str, default: float | None = None) -> float:
        """Return a number; it must be there if there is no `default`. Raises SourceError."""
        text = self.text(name)
        if not text and default is not None:
            return default
        try:
            found = float(text)
        except ValueError:
            raise self.error(name, "a number", text) from None
        if _LARGEST < abs(found) < math.inf:
            raise self.error(name, "a number of 32 bits", text)
        return found

    def integer(self, name: str, default: int | None = None) -> int:
        """Return an integer; it must be there if there is no `default`. Raises SourceError."""
        text = self.text(name)
        if not text and default is not None:
            return default
        return self._integer(name, text)

    def integers(self, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return a tuple of integers; `default` if it is missing. Raises SourceError."""
        text = self.text(name)
        match = _TUPLE.fullmatch(text.strip())
        if match is None:
            raise self.error(name, "integers", text)
        words = [word for word in match[1].split(",") if word.strip()]
        return tuple(self._integer(name, word) for word in words) or default

    def _integer(self, name: str, text: str) -> int:
        if not _INTEGER.fullmatch(text.strip()):
            raise self.error(name, "an integer", text)
        return int(text.strip().rstrip("L"))

    def error(self, name: str, expected: str, found: str) -> SourceError:
        """Return the error for an attribute that cannot be converted."""
        return SourceError(
            f"cannot convert the attribute {name}",
            where=self._place,
            expected=expected,
            found=repr(found[:60]),
        )
