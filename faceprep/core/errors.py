"""Errors that are not bugs: one class, a few kinds, one clear line each.

The command line shows only `str(error)`. So every error names the problem, its place, the expected
and the found value, and a remedy. Any exception that is not a `FaceprepError` is a bug.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any, ClassVar

from faceprep.core.text import on_one_line, shorten
from faceprep.core.urls import url_of

_FIELDS = ("path", "where", "expected", "found", "remedy")
_OPTION = re.compile(r"(--[a-z-]+|[a-z]+=)( or [a-z]+=)?")
"""An option, a setting of a model such as `size=`, or both."""
_LONGEST = 600
"""Characters of a part of the line: a damaged file may have names of any length."""


class FaceprepError(Exception):
    """An error of the user or of the environment, such as a full disk.

    Catch this class: SourceError, OptionError, Undecodable and all others that docstrings name
    inherit from it.

    >>> str(SourceError("bad magic", path="a.rec", where="offset 8", expected="0xced7230a",
    ...                 found="0x0", remedy="Copy the file again."))
    'a.rec: bad magic at offset 8: expected 0xced7230a, found 0x0. Copy the file again.'

    `summary` is the Summary of the run that this error stopped, None where none had begun.
    """

    summary: Any = None

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
        self.path = None if path is None else url_of(path)
        self.expected, self.found, self.remedy = expected, found, remedy
        super().__init__(self._line())

    def _line(self) -> str:
        line = shorten(self.problem, _LONGEST)
        if self.path:
            line = f"{self.path}: {line}"
        if self.where:
            line += f" at {self.where}"
        pairs = (("expected", self.expected), ("found", self.found))
        facts = [f"{name} {shorten(value, _LONGEST)}" for name, value in pairs if value]
        if facts:
            line += ": " + ", ".join(facts)
        if self.remedy:
            line = f"{line.removesuffix('.')}. {self.remedy}"
        return on_one_line(line)

    def add_remedy(self, sentence: str) -> None:
        """Add a sentence at the end of the line."""
        self.remedy = f"{self.remedy} {sentence}" if self.remedy else sentence
        self.args = (self._line(),)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the fields rather than the line, since workers send errors to the driver."""
        return _rebuild, (type(self), self.problem, {name: getattr(self, name) for name in _FIELDS})


def _rebuild(
    kind: type[FaceprepError], problem: str, fields: dict[str, str | None]
) -> FaceprepError:
    return kind(problem, **fields)


class SourceError(FaceprepError):
    """An input that cannot be used: missing, damaged or in another format."""


class OutputError(FaceprepError):
    """An output that cannot be written: no space, no permission, or already there."""


class MadeMeanwhile(OutputError):
    """An output that should be new, but that another run has made meanwhile."""


class BadName(OutputError):
    """An output whose name the file system or the object store does not take."""

    status: ClassVar[str] = "bad_name"
    """Status of the item that would have it."""


class NameTooLong(BadName):
    """An output whose name is longer than its place allows."""

    status: ClassVar[str] = "long_name"


class OptionError(FaceprepError):
    """An invalid value of an option; the command line exits with 2.

    A problem may be the name of the option alone.

    >>> str(OptionError("--min-score", expected="0 to 1", found="7"))
    'invalid --min-score: expected 0 to 1, found 7'
    """

    def __init__(self, problem: str, **fields: Any) -> None:
        if _OPTION.fullmatch(problem):
            problem = f"invalid {problem}"
        super().__init__(problem, **fields)


class RefusedByData(OptionError):
    """A value that the images rule out, such as a threshold that makes everyone one person.

    The run can never finish with it, so it leaves no state behind.
    """


class ResumeError(FaceprepError):
    """An output that belongs to a run with another input or other options."""


class Unconfirmed(FaceprepError):
    """A run that a person has to confirm first; the command line asks, or needs --yes."""


class TooManyFailures(FaceprepError):
    """More failed inputs than the caller allows."""


class MissingExtra(FaceprepError):
    """A missing optional package; the remedy is the pip command."""


_NO_MEMORY = (
    "failed to map segment",
    "cannot allocate memory",
    "bad_alloc",
    "failed to allocate",
    "insufficient memory",
    "out of memory",
    "oom when allocating",
)
"""What libraries say when memory runs out, a GPU's too, in lower case."""
_NO_THREAD = ("can't start new thread", "pthread_create failed")
"""What they say when memory or the limit on processes lets no thread start."""


class OutOfMemory(FaceprepError):
    """Memory or threads that ran out, or a limit of them, before a run could begin."""


def as_out_of_memory(error: BaseException) -> OutOfMemory | None:
    """Return the error of memory that ran out, if `error` comes from it.

    The loader of shared libraries reports it as an ImportError, which looks like a missing package,
    and libraries as errors of their own, which look like a bad model.

    >>> print(as_out_of_memory(ImportError("libarrow.so: failed to map segment")))
    memory ran out (libarrow.so: failed to map segment). Raise the limit on memory (ulimit -v), or \
use fewer --workers.
    """
    reason = " ".join(str(error).split())
    said = reason.lower()
    if any(sign in said for sign in _NO_THREAD):
        return OutOfMemory(
            f"no thread can be started ({reason})",
            remedy="Raise the limits on processes (ulimit -u) and on memory (ulimit -v), or use "
            "fewer --workers.",
        )
    if isinstance(error, MemoryError) or any(sign in said for sign in _NO_MEMORY):
        return OutOfMemory(
            f"memory ran out ({reason or 'no more can be allocated'})",
            remedy="Raise the limit on memory (ulimit -v), or use fewer --workers.",
        )
    return None


@contextmanager
def loading(problem: str, remedy: str) -> Iterator[None]:
    """Raise MissingExtra where an import fails inside the block, OutOfMemory where that is why.

    `problem` has {0} in the place of the ImportError. Ctrl-C stays KeyboardInterrupt, although
    compiled modules turn it into an ImportError.

    >>> with loading("video needs OpenCV ({0})", "apt-get install libgl1"):  # doctest: +ELLIPSIS
    ...     raise ImportError("libGL.so.1 is not there")
    Traceback (most recent call last):
    faceprep.core.errors.MissingExtra: video needs OpenCV (libGL.so.1 is not there). ...
    """
    try:
        yield
    except ImportError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise as_out_of_memory(error) or MissingExtra(
            problem.format(error), remedy=remedy
        ) from error


class Interrupted(FaceprepError):
    """A run that was stopped by Ctrl-C or SIGTERM; finished work is kept."""


@contextmanager
def naming(path: str | PathLike[str]) -> Iterator[None]:
    """Add `path` to a SourceError that is raised in the block without a path.

    >>> with naming("a.onnx"):
    ...     raise SourceError("not a model of face crops")
    Traceback (most recent call last):
    faceprep.core.errors.SourceError: a.onnx: not a model of face crops
    """
    try:
        yield
    except SourceError as error:
        if error.path is not None:
            raise
        fields = {name: getattr(error, name) for name in _FIELDS} | {"path": path}
        raise SourceError(error.problem, **fields) from error
