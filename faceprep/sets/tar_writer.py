"""Writes a set as WebDataset shards: image, class, and the labels of a record with several."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import ClassVar

from faceprep.core.io.image_header import is_image_name
from faceprep.core.types import Outcome, Sink
from faceprep.sets import webdataset
from faceprep.sets.folder import path_in_identity
from faceprep.sets.image_set import ImageSet, Sample, check_sample
from faceprep.sets.set_writer import (
    Capabilities,
    OutPart,
    Settings,
    SetWriter,
    has_twins,
    join_bytes,
)


class TarWriter(SetWriter):
    """Writes IDENTITY/NAME.jpg and IDENTITY/NAME.cls for each image."""

    kind: ClassVar[str] = "webdataset"
    can: ClassVar[Capabilities] = Capabilities(many_labels=True)

    @classmethod
    def choose_settings(cls, images: ImageSet) -> Settings:
        """Leave the suffix out of the keys, unless two images differ in it alone."""
        return {"cuts_suffixes": not has_twins(images)}

    def write(
        self, samples: Iterator[Sample | Outcome], part: OutPart, sink: Sink
    ) -> Iterator[Outcome]:
        file = part.open(sink)
        for each in samples:
            checked = check_sample(each)
            if isinstance(checked, Outcome):
                yield checked
                continue
            sample, header = checked
            file.write(self._encode(sample, header.suffix))
            yield Outcome(sample.key)
        if part.stop == part.n:
            file.write(webdataset.END)

    def _encode(self, sample: Sample, suffix: str) -> bytes:
        name = path_in_identity(sample)
        if self.settings["cuts_suffixes"] and is_image_name(name):
            name = name.rpartition(".")[0]
        key = webdataset.key_of(name)
        number = self.classes.numbers.get(sample.identity, -1)
        encoded = webdataset.sample_bytes(key, sample.data, suffix, number)
        if len(sample.labels) > 1:
            text = json.dumps({"labels": sample.labels}).encode()
            encoded += webdataset.member_bytes(f"{key}.json", text)
        return encoded

    def join(self, name: str, parts: Sequence[tuple[str, OutPart]], sink: Sink) -> None:
        with sink.open(name) as file:
            join_bytes(parts, sink, file)
