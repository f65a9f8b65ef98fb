"""The files of a set that are open for reading: few at a time, whatever their number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from faceprep.core.urls import is_remote

_MOST_OPEN = 64


class _Closable(Protocol):
    def close(self) -> None: ...


File = TypeVar("File", bound=_Closable, covariant=True)


class OpenFiles(Generic[File]):
    """Files by their number, opened by `open_file`; the one opened first is closed first."""

    def __init__(self, paths: Sequence[str], open_file: Callable[[str], File]) -> None:
        self._paths, self._open_file = paths, open_file
        self._files: dict[int, File] = {}
        self.are_remote = any(map(is_remote, paths))
        """Whether they are objects of a store."""

    def open(self, number: int) -> File:
        """Return the file, open. Raises SourceError."""
        file = self._files.get(number)
        if file is None:
            if len(self._files) >= _MOST_OPEN:
                self._files.pop(next(iter(self._files))).close()
            file = self._files[number] = self._open_file(self._paths[number])
        return file

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()
        self._files.clear()
