"""Outliers are grouped by person, also where they are too many to compare all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from faceprep.identity.identity_sums import gather_groups
from faceprep.identity.linkage import Bounds
from faceprep.identity.outlier_groups import group_alike
from faceprep.identity.vectors import prepare
from tests.people import MODEL, folders, person, photos


@pytest.mark.parametrize("at_once", [2, 7, 1000])
def test_the_number_compared_at_once_does_not_change_the_groups(at_once: int) -> None:
    sizes = [40, 1, 9, 1, 30]
    rows = [photos(person(number), size, number) for number, size in enumerate(sizes)]
    people = np.repeat(np.arange(len(sizes)), sizes)
    order = np.random.default_rng(1).permutation(len(people))
    vectors = prepare(folders({"a": np.concatenate(rows)[order]}))
    own = np.array([int(vectors.key(row)[2:-4]) for row in range(len(people))])
    alike = group_alike(
        vectors, gather_groups(vectors), np.arange(len(people)), Bounds.of(MODEL), at_once
    )
    found = sorted(sorted(order[own[each]].tolist()) for each in alike)
    assert found == [np.flatnonzero(people == number).tolist() for number in range(len(sizes))]
    assert [each[0] for each in alike] == sorted(each.min() for each in alike)
