"""Draws the embeddings of a town: identities that are hard to merge and to clean, with the truth.

People are directions in 128 of 512 dimensions, and images spread around them. Some people have
several identities, each with a light of its own. Planted on top: people who look alike, chains in
which each person looks like the next, identities of two people half and half, identities with
images of other people, and blurry people, whose images are drawn towards one common vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from faceprep.core.arrays import Bools, Floats, Ints
from faceprep.core.embeddings import Embeddings, Model

DIM, RANK = 512, 128
MODEL = Model("town", threshold=0.4, merge_from=0.5, undecided_from=0.3, origin="drawn")
NOBODY = -1
"""The owner of an identity of two people."""
_CHAIN = 4
_BLUR = (0.3, 0.57)


@dataclass(frozen=True)
class TownRule:
    """The size of a town and the shares of what is planted in it."""

    n_identities: int = 2000
    n_blurry: int = 0
    """The number of blurry people."""
    several: float = 0.15
    """The share of people with two to four identities."""
    alike: float = 0.06
    """The share of people who look like another one."""
    chained: float = 0.04
    """The share of people in chains."""
    mixed: float = 0.02
    """The share of identities of two people."""
    strays: float = 0.1
    """The share of identities with images of other people, a tenth to two fifths of them."""
    light: float = 0.3
    """The size of the shift that all images of one identity share."""


class Town(NamedTuple):
    """Embeddings with the truth, which names the owner of each identity and each image.

    `owners` (g,) follow the names of the identities in order; `people` (n,) follow the rows.
    `is_blurry` (g,) marks the identities of blurry people.
    """

    embeddings: Embeddings
    owners: Ints
    people: Ints
    is_blurry: Bools


def draw_town(rule: TownRule, seed: int) -> Town:
    """Draw a town; the same seed gives the same vectors."""
    random = np.random.default_rng(seed)
    owners = _draw_owners(rule, random)
    n_people = int(owners.max()) + 1
    centres = _draw_centres(n_people, rule, random)
    counts = 1 + random.poisson(5, len(owners))
    numbers = np.repeat(np.arange(len(owners)), counts)
    people = owners[numbers]
    is_mixed = random.random(len(owners)) < rule.mixed
    _mix(people, numbers, is_mixed, random)
    _stray(people, numbers, rule.strays, random)
    lights = np.float32(rule.light) * _noise((len(owners), DIM), random)
    rows = _draw_images(centres[people] + lights[numbers], random)
    first_blurry = n_people - rule.n_blurry
    _blur(rows, people, first_blurry, random)
    names = [f"{number:05d}" for number in numbers.tolist()]
    keys = [f"{name}/{at:06d}.jpg" for at, name in enumerate(names)]
    told = np.where(is_mixed & (counts > 1), NOBODY, owners)
    embeddings = Embeddings(keys, names, rows, MODEL)
    return Town(embeddings, told, people, owners >= first_blurry)


def _draw_owners(rule: TownRule, random: np.random.Generator) -> Ints:
    """Return the owner of each identity (n,) in mixed order.

    Blurry people have the last numbers.
    """
    sizes = np.where(
        random.random(rule.n_identities) < rule.several, random.integers(2, 5, rule.n_identities), 1
    )
    n_people = int(np.searchsorted(np.cumsum(sizes), rule.n_identities)) + 1
    owners = np.repeat(np.arange(n_people), sizes[:n_people])[: rule.n_identities]
    return np.asarray(owners[random.permutation(len(owners))])


def _draw_centres(n_people: int, rule: TownRule, random: np.random.Generator) -> Floats:
    """Return directions of people (n, 512), some of them alike."""
    centres = np.zeros((n_people, DIM), np.float32)
    centres[:, :RANK] = _noise((n_people, RANK), random)
    centres = _unit(centres)
    order = random.permutation(n_people - rule.n_blurry)
    pairs = order[: round(rule.alike * n_people / 2) * 2].reshape(-1, 2)
    rest = order[pairs.size :]
    chains = rest[: round(rule.chained * n_people / _CHAIN) * _CHAIN].reshape(-1, _CHAIN)
    for one, other in pairs.tolist():
        centres[other] = _draw_alike(centres[one], centres[other], random.uniform(0.4, 0.85))
    for chain in chains.tolist():
        for one, other in zip(chain, chain[1:], strict=False):
            centres[other] = _draw_alike(centres[one], centres[other], random.uniform(0.6, 0.8))
    return centres


def _draw_alike(one: Floats, other: Floats, cosine: float) -> Floats:
    aside = other - (other @ one) * one
    return np.asarray(cosine * one + np.sqrt(1 - cosine**2) * aside / np.linalg.norm(aside))


def _draw_images(vectors: Floats, random: np.random.Generator) -> Floats:
    """Draw an image (512,) of each vector, nearer to it or farther."""
    near = random.uniform(0.65, 0.92, (len(vectors), 1)).astype(np.float32)
    aside = np.sqrt(1 - near**2, dtype=np.float32) * _noise(vectors.shape, random)
    return np.asarray(near * _unit(vectors) + aside)


def _mix(people: Ints, numbers: Ints, is_mixed: Bools, random: np.random.Generator) -> None:
    """Give every second image of the mixed identities to one other person each."""
    guests = random.integers(0, people.max() + 1, len(is_mixed))
    chosen = is_mixed[numbers] & (np.arange(len(numbers)) % 2 == 1)
    people[chosen] = guests[numbers[chosen]]


def _stray(people: Ints, numbers: Ints, share: float, random: np.random.Generator) -> None:
    """Give a tenth to two fifths of the images of some identities to anybody."""
    n = int(numbers.max()) + 1
    noise = np.where(random.random(n) < share, random.uniform(0.1, 0.4, n), 0)
    chosen = random.random(len(numbers)) < noise[numbers]
    people[chosen] = random.integers(0, people.max() + 1, int(chosen.sum()))


def _blur(rows: Floats, people: Ints, first: int, random: np.random.Generator) -> None:
    """Draw the rows of the people from `first` on towards one vector, in place.

    Each person is blurry in a different degree, so that some of them are alike and others are not.
    """
    common = _unit(_noise((1, DIM), random))
    chosen = np.flatnonzero(people >= first)
    shares = random.uniform(*_BLUR, (int(people.max()) + 1, 1)).astype(np.float32)[people[chosen]]
    rows[chosen] = np.sqrt(1 - shares) * rows[chosen] + np.sqrt(shares) * common


def _noise(shape: tuple[int, ...], random: np.random.Generator) -> Floats:
    """Return rows of about length 1 in random directions."""
    return random.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[1]))


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
