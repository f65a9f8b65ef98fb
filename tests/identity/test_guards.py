"""Each guard of merging stops the set that it is made for, and lets sound ones pass."""

from __future__ import annotations

import numpy as np
import pytest

from faceprep.core.errors import OptionError
from faceprep.core.types import ACCEPTED, UNDECIDED
from faceprep.identity.distributions import measure
from faceprep.identity.guards import refuse_one_cluster, refuse_one_person
from faceprep.identity.merge import plan_merges
from faceprep.synthetic.town import TownRule, draw_town
from tests.people import MODEL, folders, person, photos, town

DIM = 512


def blurry(n: int, level: float = 0.48) -> dict[str, np.ndarray]:
    """Return identities of `n` people whose images share a direction: all are alike by `level`."""
    common = person(999, DIM)
    rows = {}
    for number in range(n):
        centre = np.sqrt(level / 0.8) * common + np.sqrt(1 - level / 0.8) * person(number, DIM)
        rows[f"blurry{number}"] = photos(centre / np.linalg.norm(centre), 4, number, 0.8)
    return rows


@pytest.mark.parametrize("n", [4, 10, 200])
def test_a_model_that_finds_one_person_everywhere_is_refused(n: int) -> None:
    likeness = measure(folders({f"p{i}": photos(person(1), 2, i) for i in range(n)}))
    with pytest.raises(OptionError, match="most identities would be one person"):
        refuse_one_person(likeness, MODEL.merge_from)


def test_a_threshold_far_too_low_is_refused() -> None:
    likeness = measure(folders({f"p{i}": photos(person(i), 2, i) for i in range(10)}))
    refuse_one_person(likeness, MODEL.merge_from)
    with pytest.raises(OptionError, match=r"above the threshold -0.5.*a higher --threshold"):
        refuse_one_person(likeness, -0.5)


def test_a_person_under_three_names_is_merged() -> None:
    refuse_one_person(measure(folders({name: photos(person(1), 3, 1) for name in "abc"})), 0.5)


def test_one_chain_through_most_identities_is_refused() -> None:
    angle = np.arccos(0.6)
    steps = [[np.cos(i * angle), np.sin(i * angle), 0] for i in range(4)]
    circle = folders({f"p{i:02d}": np.array(steps[i % 4])[None] for i in range(12)})
    decisions = plan_merges(circle, "single").decisions
    with pytest.raises(OptionError, match="12 of 12 identities joined"):
        refuse_one_cluster(decisions, 12, 0.5)
    refuse_one_cluster(decisions[:3], 12, 0.5)
    refuse_one_cluster(decisions, 9, 0.5)


def test_blurry_people_are_left_to_a_person() -> None:
    merges = plan_merges(folders(blurry(16)))
    assert merges.n_crowded > 0 and {each.verdict for each in merges.decisions} == {UNDECIDED}
    held = [each.reason for each in merges.decisions if "unrelated" in each.reason]
    assert len(held) == merges.n_crowded
    assert "but both reach 0." in held[0] and "with 4 or more unrelated" in held[0]


def test_a_person_in_many_folders_is_not_a_crowd() -> None:
    rows = {f"a{i}": photos(person(1), 3, i) for i in range(9)}
    others = {f"p{i}": photos(person(10 + i), 3, i) for i in range(20)}
    merges = plan_merges(folders(rows | others))
    accepted = [each for each in merges.decisions if each.verdict == ACCEPTED]
    assert len(accepted) == 8 and merges.n_crowded == 0


def test_a_town_without_blurry_people_has_no_crowd() -> None:
    assert plan_merges(town(40, 3, seed=7)).n_crowded == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_false_merges_among_blurry_people_of_a_town(seed: int) -> None:
    drawn = draw_town(TownRule(300, n_blurry=30), seed)
    merges = [each for each in plan_merges(drawn.embeddings).decisions if each.verdict == ACCEPTED]
    owners = drawn.owners
    wrong = [each for each in merges if owners[int(each.subject)] != owners[int(each.into)]]
    assert len(merges) > 50 and len(wrong) <= 3
