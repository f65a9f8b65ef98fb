"""Writers of containers that are one image after the other: .tar and .tfrecord."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, ClassVar

from faceprep.core.io.image_end import check_images
from faceprep.core.types import Buffer, Outcome, Sink
from faceprep.sets import webdataset
from faceprep.sets.distinct_keys import is_path_inside
from faceprep.sets.folder import BAD_NAME
from faceprep.sets.image_paths import FORM, PLAIN, path_in_identity
from faceprep.sets.image_set import CheckedSample, Found, Sample, SampleRun
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


class _Pieces:
    """Pieces of a file, joined for one write once there are enough of them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pieces: list[Buffer] = []
        self._n_bytes = 0

    def add(self, pieces: Iterable[Buffer], n_bytes: int = 0) -> None:
        """Append pieces, which hold about this many bytes of images."""
        self._pieces.extend(pieces)
        self._n_bytes += n_bytes
        if self._n_bytes >= _AT_ONCE or len(self._pieces) >= _MOST_PIECES:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet."""
        self._file.write(b"".join(self._pieces))
        self._pieces.clear()
        self._n_bytes = 0


class _StreamWriter(SetWriter):
    """Writes bytes per image; the parts of a file are joined byte by byte."""

    end: ClassVar[bytes] = b""
    """The bytes at the end of a file."""

    def write(self, found: Iterator[Found], part: OutPart, sink: Sink) -> Iterator[Outcome]:
        out = _Pieces(part.open(sink))

        def add(_: int, checked: CheckedSample) -> Outcome | None:
            pieces = self.encode(checked)
            if isinstance(pieces, Outcome):
                return pieces
            out.add(pieces, len(checked.sample.data))
            return None

        def add_run(_: int, run: SampleRun) -> bool:
            pieces = self.encode_run(run)
            if pieces:
                out.add(pieces, run.stops[-1] - run.starts[0])
            return bool(pieces)

        yield from write_each(found, part, add, add_run)
        if part.stop == part.n:
            out.add([self.end])
        out.flush()

    @abstractmethod
    def encode(self, checked: CheckedSample) -> Sequence[Buffer] | Outcome:
        """Return the bytes of one image in the file, in pieces, or why it cannot be written."""

    def encode_run(self, run: SampleRun) -> Sequence[Buffer]:
        """Return the bytes of a run, in pieces; none where its images are encoded one by one."""
        return ()

    def join(self, name: str, parts: Sequence[tuple[str, OutPart]], sink: Sink) -> None:
        with sink.open(name) as file:
            join_bytes(parts, sink, file)


def _leads_out(path: str) -> bool:
    return not is_path_inside(path)


class TarWriter(_StreamWriter):
    """Writes IDENTITY/NAME.jpg for each image, and IDENTITY/NAME.cls where it has an identity."""

    kind: ClassVar[str] = "webdataset"
    can: ClassVar[Capabilities] = Capabilities(many_labels=True, forbids=_leads_out)
    has_paths: ClassVar[bool] = True
    holds_plain_keys: ClassVar[bool] = True
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

    def encode(self, checked: CheckedSample) -> Sequence[Buffer] | Outcome:
        sample = checked.sample
        name = path_in_identity(sample.key, sample.identity, self.settings[FORM])
        if _leads_out(name):
            return Outcome(sample.key, BAD_NAME, f"{ascii(name)}: a .tar cannot hold this name")
        key = webdataset.key_of(self.read_back(name))
        files = [(checked.header.suffix, sample.data), *self._describe(sample).items()]
        return webdataset.sample_pieces(key, files)

    def encode_run(self, run: SampleRun) -> Sequence[Buffer]:
        if self.settings[FORM] != PLAIN:
            return ()
        headers = check_images(run.block, run.starts, run.stops)
        numbers = list(map(self.classes.number, run.identities))
        if min(numbers) < 0 or any(header.damage for header in headers):
            return ()
        block, pieces = memoryview(run.block), list[Buffer]()
        columns = (run.keys, headers, run.starts, run.stops, numbers)
        for key, header, start, stop, number in zip(*columns, strict=True):
            files = (header.suffix, block[start:stop]), (".cls", b"%d" % number)
            pieces += webdataset.sample_pieces(webdataset.key_of(key), files)
        return pieces

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
