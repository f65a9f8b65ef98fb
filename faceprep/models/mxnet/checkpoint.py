"""The files of an MXNet checkpoint: `PREFIX-symbol.json` and `PREFIX-EPOCH.params`.

A checkpoint is named by its symbol file, which stands for its newest epoch, or as `PREFIX,EPOCH`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from faceprep.core import storage
from faceprep.core.errors import SourceError, naming
from faceprep.models.mxnet.convert import VERSION, to_onnx
from faceprep.models.mxnet.params import Params
from faceprep.models.mxnet.symbol import parse_symbol
from faceprep.models.weights import find_model, fingerprint_files

SYMBOL = "-symbol.json"
_EPOCH = re.compile(r"(.+),(\d{1,9})", re.DOTALL)


class Checkpoint(NamedTuple):
    """The two files of a checkpoint."""

    symbol: Path
    params: Path

    @property
    def fingerprint(self) -> str:
        """Return the name of the weights, such as `model-r100-0000`, and digits of both files."""
        return f"{self.params.stem}/{fingerprint_files(*self)}/mxnet{VERSION}"

    @classmethod
    def find(cls, spec: str) -> Checkpoint:
        """Return the files that `spec` names. Raises SourceError if one is missing."""
        match = _EPOCH.fullmatch(spec)
        if match is None:
            symbol = _find_part(spec, "the graph")
            return cls(symbol, _newest_params(symbol))
        end = f"-{int(match[2]):04d}.params"
        symbol = _find_part(f"{match[1]}{SYMBOL}", "the graph")
        return cls(symbol, _find_part(f"{match[1]}{end}", "the weights"))

    def to_onnx(self, is_for_cpu: bool = False) -> bytes:
        """Convert the checkpoint to an ONNX file, as `convert.to_onnx` does.

        Raises SourceError, MissingExtra.
        """
        with naming(self.symbol):
            symbol = parse_symbol(storage.read_bytes(self.symbol))
            with storage.ByteSource(self.params) as source:
                return to_onnx(symbol, Params(source), is_for_cpu)


def is_checkpoint(spec: str) -> bool:
    """Return whether `spec` names an MXNet checkpoint.

    >>> is_checkpoint("nets/r100-symbol.json"), is_checkpoint("model-r100,0")
    (True, True)
    >>> is_checkpoint("net.onnx"), is_checkpoint("model-r100")
    (False, False)
    """
    return spec.endswith(SYMBOL) or _EPOCH.fullmatch(spec) is not None


def _find_part(source: str, part: str) -> Path:
    return find_model(source, f"{part} of an MXNet checkpoint")


def _newest_params(symbol: Path) -> Path:
    """Return the weights of the highest epoch beside a symbol. Raises SourceError."""
    prefix = symbol.name.removesuffix(SYMBOL)
    form = re.compile(re.escape(prefix) + r"-(\d{4,9})\.params")
    _, names = storage.list_folder(symbol.parent)
    epochs = {int(match[1]): name for name in names if (match := form.fullmatch(name))}
    if not epochs:
        raise SourceError(
            "no weights beside this symbol", path=symbol, expected=f"{prefix}-0000.params"
        )
    return symbol.with_name(epochs[max(epochs)])
