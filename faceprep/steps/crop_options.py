"""The options that every command with crops has: their format and their JPEG quality."""

from __future__ import annotations

from typing import Any

from faceprep.core.arrays import Pixels
from faceprep.core.options import Values, option
from faceprep.vision import codec


def format_option() -> Any:
    """Declare the field `format`."""
    return option("png", "Write crops in this format.", choices=("png", "jpg"))


def quality_option() -> Any:
    """Declare the field `quality`."""
    return option(95, "Set the JPEG quality.", values=Values(least=1, most=100))


class WritesCrops:
    """The methods of a command with the options `format` and `quality`."""

    format: str
    quality: int

    @property
    def suffix(self) -> str:
        """Return the suffix of the crops."""
        return f".{self.format}"

    def encode(self, crop: Pixels) -> bytes:
        """Encode a crop in the format of the options."""
        return codec.encode(crop, self.suffix, self.quality)
