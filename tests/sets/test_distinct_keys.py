"""Keys from names: the kind of keys depends on what is distinct, not on the sizes of the pieces."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.sets.distinct_keys import NAMES, NUMBERS, STEMS, KeyCheck, join_key, strip_suffix
from tests.set_reading import NAMES as FILE_NAMES


@given(
    names=st.lists(st.sampled_from(["", "a", "b", "a.jpg", "a.png", "b.x", "c.jpg"]), max_size=6),
    n_at_once=st.integers(1, 8),
    n_chunk=st.integers(1, 3),
)
def test_the_first_distinct_kind_is_chosen(names: list[str], n_at_once: int, n_chunk: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check = KeyCheck(Path(folder), n_at_once=n_at_once)
        for start in range(0, len(names), n_chunk):
            check.add(names[start : start + n_chunk])
        found = check.choose(Path("a.parquet"))
        assert list(Path(folder).iterdir()) == []
    expected = NUMBERS
    if all(names) and len(set(names)) == len(names):
        expected = NAMES
    if all(names) and len(set(map(strip_suffix, names))) == len(names):
        expected = STEMS
    assert found == expected


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a/1.jpg", "a/1.jpg", "a/2.jpg"], "occur more than once in an identity"),
        (["a/1.jpg", "", "a/2.jpg"], "are missing"),
        (["", "", ""], ""),
        (["a/1.jpg", "a/2.jpg"], ""),
    ],
)
def test_names_that_are_no_keys_are_reported(
    names: list[str], reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    check = KeyCheck(tmp_path)
    for name in names:
        check.add([name])
    check.choose(Path("a.parquet"))
    said = f"a.parquet: the names of its images are not used, because some {reason}; images are"
    assert [message.startswith(said) for message in caplog.messages] == [True] * bool(reason)


@given(identity=st.just("") | FILE_NAMES, name=st.text(max_size=30))
def test_a_key_stays_below_its_identity(identity: str, name: str) -> None:
    key = join_key(identity, name)
    assert not key or not identity or key.startswith(f"{identity}/")
    assert not {"..", "."} & set(key.split("/"))


@pytest.mark.parametrize("name", ["a/1.jpg.png", "a/x.y.webp"])
def test_one_suffix_is_stripped(name: str) -> None:
    assert strip_suffix(name) == name.rpartition(".")[0]
