"""Names found by their hashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceprep.core.errors import SourceError
from faceprep.sets.name_lookup import ImageFinder


def test_images_are_found_with_and_without_suffix(tmp_path: Path) -> None:
    names = [
        "a/a_0001.jpg",
        "a/a_0002.png",
        "a/J.R._0001.jpg",
        "a/twice.jpg",
        "a/twice.png",
        "rec/17",
        "b.jpg",
    ]
    finder = ImageFinder(tmp_path, lambda start, stop: names[start:stop], len(names))
    for name, expected in {
        "a/a_0001": "a/a_0001.jpg",
        "a/a_0002.png": "a/a_0002.png",
        "a/J.R._0001": "a/J.R._0001.jpg",
        "a/twice.png": "a/twice.png",
        "b": "b.jpg",
        "b.jpg": "b.jpg",
        "rec/17": "rec/17",
        "rec/17.jpg": "rec/17",
    }.items():
        assert names[finder.find(name)] == expected
    for name, found in {
        "a/a_0003": "none",
        "a/a_0001.png": "none",
        "a/J": "none",
        "a/twice": "twice.jpg, twice.png",
        "rec/1": "none",
        "c/1": "none",
    }.items():
        with pytest.raises(
            SourceError, match=f"{name}: no such image: expected one image .*, found {found}"
        ):
            finder.find(name)
