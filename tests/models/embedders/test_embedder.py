"""Names of embedders, and what is said of those that are not known."""

from __future__ import annotations

import pytest

from faceprep.core.errors import OptionError
from faceprep.models.embedders.embedder import find_kind


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("nets/det1-0001.params", "Name its graph, nets/det1-symbol.json"),
        ("r100.params", "Name its graph, r100-symbol.json"),
        ("nets/other.bin", ""),
    ],
)
def test_weights_without_a_graph_lead_to_the_graph(name: str, remedy: str) -> None:
    with pytest.raises(OptionError) as caught:
        find_kind(name)
    assert (caught.value.remedy or "").startswith(remedy or "")
    assert bool(caught.value.remedy) == bool(remedy)
