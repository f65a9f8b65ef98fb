"""Writes a verification .bin: images two by two, in the given order.

Whether a pair shows one person is kept from a .bin; in any other set it is whether both images have
the same identity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from faceprep.core.errors import SourceError
from faceprep.core.text import count_noun
from faceprep.core.types import Outcome, Sink
from faceprep.sets.image_set import CheckedSample, Found, Sample, check_sample, read_singly
from faceprep.sets.pairs_bin.container import PairPart, join_parts
from faceprep.sets.pairs_bin.image_set import SAME_TEXTS, SHOWS_ONE
from faceprep.sets.set_writer import Capabilities, OutPart, SetNames, Settings, SetWriter

NO_PARTNER = "no_partner"
"""Status of a sound image whose pair is left out because the other image is damaged."""


class BinWriter(SetWriter):
    """Writes pairs of images, and whether each shows one person."""

    kind: ClassVar[str] = "bin"
    can: ClassVar[Capabilities] = Capabilities(keys=False, text_keys=False, identities=False)
    parts_are_files: ClassVar[bool] = False
    takes_new_names: ClassVar[bool] = False
    group: ClassVar[int] = 2

    @classmethod
    def choose_settings(cls, names: SetNames) -> Settings:
        """Refuse a set of which no pairs can be made. Raises SourceError."""
        if names.kind != cls.kind and names.n_unnamed:
            raise SourceError(
                "a .bin says which pairs show one person",
                path=names.path,
                expected="an identity for every image, or another .bin",
                found=f"{count_noun(names.n_unnamed, 'image')} without one",
            )
        return {}

    def side_files(self, n_files: int) -> list[str]:
        return []

    def write(self, found: Iterator[Found], part: OutPart, sink: Sink) -> Iterator[Outcome]:
        pairs = PairPart(sink)
        checked = map(check_sample, read_singly(found))
        for first, second in zip(checked, checked, strict=True):
            if isinstance(first, CheckedSample) and isinstance(second, CheckedSample):
                data = [first.sample.data, second.sample.data]
                pairs.add(data, _show_one_person(first.sample, second.sample))
            yield _outcome_of(first, second)
            yield _outcome_of(second, first)

    def join(self, name: str, parts: Sequence[tuple[str, OutPart]], sink: Sink) -> None:
        with sink.open(name) as file:
            join_parts(file, sink, [shard_id for shard_id, _ in parts])


def _show_one_person(first: Sample, second: Sample) -> bool:
    if SHOWS_ONE in first.extra:
        return first.extra[SHOWS_ONE] == SAME_TEXTS[True]
    return first.identity == second.identity


def _outcome_of(image: CheckedSample | Outcome, other: CheckedSample | Outcome) -> Outcome:
    """Return the outcome of an image beside the other one of its pair."""
    if isinstance(image, Outcome):
        return image
    key = image.sample.key
    if isinstance(other, Outcome):
        reason = f"{key}: the pair is left out: {other.reason}"
        return Outcome(key, NO_PARTNER, reason)
    return Outcome(key)
