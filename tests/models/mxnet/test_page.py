"""The page on MXNet checkpoints lists the operators that are converted."""

from __future__ import annotations

import re
import textwrap

from faceprep.models.mxnet.operators import OPERATORS
from tests.real import ROOT

PAGE = (ROOT / "docs" / "mxnet.md").read_text()


def test_the_page_lists_the_operators() -> None:
    words = " ".join(f"`{name}`" for name in sorted(OPERATORS, key=str.lower))
    listed = re.search(r"<!-- operators: [^>]* -->\n(.*?)\n<!-- end -->", PAGE, re.DOTALL)
    expected = textwrap.fill(words, 120, break_on_hyphens=False)
    assert listed and listed[1] == expected, expected
