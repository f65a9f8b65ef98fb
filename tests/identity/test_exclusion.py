"""Who is left out: identities as a whole, images where they disagree, whatever the order."""

from __future__ import annotations

import numpy as np
import pytest

from faceprep.core.arrays import Floats
from faceprep.core.embeddings import EUCLIDEAN, Embeddings, Model
from faceprep.identity.exclusion import Exclusion, plan_exclusion
from faceprep.identity.linkage import Bounds

BOUNDS = Bounds(0.5, 0.3)
DIM = 64


def person(number: int, n: int, spread: float = 0.6) -> Floats:
    """Images of one person: around 0.74 alike for the usual spread."""
    random = np.random.default_rng(number)
    centre = np.zeros(DIM)
    centre[number] = 1
    noise = random.standard_normal((n, DIM)) / np.sqrt(DIM)
    return (centre + spread * noise).astype(np.float32)


def people(metric: str = "cosine", **folders: Floats) -> Embeddings:
    rows = np.concatenate(list(folders.values()))
    names = [name for name, each in folders.items() for _ in each]
    keys = [f"{name}/{i}" for name, each in folders.items() for i in range(len(each))]
    return Embeddings(keys, names, rows, Model(metric=metric))


OTHERS = people(x=person(1, 5)[:3], y=person(2, 3))


def drops(exclusion: Exclusion) -> dict[str, str]:
    return {each.subject: each.verdict for each in exclusion.decisions}


def test_a_person_under_another_name_goes() -> None:
    ours = people(a=person(1, 5)[3:], b=person(3, 4), x=person(4, 2))
    found = plan_exclusion(ours, OTHERS, BOUNDS)
    assert drops(found) == {"a": "accepted"}
    assert (found.n_identities, found.n_others, found.n_shared) == (3, 2, 1)
    evidence = found.decisions[0].evidence
    assert evidence["person"] == "x" and evidence["images"] == [2, 3] and evidence["pairs"] == 6
    assert evidence["for"][0].startswith("a/") and evidence["for"][1].startswith("x/")
    assert evidence["for"][2] >= found.decisions[0].score >= evidence["against"][2]


def test_a_person_under_two_names_in_the_other_set_counts_twice() -> None:
    images = person(1, 9)
    others = people(x=images[:3], again=images[3:6], y=person(2, 3))
    found = plan_exclusion(people(a=images[6:], b=person(3, 4)), others, BOUNDS)
    assert drops(found) == {"a": "accepted"} and (found.n_others, found.n_shared) == (3, 2)


def test_images_decide_where_they_disagree() -> None:
    mixed = np.concatenate([person(1, 3), person(5, 3)])
    found = plan_exclusion(people(a=mixed), OTHERS, BOUNDS)
    assert drops(found) == {f"a/{i}": "accepted" for i in range(3)}
    assert "the images of a do not agree" in found.decisions[0].reason


def test_two_people_of_the_other_set_in_one_folder_both_go() -> None:
    mixed = np.concatenate([person(1, 3), person(2, 3)])
    found = plan_exclusion(people(a=mixed, b=person(9, 2)), OTHERS, BOUNDS)
    assert drops(found) == {f"a/{i}": "accepted" for i in range(6)} and found.n_shared == 2


@pytest.mark.parametrize("n", [1, 3, 9])
def test_several_people_in_one_folder_of_the_other_set_all_go(n: int) -> None:
    """Such as photos of those who opted out, all in one folder."""
    folder = np.concatenate([person(number, n) for number in range(1, 7)])
    ours = people(**{f"i{number}": person(number, n + 4)[n:] for number in range(10)})
    found = plan_exclusion(ours, people(optout=folder, y=person(20, 3)), BOUNDS)
    assert drops(found) == {f"i{number}": "accepted" for number in range(1, 7)}
    assert (found.n_others, found.n_shared) == (2, 1)
    assert {each.evidence["person"] for each in found.decisions} == {"optout"}


def test_a_wrong_image_in_the_other_set_hides_nobody() -> None:
    """Neither the person whose folder it is in nor its own."""
    folder = np.concatenate([person(1, 7)[:3], person(5, 4)[:1]])
    ours = people(a=person(1, 7)[3:], b=person(5, 4)[1:], c=person(9, 4))
    found = plan_exclusion(ours, people(x=folder), BOUNDS)
    assert drops(found) == {"a": "accepted", "b": "accepted"}
    assert [each.evidence["images"] for each in found.decisions] == [[4, 3], [3, 1]]


def test_images_of_one_person_that_differ_are_no_rivals() -> None:
    front, side = person(1, 5, 0.2), 0.5 * person(1, 5, 0.2) + person(30, 5, 0.2)
    ours, folder = people(a=(front + 0.7 * side)[2:]), np.concatenate([front[:1], side[:1]])
    found = plan_exclusion(ours, people(x=folder), Bounds(0.7, 0.6))
    assert drops(found) == {"a": "accepted"}
    apart = plan_exclusion(ours, people(x=folder[:1], y=folder[1:]), Bounds(0.7, 0.6))
    assert drops(apart) == {"a": "undecided"}


def test_a_single_match_is_dropped_and_its_identity_stays() -> None:
    mixed = np.concatenate([person(6, 12), person(1, 1)])
    found = plan_exclusion(people(a=mixed), OTHERS, BOUNDS)
    assert drops(found) == {"a/12": "accepted"}


def test_two_images_that_match_neither_identity_are_undecided() -> None:
    """Such as blurred ones, which are alike whoever they show."""
    blurred = person(9, 2)
    ours, theirs = (np.concatenate([person(i, 6), blurred[i : i + 1]]) for i in (0, 1))
    found = plan_exclusion(people(a=ours), people(x=theirs), BOUNDS)
    assert drops(found) == {"a/6": "undecided"} and found.n_shared == 0
    assert found.decisions[0].reason.endswith("but neither image matches the rest of its identity")


def test_an_image_that_matches_its_folder_too_is_undecided() -> None:
    middle = person(6, 1) + person(1, 1)
    mixed = np.concatenate([person(6, 12), middle])
    found = plan_exclusion(people(a=mixed), OTHERS, Bounds(0.5, 0.3))
    assert drops(found) == {"a/12": "undecided"}
    assert "but it also matches a" in found.decisions[0].reason


def test_between_the_thresholds_a_person_decides() -> None:
    found = plan_exclusion(people(a=person(1, 3)), OTHERS, Bounds(0.9, 0.3))
    assert drops(found) == {"a": "undecided"}
    assert "between 0.300 and 0.900" in found.decisions[0].reason and found.n_shared == 0


def test_a_face_between_two_people_is_undecided() -> None:
    """As in merging: it matches two who do not match each other."""
    middle = person(1, 3, 0.1) + person(2, 3, 0.1)
    found = plan_exclusion(people(a=middle), OTHERS, BOUNDS)
    assert drops(found) == {"a": "undecided"}
    assert "which does not match" in found.decisions[0].reason


@pytest.mark.parametrize("metric", ["cosine", EUCLIDEAN])
def test_order_changes_nothing(metric: str) -> None:
    mixed = np.concatenate([person(1, 3), person(5, 3)])
    ours = people(metric, a=mixed, b=person(2, 4), c=person(7, 3), d=person(1, 2))
    theirs = people(metric, x=person(1, 5)[:3], y=person(2, 3))
    wanted = plan_exclusion(ours, theirs, BOUNDS)
    assert len(wanted.decisions) == 5
    for seed in range(3):
        order = [np.random.default_rng(seed).permutation(len(each)) for each in (ours, theirs)]
        mixed_up = [
            Embeddings(
                [each.keys[i] for i in rows],
                [each.identities[i] for i in rows],
                each.vectors[rows],
                each.model,
            )
            for each, rows in zip((ours, theirs), order, strict=True)
        ]
        assert plan_exclusion(*mixed_up, BOUNDS) == wanted


def test_nobody_is_in_both() -> None:
    found = plan_exclusion(people(a=person(7, 3), x=person(8, 2)), OTHERS, BOUNDS)
    assert found.decisions == [] and found.n_shared == 0
