"""Label rules: what fits, what does not, and what is not a rule."""

from __future__ import annotations

import pytest

from faceprep.core.errors import OptionError
from faceprep.sets.label_rules import Unlabelled, parse_rule


@pytest.mark.parametrize(
    ("rule", "path", "label"),
    [
        ("live=0,spoof=1", "Train/live/003/1.png", "live"),
        ("live=0,spoof=1", "spoof/1.png", "spoof"),
        ("real=0,live=0,spoof=1", "live/1.png", "real|live"),
        ("real=0,live=0,spoof=1", "live/real/1.png", "real|live"),
        (" live = 0, spoof = 1".replace(" = ", "="), "spoof/1.png", "spoof"),
        (r"re:(?:^|/)(live|spoof)(?=/)", "live/1.png", "live"),
        (r"re:/(\d+)-[^/]*$", "Train/live/003/003-1-1.png", "003"),
        (r"/(live|spoof)/", "Train/live/003/1.png", "live"),
        (r"re:(a)", "a/a/a.png", "a"),
    ],
)
def test_what_fits(rule: str, path: str, label: str) -> None:
    assert parse_rule(rule).label(path) == label


@pytest.mark.parametrize(
    ("rule", "path", "status", "reason"),
    [
        (
            "live=0,spoof=1",
            "alive/live.png",
            "no_label",
            "expected a folder named live or spoof, found none",
        ),
        ("live=0,spoof=1", "Live/1.png", "no_label", "found none"),
        (
            "live=0,spoof=1",
            "live/spoof/1.png",
            "ambiguous_label",
            "expected one class, found live, spoof",
        ),
        (r"re:(live|spoof)", "live/spoof.png", "ambiguous_label", "found live, spoof"),
        (r"re:x(\d*)", "x.png", "no_label", r"expected a path that fits 'x(\d*)', found none"),
        (r"re:x(y)?", "x.png", "no_label", "found none"),
    ],
)
def test_what_does_not(rule: str, path: str, status: str, reason: str) -> None:
    found = parse_rule(rule).label(path)
    assert isinstance(found, Unlabelled)
    assert found.status == status
    assert found.reason.startswith(f"{path}: ")
    assert reason in found.reason
    assert found.reason.endswith("change --label-rule")
    named = parse_rule(rule, "--group-by").label(path)
    assert isinstance(named, Unlabelled) and named.reason.endswith("change --group-by")
    assert "one class" not in named.reason


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("", r"^invalid --group-by: expected a rule such as re:/\(\\d\+\)/, whose one "),
        ("live", "^invalid --group-by: expected a rule"),
        ("live=a,spoof=b", "^invalid --group-by: expected a rule"),
        (
            "live=0,spoof=2",
            "^--group-by leaves out class numbers: expected all of 0 to 1, found 0, 2",
        ),
        (
            "live=0,spoof=12345678901",
            "^--group-by leaves out class numbers: expected all of 0 to 1, found 0, 12345678901",
        ),
        ("live=1", "^--group-by leaves out class numbers: expected all of 0 to 0, found 1"),
        ("live=0,live=1", "^--group-by names a word twice"),
        ("live=" + 5000 * "1", "^invalid --group-by: expected a rule"),
        (
            "re:live",
            r"^--group-by must have one capturing group, which finds the group.* found 0 groups",
        ),
        (r"re:\d+", r"found 0 groups in '\\d\+'\. Write"),
        ("re:(a)(b)", r"^--group-by must have one capturing group, .* found 2 groups"),
        ("re:(a", "^--group-by is not a regular expression: "),
    ],
)
def test_what_is_no_rule(rule: str, why: str) -> None:
    with pytest.raises(OptionError, match=why):
        parse_rule(rule, "--group-by")
