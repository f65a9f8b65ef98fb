"""Lists of files as sets: every name comes back with its image, and none leads outside."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.types import Outcome
from faceprep.sets import containers, kinds, list_set
from faceprep.sets.image_set import Sample
from faceprep.sets.lists import NOT_IN_LST, NOT_IN_TXT
from faceprep.sets.manifests.reader import load_names
from tests import manifests
from tests.listed import (
    FORMATS,
    SCRATCH,
    every_format,
    everything,
    make,
    opened,
    outcomes,
    samples,
    write_csv,
    write_npz,
    write_txt,
)
from tests.real import DATA, needs_data

# What is written is read

LETTERS = st.characters(codec="utf-8", exclude_characters="/\0\n\r")
PART = st.text(LETTERS, min_size=1, max_size=12).filter(lambda part: part not in (".", ".."))
NAME = st.builds(
    lambda folder, name: f"{folder}/{name}.jpg", PART.map(str.strip).filter(bool), PART
).filter(lambda name: ".." not in name and not NOT_IN_LST.search(name))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lists")


@every_format
@settings(max_examples=25)
@given(rows=st.dictionaries(NAME, st.integers(0, 1 << 20), min_size=1, max_size=4))
def test_any_name_comes_back_with_its_image(folder: Path, form: str, rows: dict[str, int]) -> None:
    name, kind, write = FORMATS[form]
    names, classes = list(rows), list(rows.values())
    make(folder, *names)
    write(folder / name, names, classes)
    with opened(folder / name) as images:
        assert images.kind == kind
        assert images.keys(0, len(images)) == names
        found = samples(images)
        assert [each.key for each in found] == names
        assert [bytes(each.data) for each in found] == [name.encode() for name in names]
        assert [each.labels for each in found] == [(label,) for label in classes]
        assert [each.identity for each in found] == list(map(str, classes))
        assert images.root == str(folder)
    if "txt" not in form:
        path = folder / name
        assert [each.identity for each in load_names(path)] == list(map(str, classes))


def test_what_a_txt_cannot_hold_is_known() -> None:
    for name in ("a\nb.jpg", " a.jpg", "a.jpg ", "a\r.jpg"):
        assert NOT_IN_TXT.search(name)
    assert not NOT_IN_TXT.search('a b,\t"c".jpg')


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz", ".lst"])
def test_what_manifest_writes_is_read(suffix: str, face_folder: Path, tmp_path: Path) -> None:
    manifests.run(face_folder, tmp_path / f"set{suffix}")
    with opened(tmp_path / f"set{suffix}") as images:
        found = samples(images)
        assert sorted(each.key for each in found) == sorted(map(str, face_folder.rglob("*.jpg")))
        for each in found:
            assert each.data == Path(each.key).read_bytes()
            assert each.identity == Path(each.key).parent.name


def test_any_order_may_be_read(tmp_path: Path) -> None:
    make(tmp_path, *"abc")
    write_csv(tmp_path / "a.csv", "abc", [0, 1, 2])
    images = opened(tmp_path / "a.csv")
    assert [each.key for each in images.read([2, 0, 2]) if isinstance(each, Sample)] == [*"cac"]
    again = containers.open_set(tmp_path / SCRATCH)
    assert everything(again) == everything(images)


# Names that lead elsewhere


def test_a_name_that_leads_outside_is_one_outcome(tmp_path: Path) -> None:
    make(tmp_path, "set/a.jpg", "outside.jpg")
    names = ["a.jpg", "../outside.jpg", f"{tmp_path}/outside.jpg", "b/../a.jpg", "x/../../set2/b"]
    names.append(f"{tmp_path}/set/a.jpg")
    path = tmp_path / "set" / "a.csv"
    write_csv(path, names, [0] * len(names))
    images = opened(path)
    lost = outcomes(images)
    assert {each.status for each in lost.values()} == {list_set.OUTSIDE}
    assert set(lost) == {names[1], names[2], names[4]}
    assert f"leads outside the folder {tmp_path}/set" in lost[names[1]].reason
    assert images.root == f"{tmp_path}/set"


def test_a_list_of_names_outside_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "set/x", "a.jpg")
    path = tmp_path / "set" / "a.csv"
    write_csv(path, ["../a.jpg"], [0])
    with pytest.raises(SourceError, match=r"all its names lead outside.*--relative-to"):
        opened(path)
    write_csv(path, ["a.jpg"], [0])
    (found,) = samples(opened(path, relative_to=tmp_path))
    assert found.data == b"a.jpg"
    about = json.loads((tmp_path / "set" / SCRATCH / "set" / "index.json").read_text())
    assert about["facts"]["relative_to"] == str(tmp_path)
    with pytest.raises(SourceError, match="no such folder"):
        opened(path, relative_to=tmp_path / "none")


def test_names_below_another_folder_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "images", "a/1.jpg")
    listed = tmp_path / "list.txt"
    write_txt(listed, ["a/1.jpg", "a/2.jpg"], [0, 0])
    assert len(outcomes(opened(listed))) == 2
    folder = re.escape(str(tmp_path))
    assert re.search(rf"list\.txt: none of its images is in {folder}: .*--relative", caplog.text)
    caplog.clear()
    assert set(outcomes(opened(listed, relative_to=tmp_path / "images"))) == {"a/2.jpg"}
    write_txt(listed, [f"{tmp_path}/gone.jpg"], [0])
    assert len(outcomes(opened(listed))) == 1
    assert not caplog.text


def test_a_list_of_objects_says_how_they_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_csv(path, ["s3://bucket/set/a/1.jpg", "s3://bucket/set/b/1.jpg"], [0, 1])
    with pytest.raises(SourceError, match=r"--relative-to.* those of objects relative to it"):
        opened(path)


def test_absolute_names_may_lead_anywhere(tmp_path: Path) -> None:
    make(tmp_path, "here/a.jpg", "there/b.jpg")
    path = tmp_path / "here" / "a.txt"
    write_txt(path, [f"{tmp_path}/here/a.jpg", f"{tmp_path}/here/../there/b.jpg"], [0, 1])
    assert [each.data for each in samples(opened(path))] == [b"here/a.jpg", b"there/b.jpg"]


# What cannot be read


def test_what_is_not_there_is_one_outcome_each(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "folder/x")
    names = ["a.jpg", "none.jpg", "folder", "", "n\0l.jpg", "x" * 300, "a.jpg"]
    write_csv(tmp_path / "a.csv", names, [0] * 7)
    found = everything(opened(tmp_path / "a.csv"))
    assert isinstance(found[0], Sample)
    lost = [each for each in found if isinstance(each, Outcome)]
    assert [each.key for each in lost] == names[1:]
    assert [each.status for each in lost] == ["unreadable"] * 5 + [list_set.REPEATED]
    assert all(each.reason and "\n" not in each.reason for each in lost)


def test_a_name_with_backslashes_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image_names,image_classes,identity\np\\1.jpg,0,p\n")
    with opened(tmp_path / "a.csv") as images:
        (found,) = images.read([0])
    assert isinstance(found, Outcome)
    assert found.reason.endswith("No such file or directory. Write / for each \\ in the names.")


def test_a_name_that_is_not_text_is_refused(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", ["a.jpg", "\ud800.jpg"], [0, 1])
    with pytest.raises(SourceError, match=r"not text at image 1 .*ud800"):
        opened(tmp_path / "a.npz")
    values = np.array([0x61, 0x7FFFFFFF], "<u4").view("<U2")
    np.savez(tmp_path / "a.npz", image_names=values, image_classes=[0])
    with pytest.raises(SourceError, match="not text"):
        opened(tmp_path / "a.npz")


def test_names_that_are_not_utf8_are_those_of_the_file_system(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.jpg")).write_bytes(b"data")
    np.savez(tmp_path / "a.npz", image_names=np.array([b"\xff.jpg"]), image_classes=[0])
    (found,) = samples(opened(tmp_path / "a.npz"))
    assert (found.data, os.fsencode(found.key)) == (b"data", b"\xff.jpg")


def test_a_txt_with_the_label_first_is_named(tmp_path: Path) -> None:
    make(tmp_path, "a b.jpg", "7 c.jpg")
    (tmp_path / "a.txt").write_text("7 c.jpg\n0 a b.jpg\n")
    with pytest.raises(SourceError, match=r"label is before the path .*'0 a b.jpg': expected path"):
        opened(tmp_path / "a.txt")


def test_a_txt_with_two_labels_is_named(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.jpg", "b.jpg 1")
    (tmp_path / "a.txt").write_text("b.jpg 1 0\na.jpg 1 0.5\n")
    with pytest.raises(SourceError, match=r"two labels at the line .*'a.jpg 1': expected path lab"):
        opened(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("b.jpg 1 0\nc.jpg 1 0\nd.jpg 5\n")
    assert list(outcomes(opened(tmp_path / "a.txt"))) == ["c.jpg 1", "d.jpg"]


@pytest.mark.parametrize(
    ("names", "classes", "why"),
    [
        (["a", "b"], ["x", "y"], r"expected numbers of shape \(2,\).*found text of shape \(2,\)"),
        (["a", "b"], [[0, 1], [1, 0]], r"expected numbers .*found int64 of shape \(2, 2\)"),
        (["a", "b"], [True, False], r"expected numbers .*found bool of shape \(2,\)"),
        ([["a", "b"]], [[0, 1]], r"expected text \(n,\), found <U1 of shape \(1, 2\)"),
        ([1, 2], [0, 1], r"image_names are not names: expected text \(n,\)"),
    ],
)
def test_bad_arrays_are_named(
    tmp_path: Path, names: list[str], classes: list[int], why: str
) -> None:
    write_npz(tmp_path / "a.npz", names, classes)
    with pytest.raises(SourceError, match=why):
        opened(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"Path": ["a.jpg"], "Label": [7.0]}, ("7", (7,), "")),
        ({"file_name": ["a.jpg"], "identity": ["ann"]}, ("ann", (), "")),
        ({"age": [3], "filename": ["a.jpg"], "class": [1]}, ("1", (1,), "the other column age")),
        ({"image_names": ["a.jpg"], "path": ["b"]}, ("", (), "the other column path")),
    ],
)
def test_a_parquet_list_of_another_program(
    tmp_path: Path, columns: dict[str, list[object]], expected: tuple[object, ...]
) -> None:
    make(tmp_path, "a.jpg")
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    images = opened(tmp_path / "a.parquet")
    assert kinds.describe_kind(tmp_path / "a.parquet") == kinds.PARQUET_LIST
    (found,) = samples(images)
    assert (found.identity, found.labels, images.facts["unread"]) == expected


def test_embeddings_of_another_program_are_no_list_of_images(tmp_path: Path) -> None:
    """Their vectors would be left out, and the images embedded again."""
    make(tmp_path, "a.jpg")
    table = pa.table({"path": ["a.jpg"], "identity": ["ann"], "vector": [[0.5, 1.0]]})
    pq.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("path,identity,e0,e1\na.jpg,ann,0.5,1\n")
    for suffix, remedy in {".parquet": "image_names and embeddings", ".csv": "image_names"}.items():
        with pytest.raises(SourceError, match=f"found .* Call .*{remedy}"):
            opened(tmp_path / f"a{suffix}")


def test_columns_that_hold_no_paths_are_no_list(tmp_path: Path) -> None:
    image = pa.array([{"path": "a.jpg"}])
    pq.write_table(pa.table({"image": image, "label": [1]}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="not a kind of file that faceprep knows"):
        kinds.describe_kind(tmp_path / "a.parquet")


def test_bad_rows_of_a_parquet_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for names, classes, why in (
        (["a", None], [0, 1], r"bad row at row 1 .*expected a path"),
        (["a", "b"], ["0", "x"], r"bad row at row 0 .*expected a number .*call it identity"),
        ([1, 2], [0, 1], r"bad row at row 0 .*expected a path"),
    ):
        pq.write_table(pa.table({"image_names": names, "image_classes": classes}), path)
        with pytest.raises(SourceError, match=why):
            opened(path)
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 1], "<i4")), pa.py_buffer(b"\xff")]
    )
    pq.write_table(pa.table({"image_names": bad}), path)
    with pytest.raises(SourceError, match="not UTF-8"):
        opened(path)


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.csv", b"image_names,image_classes\ncaf\xe9.jpg,0\n", "line 2.*cp1252.*CSV UTF-8"),
        ("a.lst", b"0\t1\ta.jpg\n0\tx\ta.jpg\n", "line 2: expected idx, label, path"),
        ("a.lst", b"0\t" + b"9" * 5000 + b"\ta.jpg\n", "line 1: expected idx, label, path"),
        ("a.lst", b"0\t1\tx\ta.jpg\n", "line 1: expected idx, label, path"),
        ("a.lst", b"0\t0\ta.jpg\n" + b"x" * (1 << 17), "line 2: expected at most 65,536 bytes"),
        ("a.txt", b"a.jpg 1\nb.jpg\n", "line 2: expected path and label"),
        ("a.txt", b"a.jpg\nb.jpg 1\n", "line 2: expected a path alone"),
        ("a.npz", b"nothing", "cannot open it as .npz"),
        ("a.parquet", b"nothing", "cannot be read as Parquet"),
    ],
)
def test_a_bad_list_is_named(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=why):
        opened(tmp_path / name)


@given(
    name=st.sampled_from(["a.csv", "a.lst", "a.txt", "a.npz", "a.parquet"]),
    data=st.binary(max_size=80),
    head=st.sampled_from([b"", b"image_names,image_classes\n", b"0\t1\ta\n", b"a.jpg 0\n", b"PK"]),
)
def test_any_bytes_are_read_or_refused(folder: Path, name: str, data: bytes, head: bytes) -> None:
    (folder / name).write_bytes(head + data)
    try:
        images = opened(folder / name)
        assert len(everything(images)) == len(images)
    except SourceError as error:
        assert name in str(error) and "\n" not in str(error)


@needs_data
@pytest.mark.parametrize("path", sorted((DATA / "cases" / "hostile").rglob("*.npz")), ids=str)
def test_hostile_arrays_are_one_line(path: Path, tmp_path: Path) -> None:
    try:
        everything(containers.index_set(path, tmp_path))
    except SourceError as error:
        assert path.name in str(error)


# Size


def test_a_long_list_needs_little_memory(tmp_path: Path) -> None:
    """Only 8 bytes a name stay in memory, and some thousand rows."""
    import tracemalloc

    n = 100_000
    rows = "".join(f"{i}\t{i % 100}\tperson {i % 100}/{i}.jpg\n" for i in range(n))
    (tmp_path / "a.lst").write_text(rows)
    opened(tmp_path / "a.lst")
    tracemalloc.start()
    try:
        images = opened(tmp_path / "a.lst")
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()
    assert len(images) == n and images.key(n - 1) == "person 99/99999.jpg"
