"""Verification sets: every vintage there is, what we write, and what is broken."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.storage import ByteSource
from faceprep.core.types import Buffer, Sink
from faceprep.sets.pairs_bin import container as pairs_bin
from faceprep.sets.pairs_bin.container import find_pairs, load_pairs, read_images
from faceprep.synthetic import encode_face
from tests.bins import BINS, VINTAGES
from tests.hostile_pickles import nothing_runs
from tests.real import needs_data

IMAGES = [encode_face(i % 3, i, ".png" if i % 2 else ".jpg") for i in range(8)]
SAME = [True, False, False, True]


def as_bytes(images: Sequence[Buffer]) -> list[bytes]:
    return [bytes(image) for image in images]


def by_places(path: Path) -> tuple[list[bytes], list[bool]]:
    """The same set, read pair by pair."""
    pairs = find_pairs(path)
    with ByteSource(path) as file:
        return [image for pair in pairs for image in read_images(file, pair)], [
            bool(same) for same in pairs["same"]
        ]


# What is on disk


@needs_data
@pytest.mark.parametrize("name", VINTAGES)
def test_real_sets(name: str) -> None:
    path = BINS / f"{name}.bin"
    truth = json.loads((BINS / "truth.json").read_text())[name]
    with nothing_runs():
        pairs = load_pairs(path)
    assert len(pairs) == truth["pairs"] and list(pairs.same) == truth["same"]
    pixels = [
        cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) for image in pairs.images
    ]
    assert [hashlib.sha256(each.tobytes()).hexdigest() for each in pixels] == truth["pixels_sha256"]
    assert by_places(path) == (as_bytes(pairs.images), list(pairs.same))


ARRAYS = {
    "bytes": lambda data: data,
    "array": lambda data: np.frombuffer(data, np.uint8),
    "own array": lambda data: np.frombuffer(data, np.uint8).copy(),
    "column": lambda data: np.frombuffer(data, np.uint8).reshape(-1, 1),
    "byte array": bytearray,
    "text": lambda data: data.decode("latin-1"),
}
LABELS = {
    "list": lambda same: same,
    "tuple": tuple,
    "array": np.array,
    "column": lambda same: np.array(same).reshape(-1, 1),
    "NumPy truth values": lambda same: [np.bool_(each) for each in same],
    "numbers": lambda same: [int(each) for each in same],
    "array of numbers": lambda same: np.array(same, np.int64),
    "big-endian": lambda same: np.array(same, ">i4"),
    "NumPy numbers": lambda same: list(np.array(same, np.int32)),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("image", ARRAYS)
@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("container", [list, tuple])
def test_every_vintage(
    tmp_path: Path, protocol: int, image: str, labels: str, container: type
) -> None:
    (tmp_path / "a.bin").write_bytes(
        pickle.dumps(
            container([[ARRAYS[image](each) for each in IMAGES], LABELS[labels](SAME)]), protocol
        )
    )
    pairs = load_pairs(tmp_path / "a.bin")
    assert as_bytes(pairs.images) == IMAGES and pairs.same == SAME
    assert by_places(tmp_path / "a.bin") == (IMAGES, SAME)


@pytest.mark.parametrize("protocol", [0, 2])
def test_python_2(tmp_path: Path, protocol: int) -> None:
    if protocol:
        images = b"".join(b"T" + len(each).to_bytes(4, "little") + each for each in IMAGES)
        data = b"\x80\x02](" + images + b"e](" + b"\x88\x89\x89\x88" + b"e\x86."
    else:
        lines = b"".join(b"S" + repr(each)[1:].encode() + b"\na" for each in IMAGES)
        data = b"((lp0\n" + lines + b"(lp1\nI01\naI00\naI00\naI01\natp2\n."
    (tmp_path / "a.bin").write_bytes(data)
    assert pickle.loads(data, encoding="bytes") == (IMAGES, SAME)
    assert as_bytes(load_pairs(tmp_path / "a.bin").images) == IMAGES
    assert by_places(tmp_path / "a.bin") == (IMAGES, SAME)


def test_an_image_in_several_pairs(tmp_path: Path) -> None:
    images = [IMAGES[0], IMAGES[1], IMAGES[0], IMAGES[2]]
    (tmp_path / "a.bin").write_bytes(pickle.dumps((images, [True, False])))
    assert as_bytes(load_pairs(tmp_path / "a.bin").images) == images


# What we write

pair_sets = st.lists(
    st.tuples(st.binary(max_size=400), st.binary(max_size=400), st.booleans()),
    min_size=1,
    max_size=9,
)


class Parts:
    """A sink of parts in memory, which are read from a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._parts = folder, dict[str, io.BytesIO]()

    def open_part(self, suffix: str) -> BinaryIO:
        return self._parts.setdefault(suffix, io.BytesIO())

    def part_path(self, shard_id: str, suffix: str) -> Path:
        path = self._folder / f"{shard_id}{suffix}"
        path.write_bytes(self._parts[suffix].getvalue())
        return path


def written(folder: Path, images: Sequence[Buffer], same: Sequence[bool]) -> bytes:
    file, sink = io.BytesIO(), cast(Sink, Parts(folder))
    part = pairs_bin.PairPart(sink)
    for number, each in enumerate(same):
        part.add(images[2 * number : 2 * number + 2], each)
    pairs_bin.join_parts(file, sink, ["part"])
    return file.getvalue()


@given(pair_sets)
def test_what_is_written_is_read_by_us_and_by_pickle(
    tmp_path_factory: Any, pairs: list[Any]
) -> None:
    images, same = [image for pair in pairs for image in pair[:2]], [pair[2] for pair in pairs]
    path = tmp_path_factory.getbasetemp() / "written.bin"
    path.write_bytes(written(path.parent, [memoryview(image) for image in images], same))
    found = load_pairs(path)
    assert (as_bytes(found.images), found.same) == (images, same) == by_places(path)
    for options in ({}, {"encoding": "bytes"}, {"encoding": "latin1"}):
        with path.open("rb") as file:
            assert pickle.load(file, **options) == (images, same)  # type: ignore[call-overload]
    assert pairs_bin.is_own(path)


def test_what_is_written_never_changes(tmp_path: Path) -> None:
    assert written(tmp_path, [b"one", b"", b"two", b"three"], [True, False]) == (
        b"\x80\x03](B\x03\0\0\0oneB\0\0\0\0B\x03\0\0\0twoB\x05\0\0\0threee](\x88\x89e\x86."
    )


def test_what_pickle_writes_is_not_taken_for_ours(tmp_path: Path) -> None:
    for protocol in range(6):
        (tmp_path / "a.bin").write_bytes(pickle.dumps((IMAGES, SAME), protocol))
        assert not pairs_bin.is_own(tmp_path / "a.bin")


# What is broken


@needs_data
@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "dict_instead",
            "not a verification set: expected a pair of lists (images, same), found a dict",
        ),
        ("empty", "expected a pickle of images and labels, found an empty file"),
        (
            "not_a_pickle",
            "at byte 0: expected only bytes, text, whole numbers, lists, tuples and NumPy arrays "
            "of them, "
            "found the byte 0xff, which is not an instruction",
        ),
        (
            "odd_number_of_images",
            "expected two images for every label, found 59 images for 30 labels",
        ),
        (
            "runs_code",
            "at byte 0: expected only bytes, text, whole numbers, lists, tuples and NumPy arrays "
            "of them, "
            "found the name 'os.system'",
        ),
        (
            "runs_code_hidden",
            "at byte 4: expected only bytes, text, whole numbers, lists, tuples and NumPy arrays "
            "of "
            "them, found the name 'builtins.eval'",
        ),
        (
            "truncated",
            "the pickle is cut off at byte 641365: expected 85,427 more bytes, found 33,899",
        ),
    ],
)
def test_real_broken_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = BINS / "broken" / f"{name}.bin"
    for read in (load_pairs, find_pairs):
        with nothing_runs(), pytest.raises(SourceError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ") and line in str(caught.value)
    assert list(tmp_path.iterdir()) == []


EMBEDDINGS = {"embeddings": np.ones((3, 8), np.float32), "names": np.array(["a", "bcd"])}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"a": 1, "b": [b"x", 0.5, {1, 2}, frozenset([3])]}, "same), found a dict"),
        (EMBEDDINGS, "same), found a dict"),
        (list(EMBEDDINGS.values()), "expected a pair of lists (images, same), found a list of 2"),
        (EMBEDDINGS["embeddings"], "found a NumPy array of shape (3, 8) and type <f4"),
        (np.array([b"a", None, 0.5], object), "found a NumPy array of shape (3,) and type object"),
        (
            ([np.ones(4, np.float16), b"b"], [True]),
            "found a NumPy array of shape (4,) and type <f2",
        ),
        (([b"a", b"b"], [0.5]), "at label 0 (counted from 0): expected True or False, found 0.5"),
        (([b"a", b"b"], [1.0]), "expected True or False, found 1.0"),
        (([b"a", b"b"], np.array([1.0])), "expected True or False, found 1.0"),
        (([b"a", b"b"], np.array(["True"])), "expected an array of True and False"),
        (([b"a", b"b"], [np.str_("x"), 1]), "expected True or False, found"),
        (([b"a", {}], [True]), "found a dict"),
        (0.5, "found a number with a fraction"),
        ({1, 2}, "found a set"),
    ],
)
def test_only_of_code_people_are_warned(
    tmp_path: Path, value: object, line: str, protocol: int
) -> None:
    """What a file of another kind holds is said; `pickle` would harm nobody."""
    if isinstance(value, set) and protocol < 4:
        pytest.skip("written as a call of set()")
    if "{1, 2}" in repr(value) and protocol < 4:
        value = {"a": 1}
    (tmp_path / "a.bin").write_bytes(pickle.dumps(value, protocol))
    with nothing_runs(), pytest.raises(SourceError) as caught:
        load_pairs(tmp_path / "a.bin")
    assert line in str(caught.value)
    assert "Do not open" not in str(caught.value)


@pytest.mark.parametrize("protocol", range(6))
def test_code_inside_a_dict_is_warned_of(tmp_path: Path, protocol: int) -> None:
    for value in ({"a": print}, {"a": [0.5, {1: os.system}]}, [np.array([os.system], object), 1]):
        (tmp_path / "a.bin").write_bytes(pickle.dumps(value, protocol))
        with nothing_runs(), pytest.raises(SourceError, match="Do not open this file with pickle"):
            load_pairs(tmp_path / "a.bin")


@needs_data
def test_a_damaged_image_is_not_the_containers_affair() -> None:
    assert len(load_pairs(BINS / "broken" / "one_image_damaged.bin")) == 30


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ([1, 2, 3], "expected a pair of lists (images, same), found a list of 3"),
        (b"images", "expected a pair of lists (images, same), found a string"),
        (None, "expected a pair of lists (images, same), found None"),
        (
            (b"images", [True]),
            "expected a pair of lists (images, same), found a tuple of 2, the first a string",
        ),
        (np.arange(2), "expected a pair of lists (images, same), found a NumPy array"),
        (
            ([b"a", 7], [True]),
            "at image 1 (counted from 0): expected bytes, or a uint8 array of shape (N,) or (N, "
            "1), "
            "found a number",
        ),
        (([b"a", [b"b"]], [True]), "found a list"),
        (
            ([b"a", np.zeros((2, 2), np.uint8)], [True]),
            "found a NumPy array of shape (2, 2) and type |u1",
        ),
        (
            ([np.zeros((4, 4, 3), np.uint8)] * 2, [True]),
            "found a NumPy array of shape (4, 4, 3) and type |u1",
        ),
        (([b"a", np.zeros(4, np.int32)], [True]), "found a NumPy array of shape (4,) and type <i4"),
        (([b"a", np.uint8(4)], [True]), "found a NumPy array of shape () and type |u1"),
        (([b"a", "\u0100"], [True]), "at image 1 (counted from 0), byte "),
        (([b"a", b"b"], [2]), "at label 0 (counted from 0): expected True or False, found 2"),
        (([b"a", b"b"], [None]), "at label 0 (counted from 0): expected True or False, found None"),
        (([b"a", b"b"], [b"1"]), "expected True or False, found a string"),
        (([b"a", b"b"], [np.array([True, True])]), "expected True or False, found a NumPy array"),
        (([b"a", b"b"], np.array([7], np.uint8)), "expected True or False, found 7"),
        (
            ([b"a", b"b"], np.array([[True, True]])),
            "expected two images for every label, found 2 images for 2 labels",
        ),
        (([b"a", b"b"], True), "expected a list or an array of labels, found a truth value"),
        (([b"a", b"b"], []), "expected two images for every label, found 2 images for 0 labels"),
        (([], []), "expected two images for every label, found 0 images for 0 labels"),
        (
            ([b"a", b"b", b"c", b"d"], [True]),
            "expected two images for every label, found 4 images for 1 label.",
        ),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickles_of_something_else(tmp_path: Path, value: Any, line: str, protocol: int) -> None:
    (tmp_path / "a.bin").write_bytes(pickle.dumps(value, protocol))
    for read in (load_pairs, find_pairs):
        with pytest.raises(SourceError, match="a.bin: not a verification set") as caught:
            read(tmp_path / "a.bin")
        assert line in str(caught.value)


def test_no_such_file_a_folder_and_a_file_that_is_too_large(tmp_path: Path) -> None:
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(pairs_bin.MAX_BYTES + 1)
    for path, problem in (
        (tmp_path / "none.bin", "No such file"),
        (tmp_path, "a folder. make-bin makes"),
        (
            tmp_path / "large.bin",
            "too large for a verification set: expected at most 4,294,967,296 bytes, found",
        ),
    ):
        with pytest.raises(SourceError, match=problem):
            load_pairs(path)


def test_the_images_are_held_once(tmp_path: Path) -> None:
    images = [bytes(100_000) + bytes([i]) for i in range(200)]
    (tmp_path / "a.bin").write_bytes(pickle.dumps((images, [True] * 100)))
    del images
    tracemalloc.start()
    try:
        pairs = load_pairs(tmp_path / "a.bin")
        assert len(pairs) == 100 and tracemalloc.get_traced_memory()[1] < 1.1 * 200 * 100_000
    finally:
        tracemalloc.stop()
