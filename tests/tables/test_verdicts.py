"""Verdicts: what is written is read; half a line is left out where that is allowed; the rest is
named.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.types import VERDICTS
from faceprep.tables.verdicts import Verdict, format_verdicts, read_verdicts

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20) | st.just(
    "a\udcff"
)
verdicts = st.builds(
    Verdict,
    st.integers(0, 10**6),
    names,
    names,
    names,
    st.sampled_from(VERDICTS),
    st.sampled_from(VERDICTS),
)
GOOD = (
    b'{"number": 1, "action": "drop", "subject": "a", "into": "", "verdict": "refused", '
    b'"before": "accepted"}\n'
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=st.lists(verdicts, max_size=5))
def test_what_is_written_is_read(written: list[Verdict], tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(format_verdicts(written))
    assert read_verdicts(path) == written


def test_cut_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for n in range(len(GOOD) - 1):
        caplog.clear()
        (tmp_path / "cut").write_bytes(GOOD + GOOD[:n])
        assert len(read_verdicts(tmp_path / "cut")) == 1
        assert ("cut: its last line is incomplete and is left out" in caplog.text) == (n > 0)


def test_last_line_may_lack_its_end(tmp_path: Path) -> None:
    (tmp_path / "edited").write_bytes(GOOD + GOOD[:-1])
    assert len(read_verdicts(tmp_path / "edited")) == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"1", b'"1"'),
        (b"1", b"true"),
        (b'"refused"', b'"perhaps"'),
        (b'"accepted"', b"null"),
        (b'"a"', b"[]"),
        (b'"drop"', b'{"x": 1}'),
        (b'"into"', b'"onto"'),
        (b'"a"', b'"a\\u0000"'),
        (b'"a"', b'"\\ud800"'),
        (b"1", b"NaN"),
        (GOOD[:-1], b"[1]"),
    ],
)
def test_what_is_no_verdict(before: bytes, after: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(GOOD + b"\n" + GOOD.replace(before, after))
    with pytest.raises(
        SourceError, match="not a verdict.* at line 3: expected number, action, subject"
    ):
        read_verdicts(tmp_path / "bad")
