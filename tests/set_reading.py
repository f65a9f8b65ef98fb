"""Reading of any set as tests need it: all of it, with its index in a folder of the test."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import strategies as st

from faceprep.core.types import Outcome
from faceprep.sets import webdataset
from faceprep.sets.containers import index_set
from faceprep.sets.image_set import Sample

Row = tuple[str, str, bytes, tuple[float, ...]]
"""Key, identity, bytes and labels of an image."""

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20
).filter(lambda name: name not in (".", "..") and not name.isspace())
PAYLOADS = st.binary(min_size=1, max_size=300)


@st.composite
def sample_lists(draw: st.DrawFn) -> list[Sample]:
    """Draw samples of a few identities with distinct keys; labels number the identities."""
    people = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    chosen = st.tuples(st.sampled_from(people), NAMES)
    keys = draw(st.lists(chosen, min_size=1, max_size=6, unique=True))
    return [
        Sample(f"{person}/{name}", person, draw(PAYLOADS), (people.index(person),))
        for person, name in keys
    ]


def member_bytes(name: str, data: bytes) -> bytes:
    """Return one member of a .tar."""
    return b"".join(webdataset.sample_pieces(name, [("", data)]))


def classes_of(samples: Sequence[Sample]) -> list[str]:
    """Return the names of the classes by their number."""
    names = {int(sample.labels[0]): sample.identity for sample in samples}
    return [names.get(number, f"unused {number}") for number in range(max(names) + 1)]


def row_of(sample: Sample) -> Row:
    return sample.key, sample.identity, bytes(sample.data), sample.labels


def read_set(path: Path, order: Sequence[int] | None = None) -> list[Sample | Outcome]:
    """Read all images of a set, or those at the positions `order`."""
    with tempfile.TemporaryDirectory() as scratch, index_set(path, Path(scratch)) as found:
        return list(found.read(range(len(found)) if order is None else order))


def read_samples(path: Path) -> list[Sample]:
    """Read a set in which every image can be read."""
    found = read_set(path)
    assert not [each for each in found if isinstance(each, Outcome)], found
    return [each for each in found if isinstance(each, Sample)]


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a set in which every image can be read."""
    return [row_of(each) for each in read_samples(path)]
