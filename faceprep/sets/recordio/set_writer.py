"""Writes a set as an MXNet .rec with its .idx: images in the given order, without metadata.

Keys are the names of the images where all are numbers, else positions. A record that comes from a
.rec keeps its header, byte for byte; another one gets its class as the label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from faceprep.core import storage
from faceprep.core.errors import SourceError
from faceprep.core.types import Outcome, Sink
from faceprep.sets.image_set import Sample, check_sample
from faceprep.sets.recordio.framing import frame_image, frame_with_header
from faceprep.sets.recordio.image_set import HEADER
from faceprep.sets.recordio.records import EXACT_FLOATS
from faceprep.sets.set_writer import (
    PART,
    Capabilities,
    OutPart,
    SetNames,
    Settings,
    SetWriter,
    are_numbers,
    number_of,
)

_ROWS = ".rows"
_ROW = np.dtype([("key", "<i8"), ("length", "<i8")])
_BLOCK = 64


class RecWriter(SetWriter):
    """Writes NAME.rec and NAME.idx."""

    kind: ClassVar[str] = "rec"
    can: ClassVar[Capabilities] = Capabilities(
        text_keys=False, identity_names=False, many_labels=True
    )
    parts_are_files: ClassVar[bool] = False

    @classmethod
    def choose_settings(cls, names: SetNames) -> Settings:
        """Keep names of images as keys and names of identities as labels where all are numbers."""
        n = len(names.identities)
        if n > EXACT_FLOATS:
            raise SourceError(
                f"{n:,} identities: labels of a .rec are float32, exact only below "
                f"{EXACT_FLOATS:,}",
                remedy="Choose another container.",
            )
        return {"keeps_keys": names.are_number_keys, "keeps_labels": are_numbers(names.identities)}

    def files(self, n_files: int) -> list[str]:
        """Return NAME.rec, or NAME_1.rec, NAME_2.rec and so on, as sets in parts are called."""
        if n_files == 1:
            return [self.output.name]
        return [f"{self.output.stem}_{number}.rec" for number in range(1, n_files + 1)]

    def side_files(self, n_files: int) -> list[str]:
        indexes = [f"{Path(name).stem}.idx" for name in self.files(n_files)]
        return [*indexes, *super().side_files(n_files)]

    def write(
        self, samples: Iterator[Sample | Outcome], part: OutPart, sink: Sink
    ) -> Iterator[Outcome]:
        rows: list[tuple[int, int]] = []
        block: list[bytes] = []
        file = sink.open_part(PART)
        for position, each in enumerate(samples, part.start):
            checked = check_sample(each)
            if isinstance(checked, Outcome):
                yield checked
                continue
            sample, header = checked
            key = self._key(sample, position)
            block.append(self._frame(sample, key))
            rows.append((key, len(block[-1])))
            if len(block) == _BLOCK:
                file.write(b"".join(block))
                block.clear()
            yield Outcome(sample.key)
        file.write(b"".join(block))
        sink.open_part(_ROWS).write(np.array(rows, _ROW).tobytes())

    def _key(self, sample: Sample, position: int) -> int:
        number = number_of(sample.key) if self.settings["keeps_keys"] else None
        return position if number is None else number

    def _frame(self, sample: Sample, key: int) -> bytes:
        if HEADER in sample.extra:
            return frame_with_header(sample.extra[HEADER], sample.data)
        label = self.classes.number(sample.identity)
        if self.settings["keeps_labels"] and sample.identity:
            label = int(sample.identity)
        labels = sample.labels or (label,)
        return frame_image(labels, bytes(sample.data), key)

    def join(self, name: str, parts: Sequence[tuple[str, OutPart]], sink: Sink) -> None:
        """Write the records and the lines of the index."""
        offset = 0
        with sink.open(name) as rec, sink.open(f"{Path(name).stem}.idx") as idx:
            for shard_id, _ in parts:
                rows = np.fromfile(sink.part_path(shard_id, _ROWS), _ROW)
                starts = offset + np.cumsum(rows["length"]) - rows["length"]
                pairs = zip(rows["key"].tolist(), starts.tolist(), strict=True)
                idx.write(b"".join(b"%d\t%d\n" % pair for pair in pairs))
                storage.append_file(sink.part_path(shard_id, PART), rec)
                offset += int(rows["length"].sum())
