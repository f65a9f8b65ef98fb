"""Turn face data, in whatever container it arrives, into training-ready sets.

core       types and Protocols, errors, the registry, text, storage (opens every path)
tables     small typed tables about images: faces, scores, embeddings, plan, verdicts
sets       one module per container, with its reader and its writer
video      videos as streams of frames
vision     pixels to pixels or numbers, pure
models     pixels to faces or vectors: detectors and embedders
identity   vectors to decisions and metrics, pure
steps      what several commands share
run        the engine: shards, staging, ledger, resume, workers
pages      the report and the review
jobs       one file per command
cli        the Click layer
synthetic  drawn faces, sets and videos for tests, examples and docs

Imports go one way: `docs/architecture.md` draws the layers.

>>> import faceprep
>>> faceprep.Rec2Folder.command
'rec2folder'
"""

from __future__ import annotations

import importlib
from typing import Any

from faceprep.core.public_names import public_names

__version__ = "0.2.0"

_PUBLIC = public_names()
__all__ = sorted(_PUBLIC)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'faceprep' has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]
