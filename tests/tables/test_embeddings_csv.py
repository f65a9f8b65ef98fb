"""Embeddings as a .csv: what is written or comes from others is read; damage is one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceprep.core.embeddings import Embeddings, Model
from faceprep.core.errors import SourceError
from faceprep.tables.embeddings import (
    Place,
    count_embeddings,
    is_embeddings,
    load_embeddings,
    load_place,
    write_csv,
)
from faceprep.tables.embeddings_csv import about_path, encode_about


def embedded(n: int = 3) -> Embeddings:
    names = ["a/1.png", 'b/x, "y".png', "ü/3.png"][:n]
    rows = np.random.default_rng(1).standard_normal((n, 4)).astype(np.float32)
    return Embeddings(names, [name.partition("/")[0] for name in names], rows, Model("m"))


@pytest.mark.parametrize("fp16", [False, True])
def test_csv_gives_back_what_was_written(tmp_path: Path, fp16: bool) -> None:
    path, place = tmp_path / "a.csv", Place("/photos", "/photos/")
    wanted = embedded()
    with path.open("wb") as file:
        about = write_csv(file, wanted, place, fp16)
    alone = load_embeddings(path)
    assert alone.model == Model() and alone.keys[0] == "/photos/a/1.png"
    Path(about_path(path)).write_bytes(encode_about(about))
    assert is_embeddings(path) and count_embeddings(path) == 3 and load_place(path) == place
    found = load_embeddings(path)
    assert (list(found.keys), list(found.identities)) == (wanted.keys, wanted.identities)
    assert found.model == wanted.model
    expected = wanted.vectors.astype(np.float16) if fp16 else wanted.vectors
    assert (found.vectors == expected).all()


@pytest.mark.parametrize(
    ("text", "is_such"),
    [
        ("image_names,0,1,2\na/1.png,1,2,3\n", True),
        ("image_names;image_classes;f1;f2\na/1.png;5;1;2\n", True),
        ("image_names,image_classes,identity\na/1.png,5,a\n", False),
        ("image_names,image_classes,e5\na/1.png,5,1\n", False),
        ("probe,e0,e1\nx,1,2\n", False),
    ],
)
def test_csv_of_another_program(tmp_path: Path, text: str, is_such: bool) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert is_embeddings(tmp_path / "a.csv") is is_such
    if is_such:
        found = load_embeddings(tmp_path / "a.csv")
        assert found.keys == ["a/1.png"] and found.identities[0] in ("a", "5")
        assert found.vectors[0, :2].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("row", "told"),
    [("a/1.png,1", "bad row at line 3: expected 3 columns, found 2"), ("x,1,two", "line 3")],
)
def test_csv_that_is_damaged(tmp_path: Path, row: str, told: str) -> None:
    (tmp_path / "a.csv").write_text(f"image_names,e0,e1\na/2.png,1,2\n{row}\n")
    with pytest.raises(SourceError, match=told):
        load_embeddings(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("image_names,e0,e0", "line 1: expected one column e0, found 2"),
        ("image_names,e0,e1,e0,e1", "expected one column e0, found 2"),
        ("image_names,0,1,1", "expected one column 1, found 2"),
        ("image_names,identity,identity,e0", "expected one column identity, found 2"),
    ],
)
def test_csv_with_columns_of_one_name(header: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n")
    for look in (is_embeddings, load_embeddings):
        with pytest.raises(SourceError, match=told):
            look(tmp_path / "a.csv")


def test_csv_with_further_columns_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image_names,note,note,e0\na/1.png,x,y,2\n")
    assert load_embeddings(tmp_path / "a.csv").vectors.tolist() == [[2]]
