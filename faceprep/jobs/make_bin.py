"""`make-bin`: make a verification .bin from a set, with drawn or listed pairs."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, islice
from math import isqrt
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from faceprep.core.errors import OptionError, SourceError
from faceprep.core.job import Job
from faceprep.core.options import Values, option
from faceprep.core.random_order import draw_distinct
from faceprep.core.shards import cut_evenly, even_bounds, whole_stage
from faceprep.core.types import Outcome, Request, Shard, Sink, Stage, Work
from faceprep.core.urls import url_of
from faceprep.sets.containers import open_set
from faceprep.sets.image_set import ImageSet, Sample, check_sample
from faceprep.sets.name_lookup import ImageFinder
from faceprep.sets.pairs_bin import container as pairs_bin
from faceprep.sets.pairs_bin.pair_lists import read_pairs_list
from faceprep.steps.list_options import ListOptions
from faceprep.steps.listed_set import ListedSet, list_people, list_source, read_listed
from faceprep.vision import codec
from faceprep.vision.load_image import load_image_bytes

_SHARD = 512
_FOLDS = 10
_NAMES = 1 << 16
_PACK, _REFUSED = "pack", "refused"
_KEPT = (".jpg", ".png")


class _Pair(NamedTuple):
    """Two images, by their places in the listing of SRC; `problem` says why they cannot be used."""

    key: str
    first: int
    second: int
    same: bool
    problem: str = ""


@dataclass(frozen=True)
class MakeBin(ListOptions, Job):
    """Make a verification .bin of drawn or listed pairs.

    SRC is any set; to draw pairs, its images need identities. Drawn pairs are all different, and
    all pairs of one kind are equally likely. They form 10 folds. In each fold, half of the pairs
    show one person and come first, and half show two people. If an image is damaged, it is named in
    failures.csv, and another pair is drawn. JPEG and PNG bytes are kept; other formats become PNG.
    A listed pair with a missing or damaged image is left out and named.
    """

    command: ClassVar[str] = "make-bin"
    has_file_output: ClassVar[bool] = True

    pairs: int | None = option(None, "Draw this many pairs, a multiple of 20.")
    seed: int | None = option(None, "Seed the draw; required with --pairs.", values=Values("S"))
    pairs_file: Path | None = option(
        None,
        "Take the pairs from this list: LFW's pairs.txt, lines of PATH PATH 1 or 0, or the "
        "pairs.csv of bin2folder.",
        values=Values("FILE"),
    )

    def __post_init__(self) -> None:
        if (self.pairs is None) == (self.pairs_file is None):
            raise OptionError(
                "invalid source of the pairs", expected="either --pairs N or --pairs-file FILE"
            )
        if self.pairs is not None and (self.pairs < 1 or self.pairs % (2 * _FOLDS)):
            expected = (
                f"a multiple of {2 * _FOLDS} ({_FOLDS} folds, in each as many pairs of one "
                "person as of two)"
            )
            raise OptionError("--pairs", expected=expected, found=str(self.pairs))
        if self.pairs is not None and self.seed is None:
            raise OptionError("drawing pairs needs a --seed", expected="--seed S")

    def plan(self, request: Request, scratch: Path) -> Work:
        source = request.sources[0]
        listed = list_source(source, scratch, relative_to=self.relative_to)
        listed.save(scratch)
        if self.pairs:
            with open_set(scratch) as opened:
                pairs, refused = self._draw(source, _Images(listed, opened))
        else:
            with open_set(scratch) as opened:
                pairs, refused = self._listed(source, _ListedNames(source, listed, opened)), []
        pairs = pairs[: request.limit]
        shards = [
            replace(shard, payload=pairs[shard.start : shard.stop])
            for shard in cut_evenly(len(pairs), _SHARD, source, stage=_PACK)
        ]
        if refused:
            shards.append(whole_stage(_REFUSED, source, len(refused), refused))
        n_bytes = 2 * len(pairs) * listed.n_bytes // len(listed.listing)
        digest = hashlib.sha256(json.dumps(pairs).encode()).hexdigest()
        return Work(
            [Stage(_PACK, shards)],
            f"{digest}, {listed.state}",
            unit="pair",
            files=[request.output.name],
            n_bytes=n_bytes,
        )

    def _listed(self, source: Path, names: _ListedNames) -> list[_Pair]:
        pairs: list[_Pair] = []
        path = self.pairs_file or Path()
        for line, first, second, same in read_pairs_list(path):
            key = f"{path.name} line {line}"
            try:
                pairs.append(_Pair(key, names.find(first), names.find(second), same))
            except SourceError as error:
                pairs.append(_Pair(key, -1, -1, same, str(error)))
        if all(pair.problem for pair in pairs):
            expected = f"the images of {url_of(path)}"
            raise SourceError(
                "none of the pairs was found",
                path=source,
                expected=expected,
                found=pairs[0].problem,
            )
        return pairs

    def _draw(self, source: Path, images: _Images) -> tuple[list[_Pair], list[Outcome]]:
        """Return the pairs in their folds, and the damaged images that were met."""
        numbers = PairNumbers(images.counts)
        n_pairs, seed = self.pairs or 0, self.seed or 0
        _refuse_too_few(source, n_pairs, numbers)
        same = _choose(map(numbers.same, draw_distinct(numbers.n_same, 2 * seed)), n_pairs, images)
        different = _choose(
            map(numbers.different, draw_distinct(numbers.n_different, 2 * seed + 1)),
            n_pairs,
            images,
        )
        for kind, is_same in ((same, True), (different, False)):
            if len(kind) < n_pairs // 2:
                found = (
                    f"{len(kind):,}; {len(images.refused):,} images are damaged, such as "
                    f"{images.refused[0].reason}"
                )
                raise _too_few(
                    source, n_pairs, is_same, found, "Repair the images, or draw fewer pairs."
                )
        n_half = n_pairs // 2 // _FOLDS
        folds = [
            (same[i : i + n_half], different[i : i + n_half]) for i in range(0, len(same), n_half)
        ]
        drawn = [(a, b, i == 0) for fold in folds for i, half in enumerate(fold) for a, b in half]
        return [_Pair(f"pair {number}", *pair) for number, pair in enumerate(drawn)], images.refused

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        if shard.stage == _REFUSED:
            yield from shard.payload
            return
        part = pairs_bin.PairPart(sink)
        usable = [pair for pair in shard.payload if not pair.problem]
        found = read_listed(sink.scratch, [place for pair in usable for place in pair[1:3]])
        for pair in shard.payload:
            if pair.problem:
                yield Outcome(
                    pair.key, "missing", f"{pair.key}: {pair.problem}; the pair is left out"
                )
                continue
            loaded = [_load_encoded(next(found)), _load_encoded(next(found))]
            failed = [each for each in loaded if isinstance(each, Outcome)]
            if failed:
                yield pairs_bin.leave_out(pair.key, failed)
            else:
                part.add([each for each in loaded if not isinstance(each, Outcome)], pair.same)
                yield Outcome(pair.key)

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        ids = [shard.id for shard in work.stages[0].shards if shard.stage != _REFUSED]
        if not pairs_bin.count_parts(sink, ids):
            raise SourceError("no pair could be made: each is named in failures.csv")
        with sink.open((work.files or [""])[0]) as file:
            pairs_bin.join_parts(file, sink, ids)


def _choose(
    pairs: Iterable[tuple[int, int]], n_pairs: int, images: _Images
) -> list[tuple[int, int]]:
    """Return the places of the first half of `n_pairs` pairs with two sound images, or fewer."""
    sound = (pair for pair in pairs if images.is_sound(pair[0]) and images.is_sound(pair[1]))
    return [
        (images.place(first), images.place(second)) for first, second in islice(sound, n_pairs // 2)
    ]


def _load_encoded(sample: Sample | Outcome) -> bytes | Outcome:
    """Return the bytes that go into the set, or the outcome of an unusable image."""
    checked = check_sample(sample)
    if isinstance(checked, Outcome):
        return checked
    data, key = bytes(checked.sample.data), checked.sample.key
    if checked.header.suffix in _KEPT:
        return data
    pixels = load_image_bytes(data, key, checked.sample.place)
    if isinstance(pixels, Outcome):
        return pixels
    return codec.encode(pixels, ".png")


class _ListedNames:
    """The names of the images of a set in a list of pairs: paths below the identity, or keys."""

    def __init__(self, source: Path, listed: ListedSet, opened: ImageSet) -> None:
        self._source, self._listed, self._opened = source, listed, opened
        self._paths = ImageFinder(source, self._paths_of, len(listed.listing))

    def find(self, name: str) -> int:
        """Return the place of an image in the listing. Raises SourceError for none or several."""
        try:
            return self._paths.find(name)
        except SourceError:
            if not self._keys_differ:
                raise
            return self._keys.find(name)

    @cached_property
    def _keys(self) -> ImageFinder:
        return ImageFinder(self._source, self._keys_of, len(self._listed.listing))

    @cached_property
    def _keys_differ(self) -> bool:
        bounds = even_bounds(len(self._listed.listing), _NAMES)
        return any(self._keys_of(*some) != self._paths_of(*some) for some in bounds)

    def _paths_of(self, start: int, stop: int) -> list[str]:
        return self._listed.listing.paths(np.arange(start, stop))

    def _keys_of(self, start: int, stop: int) -> list[str]:
        return [self._opened.key(i) for i in self._listed.order[start:stop].tolist()]


class _Images:
    """The images of a set that have an identity, numbered in class order."""

    def __init__(self, listed: ListedSet, opened: ImageSet) -> None:
        self._opened, self._order = opened, listed.order
        self.refused: list[Outcome] = []
        people = list_people(listed)
        self.counts: list[int] = people.counts.tolist()
        self._places = people.places
        self._sound: dict[int, bool] = {}

    def place(self, number: int) -> int:
        """Return the place of image `number` in the listing."""
        return int(self._places[number])

    def is_sound(self, number: int) -> bool:
        """Return whether the image can be used.

        It is read once, and a bad one is noted in `refused`.
        """
        if number not in self._sound:
            position = int(self._order[self.place(number)])
            loaded = _load_encoded(next(self._opened.read([position])))
            self._sound[number] = not isinstance(loaded, Outcome)
            if isinstance(loaded, Outcome):
                self.refused.append(loaded)
        return self._sound[number]


class PairNumbers:
    """Numbers of all pairs of images, identity by identity, so that drawing numbers draws pairs.

    `counts` are the image counts of the identities. A pair is (smaller, larger) image number.

    >>> numbers = PairNumbers([2, 1, 3])
    >>> [numbers.same(i) for i in range(numbers.n_same)]
    [(0, 1), (3, 4), (3, 5), (4, 5)]
    >>> numbers.n_different, numbers.different(0), numbers.different(10)
    (11, (0, 2), (2, 5))
    """

    def __init__(self, counts: Sequence[int]) -> None:
        self._starts = [0, *accumulate(counts)]
        self._same = [0, *accumulate(n * (n - 1) // 2 for n in counts)]
        self._different = [
            0,
            *accumulate(n * start for n, start in zip(counts, self._starts, strict=False)),
        ]
        self.n_same, self.n_different = self._same[-1], self._different[-1]

    def same(self, number: int) -> tuple[int, int]:
        """Return pair `number` of the `n_same` pairs within an identity."""
        identity = bisect_right(self._same, number) - 1
        rank, start = number - self._same[identity], self._starts[identity]
        second = (1 + isqrt(1 + 8 * rank)) // 2
        return start + rank - second * (second - 1) // 2, start + second

    def different(self, number: int) -> tuple[int, int]:
        """Return pair `number` of the `n_different` pairs of two identities."""
        identity = bisect_right(self._different, number) - 1
        start = self._starts[identity]
        later, earlier = divmod(number - self._different[identity], start)
        return earlier, start + later


def _refuse_too_few(source: Path, n_pairs: int, numbers: PairNumbers) -> None:
    most = min(numbers.n_same, numbers.n_different) // _FOLDS * 2 * _FOLDS
    remedy = f"Take at most --pairs {most}." if most else "More images are needed."
    for same, total, sum_of in (
        (True, numbers.n_same, "n × (n - 1) / 2 over the identities' n images"),
        (False, numbers.n_different, "n × m over each two identities' n and m images"),
    ):
        if total < n_pairs // 2:
            raise _too_few(source, n_pairs, same, f"{total:,}, the sum of {sum_of}", remedy)


def _too_few(source: Path, n_pairs: int, same: bool, found: str, remedy: str) -> SourceError:
    problem = f"not enough different pairs of {'one person' if same else 'two people'}"
    expected = f"{n_pairs // 2:,}, half of --pairs {n_pairs}"
    return SourceError(problem, path=source, expected=expected, found=found, remedy=remedy)
