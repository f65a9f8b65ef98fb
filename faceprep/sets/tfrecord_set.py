"""TFRecord files with images as a set: one file, a folder of them, or a family.

Three layouts are read: ours (`image_raw`, `label`, `image_names`, `identity`), that of TensorFlow's
models (`image/encoded`, `image/class/label`, `image/class/text`, `image/filename`), and that of
TensorFlow Datasets (`image`, `label`, and the class names in `label.labels.txt`). Class numbers are
kept as found, whether they begin at 0 or 1. Where a record has a feature in two of them, the first
in each list below is read, and the other is a loss unless its value is the same.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from faceprep.core import registry, storage
from faceprep.core.errors import SourceError
from faceprep.core.io.image_bytes import BAD_LABEL, BAD_RECORD, UNDECODABLE, UNREADABLE
from faceprep.core.io.image_header import read_header
from faceprep.core.os_errors import is_fault
from faceprep.core.paths import is_file
from faceprep.core.storage import ByteSource
from faceprep.core.text import name_all
from faceprep.core.types import Outcome
from faceprep.sets import tfrecord
from faceprep.sets.distinct_keys import FACT, KeyCheck, join_key, keep_key, read_key, read_keys
from faceprep.sets.example_fields import Range, find_features, find_value, find_values
from faceprep.sets.file_family import (
    damage_fault,
    empty_faults,
    find_files,
    fingerprint_files,
    pack_place,
    unpack_place,
)
from faceprep.sets.image_set import CLASS_NAMES, FAULTS, FILES, MAX_LABELS, UNREAD, ImageSet, Sample
from faceprep.sets.members import warn_of_others
from faceprep.sets.open_files import OpenFiles
from faceprep.sets.protobuf import Malformed
from faceprep.sets.read_ahead import announce_reads
from faceprep.sets.recordio.records import IdentityNames
from faceprep.sets.set_index import IndexWriter, SetIndex

log = logging.getLogger("faceprep")
SUFFIXES = registry.CONTAINERS["tfrecord"].suffixes
_IMAGE = (b"image_raw", b"image/encoded", b"image")
_LABEL = (b"label", b"image/class/label", b"image_classes")
_IDENTITY = b"identity"
_TEXT = (b"image/class/text", _IDENTITY)
_NO_CLASS: tuple[tuple[float, ...], str] = ((-1,), "-1")
"""The label of an image without an identity in our layout and in that of TensorFlow Datasets."""
_MAY_BE_UNNAMED = frozenset([_IDENTITY, b"image"])
"""The features that these two layouts have."""
_KEY, _NAME = b"image_names", b"image/filename"
_CLASS_NAMES = "label.labels.txt"
_DESCRIPTIONS = ("dataset_info.json", "features.json")
"""What TensorFlow Datasets writes beside its files about all of them."""
_ALTERNATIVES = (_IMAGE, _LABEL, _TEXT)
_DERIVED = (b"height", b"width", b"channels", b"colorspace", b"format", b"key/sha256")
"""What the features image/… of TensorFlow's datasets say of an image, and the image says itself."""
_READ = {*_IMAGE, *_LABEL, *_TEXT, _KEY, _NAME, *(b"image/" + name for name in _DERIVED)}
_CHUNK = 1 << 14

Features = Mapping[bytes, Range]


class _Facts(NamedTuple):
    identity: str = ""
    name: str = ""
    labels: tuple[float, ...] = ()


class TfrecordSet(ImageSet):
    """A set in one or several .tfrecord files."""

    kind: ClassVar[str] = "tfrecord"

    def __init__(self, path: str, index: SetIndex) -> None:
        super().__init__(path, index)
        self._paths: list[str] = list(index.facts[FILES])
        self._names = [Path(file).name for file in self._paths]
        self._files = OpenFiles(self._paths, ByteSource)
        self._facts = _FactReader()

    @classmethod
    def is_kind(cls, path: Path) -> bool:
        """Return whether the first record holds an image, or cannot be read."""
        try:
            return not _lacks_images(find_files(path, *SUFFIXES))
        except SourceError:
            return True

    @classmethod
    def build_index(cls, path: Path, index: IndexWriter) -> None:
        """Write the columns in one pass over the files; lengths are checked, images are not."""
        files = find_files(path, *SUFFIXES)
        found = _lacks_images(files)
        if found:
            raise SourceError(
                "a list without images",
                path=path,
                expected="records with image_raw, image/encoded or image",
                found=found,
                remedy="Make it with --with-images.",
            )
        beside = [files[0].with_name(name) for name in (_CLASS_NAMES, *_DESCRIPTIONS)]
        warn_of_others(path, [*files, *beside])
        classes = _read_class_names(files[0])
        check, facts = KeyCheck(index.folder), _FactReader(classes)
        empty: list[str] = []
        damaged: dict[str, SourceError] = {}
        for number, file in enumerate(files):
            with ByteSource(file) as source:
                if error := _index_file(source, number, facts, index, check):
                    damaged[file.name] = error
                empty += [file.name] * (not source.size)
        if damaged and not len(index):
            raise next(iter(damaged.values()))
        faults = [damage_fault(name, error) for name, error in damaged.items()]
        index.facts = {
            FILES: [str(file) for file in files],
            FAULTS: faults + empty_faults(empty),
            FACT: check.choose(path),
            MAX_LABELS: facts.max_labels,
            CLASS_NAMES: classes,
            UNREAD: name_all("other feature", sorted(map(_decode, facts.unread))),
        }
        index.fingerprint = fingerprint_files([*files, *_class_names_beside(files[0])])

    def keys(self, start: int, stop: int) -> list[str]:
        return read_keys(self.index, start, stop)

    def key(self, position: int) -> str:
        return read_key(self.index, position)

    def read(self, positions: Sequence[int]) -> Iterator[Sample | Outcome]:
        places = self.index.places
        for block in announce_reads(self._files, places.__getitem__, positions):
            for position in block:
                number, offset = unpack_place(places.item(position, 0))
                yield self._read_one(position, number, offset, places.item(position, 1))

    def _read_one(self, position: int, number: int, offset: int, length: int) -> Sample | Outcome:
        key = self.key(position)
        place = f"{self._names[number]} at offset {offset}"
        try:
            source = self._files.open(number)
        except SourceError as error:
            return Outcome(key, UNREADABLE, str(error))
        try:
            data = tfrecord.read_data(source, offset, length)
            features = find_features(data, 0, length)
            image = _first(features, _IMAGE)
            spans = find_values(data, *image) if image else []
            labels, _ = self._facts.read_label(data, features)
        except SourceError as error:
            return Outcome(key, BAD_RECORD, str(error))
        except Malformed as problem:
            return Outcome(key, BAD_RECORD, f"{place}: not a tf.train.Example: {problem}")
        if len(spans) > 1:
            reason = f"expected one image, found {len(spans)}; write a record for each"
            return Outcome(key, BAD_RECORD, f"{place}: {reason}")
        image_bytes = data[slice(*spans[0])] if spans else b""
        if not image_bytes:
            return Outcome(key, UNDECODABLE, f"{place}: no bytes where an image was expected")
        identity = self.identity(position)
        if labels and not math.isfinite(labels[0]):
            return Outcome(key, BAD_LABEL, f"{place}: expected a finite label, found {labels[0]}")
        return Sample(key, identity, image_bytes, labels, place)

    def close(self) -> None:
        self._files.close()


class _FactReader:
    """Reads identity, name and labels of examples; features that recur are decoded once.

    `max_labels` is the largest number of labels so far, and `unread` are the names of features that
    hold more than what is read.
    """

    def __init__(self, classes: Sequence[str] = ()) -> None:
        self._classes = classes
        self.max_labels = 1
        self.unread: set[bytes] = set()
        self._spare: dict[frozenset[bytes], list[tuple[bytes, bytes]]] = {}
        self._texts = IdentityNames()
        self._labels: dict[bytes, tuple[tuple[float, ...], str]] = {}

    def read(self, data: bytes, features: Features) -> _Facts:
        """Read the small features of an example. Raises Malformed."""
        self._find_unread(data, features)
        labels, text = self.read_label(data, features)
        identity = self._read_text(data, _first(features, _TEXT)) or text
        key = self._read_text(data, features.get(_KEY))
        if key:
            return _Facts(identity, keep_key(identity, key), labels)
        name = self._read_text(data, features.get(_NAME))
        return _Facts(identity, join_key(identity, name), labels)

    def _find_unread(self, data: bytes, features: Features) -> None:
        """Add the names of the features that are not read, and of those that contradict these."""
        names = frozenset(features)
        spare = self._spare.get(names)
        if spare is None:
            self.unread |= names - _READ
            spare = self._spare[names] = list(_spare_features(features))
        for name, other in spare:
            if data[slice(*features[name])] != data[slice(*features[other])]:
                self.unread.add(other)

    def read_label(self, data: bytes, features: Features) -> tuple[tuple[float, ...], str]:
        """Return the labels, and the first of them as text. Raises Malformed."""
        span = _first(features, _LABEL)
        if span is None:
            return (), ""
        feature = data[slice(*span)]
        found = self._labels.get(feature)
        if found is None:
            found = self._decode_label(feature)
            if len(self._labels) < _CHUNK:
                self._labels[feature] = found
        if found == _NO_CLASS and not _MAY_BE_UNNAMED.isdisjoint(features):
            return (), ""
        return found

    def _read_text(self, data: bytes, span: Range | None) -> str:
        """Return the first value of a feature as text, also a number. Raises Malformed."""
        if span is None:
            return ""
        value = find_value(data, *span)
        if value is None:
            return self._decode_label(data[slice(*span)])[1]
        return _decode(data[slice(*value)])

    def _decode_label(self, feature: bytes) -> tuple[tuple[float, ...], str]:
        values = tfrecord.decode_feature(feature)
        numbers = tuple(value for value in values if not isinstance(value, bytes))
        self.max_labels = max(self.max_labels, len(values))
        if not values:
            return (), ""
        first = values[0]
        if isinstance(first, bytes):
            return numbers, _decode(first)
        if isinstance(first, int):
            is_named = 0 <= first < len(self._classes)
            return numbers, self._classes[first] if is_named else str(first)
        return numbers, self._texts[first]


def _first(features: Features, names: Sequence[bytes]) -> Range | None:
    for name in names:
        if name in features:
            return features[name]
    return None


def _spare_features(features: Features) -> Iterator[tuple[bytes, bytes]]:
    """Yield (the feature that is read, one that is not because of it)."""
    for names in _ALTERNATIVES:
        first, *others = [name for name in names if name in features] or [b""]
        yield from ((first, other) for other in others)


def _class_names_beside(file: Path) -> list[Path]:
    """Return the path of the class names beside a file of TensorFlow Datasets, if there are any."""
    return [path for path in [file.with_name(_CLASS_NAMES)] if is_file(path)]


def _read_class_names(file: Path) -> list[str]:
    """Return the class names beside a file by number, one a line as TensorFlow Datasets has it.

    Empty, with a warning, where two classes have one name: their images would be one identity.
    """
    lines = [
        _decode(line).strip()
        for path in _class_names_beside(file)
        for line in storage.read_bytes(path).split(b"\n")
    ]
    names = [line for line in lines if line]
    if len(set(names)) < len(names):
        log.warning("%s has a name twice, so its names are not used", file.with_name(_CLASS_NAMES))
        return []
    return names


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _lacks_images(files: Sequence[Path]) -> str:
    """Return the features of the first sound record if none is an image, else nothing.

    Raises SourceError where the first record of every file is damaged.
    """
    damage: SourceError | None = None
    for file in files:
        try:
            features = _find_first_features(file)
        except SourceError as error:
            damage = damage or error
            continue
        if features is None:
            continue
        if _first(features, _IMAGE):
            return ""
        return ", ".join(map(_decode, features)) or "a record without features"
    if damage:
        raise damage
    return ""


def _find_first_features(file: Path) -> Features | None:
    """Return the features of the first record; None in an empty file. Raises SourceError."""
    with ByteSource(file) as source:
        for offset, length, window, start in tfrecord.scan_records(source):
            try:
                return find_features(window, start, start + length)
            except Malformed as problem:
                raise SourceError(
                    f"the record is not a tf.train.Example: {problem}",
                    path=file,
                    where=f"offset {offset}",
                ) from None
    return None


def _index_file(
    source: ByteSource, number: int, reader: _FactReader, index: IndexWriter, check: KeyCheck
) -> SourceError | None:
    """Add the records of a file up to the first damage, and return the error about it.

    Nothing after the damage can be found. Raises SourceError for a fault of the disk.
    """
    rows: list[tuple[int, int]] = []
    facts: list[_Facts] = []
    damage: SourceError | None = None
    try:
        for offset, length, window, start in tfrecord.scan_records(source):
            rows.append((pack_place(number, offset), length))
            facts.append(_read_facts(reader, window, start, length))
            if len(rows) == _CHUNK:
                _add_rows(index, check, rows, facts)
                rows, facts = [], []
    except SourceError as error:
        if is_fault(error):
            raise
        damage = error
    _add_rows(index, check, rows, facts)
    return damage


def _read_facts(reader: _FactReader, window: bytes, start: int, length: int) -> _Facts:
    try:
        return reader.read(window, find_features(window, start, start + length))
    except Malformed:
        return _Facts()


def _add_rows(
    index: IndexWriter, check: KeyCheck, rows: list[tuple[int, int]], facts: list[_Facts]
) -> None:
    names = [each.name for each in facts]
    check.add(names)
    index.add(names, index.number_identities(each.identity for each in facts), rows)


def encode_sample(sample: Sample, class_number: int) -> bytes:
    """Encode an image as a framed record."""
    suffix = read_header(sample.data).suffix or ".jpg"
    return tfrecord.frame(tfrecord.encode_example(features_of(sample, class_number, suffix)))


def features_of(sample: Sample, class_number: int, suffix: str) -> dict[str, bytes | int]:
    """Return the features of an image by name.

    `image_names` is the key with `suffix`, that of the image's format, so that it reads as a file
    name.
    """
    return {
        "image_raw": bytes(sample.data),
        "label": class_number,
        "image_names": (sample.key + suffix).encode("utf-8", "surrogateescape"),
        "identity": sample.identity.encode("utf-8", "surrogateescape"),
    }
