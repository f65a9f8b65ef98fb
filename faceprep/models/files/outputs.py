"""The choice among the outputs of a model."""

from __future__ import annotations

from collections.abc import Sequence

from faceprep.core.errors import OptionError, SourceError
from faceprep.models.files.open_model import Output


def one_output(outputs: Sequence[Output], wanted: str, usual: Sequence[str] = ()) -> int:
    """Return the place of the output named `wanted`, else of the only one, else of a `usual` name.

    Raises OptionError if there is no such output, SourceError if several remain.
    """
    listed = ", ".join(map(str, outputs))
    if wanted:
        for place, output in enumerate(outputs):
            if output.name == wanted:
                return place
        raise OptionError("output=", expected=f"one of {listed}", found=repr(wanted))
    if len(outputs) == 1:
        return 0
    named = [place for place, output in enumerate(outputs) if output.name.lower() in usual]
    if len(named) == 1:
        return named[0]
    expected = "one output"
    if usual:
        expected += f", or one named {' or '.join(usual)}"
    raise SourceError(
        "has several outputs",
        expected=expected,
        found=listed,
        remedy="Name one in the model spec: output=NAME.",
    )
