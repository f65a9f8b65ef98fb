"""Images that a manifest leaves out: files that the index shows to be unusable, and, with --check,
images that turn out damaged when their head and tail are opened.

The checks are a stage of their own before the manifest is written, so that its counts are right.
The scratch folder has the positions and classes of each split; each shard of the stage leaves those
of its bad images. A class without any other image is left out, and the others are numbered without
it, unless their numbers were given.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from faceprep.core import storage
from faceprep.core.arrays import Ints
from faceprep.core.errors import SourceError
from faceprep.core.names import CLASSES_CSV
from faceprep.core.shards import cut_evenly
from faceprep.core.text import count_noun
from faceprep.core.types import Outcome, Shard, Sink
from faceprep.sets import class_map
from faceprep.sets.class_map import ClassRow
from faceprep.sets.containers import open_set
from faceprep.sets.image_set import ImageSet, check_sample
from faceprep.sets.label_rules import Unlabelled
from faceprep.sets.listing import Listing
from faceprep.sets.manifests.layout import LOST, TRAINING, VALIDATION, FilePlan, Layout, Part
from faceprep.sets.split import Selection

CHECK = "check"
"""The stage of shards that open images; the id of each begins with it."""

_AT_ONCE = 1 << 13
_BAD = ".bad"


def refuse_unusable(images: ImageSet, listing: Listing) -> None:
    """Refuse images whose file is missing, empty or not a regular file."""
    for position, outcome in images.find_unusable(len(listing)):
        listing.refused[position] = Unlabelled(outcome.status, outcome.reason)


def cut_checks(scratch: Path, source: str, chosen: Selection) -> dict[str, list[Shard]]:
    """Return the shards that check each split of `source`; their payload is the split.

    The images of the splits are left in the scratch folder.
    """
    checks = {}
    for split, positions in ((TRAINING, chosen.train), (VALIDATION, chosen.val)):
        in_order = np.sort(positions)
        images = np.stack([in_order, chosen.class_of[in_order]], 1).astype("<i8")
        storage.write_file(scratch / _name(split), images.tobytes(), durable=False)
        id_format = f"{{stage}}-{split}-{{n:06d}}"
        shards = cut_evenly(in_order.size, _AT_ONCE, source, stage=CHECK, id_format=id_format)
        checks[split] = [replace(shard, payload=split) for shard in shards]
    return checks


def check_images(shard: Shard, sink: Sink) -> Iterator[Outcome]:
    """Open every image of a shard; yield an Outcome for each bad one."""
    with storage.ByteSource(sink.scratch / _name(shard.payload)) as file:
        listed = np.frombuffer(file.read_at(16 * shard.start, 16 * len(shard)), "<i8")
    places = listed.reshape(-1, 2)
    bad: list[int] = []
    with open_set(sink.scratch) as images:
        for number, sample in enumerate(images.read(places[:, 0].tolist())):
            checked = check_sample(sample)
            if isinstance(checked, Outcome):
                bad.append(number)
                yield checked
    sink.open_part(_BAD).write(places[bad].tobytes())


def load_bad(sink: Sink, shards: Iterable[str]) -> Ints:
    """Return (position, class) of each image that the finished shards found bad, as (n, 2)."""
    found = [storage.read_bytes(sink.part_path(shard, _BAD)) for shard in shards]
    return np.frombuffer(b"".join(found), "<i8").astype(np.int64).reshape(-1, 2)


def load_kept(layout: Layout, sink: Sink) -> list[ClassRow]:
    """Return the classes of the plan that the manifest has, with their numbers in the plan."""
    rows = class_map.load(sink.scratch / CLASSES_CSV)
    if not layout.drops_classes:
        return rows
    bad = load_bad(sink, chain.from_iterable(layout.checks.values()))
    lost = Counter(bad[:, 1].tolist())
    return [row for row in rows if row.images > lost[row.number]]


def write_soundly(
    part: Part, checks: Sequence[str], write: Callable[[Part], Iterator[Outcome]]
) -> Iterator[Outcome]:
    """Write a part without the images that the shards `checks` found bad, and record its losses.

    Raises SourceError where none of the split are left.
    """
    bad = load_bad(part.sink, checks)[:, 0]
    if bad.size == part.file.n_split:
        raise nothing_sound(part.file)
    block, dropped = part.block.without(bad)
    lost = Counter(dropped)
    kept = load_kept(part.layout, part.sink)
    numbers = {row.number: number for number, row in enumerate(kept)}
    numbered = replace(block, classes=[numbers[label] for label in block.classes])
    layout = replace(part.layout, n_classes=len(kept))
    outcomes = write(replace(part, layout=layout, block=numbered, n_bad=bad.size))
    for outcome, label in zip(outcomes, block.classes, strict=True):
        if outcome.is_failure:
            lost[label] += 1
        yield outcome
    part.sink.open_part(LOST).write(json.dumps(list(lost.items())).encode())


def count_lost(layout: Layout, sink: Sink) -> Counter[int]:
    """Count, by class, the images that are in no part because they are bad.

    Raises SourceError where none of a split are left.
    """
    lost: Counter[int] = Counter()
    if not layout.may_lose:
        return lost
    left: Counter[str] = Counter()
    for plan in layout.files.values():
        left[plan.split] += plan.n_images
        for shard_id in plan.shards:
            here = dict(json.loads(storage.read_bytes(sink.part_path(shard_id, LOST))))
            lost.update(here)
            left[plan.split] -= sum(here.values())
    for plan in layout.files.values():
        if not left[plan.split]:
            raise nothing_sound(plan)
    return lost


def warn_of_empty(rows: Sequence[ClassRow], kept: Sequence[ClassRow], lost: Counter[int]) -> None:
    """Warn of classes whose images are all bad: left out, or with a number that is not used."""
    has_number = {row.number for row in kept}
    empty = [row for row in rows if row.images and row.images == lost[row.number]]
    left_out = [row.name for row in empty if row.number not in has_number]
    unused = [row.name for row in empty if row.number in has_number]
    class_map.warn_of_empty(left_out, "left out, and the others are numbered without a gap")
    class_map.warn_of_empty(unused)


def nothing_sound(plan: FilePlan) -> SourceError:
    """Return the error for a split whose images are all bad."""
    n = count_noun(plan.n_split, "image")
    return SourceError(
        f"the {plan.split} set would be empty: none of its {n} can be used",
        remedy="See failures.csv.",
    )


def _name(split: str) -> str:
    return f"{CHECK}-{split}"
