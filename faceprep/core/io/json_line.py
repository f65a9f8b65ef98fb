"""JSON that a person or a stranger may have written: parsed, or refused with a reason."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn

_SUSPECT = re.compile(r"\\u|[eE]\+?[0-9]{3}|[0-9]{300}")
"""Text that may stand for a value to refuse; a line without it is not searched."""
_NO_NAME = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
"""Characters that no name of a file has, not even one that is not UTF-8."""


def parse_json(data: str | bytes) -> Any:
    """Parse JSON. Raises ValueError, also where it is nested too deeply.

    >>> parse_json("[" * 100_000)
    Traceback (most recent call last):
    ValueError: nested too deeply
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_json_line(line: bytes) -> Any:
    """Parse JSON, such as a line of a plan.

    Bytes that are not UTF-8 become stand-ins, as in names of files. Raises ValueError if `line` is
    not JSON, or holds a number that is not finite, a NUL or a lone surrogate, or if a name occurs
    twice in an object.

    >>> parse_json_line(b'{"score": 0.5}')
    {'score': 0.5}
    >>> parse_json_line(b'{"score": NaN}')
    Traceback (most recent call last):
    ValueError: NaN is not a number of JSON
    >>> parse_json_line(b'{"verdict": "refused", "verdict": "accepted"}')
    Traceback (most recent call last):
    ValueError: 'verdict' occurs twice
    """
    text = line.decode("utf-8", "surrogateescape")
    try:
        value = _DECODER.decode(text)
        if _SUSPECT.search(text):
            _check(value)
    except json.JSONDecodeError as error:  # its own text names line 1, whatever line this is
        place = f"character {error.colno}"
        if error.lineno > 1:
            place += f" of line {error.lineno}"
        raise ValueError(f"{error.msg.removesuffix(' at')} at {place}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object. Raises ValueError for a repeated name: one of its values would be lost."""
    value = dict(pairs)
    if len(value) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f"{counts.most_common(1)[0][0]!r} occurs twice")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_refuse_repeated)
"""Built once: `json.loads` with such options builds one for each line."""


def _check(value: Any) -> None:
    """Refuse what no table may hold, in `value` or in any part of it."""
    if isinstance(value, str):
        if found := _NO_NAME.search(value):
            raise ValueError(f"a string holds the character {found[0]!r}")
    elif isinstance(value, dict):
        for name, part in value.items():
            _check(name)
            _check(part)
    elif isinstance(value, list):
        for part in value:
            _check(part)
    elif isinstance(value, int | float):
        _check_number(value)


def _check_number(value: float) -> None:
    try:
        is_finite = math.isfinite(value)
    except OverflowError:
        is_finite = False
    if not is_finite:
        raise ValueError("a number is too large")
