"""Files for reading whose faults are errors that name them, whoever reads."""

from __future__ import annotations

import io
from typing import Any

from faceprep.core.errors import SourceError
from faceprep.core.os_errors import guard


class NamedFile(io.FileIO):
    """An open file on the disk. Reading raises SourceError."""

    def readinto(self, buffer: Any) -> int | None:
        with guard("read", str(self.name), SourceError):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with guard("read", str(self.name), SourceError):
            return super().readall()
