"""A computation of hours says how far it is, but not at every step."""

from __future__ import annotations

import logging
import re

import pytest

from faceprep.core.slow_step import log_progress


def test_each_step_is_logged_where_the_time_between_is_zero(
    caplog: pytest.LogCaptureFixture,
) -> None:
    report = log_progress("comparing identities", every_s=0)
    with caplog.at_level(logging.INFO, "faceprep"):
        report(0, 8)
        report(1, 8)
        report(8, 8)
    assert len(caplog.messages) == 2
    assert re.fullmatch(r"comparing identities: 12\.5 % done, 0:00:00 left", caplog.messages[0])
    assert "100 % done" in caplog.messages[1]


def test_quick_steps_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    report = log_progress("comparing identities")
    with caplog.at_level(logging.INFO, "faceprep"):
        for step in range(100):
            report(step, 100)
    assert caplog.messages == []
