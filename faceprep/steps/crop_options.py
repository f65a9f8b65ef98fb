"""The options that every command with crops has: their format and their JPEG quality."""

from __future__ import annotations

from typing import Any

from faceprep.core.arrays import Pixels
from faceprep.core.errors import OptionError
from faceprep.core.options import Values, option
from faceprep.vision import codec

_FORMATS = ("png", "jpg")


def format_option() -> Any:
    """Declare the field `format`."""
    return option("png", "Write crops in this format.", choices=_FORMATS)


def quality_option() -> Any:
    """Declare the field `quality`."""
    return option(95, "Set the JPEG quality.", values=Values(least=1, most=100))


class WritesCrops:
    """The methods of a command with the options `format` and `quality`."""

    format: str
    quality: int

    def check_format(self) -> None:
        """Raise OptionError for an unknown format."""
        if self.format not in _FORMATS:
            raise OptionError("--format", expected=" or ".join(_FORMATS), found=repr(self.format))

    @property
    def suffix(self) -> str:
        """Return the suffix of the crops."""
        return f".{self.format}"

    def encode(self, crop: Pixels) -> bytes:
        """Encode a crop in the format of the options."""
        return codec.encode(crop, self.suffix, self.quality)
