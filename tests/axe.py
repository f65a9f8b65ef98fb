"""The accessibility checks of axe-core: FACEPREP_AXE is the path of its axe.min.js.

npm install axe-core, then FACEPREP_AXE=node_modules/axe-core/axe.min.js
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

AXE = os.environ.get("FACEPREP_AXE", "")
needs_axe = pytest.mark.skipif(not AXE, reason="no axe-core: set FACEPREP_AXE to its axe.min.js")


def violations(page: Any) -> list[str]:
    """Return what axe-core finds wrong with a page; its context must bypass the page's policy."""
    page.evaluate(Path(AXE).read_text())
    found = page.evaluate("axe.run()")["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html'][:100]}" for each in found]
