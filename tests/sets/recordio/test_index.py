"""The .idx, and finding the records without it."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceprep.core.errors import FaceprepError, SourceError
from faceprep.sets.recordio import index as rec_index
from faceprep.sets.recordio.entries import read_entries
from faceprep.sets.recordio.framing import frame_image
from faceprep.sets.recordio.index import RecPaths

quick = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def pairs_in(index: Path) -> list[tuple[int, int]]:
    entries = read_entries(index)
    return list(zip(entries[0::2], entries[1::2], strict=True))


def entries_of(folder: Path, idx: bytes) -> list[tuple[int, int]]:
    (folder / "a.rec").write_bytes(b"something")
    (folder / "a.idx").write_bytes(idx)
    rec_index.write_index(RecPaths(folder / "a.rec", folder / "a.idx"), folder / "index")
    return pairs_in(folder / "index")


@quick
@given(
    st.dictionaries(st.integers(0, 2**62), st.integers(0, 2**62), min_size=1),
    st.sampled_from([1, 7, 1 << 20]),
    st.booleans(),
)
def test_every_line_is_read(
    tmp_path: Path, entries: dict[int, int], chunk: int, large: bool
) -> None:
    text = "".join(f"{key}\t{offset}\n" for key, offset in entries.items()).encode()
    with mock.patch.multiple(rec_index, _CHUNK=chunk, _LARGE=0 if large else 1 << 40):
        assert entries_of(tmp_path, text) == list(entries.items())


def test_ends_and_blanks(tmp_path: Path) -> None:
    assert entries_of(tmp_path, b"0\t0\r\n\n7\t40") == [(0, 0), (7, 40)]
    assert entries_of(tmp_path, b"007\t0040\r\n10\t0\r\n") == [(7, 40), (10, 0)]


@pytest.mark.parametrize("large", [0, 1 << 40])
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize("text", ["0 0\n7 40\n", "0  0\r\n7\t40\r\n", "0 0\r\n 7 40 \r\n"])
def test_a_mark_and_blanks_in_place_of_the_tab_are_read(
    tmp_path: Path, text: str, chunk: int, large: int
) -> None:
    with mock.patch.multiple(rec_index, _CHUNK=chunk, _LARGE=large):
        assert entries_of(tmp_path, text.encode("utf-8-sig")) == [(0, 0), (7, 40)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"0\t0\nhello\tworld\n", "line 2"),
        (b"0\t0\n1 5 9\n", "line 2"),
        (b"0\t0\n1_0\t5\n", "line 2"),
        (b"0\t0\n1\t5\t9\n", "line 2"),
        (b"0\n0\t\n", "line 1"),
        (b"0\t0\n1\t-5\n", "line 2"),
        (b"0\t0\n1\t99999999999999999999\n", "line 2"),
        (b"\xff\xfe0\t0\n", "line 1"),
        (b"0\t0\n5\n", "line 2"),
        (b"1\t2\t3\n4\n", "line 1"),
        (b"0\t0\n1\t" + b"9" * 5000 + b"\n", "line 2"),
        (b"0\t0\n\t5\n", "line 2"),
    ],
)
@pytest.mark.parametrize("large", [0, 1 << 40])
def test_a_wrong_line_is_named(
    tmp_path: Path, text: bytes, line: str, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rec_index, "_LARGE", large)
    with pytest.raises(SourceError, match=line):
        entries_of(tmp_path, text)


def test_line_numbers_count_over_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rec_index, "_CHUNK", 64)
    with pytest.raises(SourceError, match="line 501"):
        entries_of(tmp_path, b"".join(b"%d\t%d\n" % (i, i) for i in range(500)) + b"x\ty\n")


def test_repeated_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="1 key repeated, the first of them 3"):
        entries_of(tmp_path, b"3\t0\n1\t8\n3\t16\n")


def test_repeats_among_millions_are_counted(tmp_path: Path) -> None:
    numbers = np.arange(5 << 20)
    numbers[[0, 1, 2]] = -1, 5_000_000, 7
    with pytest.raises(SourceError, match="2 offsets repeated, the first of them 7"):
        rec_index.refuse_repeats(tmp_path / "a.idx", "offset", numbers)


def test_an_empty_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="empty"):
        entries_of(tmp_path, b"")


@quick
@given(st.binary(max_size=200))
def test_nothing_but_faceprep_errors_from_any_idx(tmp_path: Path, text: bytes) -> None:
    try:
        entries = entries_of(tmp_path, text)
    except FaceprepError as error:
        assert str(error)
    else:
        assert all(key >= 0 and offset >= 0 for key, offset in entries)


def scanned(folder: Path, data: bytes) -> list[tuple[int, int]]:
    (folder / "a.rec").write_bytes(data)
    rec_index.write_index(RecPaths(folder / "a.rec", None), folder / "index")
    return pairs_in(folder / "index")


def test_a_scan_takes_distinct_ids_for_keys(tmp_path: Path) -> None:
    records = [frame_image([0], b"x" * 10, id) for id in (70, 3, 41)]
    starts = np.cumsum([0, *map(len, records)]).tolist()
    assert scanned(tmp_path, b"".join(records)) == list(zip((70, 3, 41), starts, strict=False))


def test_a_scan_counts_when_ids_repeat(tmp_path: Path) -> None:
    records = [frame_image([0], b"x" * 10, 5) for _ in range(3)]
    assert [key for key, _ in scanned(tmp_path, b"".join(records))] == [0, 1, 2]


@pytest.mark.parametrize("broken", [0, 2, 4])
@pytest.mark.parametrize("kind", ["magic", "length too long", "length past the end"])
def test_a_scan_goes_on_after_damage(tmp_path: Path, broken: int, kind: str) -> None:
    records = [bytearray(frame_image([0], b"image" * 9, id)) for id in range(5)]
    if kind == "magic":
        records[broken][:4] = b"\0\0\0\0"
    else:
        records[broken][4:8] = (100 if kind == "length too long" else 1 << 28).to_bytes(4, "little")
    keys = [key for key, _ in scanned(tmp_path, b"".join(records))]
    assert [key for key in keys if key != -1] == [id for id in range(5) if id != broken]
    assert keys.count(-1) == 1


def test_find_rec_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="train.rec"):
        rec_index.find_rec(tmp_path)
    with pytest.raises(SourceError, match="no such file"):
        rec_index.find_rec(tmp_path / "no.rec")
    (tmp_path / "a.rec").touch()
    (tmp_path / "b.rec").touch()
    with pytest.raises(SourceError, match=r"a\.rec, b\.rec"):
        rec_index.find_rec(tmp_path)
    (tmp_path / "train.rec").touch()
    assert rec_index.find_rec(tmp_path).rec.name == "train.rec"


def test_names_in_upper_case_are_found(tmp_path: Path) -> None:
    for name in ("A.REC", "A.IDX"):
        (tmp_path / name).touch()
    for source in (tmp_path, tmp_path / "A.REC", tmp_path / "A.IDX"):
        assert rec_index.find_rec(source) == RecPaths(tmp_path / "A.REC", tmp_path / "A.IDX")


@pytest.mark.parametrize("names", [("A.REC", "A.idx"), ("A.rec", "A.IDX")])
def test_an_index_in_other_case_is_found(tmp_path: Path, names: tuple[str, str]) -> None:
    rec, idx = (tmp_path / name for name in names)
    for path in (rec, idx):
        path.touch()
    for source in (tmp_path, rec, idx):
        assert rec_index.find_rec(source) == RecPaths(rec, idx)


def test_a_file_without_one_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no record in this file"):
        scanned(tmp_path, b"not a RecordIO file at all, but long enough to be looked at")
