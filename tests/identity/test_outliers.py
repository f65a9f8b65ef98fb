"""Outliers are found, and images that belong to an identity stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceprep.core.embeddings import EUCLIDEAN, Embeddings, Model
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.types import ACCEPTED, DROP, MOVE, UNDECIDED, Decision
from faceprep.identity.cores import angles_from, robust_centre
from faceprep.identity.outliers import plan_cleaning
from faceprep.synthetic.town import TownRule, draw_town
from tests.people import MODEL, folders, person, photos, shuffled


def moved(decisions: list[Decision], verdict: str = ACCEPTED) -> dict[str, str]:
    return {d.subject: d.into for d in decisions if d.action == MOVE and d.verdict == verdict}


def dropped(decisions: list[Decision], verdict: str = ACCEPTED) -> set[str]:
    return {d.subject for d in decisions if d.action == DROP and d.verdict == verdict}


def mixed(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts)


def test_a_clean_set_is_left_alone() -> None:
    assert plan_cleaning(folders({f"p{i}": photos(person(i), 1 + i, i) for i in range(8)})) == []


def test_an_outlier_that_matches_nobody_is_dropped() -> None:
    (decision,) = plan_cleaning(
        folders({"a": mixed(photos(person(1), 6, 1), photos(person(5), 1, 2))})
    )
    assert (decision.action, decision.subject, decision.verdict) == (DROP, "a/6.png", ACCEPTED)
    assert decision.score is not None and decision.score > 75
    assert f"{decision.score:.1f} degrees from the centre of a, more than 75" in decision.reason
    assert decision.evidence["against"][0] == "a/6.png"


def test_an_outlier_that_matches_another_identity_is_moved_there() -> None:
    rows = {
        "a": mixed(photos(person(1), 6, 1), photos(person(2), 1, 2)),
        "b": photos(person(2), 5, 3),
    }
    (decision,) = plan_cleaning(folders(rows))
    assert decision[:3] == (MOVE, "a/6.png", "b") and decision.verdict == ACCEPTED
    assert decision.score is not None and decision.score > 75, (
        "the angle, as of one that is dropped"
    )
    assert decision.evidence["for"][1].startswith("b/") and decision.evidence["against"][
        1
    ].startswith("a/")


def test_a_second_person_gets_an_identity_of_its_own() -> None:
    rows = {
        "a": mixed(photos(person(1), 9, 1), photos(person(2), 3, 2)),
        "a-2": photos(person(3), 2, 3),
    }
    decisions = plan_cleaning(folders(rows))
    assert moved(decisions) == {f"a/{i}.png": "a-3" for i in (9, 10, 11)}
    assert all("one of 3 that are alike" in d.reason for d in decisions)


def test_new_identities_among_numbers_are_the_next_numbers() -> None:
    """A .rec holds numbers alone, and the numbers of the other classes stay as they are."""
    rows = {name: photos(person(i), 9, i) for i, name in enumerate(("0", "2", "10"))}
    for i, name in enumerate(("2", "10")):
        rows[name] = mixed(rows[name], photos(person(5 + i), 3, 5 + i))
    assert sorted(set(moved(plan_cleaning(folders(rows))).values())) == ["11", "12"]
    padded = {"007": rows["2"], "011": rows["0"]}
    assert set(moved(plan_cleaning(folders(padded))).values()) == {"007-2"}


def test_two_alike_images_are_for_a_person_to_decide() -> None:
    decisions = plan_cleaning(
        folders({"a": mixed(photos(person(1), 9, 1), photos(person(2), 2, 2))})
    )
    assert moved(decisions, UNDECIDED) == {"a/9.png": "a-2", "a/10.png": "a-2"} and not moved(
        decisions
    )


def test_where_most_images_are_far_a_person_decides() -> None:
    rows = np.stack([person(i) for i in range(6)])
    decisions = plan_cleaning(folders({"a": rows}), angle=30)
    assert len(decisions) == 6 and {d.verdict for d in decisions} == {UNDECIDED}


def test_two_fifths_of_another_person_do_not_draw_the_centre() -> None:
    a, b = person(1), person(2)
    rows = mixed(photos(a, 60, 1), photos(b, 40, 2)).astype(float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert robust_centre(rows, 75, True) @ a > 0.98
    assert np.degrees(np.arccos(rows.mean(axis=0) @ a / np.linalg.norm(rows.mean(axis=0)))) > 20


def test_images_a_little_aside_count_for_the_centre() -> None:
    """Without outliers the centre is the mean, not that of the nearer half."""
    rows = photos(person(1), 9, 1, 0.8).astype(float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    mean = rows.mean(axis=0)
    assert robust_centre(rows, 75, True) == pytest.approx(mean / np.linalg.norm(mean))


@given(st.integers(0, 1 << 20))
@settings(deadline=None, max_examples=20)
def test_the_order_of_the_input_does_not_change_a_plan(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = {
        f"p{who}": mixed(
            photos(person(who), int(random.integers(1, 8)), seed + who),
            photos(person(int(random.integers(6))), int(random.integers(1, 4)), seed + who + 100),
        )
        for who in range(5)
    }
    embeddings = folders(rows)
    assert plan_cleaning(shuffled(embeddings, seed), 60, 3) == plan_cleaning(embeddings, 60, 3)


def test_identities_of_too_few_images_are_dropped() -> None:
    rows = {
        "a": photos(person(1), 2, 1),
        "b": mixed(photos(person(2), 3, 2), photos(person(7), 1, 3)),
        "c": photos(person(3), 5, 4),
        "d": photos(person(4), 1, 5),
    }
    decisions = plan_cleaning(folders(rows), least_images=4)
    assert dropped(decisions) == {"a", "b", "d"}
    told = ["2 images, fewer than 4", "3 images left of 4, fewer than 4", "1 image, fewer than 4"]
    assert [d.reason for d in decisions] == told


def test_images_are_not_moved_to_where_there_are_too_few() -> None:
    rows = {
        "a": mixed(photos(person(1), 6, 1), photos(person(2), 1, 2)),
        "b": photos(person(2), 1, 3),
    }
    embeddings = folders(rows)
    assert moved(plan_cleaning(embeddings, least_images=2)) == {"a/6.png": "b"}
    decisions = plan_cleaning(embeddings, least_images=3)
    assert dropped(decisions) == {"a/6.png", "b"} and not moved(decisions)


def test_angles_are_those_between_directions() -> None:
    a, b = person(1), person(2)
    assert angles_from(a, b[None])[0] == pytest.approx(np.degrees(np.arccos(a @ b)), abs=1e-3)


def test_raw_descriptors_are_judged_by_distance() -> None:
    """An angle of 35 degrees is a distance of 0.6, whatever the length of the vectors."""
    base = np.full(4, 0.7)
    rows = np.stack(
        [
            base,
            base + [0.01, 0, 0, 0],
            base - [0.01, 0, 0, 0],
            base + [0, 0.59, 0, 0],
            base + [0, 0, 0.62, 0],
        ]
    )
    model = Model("raw", EUCLIDEAN, merge_from=0.85, undecided_from=0.8, outlier_angle=35)
    assert [d.subject for d in plan_cleaning(folders({"a": rows}, model))] == ["a/4.png"]


def test_what_cannot_be() -> None:
    assert plan_cleaning(Embeddings([], [], np.zeros((0, 8), "f4"), MODEL), least_images=5) == []
    assert plan_cleaning(folders({"a": photos(person(1), 1, 1)})) == []
    with pytest.raises(SourceError, match="1 of length zero"):
        plan_cleaning(folders({"a": np.zeros((1, 4))}))
    for angle in (0, -3, 181, float("nan")):
        with pytest.raises(OptionError, match="invalid angle"):
            plan_cleaning(folders({"a": photos(person(1), 1, 1)}), angle)


def test_an_owner_with_outliers_of_its_own_is_found_by_its_core() -> None:
    """Neither identity matches as a whole: two fifths of each are other people's."""
    strangers = [photos(person(at), 1, at, 0.95) for at in range(30, 38)]
    rows = {
        "a": mixed(photos(person(1), 6, 1), photos(person(2), 1, 2, 0.5), *strangers[:3]),
        "b": mixed(photos(person(2), 6, 3), *strangers[4:8]),
    }
    assert moved(plan_cleaning(folders(rows)))["a/6.png"] == "b"


def test_a_drop_near_another_identity_is_undecided() -> None:
    """Between two people who look alike, it is not clear whose image it is."""
    a, b = person(1, 512), person(2, 512)
    twin = 0.7 * b + np.sqrt(1 - 0.7**2) * person(3, 512)
    between = b + twin / np.linalg.norm(twin)
    image = 0.45 * between / np.linalg.norm(between) + np.sqrt(1 - 0.45**2) * person(4, 512)
    rows = {
        "a": mixed(photos(a, 6, 1, 0.8), image[None]),
        "b": photos(b, 5, 3, 0.8),
        "c": photos(twin / np.linalg.norm(twin), 5, 4, 0.8),
    }
    (decision,) = plan_cleaning(folders(rows))
    assert (decision.action, decision.verdict) == (DROP, UNDECIDED)
    assert "is the nearest other identity, 0.3" in decision.reason


@pytest.mark.parametrize("seed", [0, 1])
def test_strays_of_a_town_go_to_their_owners(seed: int) -> None:
    town = draw_town(TownRule(200, several=0, mixed=0, strays=0.4), seed)
    name_of = {int(owner): f"{at:05d}" for at, owner in enumerate(town.owners)}
    right = {
        key: name_of[int(who)] for key, who in zip(town.embeddings.keys, town.people, strict=True)
    }
    decisions = plan_cleaning(town.embeddings)
    moves, drops = moved(decisions), dropped(decisions)
    assert len(moves) > 60 and len(drops) <= 3
    assert sum(right[key] != into for key, into in moves.items()) <= 1
