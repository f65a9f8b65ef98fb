"""Verification sets as images: every image comes back, and the labels of the pairs with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.types import Outcome
from faceprep.sets import containers
from faceprep.sets.image_set import Sample
from faceprep.sets.pairs_bin.container import load_pairs
from faceprep.sets.pairs_bin.image_set import SHOWS_ONE, BinSet
from tests.bins import BINS, BROKEN, DAMAGED, FACES, VINTAGES, write_bin
from tests.real import needs_data


def opened(path: Path, scratch: Path) -> BinSet:
    images = containers.index_set(path, scratch)
    assert isinstance(images, BinSet) and images.kind == "bin"
    return images


def test_images_and_labels_come_back(tmp_path: Path) -> None:
    same = [True, False, False, True, True, False]
    with opened(write_bin(tmp_path / "a.bin", FACES, same), tmp_path / "scratch") as images:
        found = list(images.read(range(len(images))))
        assert images.keys(0, 5) == ["0_0", "0_1", "1_0", "1_1", "2_0"]
        assert images.keys(10, 99) == ["5_0", "5_1"]
        assert [each.data for each in found if isinstance(each, Sample)] == FACES
        assert [each.key for each in found] == images.keys(0, 12)
        assert [images.identity(i) for i in range(12)] == [""] * 12
        assert images.same.tolist() == same
        for position, each in enumerate(found):
            assert isinstance(each, Sample)
            assert each.extra == {SHOWS_ONE: b"1" if same[position // 2] else b"0"}
        again = containers.open_set(tmp_path / "scratch")
        assert list(again.read(range(12))) == found


@given(order=st.lists(st.integers(0, 11)))
def test_any_order_may_be_read(tmp_path_factory: pytest.TempPathFactory, order: list[int]) -> None:
    folder = tmp_path_factory.mktemp("bins")
    with opened(write_bin(folder / "a.bin"), folder / "scratch") as images:
        found = list(images.read(order))
    assert [each.data for each in found if isinstance(each, Sample)] == [FACES[i] for i in order]


@needs_data
@pytest.mark.parametrize("vintage", VINTAGES)
def test_real_sets_are_read(vintage: str, tmp_path: Path) -> None:
    path = BINS / f"{vintage}.bin"
    pairs, images = load_pairs(path), opened(path, tmp_path)
    found = [each for each in images.read(range(len(images))) if isinstance(each, Sample)]
    assert [each.data for each in found] == [bytes(image) for image in pairs.images]
    assert images.same.tolist() == list(pairs.same)


@needs_data
def test_a_damaged_image_is_one_outcome_with_its_place(tmp_path: Path) -> None:
    images = opened(DAMAGED, tmp_path)
    found = list(images.read(range(len(images))))
    (lost,) = [each for each in found if isinstance(each, Outcome)]
    position = found.index(lost)
    assert (lost.key, lost.status) == (images.key(position), "undecodable")
    assert f"image {position} (the " in lost.reason and " at byte " in lost.reason


def test_a_file_that_shrank_is_one_outcome_an_image(tmp_path: Path) -> None:
    path = write_bin(tmp_path / "a.bin")
    images = opened(path, tmp_path / "scratch")
    path.write_bytes(path.read_bytes()[: len(FACES[0]) + 100])
    found = list(images.read(range(12)))
    assert isinstance(found[0], Sample)
    assert {each.status for each in found if isinstance(each, Outcome)} == {"undecodable"}
    assert len([each for each in found if isinstance(each, Outcome)]) == 11


@needs_data
@pytest.mark.parametrize("path", sorted(set(BROKEN.glob("*.bin")) - {DAMAGED}), ids=str)
def test_what_is_not_a_verification_set_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=path.name):
        opened(path, tmp_path)


def test_the_index_is_small(tmp_path: Path) -> None:
    opened(write_bin(tmp_path / "a.bin"), tmp_path / "scratch")
    about = json.loads((tmp_path / "scratch" / "set" / "index.json").read_text())
    assert set(about["facts"]) == {"path", "kind"}
