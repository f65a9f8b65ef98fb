"""Lists of pairs: LFW's, plain paths, bin2folder's; and every line that is none."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.sets.pairs_bin.pair_lists import ListedPair, read_pairs_list


def read(path: Path, text: str | bytes) -> list[ListedPair]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_pairs_list(path)


MOVED = [
    ListedPair(2, "Abel_Pacheco/Abel_Pacheco_0001", "Abel_Pacheco/Abel_Pacheco_0004", True),
    ListedPair(3, "Abdel_Madi/Abdel_Madi_0001", "J.R._Barker/J.R._Barker_0012", False),
]


@pytest.mark.parametrize("header", ["1\t1\n", "1\n", " 1 1 \n", "\ufeff1\t1\n", "\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lfw(tmp_path: Path, header: str, end: str) -> None:
    lines = "Abel_Pacheco\t1\t4\nAbdel_Madi\t1\tJ.R._Barker\t12\n"
    assert read(tmp_path / "pairs.txt", (header + lines).replace("\n", end)) == MOVED
    assert read(tmp_path / "pairs.txt", header + lines.replace("\t", "  ")) == MOVED


def test_names_with_blanks(tmp_path: Path) -> None:
    assert read(tmp_path / "pairs.txt", "Li Na\t1\t2\n") == [
        ListedPair(1, "Li Na/Li Na_0001", "Li Na/Li Na_0002", True)
    ]


@pytest.mark.parametrize(
    ("label", "same"), [("1", True), ("0", False), ("True", True), ("False", False)]
)
def test_paths(tmp_path: Path, label: str, same: bool) -> None:
    expected = [ListedPair(1, "a/1.jpg", "b c/2.png", same)]
    assert read(tmp_path / "pairs.txt", f"a/1.jpg\tb c/2.png\t{label}\n") == expected
    assert read(tmp_path / "pairs.txt", f"a/1.jpg b/2.png {label}") == [
        ListedPair(1, "a/1.jpg", "b/2.png", same)
    ]


def test_table(tmp_path: Path) -> None:
    text = 'pair,first,second,same\n0,a.jpg,"b, c.jpg",1\n7,a.jpg,d.jpg,0\n'
    assert read(tmp_path / "pairs.csv", text) == [
        ListedPair(2, "a.jpg", "b, c.jpg", True),
        ListedPair(3, "a.jpg", "d.jpg", False),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no lines"),
        ("\n\n", "no lines"),
        (
            "10\t300\na\t1\t2\n",
            "at line 1: expected 6,000 pairs, which the first line announces, found 1",
        ),
        (
            "1\na\t1\t2\nb\t1\t2\nc\t1\t2\n",
            "at line 1: expected 2 pairs, which the first line announces, found 3",
        ),
        (
            "a\t1\t2\na\t1\n",
            "at line 2: expected name n1 n2, name1 n1 name2 n2, or path1 path2 and 1 or 0, found "
            "'a",
        ),
        ("a\t1\t2\t3\t4\n", "at line 1: expected name n1 n2"),
        ("a\tx\tb\t2\n", "at line 1: expected name n1 n2"),
        ("a.jpg b.jpg 2\n", "at line 1: expected name n1 n2"),
        ("a.jpg b.jpg\n", "at line 1: expected name n1 n2"),
        ("a\t-1\t2\n", "at line 1: expected name n1 n2"),
        ("a\t1\t9999999999999\n", "at line 1: expected name n1 n2"),
        (
            "../a.jpg b.jpg 1\n",
            "at line 1: expected images below the source folder, found '../a.jpg'",
        ),
        (
            "a.jpg /etc/b.jpg 1\n",
            "at line 1: expected images below the source folder, found '/etc/b.jpg'",
        ),
        ("..\t1\t2\n", "at line 1: expected images below the source folder, found '../.._0001'"),
        ("a\0.jpg b.jpg 1\n", "at line 1: expected images below the source folder"),
        (
            "pair,first,second,same\n0,a,b\n",
            "at line 2: expected pair,first,second,same with same 1 or 0, found '0,a,b'",
        ),
        ("pair,first,second,same\n0,a,b,2\n", "at line 2: expected pair,first,second,same"),
        (
            "pair,first,second,same\n0,a,../b,1\n",
            "at line 2: expected images below the source folder, found '../b'",
        ),
        (b"a\xff\t1\t2\n", "expected text in UTF-8, found byte 1: invalid start byte"),
    ],
)
def test_what_is_no_list_is_named(tmp_path: Path, text: str | bytes, problem: str) -> None:
    with pytest.raises(SourceError, match="pairs.txt: not a list of pairs") as caught:
        read(tmp_path / "pairs.txt", text)
    assert problem in str(caught.value)


@given(st.text(max_size=80) | st.binary(max_size=80))
def test_anything_is_a_list_or_refused(tmp_path_factory: Any, text: str | bytes) -> None:
    with suppress(SourceError, UnicodeEncodeError):
        for pair in read(tmp_path_factory.getbasetemp() / "any.txt", text):
            assert ".." not in pair.first.split("/") and ".." not in pair.second.split("/")
