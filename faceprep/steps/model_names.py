"""Names of detectors, embedders and templates, as the options that take one show them."""

from __future__ import annotations

from faceprep.core import registry
from faceprep.core.options import Values
from faceprep.vision.templates import EXAMPLES

_PACK = "insightface:buffalo_l"
_OTHER_SIZES = ("arcface-112x96", "arcface-256")


def _names(table: dict[str, registry.Entry]) -> tuple[str, ...]:
    """Return the names that stand for a model by themselves, and a pack of insightface."""
    alone = [name for name, entry in table.items() if not entry.usage and not entry.suffixes]
    return (*(name for name in alone if table[name].packages), _PACK)


DETECTORS = Values("DETECTOR", known=_names(registry.DETECTORS))
EMBEDDERS = Values("EMBEDDER", known=_names(registry.EMBEDDERS))
TEMPLATES = Values("TEMPLATE", known=EXAMPLES)
NAMED_TEMPLATES = ", ".join(name for name in EXAMPLES if name not in _OTHER_SIZES)
