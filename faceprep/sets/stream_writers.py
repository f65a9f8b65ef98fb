"""Writers of containers that are one image after the other: .tar and .tfrecord."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

from faceprep.core.types import Buffer, Outcome, Sink
from faceprep.sets import webdataset
from faceprep.sets.image_paths import FORM, path_in_identity
from faceprep.sets.image_set import CheckedSample, Sample
from faceprep.sets.set_writer import (
    Capabilities,
    OutPart,
    SetNames,
    Settings,
    SetWriter,
    has_double_suffixes,
    has_twins,
    join_bytes,
    write_each,
)
from faceprep.sets.tfrecord_set import encode_sample

_AT_ONCE = 256 << 10
"""Bytes of images that are joined for one write; they stay in the processor's cache."""
_MOST_PIECES = 1 << 14
_CUTS_SUFFIXES = "cuts_suffixes"


class _StreamWriter(SetWriter):
    """Writes bytes per image; the parts of a file are joined byte by byte."""

    end: ClassVar[bytes] = b""
    """The bytes at the end of a file."""

    def write(
        self, samples: Iterator[Sample | Outcome], part: OutPart, sink: Sink
    ) -> Iterator[Outcome]:
        file = part.open(sink)
        block: list[Buffer] = []
        n_bytes = 0

        def add(_: int, checked: CheckedSample) -> None:
            nonlocal n_bytes
            block.extend(self.encode(checked))
            n_bytes += len(checked.sample.data)
            if n_bytes >= _AT_ONCE or len(block) >= _MOST_PIECES:
                file.write(b"".join(block))
                block.clear()
                n_bytes = 0

        yield from write_each(samples, part, add)
        if part.stop == part.n:
            block.append(self.end)
        file.write(b"".join(block))

    @abstractmethod
    def encode(self, checked: CheckedSample) -> Sequence[Buffer]:
        """Return the bytes of one image in the file, in pieces."""

    def join(self, name: str, parts: Sequence[tuple[str, OutPart]], sink: Sink) -> None:
        with sink.open(name) as file:
            join_bytes(parts, sink, file)


class TarWriter(_StreamWriter):
    """Writes IDENTITY/NAME.jpg for each image, and IDENTITY/NAME.cls where it has an identity."""

    kind: ClassVar[str] = "webdataset"
    can: ClassVar[Capabilities] = Capabilities(many_labels=True)
    has_paths: ClassVar[bool] = True
    overhead: ClassVar[int] = 1800
    end: ClassVar[bytes] = webdataset.END

    @classmethod
    def choose_settings(cls, names: SetNames) -> Settings:
        """Leave the suffix out of the keys, unless they would lose it or seem to have another."""
        both = filter(None, (names, names.before))
        keeps = any(has_twins(each) or has_double_suffixes(each) for each in both)
        return {FORM: names.form, _CUTS_SUFFIXES: not keeps}

    @property
    def cuts_suffixes(self) -> bool:
        return bool(self.settings[_CUTS_SUFFIXES])

    def encode(self, checked: CheckedSample) -> Sequence[Buffer]:
        sample = checked.sample
        name = path_in_identity(sample.key, sample.identity, self.settings[FORM])
        key = webdataset.key_of(self.read_back(name))
        files = [(checked.header.suffix, sample.data), *self._describe(sample).items()]
        return webdataset.sample_pieces(key, files)

    def _describe(self, sample: Sample) -> dict[str, Buffer]:
        """Return the other files of a sample: class, several labels, and what a .tar had more."""
        files: dict[str, Buffer] = {}
        number = self.classes.number(sample.identity)
        if number >= 0:
            files[".cls"] = b"%d" % number
        if len(sample.labels) > 1:
            files[".json"] = json.dumps({"labels": sample.labels}).encode()
        for name, data in sample.extra.items():
            is_stated = name == "cls" and sample.labels
            if "/" not in name and not is_stated:
                files[f".{name}"] = data
        return files


class TfrecordWriter(_StreamWriter):
    """Writes a tf.train.Example for each image."""

    kind: ClassVar[str] = "tfrecord"
    can: ClassVar[Capabilities] = Capabilities(suffixes=True)

    def encode(self, checked: CheckedSample) -> Sequence[Buffer]:
        sample = checked.sample
        return (encode_sample(sample, self.classes.number(sample.identity)),)
