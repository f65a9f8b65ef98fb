"""Resolved plans: laws, names, chains, and contradictions."""

from __future__ import annotations

import random
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.names import sort_names
from faceprep.core.types import REFUSED, UNDECIDED, Decision
from faceprep.sets.folder import Identity
from faceprep.sets.listing import Listing, list_images
from faceprep.steps.resolve_plan import resolve

Images = dict[str, list[str]]


def listing_of(images: Images) -> Listing:
    return list_images([Identity(name, tuple(sorted(images[name]))) for name in sort_names(images)])


def sent(images: Images, *decisions: Decision, origin: str = "") -> dict[str, str]:
    """Path -> where it goes, "" for nowhere; only of images that do not stay where they are."""
    destinations = resolve({"origin": origin}, decisions, listing_of(images))
    rows = list(destinations.rows(0, len(destinations)))
    assert [row for i in range(len(rows)) for row in destinations.rows(i, i + 1)] == rows
    return {row.path: row.into for row in rows if row.path != row.into or row.origin}


SET = {
    "a": ["1.png", "2.png"],
    "b": ["1.png", "3.png"],
    "c": ["1.png", "4.png"],
    "x/y": ["1.png", "5.png"],
}


def merge(subject: str, into: str, verdict: str = "accepted") -> Decision:
    return Decision("merge", subject, into, verdict=verdict)


def test_nothing_decided_nothing_moved() -> None:
    assert sent(SET) == {}
    assert sent(SET, merge("a", "b", REFUSED), Decision("drop", "a/1.png", verdict=UNDECIDED)) == {}


def test_only_names_that_would_collide_change() -> None:
    assert sent(SET, merge("a", "b")) == {"a/1.png": "b/a_1.png", "a/2.png": "b/2.png"}
    assert sent(SET, merge("x/y", "b")) == {"x/y/1.png": "b/x_y_1.png", "x/y/5.png": "b/5.png"}


def test_those_that_collide_with_each_other_both_change() -> None:
    images = {"a": ["1.png"], "b": ["2.png"], "c": ["1.png"]}
    assert sent(images, merge("a", "b"), merge("c", "b")) == {
        "a/1.png": "b/a_1.png",
        "c/1.png": "b/c_1.png",
    }


def test_further_collisions_are_numbered() -> None:
    images = {"a": ["1.png"], "b": ["1.png", "a_1.png", "a_1_2.png"]}
    assert sent(images, merge("a", "b")) == {"a/1.png": "b/a_1_3.png"}
    images = {"x/y": ["1.png"], "x_y": ["1.png"], "b": ["1.png"]}
    assert sent(images, merge("x/y", "b"), merge("x_y", "b")) == {
        "x/y/1.png": "b/x_y_1.png",
        "x_y/1.png": "b/x_y_1_2.png",
    }
    images = {".": ["1.png"], "b": ["1.png"]}
    assert sent(images, merge(".", "b")) == {"1.png": "b/1_2.png"}
    assert sent(images, merge("b", ".")) == {"b/1.png": "b_1.png"}


def test_suffixes_make_names_differ() -> None:
    assert sent({"a": ["1.jpg"], "b": ["1.png"]}, merge("a", "b")) == {"a/1.jpg": "b/1.jpg"}


def test_no_image_gets_the_name_of_a_folder() -> None:
    images = {"a": ["1.png"], "b": ["2.png"], "b/1.png": ["3.png"]}
    assert sent(images, merge("a", "b")) == {"a/1.png": "b/a_1.png"}
    with pytest.raises(
        SourceError, match="'a/1.png' cannot get the name 'b/1.png'.*found a folder"
    ):
        sent(images, Decision("rename", "a/1.png", "b/1.png"))
    with pytest.raises(
        SourceError, match="images would go into 'a/1.png': expected a folder, found the image"
    ):
        sent({"a": ["1.png"], "b": ["2.png"]}, Decision("rename", "b/2.png", "a/1.png/2.png"))


def test_merges_are_followed() -> None:
    found = sent(SET, merge("a", "b"), merge("b", "c"))
    assert found == {
        "a/1.png": "c/a_1.png",
        "a/2.png": "c/2.png",
        "b/1.png": "c/b_1.png",
        "b/3.png": "c/3.png",
    }


def test_what_is_merged_into_two_makes_them_one() -> None:
    """The larger one, of two as large the first by name."""
    images = {"a": ["1.png"], "b": ["2.png"], "c": ["3.png", "4.png"], "d": ["5.png", "6.png"]}
    found = sent(images, merge("a", "b"), merge("a", "c"))
    assert found == {"a/1.png": "c/1.png", "b/2.png": "c/2.png"}
    assert sent(images, merge("a", "d"), merge("b", "d"), merge("b", "c")) == {
        "a/1.png": "c/1.png",
        "b/2.png": "c/2.png",
        "d/5.png": "c/5.png",
        "d/6.png": "c/6.png",
    }
    assert sent(images, merge("a", "b"), merge("a", "c"), Decision("drop", "a")) == {"a/1.png": ""}


def test_images_go_their_own_way_before_their_identity_does() -> None:
    assert sent(SET, merge("a", "b"), Decision("drop", "a/1.png")) == {
        "a/1.png": "",
        "a/2.png": "b/2.png",
    }
    assert sent(SET, merge("a", "b"), Decision("move", "a/2.png", "c")) == {
        "a/1.png": "b/a_1.png",
        "a/2.png": "c/2.png",
    }
    assert sent(SET, Decision("drop", "a"), Decision("move", "a/2.png", "c")) == {
        "a/1.png": "",
        "a/2.png": "c/2.png",
    }


def test_moves_go_where_the_identity_went() -> None:
    assert sent(SET, merge("b", "c"), Decision("move", "a/2.png", "b"))["a/2.png"] == "c/2.png"
    moved = sent(SET, merge("a", "b"), Decision("move", "a/2.png", "a"))
    assert moved == {"a/1.png": "b/a_1.png", "a/2.png": "b/2.png"}
    assert sent(SET, merge("a", "b"), Decision("move", "b/1.png", "a")) == sent(
        SET, merge("a", "b")
    )


def test_moves_into_a_new_identity() -> None:
    found = sent(
        SET, Decision("move", "a/1.png", "new/one"), Decision("move", "b/1.png", "new/one")
    )
    assert found == {"a/1.png": "new/one/a_1.png", "b/1.png": "new/one/b_1.png"}


def test_a_drop_wins_over_a_merge() -> None:
    for decisions in (
        (merge("a", "b"), Decision("drop", "a")),
        (Decision("drop", "a"), merge("a", "b")),
    ):
        assert sent(SET, *decisions) == {"a/1.png": "", "a/2.png": ""}


def test_restored_images_come_last() -> None:
    destinations = resolve(
        {"origin": "/o"}, [Decision("restore", "z/1.png", "a/9.png")], listing_of(SET)
    )
    assert len(destinations) == 9
    assert [row[:3] for row in destinations.rows(8, 20)] == [("z/1.png", "a/9.png", "/o")]


def test_rows_are_in_the_order_of_the_set_with_restored_images_at_their_places() -> None:
    """Images of an older plan, which states no place, come last."""
    back = [
        Decision("restore", name, name, evidence=evidence)
        for name, evidence in {"s": {"place": 2}, "r": {"place": 1}, "q": {}, "p": {}}.items()
    ]
    order = np.arange(8)[::-1]
    destinations = resolve({"origin": "/o"}, back, listing_of(SET), are_files=False, order=order)
    rows = list(destinations.rows(0, 20))
    assert [row.path for row in rows if row.origin] == ["r", "s", "p", "q"]
    assert [at for at, row in enumerate(rows) if row.origin] == [1, 2, 10, 11]
    assert [row.place for row in rows if not row.origin] == list(range(8))


def test_an_image_may_take_the_name_that_another_one_leaves() -> None:
    swap = Decision("rename", "a/1.png", "a/2.png"), Decision("rename", "a/2.png", "a/1.png")
    assert sent(SET, *swap) == {"a/1.png": "a/2.png", "a/2.png": "a/1.png"}
    assert sent(SET, Decision("rename", "a/1.png", "a/1.png")) == {}


@pytest.mark.parametrize(
    ("decisions", "problem"),
    [
        (
            [merge("z", "a")],
            "merge of 'z': expected an identity of the source, found none of that name",
        ),
        (
            [merge("a", "z")],
            "merge of 'a' into 'z': expected an identity of the source, found none",
        ),
        (
            [merge("a/1.png", "b")],
            "merge of 'a/1.png': expected an identity of the source, found the image",
        ),
        (
            [Decision("drop", "a/9.png")],
            "drop of 'a/9.png': expected an image or an identity of the source",
        ),
        ([Decision("move", "b", "a")], "move of 'b': expected an image of the source, found none"),
        ([merge("a", "a")], "cycle: found 'a' into 'a'"),
        ([merge("c", "a"), merge("a", "b"), merge("b", "a")], "cycle: found 'a' into 'b' into 'a'"),
        (
            [merge("x/y", "a"), merge("a", "b"), merge("a", "c"), merge("b", "c"), merge("c", "a")],
            "form a cycle: found",
        ),
        (
            [Decision("drop", "a/1.png"), Decision("move", "a/1.png", "b")],
            "on 'a/1.png' contradict.*drop it and move",
        ),
        ([merge("a", "b"), Decision("drop", "b")], "'a' is merged into 'b', which is dropped"),
        (
            [Decision("move", "a/1.png", "b"), Decision("drop", "b")],
            "'a/1.png' is moved into 'b', which is dropped",
        ),
        (
            [Decision("rename", "a/1.png", "a/2.png")],
            "'a/1.png' cannot get the name 'a/2.png': expected a free name",
        ),
        (
            [Decision("rename", "a/1.png", "n.png"), Decision("rename", "b/1.png", "n.png")],
            "two images .* 'n.png'",
        ),
        (
            [Decision("restore", "1.png", "n.png"), Decision("restore", "2.png", "n.png")],
            "two images .* 'n.png'",
        ),
        ([Decision("restore", "1.png", "a/1.png")], "'1.png' cannot get the name 'a/1.png'"),
        (
            [Decision("rename", "a/1.png", "a/1.txt")],
            "expected the name of an image, found 'a/1.txt'",
        ),
        (
            [Decision("rename", "a/1.png", "../1.png")],
            "without names that begin with a dot, found '../1.png'",
        ),
        ([Decision("restore", "1.png", "/1.png")], "expected a path below the output"),
        ([Decision("move", "a/1.png", "b/")], "expected a path below the output"),
        ([Decision("move", "a/1.png", ".hidden")], "expected a path below the output"),
    ],
)
def test_what_cannot_be_meant(decisions: list[Decision], problem: str) -> None:
    for ordered in (decisions, decisions[::-1]):
        with pytest.raises(SourceError) as error:
            resolve({}, ordered, listing_of(SET), "plan.jsonl")
        assert str(error.value).startswith("plan.jsonl: ") and str(error.value).endswith(
            ". Change the plan."
        )
    with pytest.raises(SourceError, match=problem):
        resolve({}, decisions, listing_of(SET))


def test_the_same_said_twice_is_no_contradiction() -> None:
    assert sent(SET, merge("a", "b"), merge("a", "b")) == sent(SET, merge("a", "b"))
    drop = Decision("drop", "a/1.png")
    assert sent(SET, drop, drop._replace(reason="again", score=1.0)) == {"a/1.png": ""}


# Laws

FILES = st.sampled_from(
    [f"{i}.{suffix}" for i in "123" for suffix in ("png", "jpg")] + ["a_1.png", "a_1_2.png"]
)
NAMES = st.sampled_from([".", "a", "b", "c", "a/b", "a_b", "b/1.png"])
SETS = st.dictionaries(NAMES, st.lists(FILES, min_size=1, max_size=5, unique=True), min_size=1)


def is_a_tree(paths: Iterable[str]) -> bool:
    """No path twice, and none that is another's folder."""
    paths = list(paths)
    folders = {
        "/".join(path.split("/")[:n]) for path in paths for n in range(1, path.count("/") + 1)
    }
    return len(set(paths)) == len(paths) and not folders & set(paths)


@st.composite
def plans(draw: st.DrawFn) -> tuple[Images, list[Decision]]:
    """A set and decisions that do not contradict each other."""
    images = draw(SETS)
    paths = list(listing_of(images).prefixed_paths(""))
    assume(is_a_tree(paths))
    ranks = draw(st.permutations(sorted(images)))
    decisions = []
    for rank, name in enumerate(ranks):
        fate = draw(st.sampled_from(["keep", "keep", "drop", "merge", "merge"]))
        if fate == "drop":
            decisions.append(Decision("drop", name))
        elif fate == "merge" and rank:
            targets = draw(st.lists(st.sampled_from(ranks[:rank]), min_size=1, max_size=2))
            decisions += [merge(name, target) for target in targets]
    for path in draw(st.lists(st.sampled_from(paths), unique=True, max_size=4)):
        into = draw(st.none() | NAMES | st.just("new"))
        decisions.append(Decision("drop", path) if into is None else Decision("move", path, into))
    return images, decisions


def resolved(images: Images, decisions: list[Decision]) -> dict[str, str]:
    try:
        destinations = resolve({}, decisions, listing_of(images))
    except SourceError as error:
        assume("which is dropped" not in str(error) and "would go into" not in str(error))
        raise
    return {row.path: row.into for row in destinations.rows(0, len(destinations))}


@given(plans(), st.randoms(use_true_random=False))
def test_the_order_of_decisions_changes_nothing(
    plan: tuple[Images, list[Decision]], chance: random.Random
) -> None:
    images, decisions = plan
    found = resolved(images, decisions)
    chance.shuffle(decisions)
    assert resolved(images, decisions) == found


@given(plans())
def test_every_image_has_a_place_of_its_own(plan: tuple[Images, list[Decision]]) -> None:
    images, decisions = plan
    found = resolved(images, decisions)
    assert set(found) == set(listing_of(images).prefixed_paths(""))
    assert is_a_tree(into for into in found.values() if into)
    about = {decision.subject for decision in decisions}
    merged = [decision.subject for decision in decisions if decision.action == "merge"]
    if len(set(merged)) < len(
        merged
    ):  # what one is merged into twice is one, and either name may go
        about |= {decision.into for decision in decisions}
    for path, into in found.items():
        if path not in about and (path.rpartition("/")[0] or ".") not in about:
            assert into == path, "nobody asked for it"


def tree_of(paths: Iterable[str]) -> Images:
    images: Images = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        images.setdefault(folder or ".", []).append(name)
    return images


@given(plans())
def test_renames_lead_back(plan: tuple[Images, list[Decision]]) -> None:
    images, decisions = plan
    there = resolved(images, decisions)
    back = [Decision("rename", into, path) for path, into in there.items() if into and into != path]
    back += [Decision("restore", path, path) for path, into in there.items() if not into]
    merged = tree_of(into for into in there.values() if into)
    again = resolve({"origin": "o"}, back, listing_of(merged))
    assert {row.into: "" if row.origin else row.path for row in again.rows(0, len(again))} == there


@given(plans())
def test_once_more_with_nothing_decided_changes_nothing(
    plan: tuple[Images, list[Decision]],
) -> None:
    images, decisions = plan
    merged = tree_of(into for into in resolved(images, decisions).values() if into)
    assert all(path == into for path, into in resolved(merged, []).items())
