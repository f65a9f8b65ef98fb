"""Drawn towns have the people that their truth names."""

from __future__ import annotations

import numpy as np

from faceprep.synthetic.town import NOBODY, TownRule, draw_town


def test_the_same_seed_draws_the_same_town() -> None:
    one, same, other = (draw_town(TownRule(80, n_blurry=8), seed) for seed in (3, 3, 4))
    assert np.array_equal(one.embeddings.vectors, same.embeddings.vectors)
    assert not np.array_equal(one.owners[:50], other.owners[:50])


def test_the_truth_is_that_of_the_vectors() -> None:
    """Most images are nearest to the mean of their own person."""
    town = draw_town(TownRule(120), 1)
    rows = town.embeddings.vectors / np.linalg.norm(town.embeddings.vectors, axis=1, keepdims=True)
    people = np.unique(town.people)
    means = np.stack([rows[town.people == person].mean(axis=0) for person in people])
    nearest = people[np.argmax(rows @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T, 1)]
    assert (nearest == town.people).mean() > 0.95


def test_identities_of_two_people_have_no_owner() -> None:
    town = draw_town(TownRule(200, mixed=0.2, strays=0), 1)
    numbers = np.array([int(name) for name in town.embeddings.identities])
    for number, owner in enumerate(town.owners.tolist()):
        inside = set(town.people[numbers == number].tolist())
        assert len(inside) <= 2 and (owner == NOBODY or inside == {owner} or len(inside) == 2)
    assert 20 < int((town.owners == NOBODY).sum()) < 60


def test_blurry_people_are_alike() -> None:
    town = draw_town(TownRule(200, n_blurry=20), 1)
    numbers = np.array([int(name) for name in town.embeddings.identities])
    rows = town.embeddings.vectors / np.linalg.norm(town.embeddings.vectors, axis=1, keepdims=True)
    blurry, sharp = (rows[town.is_blurry[numbers] == wanted] for wanted in (True, False))
    assert (blurry @ blurry.T).mean() > 0.3 > 0.1 > (sharp @ sharp.T).mean()
