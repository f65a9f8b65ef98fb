"""The shuffle in two passes: what is read is what was written, in the order of the output."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.random_order import shuffled
from faceprep.core.types import Outcome
from faceprep.sets.image_set import Sample
from faceprep.sets.sample_spill import read_spilled, write_spill

TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
OUTCOMES = st.builds(Outcome, TEXT, st.sampled_from(["undecodable", "unreadable"]), TEXT, TEXT)
SAMPLES = st.builds(
    Sample,
    TEXT,
    TEXT,
    st.binary(max_size=50),
    st.lists(st.floats(width=32) | st.integers(0, 1 << 64), max_size=3).map(tuple),
    TEXT,
    st.dictionaries(TEXT, st.binary(max_size=5), max_size=2),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spill")


def as_shown(sample: Sample | Outcome) -> object:
    """Replace the labels by their text: NaN does not equal itself, and 1 equals 1.0."""
    if isinstance(sample, Outcome):
        return sample
    return sample._replace(labels=repr(sample.labels))  # type: ignore[arg-type]


@given(
    samples=st.lists(SAMPLES | OUTCOMES, min_size=1, max_size=20),
    size=st.integers(1, 20),
    n_at_once=st.integers(1, 20),
)
def test_samples_come_back_in_the_order_of_the_output(
    folder: Path, samples: list[Sample | Outcome], size: int, n_at_once: int
) -> None:
    n = len(samples)
    ranks = shuffled(n, seed=1)
    spills = []
    for start in range(0, n, size):
        path = partial(lambda name, suffix: folder / f"{name}{suffix}", str(start))
        sink = SimpleNamespace(open_part=lambda suffix, path=path: path(suffix).open("wb"))
        write_spill(samples[start : start + size], ranks[start : start + size], sink)  # type: ignore[arg-type]
        spills.append(path)
    half = n // 2
    found = [*read_spilled(spills, 0, half, n_at_once), *read_spilled(spills, half, n, n_at_once)]
    order = np.argsort(ranks).tolist()
    assert list(map(as_shown, found)) == [as_shown(samples[i]) for i in order]
