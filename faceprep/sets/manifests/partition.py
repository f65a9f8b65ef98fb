"""Cuts a selection into files and parts, and writes down for each part which images it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from faceprep.core.arrays import Ints
from faceprep.core.errors import OptionError
from faceprep.core.names import VAL_END
from faceprep.core.shards import cut_at, cut_evenly, even_bounds, whole_stage
from faceprep.core.types import Outcome, Shard
from faceprep.sets.listing import Listing
from faceprep.sets.manifests.layout import TRAINING, VALIDATION, Block, FilePlan
from faceprep.sets.split import Selection

REFUSED = "refused"
"""The stage of shards whose images are in no file; their payload is the outcomes."""
_LISTED, _LOADED, _WHOLE = 1 << 16, 1 << 14, 1 << 17
"""Most images of a part: of names alone; with images or embeddings; where the part is one of
several files.
"""


@dataclass
class Cutter:
    """A collector of shards and files; the payload of a shard is the name of its file.

    `source` is the path of the set, `rows` are the embedding rows of the images. `is_heavy` says
    that parts hold more than names, `part_is_file` that a single part needs no joining. `width` is
    that of `Layout`.
    """

    scratch: Path
    source: str
    listing: Listing
    class_of: Ints
    prefix: str
    rows: Ints | None = None
    is_heavy: bool = False
    part_is_file: bool = True
    width: int = 1
    shards: list[Shard] = field(default_factory=list)
    files: dict[str, FilePlan] = field(default_factory=dict)

    def add_split(self, split: str, output: Path, positions: Ints, n_files: int) -> None:
        """Add the files of one split: `output` itself, or NAME-00000-of-00008.SUFFIX and so on."""
        whole = FilePlan(split, [], 0, positions.size, False)
        edges = [k * positions.size // n_files for k in range(n_files + 1)]
        for number, (start, stop) in enumerate(zip(edges, edges[1:], strict=False)):
            if n_files > 1:
                name = f"{output.stem}-{number:05d}-of-{n_files:05d}{output.suffix}"
            else:
                name = output.name
            self._add_file(name, positions[start:stop], whole, n_files > 1)

    def _add_file(self, name: str, positions: Ints, split: FilePlan, is_one_of_many: bool) -> None:
        whole = is_one_of_many and positions.size <= _WHOLE
        if whole:
            size = _WHOLE
        elif self.is_heavy:
            size = _LOADED
        else:
            size = _LISTED
        bounds = even_bounds(positions.size, size)
        shards = cut_at(bounds, self.source, first=len(self.shards))
        for shard in shards:
            self._save_block(shard, positions[shard.start : shard.stop])
        self.shards += [replace(shard, payload=name) for shard in shards]
        ids = [shard.id for shard in shards]
        has_one_part = self.part_is_file and len(ids) == 1
        self.files[name] = replace(
            split, shards=ids, n_images=positions.size, has_one_part=has_one_part
        )

    def _save_block(self, shard: Shard, positions: Ints) -> None:
        paths = self.listing.paths(positions)
        rows = [] if self.rows is None else self.rows[positions].tolist()
        self.width = max(self.width, len(self.prefix) + max(map(len, paths)))
        Block(paths, positions.tolist(), self.class_of[positions].tolist(), rows).save(
            self.scratch, shard.id
        )

    def add_refused(self) -> None:
        """Add the images that are in no file, so that each has its Outcome."""
        refused = sorted(self.listing.refused)
        shards = cut_evenly(
            len(refused), _LISTED, self.source, stage=REFUSED, id_format="{stage}-{n:06d}"
        )
        for shard in shards:
            positions = np.array(refused[shard.start : shard.stop])
            reasons = [self.listing.refused[position] for position in positions.tolist()]
            outcomes = [
                Outcome(path, *reason)
                for path, reason in zip(self.listing.paths(positions), reasons, strict=True)
            ]
            self.shards.append(replace(shard, payload=outcomes))

    def add_outcomes(self, name: str, outcomes: Sequence[Outcome]) -> None:
        """Add outcomes of what is not an image, such as faults of the container itself."""
        if outcomes:
            shard = whole_stage(f"{REFUSED}-{name}", self.source, payload=outcomes)
            self.shards.append(replace(shard, stage=REFUSED))


def cut(cutter: Cutter, output: Path, chosen: Selection, n_files: int) -> None:
    """Cut a selection into all files of a manifest.

    Raises OptionError when there are more files than images.
    """
    if n_files > chosen.train.size:
        raise OptionError(
            "--shards",
            expected=f"at most {chosen.train.size}, the number of training images",
            found=str(n_files),
        )
    cutter.add_split(TRAINING, output, chosen.train, n_files)
    if chosen.val.size:
        val = output.with_name(f"{output.stem}{VAL_END}{output.suffix}")
        cutter.add_split(VALIDATION, val, chosen.val, min(n_files, chosen.val.size))
