"""Selections of a manifest: dense classes, exact splits, orders that depend on the seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.sets import split as selection
from faceprep.sets.folder import Identity
from faceprep.sets.label_rules import parse_rule
from faceprep.sets.listing import Listing, find_twins, list_images, refuse_names
from faceprep.sets.split import Selection, Split

COUNTS = st.lists(st.integers(1, 6), min_size=2, max_size=8)


def listing_of(images: dict[str, int]) -> Listing:
    return list_images(
        [Identity(name, tuple(f"{i}.jpg" for i in range(n))) for name, n in images.items()]
    )


def choose(listing: Listing, seed: int = 1, split: Split = Split()) -> Selection:  # noqa: B008
    return selection.select(listing, *selection.label_by_identity(listing), False, seed, split)


@given(counts=COUNTS, seed=st.integers(0), fraction=st.floats(0, 0.99), by_identity=st.booleans())
def test_every_image_is_on_one_side_and_classes_are_dense(
    counts: list[int], seed: int, fraction: float, by_identity: bool
) -> None:
    listing = listing_of({str(i): n for i, n in enumerate(counts)})
    try:
        chosen = choose(
            listing, seed, Split(fraction, listing.identity_of if by_identity else None)
        )
    except SourceError:
        assert fraction and (max(counts) == 1 or by_identity)
        return
    assert sorted([*chosen.train, *chosen.val]) == list(range(len(listing)))
    train, val = set(chosen.class_of[chosen.train]), set(chosen.class_of[chosen.val])
    assert train == set(range(len(train)))
    assert train | val == set(range(len(counts)))
    assert chosen.class_counts().sum() == len(listing)
    if by_identity:
        assert not train & val
        assert len(val) == (max(round(fraction * len(counts)), 1) if fraction else 0)
    else:
        assert not val - train
        wanted = max(round(fraction * len(listing)), 1) if fraction else 0
        assert chosen.val.size == min(wanted, len(listing) - len(counts))
        assert chosen.names == [str(i) for i in range(len(counts))]


def test_the_order_hangs_on_the_seed() -> None:
    listing = listing_of({"a": 40, "b": 40})
    first, again, other = (choose(listing, seed).train.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first != sorted(first)


def test_names_are_numbers_only_if_all_are() -> None:
    assert choose(listing_of({"10": 1, "9": 1, "1": 1})).names == ["1", "9", "10"]
    assert choose(listing_of({"10": 1, "9": 1, "1": 1, "0_0_1": 1})).names == [
        "0_0_1",
        "1",
        "10",
        "9",
    ]


def test_a_text_name_that_is_left_out_does_not_matter() -> None:
    listing = listing_of({"10": 2, "9": 2, "a": 1})
    assert selection.leave_out_few(listing, 2) == (1, 1)
    assert choose(listing).names == ["9", "10"]
    assert listing.refused[4] == ("few_images", "a: 1 image, --min-images asks for 2")


def test_identities_are_counted_without_their_bad_images() -> None:
    listing = list_images(
        [Identity("a", ("1.jpg", "\udcff.jpg")), Identity("b", ("1.jpg", "2.jpg"))]
    )
    refuse_names(listing)
    assert listing.refused[1].status == "bad_name"
    assert selection.leave_out_few(listing, 2) == (1, 1)
    assert choose(listing).names == ["b"]


def test_images_outside_of_folders_are_refused_without_a_rule() -> None:
    listing = listing_of({".": 1, "a": 1})
    assert choose(listing).names == ["a"]
    assert listing.refused[0].status == "no_identity"
    assert listing.paths(np.arange(2)) == ["0.jpg", "a/0.jpg"]


@pytest.mark.parametrize("rule", ["live=0,spoof=1", "re:(live|spoof)"])
def test_rules_label_folders_and_paths_alike(rule: str) -> None:
    listing = listing_of({"t/spoof/1": 2, "t/x": 1, "t/live/2": 1})
    labels, names = selection.label_by_rule(listing, parse_rule(rule))
    assert [names[i] if i >= 0 else "" for i in labels] == ["spoof", "spoof", "", "live"]
    assert {i: why.reason.split(":")[0] for i, why in listing.refused.items()} == {2: "t/x/0.jpg"}
    chosen = selection.select(listing, labels, names, rule[0] == "l", 1, Split())
    assert chosen.names == ["live", "spoof"]
    assert chosen.class_of[[0, 1, 3]].tolist() == [1, 1, 0]


def test_a_rule_labels_each_image_of_an_identity_by_its_own_folder() -> None:
    files = ["live/1.jpg", "spoof/2.jpg", "x/3.jpg", "live/4.jpg"]
    listing = Listing(["bob"], files, np.zeros(4, np.int64), has_keys=True)
    labels, names = selection.label_by_rule(listing, parse_rule("live=0,spoof=1"))
    assert labels.tolist() == [0, 1, -1, 0]
    assert list(listing.refused) == [2]


def test_numbers_that_a_rule_gives_are_kept() -> None:
    listing = listing_of({"spoof": 3})
    labels, names = selection.label_by_rule(listing, parse_rule("live=0,spoof=1"))
    chosen = selection.select(listing, labels, names, True, 1, Split())
    assert set(chosen.class_of.tolist()) == {1}
    assert chosen.class_counts().tolist() == [0, 3]


def test_a_limit_takes_the_first() -> None:
    listing = list_images(
        [Identity("a", ("1", "2")), Identity("b", ("1",)), Identity("c", ("1",))], limit=3
    )
    assert list(listing.prefixed_paths("/s/")) == ["/s/a/1", "/s/a/2", "/s/b/1"]
    assert list(listing.runs()) == [(0, 2), (2, 3)]


def test_twins() -> None:
    listing = list_images([Identity("a", ("1.jpg", "1.png")), Identity("b", ("1.jpg", "1.2.jpg"))])
    assert find_twins(listing) == ["a"]
