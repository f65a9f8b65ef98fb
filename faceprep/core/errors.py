"""What can go wrong that is not a bug: one class, a few kinds, one clear line each.

The command line shows `str(error)` and nothing else, so every error says what, where, what was
expected, what was found and what to do. Anything that is not a `FaceprepError` is a bug.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath

_FIELDS = ("path", "where", "expected", "found", "remedy")
_ESCAPED = {code: repr(chr(code))[1:-1] for code in (*range(32), 127)}
"""Names and files that are damaged can have anything in them; a line stays one, and tells a
terminal nothing.
"""


class FaceprepError(Exception):
    """The caller's fault, or a broken world.

    >>> str(SourceError("bad magic", path="a.rec", where="offset 8", expected="0xced7230a",
    ...                 found="0x0", remedy="Copy the file again."))
    'a.rec: bad magic at offset 8: expected 0xced7230a, found 0x0. Copy the file again.'
    """

    def __init__(
        self,
        problem: str,
        *,
        path: str | PathLike[str] | None = None,
        where: str | None = None,
        expected: str | None = None,
        found: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem, self.where = problem, where
        self.path = None if path is None else fspath(path)
        self.expected, self.found, self.remedy = expected, found, remedy
        super().__init__(self._line())

    def _line(self) -> str:
        line = f"{self.path}: {self.problem}" if self.path else self.problem
        if self.where:
            line += f" at {self.where}"
        facts = [
            f"{name} {value}"
            for name, value in (("expected", self.expected), ("found", self.found))
            if value
        ]
        if facts:
            line += ": " + ", ".join(facts)
        return (f"{line}. {self.remedy}" if self.remedy else line).translate(_ESCAPED)

    def __reduce__(self) -> tuple[object, ...]:
        """Errors travel from workers to the driver: rebuild from the fields, not from the line."""
        return _rebuild, (type(self), self.problem, {name: getattr(self, name) for name in _FIELDS})


def _rebuild(
    kind: type[FaceprepError], problem: str, fields: dict[str, str | None]
) -> FaceprepError:
    return kind(problem, **fields)


class SourceError(FaceprepError):
    """The input is not what it should be: missing, damaged, of another format."""


class OutputError(FaceprepError):
    """The output cannot be written: no space, no right, already there."""


class OptionError(FaceprepError):
    """An option has a value that cannot be meant; the command line exits with 2."""


class ResumeError(FaceprepError):
    """There is a run already, and it was started with another input or other options."""


class TooManyFailures(FaceprepError):
    """More inputs failed than the caller allows."""


class MissingExtra(FaceprepError):
    """An optional package is needed; the remedy is the pip line."""


@contextmanager
def loading(package: str, remedy: str) -> Iterator[None]:
    """An import that fails becomes a MissingExtra. A Ctrl-C in it stays one: compiled modules make
    it an ImportError.

    >>> with loading("OpenCV", "apt-get install libgl1"):  # doctest: +ELLIPSIS
    ...     raise ImportError("libGL.so.1 is not there")
    Traceback (most recent call last):
    faceprep.core.errors.MissingExtra: OpenCV cannot be loaded (libGL.so.1 is not there). ...
    """
    try:
        yield
    except ImportError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise MissingExtra(f"{package} cannot be loaded ({error})", remedy=remedy) from error


class Interrupted(FaceprepError):
    """The caller stopped the run (Ctrl-C, SIGTERM); what is done stays done."""


@contextmanager
def naming(path: str | PathLike[str]) -> Iterator[None]:
    """A SourceError from what knows of no file names this one.

    >>> with naming("a.onnx"):
    ...     raise SourceError("no model of face crops")
    Traceback (most recent call last):
    faceprep.core.errors.SourceError: a.onnx: no model of face crops
    """
    try:
        yield
    except SourceError as error:
        if error.path is not None:
            raise
        fields = {name: getattr(error, name) for name in _FIELDS} | {"path": path}
        raise SourceError(error.problem, **fields) from error
