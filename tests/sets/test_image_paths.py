"""Paths of images: the usual ones stay, and no two keys of an identity get one path."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faceprep.core.names import identity_of
from faceprep.sets.distinct_keys import NameHashes
from faceprep.sets.folder import FolderSet
from faceprep.sets.image_paths import ESCAPED, PLAIN, ImagePaths, path_in_identity
from faceprep.sets.image_set import ImageSet
from faceprep.sets.parquet_set import ParquetSet
from faceprep.sets.set_index import IndexWriter, SetIndex

PARTS = ["a", "b", "1", "1.jpg", "_", "a_1", "%2F1", "%", "/", "a/", "b/", "x/y/"]
KEYS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map("".join)
IMAGES = st.lists(st.tuples(KEYS, st.sampled_from(["", "a", "b", "x/y"])), min_size=1, max_size=9)


def paths_of(images: Sequence[tuple[str, str]], kind: type[ImageSet], folder: Path) -> ImagePaths:
    """Return the paths of a set with these keys and identities, which need not be readable."""
    index = IndexWriter(folder / "index")
    numbers = index.number_identities(identity for _, identity in images)
    index.add([key for key, _ in images], numbers, [(0, 0)] * len(images))
    index.close()
    found = object.__new__(kind)
    ImageSet.__init__(found, str(folder), SetIndex(folder / "index"))
    return ImagePaths(found, lambda start, stop: [key for key, _ in images[start:stop]])


@given(images=IMAGES)
@example(images=[("x/1", "b"), ("x_1", "b")])
@example(images=[("1", "b"), ("b/1", "b")])
@example(images=[("/1", "b"), ("1", "b")])
@example(images=[("b/%2F1", "b"), ("1", "b"), ("b/1", "b")])
def test_two_paths_are_equal_only_where_the_images_are(images: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = paths_of(images, ParquetSet, Path(folder))
        found = paths.read(0, len(images))
        assert not list(Path(folder).rglob("*.hashes"))
    assert len(set(found)) == len(set(images))
    assert [identity_of(path) for path in found] == [name or "." for _, name in images]
    plain = [path_in_identity(*image) for image in images]
    if len(set(plain)) == len(set(images)):
        assert found == plain


def test_the_form_needs_no_look_where_keys_are_below(tmp_path: Path) -> None:
    paths = paths_of([("a/1.jpg", "a"), ("2.jpg", "")], FolderSet, tmp_path)
    assert paths.form == PLAIN and paths.read(0, 2) == ["a/1.jpg", "2.jpg"]


@given(image=st.tuples(st.text(min_size=1), st.sampled_from(["a", "b/c", ""])), other=st.text())
def test_the_escaped_form_keeps_all_keys_apart(image: tuple[str, str], other: str) -> None:
    key, identity = image
    path = path_in_identity(key, identity, ESCAPED)
    assert identity_of(path) == (identity or ".")
    assert other == key or path_in_identity(other, identity, ESCAPED) != path


@pytest.mark.parametrize("n_at_once", [1, 2, 100])
def test_distinct_names_are_counted(n_at_once: int, tmp_path: Path) -> None:
    hashes = NameHashes(tmp_path / "hashes", n_at_once)
    hashes.add(["a", "b"])
    hashes.add(["a", "c", "a"])
    assert hashes.count_distinct() == 3
    assert not list(tmp_path.iterdir())
    assert NameHashes(tmp_path / "hashes").count_distinct() == 0
