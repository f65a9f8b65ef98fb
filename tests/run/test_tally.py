"""Inputs are counted apart from the outcomes of other units."""

from __future__ import annotations

from faceprep.core.types import Outcome, ShardReport, count_name
from faceprep.run.tally import Tally


def test_other_units_are_no_inputs_of_an_earlier_start() -> None:
    video = count_name(Outcome("a.mp4", "undecodable", "cut off", "video"))
    tally = Tally([ShardReport("0", 32, {"ok": 30, video: 2})])
    assert tally.n_before == 30
    assert tally.by_unit() == ({"ok": 30}, {"video": {"undecodable": 2}})
    tally.add(ShardReport("1", 5, {"ok": 5}))
    assert tally.n_before == 30
