"""Tests of merging: laws for any set, and sets built to mislead it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceprep.core.embeddings import EUCLIDEAN, Embeddings, Model
from faceprep.core.errors import SourceError
from faceprep.core.types import ACCEPTED, UNDECIDED
from faceprep.identity import similarity
from faceprep.identity.linkage import LINKAGES, Bounds
from faceprep.identity.merge import Merges, plan_merges, second_opinion
from tests.people import MODEL, folders, person, photos, shuffled, town

seeds = st.integers(0, 1 << 20)


def accepted(merges: Merges) -> dict[str, str]:
    return {d.subject: d.into for d in merges.decisions if d.verdict == ACCEPTED}


def apply_plan(embeddings: Embeddings, merges: Merges) -> Embeddings:
    into = accepted(merges)
    names = [into.get(name, name) for name in embeddings.identities]
    return Embeddings(embeddings.keys, names, embeddings.vectors, embeddings.model)


def partition(embeddings: Embeddings) -> set[frozenset[str]]:
    """Return the sets of images of one identity, without its name."""
    clusters: dict[str, set[str]] = {}
    for key, name in zip(embeddings.keys, embeddings.identities, strict=True):
        clusters.setdefault(name, set()).add(key)
    return set(map(frozenset, clusters.values()))


def noisy(seed: int) -> Embeddings:
    """Return people in several folders, with likenesses over the whole scale."""
    return town(6, 4, seed, within=float(np.random.default_rng(seed).uniform(0.4, 0.8)))


# Laws


@given(seeds, st.sampled_from(LINKAGES))
@settings(deadline=None, max_examples=25)
def test_the_order_of_the_input_does_not_change_a_plan(seed: int, linkage: str) -> None:
    embeddings = noisy(seed)
    assert plan_merges(shuffled(embeddings, seed), linkage) == plan_merges(embeddings, linkage)


@given(seeds, st.sampled_from(LINKAGES))
@settings(deadline=None, max_examples=25)
def test_a_merged_set_is_left_as_it_is(seed: int, linkage: str) -> None:
    embeddings = noisy(seed)
    merged = apply_plan(embeddings, plan_merges(embeddings, linkage))
    assert accepted(plan_merges(merged, linkage)) == {}


@given(seeds, st.sampled_from(LINKAGES))
@settings(deadline=None, max_examples=25)
def test_names_of_identities_do_not_change_the_partition(seed: int, linkage: str) -> None:
    embeddings = noisy(seed)
    names = sorted(set(embeddings.identities))
    other = dict(zip(names, np.random.default_rng(seed).permutation(names).tolist(), strict=True))
    new_names = [other[name] for name in embeddings.identities]
    renamed = Embeddings(embeddings.keys, new_names, embeddings.vectors, embeddings.model)
    one, two = (
        partition(apply_plan(each, plan_merges(each, linkage))) for each in (embeddings, renamed)
    )
    assert one == two


@pytest.mark.parametrize("linkage", LINKAGES)
def test_the_size_of_a_block_does_not_change_a_plan(
    linkage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings = town(40, 3, seed=5, within=0.55)
    whole = plan_merges(embeddings, linkage)
    for block in (1, 7, 64):
        monkeypatch.setattr(similarity, "BLOCK", block)
        assert plan_merges(embeddings, linkage) == whole
    assert whole.decisions


@given(seeds)
@settings(deadline=None, max_examples=25)
def test_every_subject_is_merged_once_and_into_one_that_stays(seed: int) -> None:
    merges = plan_merges(noisy(seed))
    into = accepted(merges)
    assert len(into) == sum(d.verdict == ACCEPTED for d in merges.decisions)
    assert not set(into) & set(into.values())


# Found merges


def test_folders_of_one_person_are_merged_into_the_largest() -> None:
    rows = {
        name: photos(person(1), n, seed)
        for name, n, seed in (("b", 3, 1), ("a", 3, 2), ("c", 5, 3))
    }
    merges = plan_merges(folders(rows | {"z": photos(person(2), 9, 4)}))
    assert accepted(merges) == {"a": "c", "b": "c"}
    assert (merges.n_identities, merges.n_conflicts) == (4, 0)
    for decision in merges.decisions:
        assert decision.score is not None and decision.score >= MODEL.merge_from
        assert decision.evidence["images"] == [3, 5] and decision.evidence["pairs"] == 15


def test_evidence_is_the_most_and_the_least_alike_pair() -> None:
    embeddings = folders({"a": photos(person(1), 4, 1), "b": photos(person(1), 5, 2)})
    (decision,) = plan_merges(embeddings).decisions
    unit = embeddings.vectors / np.linalg.norm(embeddings.vectors, axis=1, keepdims=True)
    table = (unit[:4] @ unit[4:].T).astype(float)
    for side, find in (("for", np.argmax), ("against", np.argmin)):
        i, j = np.unravel_index(find(table), table.shape)
        a, b, likeness = decision.evidence[side]
        assert [a, b] == [f"a/{i}.png", f"b/{j}.png"]
        assert likeness == pytest.approx(table[i, j], abs=1e-5)
    assert decision.score == pytest.approx(table.mean(), abs=1e-5)


@pytest.mark.parametrize("linkage", ["mean", "complete", "centroid"])
def test_a_bridge_of_one_image_merges_nobody(linkage: str) -> None:
    """Place one image half way between two people who do not match each other."""
    a, b = person(1), person(2)
    rows = {"a": photos(a, 4, 1, 0.9), "b": photos(b, 4, 2, 0.9), "x": (a + b)[None] / 2}
    merges = plan_merges(folders(rows), linkage)
    assert accepted(merges) == {}
    found = {(d.subject, d.into, d.verdict) for d in merges.decisions}
    assert found == {("x", "a", UNDECIDED), ("x", "b", UNDECIDED)}
    reason = "x matches a and b, which do not match each other"
    assert all(reason in d.reason for d in merges.decisions)
    assert merges.n_conflicts == 1


def test_a_folder_with_photos_of_two_people_merges_nobody() -> None:
    a, b = person(1), person(2)
    mixed = np.concatenate([photos(a, 4, 3, 0.98), photos(b, 4, 4, 0.98)])
    rows = {"a": photos(a, 4, 1, 0.98), "b": photos(b, 4, 2, 0.98), "x": mixed}
    merges = plan_merges(folders(rows), bounds=Bounds(0.45, 0.3))
    assert accepted(merges) == {}
    assert {d.into for d in merges.decisions} == {"x"} and merges.n_conflicts == 1


@pytest.mark.parametrize("n", [1, 2, 6, 20])
def test_a_bridge_between_people_of_many_folders_keeps_them_apart(n: int) -> None:
    a, b = person(1), person(2)
    rows = {f"a{i}": photos(a, 3, i, 0.8) for i in range(n)} | {
        f"b{i}": photos(b, 3, 99 + i, 0.8) for i in range(n)
    }
    embeddings = folders(rows | {"x": (a + b)[None] / 2})
    merges = plan_merges(embeddings)
    merged = set(apply_plan(embeddings, merges).identities)
    assert merged == {"a0", "b0", "x"}
    assert "x" not in accepted(merges)


def test_a_chain_of_look_alikes_merges_nobody() -> None:
    """Chain four people, each with a likeness of 0.6 to the next but not to the one after it.

    Single linkage merges them all.
    """
    angle = np.arccos(0.6)
    steps = np.array([[np.cos(i * angle), np.sin(i * angle)] for i in range(4)])
    embeddings = folders({f"p{i}": row[None] for i, row in enumerate(steps)})
    assert accepted(plan_merges(embeddings)) == {}
    assert len(accepted(plan_merges(embeddings, "single"))) == 3


def test_one_bad_pair_among_many_folders_does_not_part_them() -> None:
    """Take two folders of a person that do not match, and eight others that match both."""
    centre = person(1)
    rows = {f"a{i}": photos(centre, 4, i, 0.75) for i in range(8)}
    side = photos(centre, 1, 50, 0.5)[0]
    side = side / np.linalg.norm(side)
    other = 2 * (side @ centre) * centre - side  # the mirror image beyond the centre
    embeddings = folders(rows | {"y": side[None], "z": other[None]})
    assert float(side @ other) < MODEL.undecided_from
    assert len(accepted(plan_merges(embeddings))) == 9


def test_twins_at_the_threshold() -> None:
    """Check that a threshold itself is included and a millionth below it is not."""

    def pair(cosine: float) -> Embeddings:
        other = np.array([[cosine, np.sqrt(1 - cosine**2)]])
        return folders({"a": np.array([[1.0, 0.0]]), "b": other})

    assert accepted(plan_merges(pair(0.5))) == {"b": "a"}
    (near,) = plan_merges(pair(0.499998)).decisions
    assert near.verdict == UNDECIDED and "between 0.300 and 0.500" in near.reason
    assert plan_merges(pair(0.3)).decisions[0].verdict == UNDECIDED
    assert plan_merges(pair(0.299998)).decisions == []


def test_undecided_come_nearest_the_threshold_first() -> None:
    merges = plan_merges(town(60, 3, seed=2, within=0.45))
    verdicts = [d.verdict for d in merges.decisions]
    assert verdicts == sorted(verdicts) and UNDECIDED in verdicts
    apart = [
        abs((d.score or 0) - MODEL.merge_from) for d in merges.decisions if d.verdict == UNDECIDED
    ]
    assert apart == sorted(apart)


def test_equal_images_under_many_names() -> None:
    """Check that ties between equal images are resolved."""
    rows = {f"p{i}": np.repeat(person(1)[None], 3, axis=0) for i in range(6)}
    assert accepted(plan_merges(folders(rows))) == {f"p{i}": "p0" for i in range(1, 6)}


def test_euclidean_distance_has_its_own_scale() -> None:
    """Check raw descriptors, which match up to a distance of 0.6, a likeness of 0.82."""
    model = Model("raw", EUCLIDEAN, threshold=0.82, merge_from=0.85, undecided_from=0.8)
    base = np.full((1, 4), 0.7)
    places = {"a": (0, 0), "b": (0.5, 0), "c": (0, 1.5), "d": (5, 0), "e": (5, 0.62)}
    rows = {name: base + [[x, y, 0, 0]] for name, (x, y) in places.items()}
    merges = plan_merges(folders(rows, model))
    assert accepted(merges) == {"b": "a"}
    assert merges.decisions[0].score == pytest.approx(1 - 0.5**2 / 2, abs=1e-6)
    assert [(d.subject, d.into) for d in merges.decisions[1:]] == [("e", "d")]


# Second opinion


def test_a_second_opinion_takes_back_what_it_contradicts() -> None:
    two = {"a": photos(person(1), 3, 1), "b": photos(person(1), 3, 2)}
    embeddings = folders(two | {"c": photos(person(1), 3, 3)})
    other = folders(two | {"c": photos(person(9), 3, 3)})
    decisions = plan_merges(embeddings).decisions
    judged = second_opinion(other, decisions)
    assert [d.verdict for d in judged] == [ACCEPTED, UNDECIDED]
    assert "second opinion contradicts" in judged[1].reason
    assert all(isinstance(d.evidence["second_opinion"], float) for d in judged)
    before, after = (
        [d._replace(verdict="", reason="", evidence={}) for d in some]
        for some in (decisions, judged)
    )
    assert before == after
    with pytest.raises(SourceError, match="no embeddings for the second opinion: found c"):
        second_opinion(folders(two), decisions)


# Empty sets and faulty input


def test_nothing_and_one_image() -> None:
    nothing = Embeddings([], [], np.zeros((0, 8), "f4"), MODEL)
    assert plan_merges(nothing) == Merges([], 0, 0)
    assert plan_merges(folders({"a": photos(person(1), 1, 1)})) == Merges([], 1, 0)


def test_bad_vectors_are_named() -> None:
    rows = photos(person(1), 6, 1)
    rows[1, 3], rows[4] = np.nan, 0
    expected = r"found 1 not finite \(a/1.png\), 1 of length zero \(a/4.png\)"
    with pytest.raises(SourceError, match=expected):
        plan_merges(folders({"a": rows}))


def test_vectors_of_any_length_are_compared_and_absurd_ones_named() -> None:
    rows = photos(person(1), 6, 1)
    lengths = np.array([[1e-25], [1e25], [1], [1e-3], [1e9], [1e25]], "f4")
    vectors = {"a": rows[:3] * lengths[:3], "b": rows[3:] * lengths[3:]}
    assert accepted(plan_merges(folders(vectors))) == {"b": "a"}
    vectors = {"a": rows[:3] * lengths[:3] ** [[1.6], [1], [1]], "b": rows[3:] * [[1], [1], [1e34]]}
    expected = r"1 of length zero \(a/0.png\), 1 of a length beyond float32 \(b/2.png\)"
    with pytest.raises(SourceError, match=expected):
        plan_merges(folders(vectors))


def test_the_undecided_band_moves_with_the_threshold() -> None:
    assert Bounds.of(MODEL) == (0.5, 0.3)
    assert Bounds.of(MODEL, 0.75) == (0.75, 0.55)
    assert Bounds.of(Model(merge_from=0.3, undecided_from=0.5), 0.2) == (0.2, 0.2)


def test_a_threshold_that_is_far_too_low_gives_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Check that the plan is made all the same."""
    plan_merges(town(30, 4, seed=1))
    assert not caplog.messages
    merges = plan_merges(folders({f"p{i}": np.ones((1, 4), "f4") for i in range(120)}))
    assert len(accepted(merges)) == merges.n_identities - 1
    (message,) = caplog.messages
    assert message.startswith(
        "7,140 pairs of 120 identities have a similarity of 0.5 or more, which is far too many"
    )
