"""Lists: every name comes back, whatever is in it, and a bad line is named."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.sets import class_map, lists
from faceprep.sets.class_map import ClassRow
from faceprep.sets.lists import NOT_IN_LST, ListedImage

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
CLASS = st.integers(0, 10**18 - 1)
NAME = TEXT.filter(lambda name: name and not NOT_IN_LST.search(name))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lists") / "a.txt"


@given(rows=st.lists(st.builds(ListedImage, TEXT, CLASS, TEXT, st.just(())), max_size=5))
@example([ListedImage('a,b "c"\r\n/ d\r.jpg', 0, " a\n")])
def test_csv_rows_come_back(path: Path, rows: list[ListedImage]) -> None:
    data = lists.csv_header() + lists.csv_lines(*([row[i] for row in rows] for i in range(3)))  # type: ignore[arg-type]
    path.write_bytes(data)
    assert list(lists.read_csv(path)) == rows
    assert [tuple(row) for row in csv.reader(io.StringIO(data.decode(), newline=""))][1:] == [
        (row.name, str(row.label), row.identity) for row in rows
    ]
    assert lists.describe_csv(path).n_images == len(rows)


@given(
    rows=st.lists(st.builds(ListedImage, NAME, CLASS, st.just(""), st.just(())), max_size=5),
    start=st.integers(0),
)
def test_lst_rows_come_back_to_us_and_to_im2rec(
    path: Path, rows: list[ListedImage], start: int
) -> None:
    data = lists.lst_lines([row.name for row in rows], [int(row.label) for row in rows], start)
    path.write_bytes(data)
    assert list(lists.read_lst(path)) == rows
    with path.open(encoding="utf-8") as file:  # as im2rec.py reads it
        columns = [[column.strip() for column in line.strip().split("\t")] for line in file]
    assert [(int(number), float(label), name) for number, label, name in columns] == [
        (number, float(row.label), row.name) for number, row in enumerate(rows, start)
    ]
    assert lists.describe_lst(path).n_images == len(rows)


def test_lists_that_others_wrote(path: Path) -> None:
    path.write_text("0\t3.000000\t1.000000\ta b.jpg\r\n1\t/set/a/1.jpg\t7\n")
    assert list(lists.read_lst(path)) == [
        ListedImage("a b.jpg", 3.0, more=(1.0,)),
        ListedImage("/set/a/1.jpg", 7),
    ]


@pytest.mark.parametrize(
    ("data", "expected", "columns"),
    [
        (b"Path,Label\na,7\n", ListedImage("a", 7), (["Path", "Label"], [])),
        (b"label, FileName\n0.0,a\n", ListedImage("a", 0.0), ([" FileName", "label"], [])),
        (b"image,identity\na,ann\n", ListedImage("a", None, "ann"), (["image", "identity"], [])),
        (b"path,class,age\na, 2 ,9\n", ListedImage("a", 2), (["path", "class"], ["age"])),
        (b"path,label,label\na,1,2\n", ListedImage("a", 1), (["path", "label"], ["label"])),
        (
            b"path,image_names,label,image_classes\nb,a,1,0.5\n",
            ListedImage("a", 0.5),
            (["image_names", "image_classes"], ["path", "label"]),
        ),
    ],
)
def test_a_csv_of_another_program(
    path: Path, data: bytes, expected: ListedImage, columns: tuple[list[str], list[str]]
) -> None:
    path.write_bytes(data)
    assert list(lists.read_csv(path)) == [expected]
    assert lists.read_csv_columns(path) == columns
    assert lists.describe_csv(path).fields == tuple(columns[0])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "line 1: expected columns image_names, image_classes, identity, found nothing"),
        (b"a,b\n", "line 1: expected columns .*, found a, b"),
        (b"image_names,image_classes\na\n", "line 2: expected 2 columns, found 1"),
        (
            b"image_names,image_classes\na,0\na,x\n",
            "line 3: expected a class number, found 'x'. If the column holds names",
        ),
        (b"path,age\na,0\n", "line 1: expected columns .*, found path, age"),
        (b"image_names,image_clXsses,identity\na,0,b\n", "expected columns .*, found image_names"),
        (b"image_names,image_classes\n\xff,0\n", "not a CSV file: .*utf-8"),
        (b'image_names,image_classes\n"a,0\n', "not a CSV file: "),
    ],
)
def test_a_bad_csv_is_named(path: Path, data: bytes, why: str) -> None:
    path.write_bytes(data)
    with pytest.raises(SourceError, match=why):
        list(lists.read_csv(path))


@pytest.mark.parametrize("line", [b"1\t2\n", b"a b c\n", b"1\tx\ty\n", b"\xff\t1\ta\n"])
def test_a_bad_lst_is_named(path: Path, line: bytes) -> None:
    path.write_bytes(b"0\t1\ta\n" + line)
    with pytest.raises(SourceError, match="bad line at line 2"):
        list(lists.read_lst(path))
    contents = lists.describe_lst(path)
    assert contents.n_images == 1
    assert "line 2" in contents.damage


@given(names=st.lists(TEXT.filter(bool), max_size=5, unique=True))
def test_class_maps_come_back(path: Path, names: list[str]) -> None:
    path.write_bytes(class_map.encode(names, range(len(names))))
    assert class_map.load(path) == [ClassRow(i, name, i) for i, name in enumerate(names)]
    assert class_map.has_classes(path, names)
    assert not class_map.has_classes(path, [*names, "x"])


HEAD = b"class,name,images\n"


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"0,ann,4\n\n1,bob,4\n\n",
        HEAD + b"0,ann,4\n,,\n1,bob,4\n,,\n",
        b"class;name;images\r\n0;ann;4\r\n;;\r\n1;bob;4\r\n",
    ],
)
def test_empty_rows_of_a_class_map_are_skipped(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert class_map.load(path) == [ClassRow(0, "ann", 4), ClassRow(1, "bob", 4)]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "line 1: expected columns class, name, images, found nothing"),
        (b"a,b\n", "line 1: expected columns class, name, images, found a, b"),
        (HEAD + b"0,ann,4\n\n1,,4\n", "line 4: expected a class number, a name .*, found '1,,4'"),
        (HEAD + b"0,ann\n", "line 2: expected a class number, .*found '0,ann'"),
        (HEAD + b"x,ann,1\n", "line 2: expected a class number, .*found 'x,ann,1'"),
        (HEAD + b"9" * 5000 + b",ann,1\n", "line 2: expected a class number"),
    ],
)
def test_a_bad_class_map_is_named(path: Path, data: bytes, why: str) -> None:
    path.write_bytes(data)
    with pytest.raises(SourceError, match=f"not a class map at {why}"):
        class_map.load(path)


@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    for read in (lists.read_csv, lists.read_lst, class_map.load):
        try:
            list(read(path))
        except SourceError as error:
            assert "a.txt" in str(error)
