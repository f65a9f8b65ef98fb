"""Identities of lists: from their classes and class maps, exact and named, or from folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceprep.core.errors import SourceError
from faceprep.core.types import Outcome
from faceprep.sets import list_set, lists
from faceprep.sets.image_set import Sample
from faceprep.sets.manifests.reader import load_names
from tests.listed import (
    FORMATS,
    every_format,
    everything,
    make,
    opened,
    outcomes,
    samples,
    write_excel,
    write_txt,
)
from tests.real import DATA, needs_data


def test_identities_have_the_names_of_their_classes(tmp_path: Path) -> None:
    make(tmp_path, "1.jpg", "2.jpg")
    path = tmp_path / "train.txt"
    write_txt(path, ["1.jpg", "2.jpg"], [1, 0])
    (tmp_path / "classes.csv").write_bytes(b"class,name,images\n0,ann,1\n1,bob,1\n")
    assert [each.identity for each in samples(opened(path))] == ["bob", "ann"]
    (tmp_path / "train_classes.csv").write_bytes(b'class,name,images\n0,carl,1\n1,"d,e",1\n')
    assert [each.identity for each in samples(opened(path))] == ["d,e", "carl"]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("0,ann,1\n", "lacks the class 1"),
        ("", "lacks the class 0"),
        ("0,ann,1\n1,bob,1\n1,carl,1\n", "has the class 1 twice"),
    ],
)
def test_a_class_map_that_does_not_fit_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rows: str, problem: str
) -> None:
    make(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    path = tmp_path / "train.txt"
    write_txt(path, ["1.jpg", "2.jpg", "3.jpg"], [0, 1, -1])
    class_map = tmp_path / "train_classes.csv"
    class_map.write_text(f"class,name,images\n{rows}")
    assert [each.identity for each in samples(opened(path))] == ["0", "1", ""]
    (warning,) = caplog.messages
    assert warning.startswith(f"{class_map}: it {problem}, so its names are not used")
    assert str(path) in warning
    assert [each.identity for each in load_names(path)] == ["0", "1", "."]
    assert caplog.messages == [warning] * 2


def test_a_name_with_two_numbers_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "1.jpg", "2.jpg")
    path = tmp_path / "train.txt"
    write_txt(path, ["1.jpg", "2.jpg"], [0, 2])
    table = tmp_path / "train_classes.csv"
    table.write_text("class,name,images\n0,ann,1\n\n1,bob,0\n2,ann,1\n")
    with pytest.raises(SourceError) as refused:
        opened(path)
    assert str(refused.value) == (
        f"{table}: not a class map at line 5: expected one number for each name, found 'ann' as 0 "
        "in line 2 and as 2 in line 5. Correct the line, or remove the map."
    )


def test_a_class_map_that_no_image_needs_is_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "classes.csv").write_text("damaged")
    (tmp_path / "a.csv").write_text("image_names,image_classes,identity\n1.jpg,5,ann\n2.jpg,-1,\n")
    assert [each.identity for each in samples(opened(tmp_path / "a.csv"))] == ["ann", ""]
    assert not caplog.messages


@every_format
def test_the_class_minus_one_is_no_identity(form: str, tmp_path: Path) -> None:
    name, _, write = FORMATS[form]
    names = ["a/1.jpg", "a/2.jpg", "b/3.jpg"]
    make(tmp_path, *names)
    write(tmp_path / name, names, [-1, -1, 3])
    images = opened(tmp_path / name)
    assert [(each.identity, each.labels) for each in samples(images)] == [
        ("", (-1,)),
        ("", (-1,)),
        ("3", (3,)),
    ]
    assert not list(images.find_unusable(3))
    assert [each.identity for each in load_names(tmp_path / name)] == [".", ".", "3"]


def test_minus_one_is_a_value_among_fractions(tmp_path: Path) -> None:
    make(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "yaw.lst").write_text("0\t-1.0\t1.jpg\n1\t0.5\t2.jpg\n")
    assert [each.identity for each in samples(opened(tmp_path / "yaw.lst"))] == ["-1", "0.5"]


LARGE = [2**53, 2**53 + 1, 1234567890123456781, 1234567890123456782, 2**63 - 2, 2**63 - 1]


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "npz of bytes"])
def test_large_class_numbers_stay_apart(form: str, tmp_path: Path) -> None:
    name, _, write = FORMATS[form]
    names = [f"{number}.jpg" for number in range(len(LARGE))]
    make(tmp_path, *names)
    write(tmp_path / name, names, LARGE)
    assert [each.identity for each in samples(opened(tmp_path / name))] == list(map(str, LARGE))
    assert [each.identity for each in load_names(tmp_path / name)] == list(map(str, LARGE))


def test_class_numbers_of_any_length_stay_apart(tmp_path: Path) -> None:
    make(tmp_path, "0.jpg", "1.jpg", "2.jpg")
    names = ["0.jpg", "1.jpg", "2.jpg"]
    unsigned = [2**63 + number for number in range(3)]
    np.savez(tmp_path / "a.npz", image_names=names, image_classes=np.array(unsigned, np.uint64))
    assert [each.identity for each in samples(opened(tmp_path / "a.npz"))] == [*map(str, unsigned)]
    long = [2**127 + number for number in range(3)]
    for form in ("csv", "im2rec", "insightface", "txt"):
        path, _, write = FORMATS[form]
        write(tmp_path / path, names, long)
        assert [each.identity for each in samples(opened(tmp_path / path))] == [*map(str, long)]
    lines = (f"0\t{label}.000000\t{name}\n" for label, name in zip(LARGE, names, strict=False))
    (tmp_path / "a.lst").write_text("".join(lines))
    found = samples(opened(tmp_path / "a.lst"))
    assert [each.identity for each in found] == [*map(str, LARGE[:3])]


def test_a_class_map_that_excel_saved_is_read(tmp_path: Path) -> None:
    make(tmp_path, "1.jpg")
    write_excel(tmp_path / "a.csv", ["1.jpg", "1.jpg"], [0, 0])
    with (tmp_path / "a.csv").open("a") as file:
        file.write(";\r\n\r\n")
    (tmp_path / "classes.csv").write_text("\ufeffclass;name;images\r\n0;Zoë, d'A;1\r\n")
    first, second = everything(opened(tmp_path / "a.csv"))
    assert isinstance(first, Sample) and first.identity == "Zoë, d'A"
    assert isinstance(second, Outcome) and second.status == list_set.REPEATED


def test_without_classes_an_identity_is_the_folder_of_its_image(tmp_path: Path) -> None:
    make(tmp_path, "set/ann/1.jpg", "set/b/c d/2.jpg", "set/3.jpg", "set/.d/4.jpg")
    path = tmp_path / "set" / "a.txt"
    path.write_text("ann/1.jpg\n./b/c d/2.jpg\n3.jpg\n.d/4.jpg\n")
    found = samples(opened(path))
    assert [(each.identity, each.labels) for each in found] == [
        ("ann", ()),
        ("b/c d", ()),
        ("", ()),
        (".d", ()),
    ]
    path = tmp_path / "absolute.txt"
    path.write_text("".join(f"{tmp_path}/set/{name}\n" for name in ("ann/1.jpg", "b/c d/2.jpg")))
    assert [each.identity for each in samples(opened(path))] == ["ann", "b/c d"]


def test_all_labels_of_a_line_are_kept(tmp_path: Path) -> None:
    make(tmp_path, "a b.jpg", "c.jpg")
    path = tmp_path / "a.lst"
    path.write_text("0\t3.000000\t0.5\t-2\ta b.jpg\r\n1\tc.jpg\t7\t10\t20.5\n")
    assert [each.labels for each in samples(opened(path))] == [(3, 0.5, -2), (7, 10, 20.5)]


def test_a_label_that_is_not_finite_is_one_outcome(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "a.lst").write_text("0\tnan\ta.jpg\n1\t1\tb.jpg\n")
    (lost,) = outcomes(opened(tmp_path / "a.lst")).values()
    assert (lost.key, lost.status) == ("a.jpg", "bad_label")
    assert "expected a finite label, found nan" in lost.reason


@needs_data
def test_the_list_of_im2rec_is_read() -> None:
    path = DATA / "mxnet" / "im2rec" / "train.lst"
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    found = list(lists.read_lst(path))
    assert [row.name for row in found] == [row[-1] for row in rows]


def test_validation_images_have_the_names_of_the_training_set(tmp_path: Path) -> None:
    make(tmp_path, "1.jpg")
    write_txt(tmp_path / "train_val.txt", ["1.jpg"], [1])
    (tmp_path / "train_classes.csv").write_text("class,name,images\n0,ann,1\n1,bob,1\n")
    assert [each.identity for each in samples(opened(tmp_path / "train_val.txt"))] == ["bob"]
