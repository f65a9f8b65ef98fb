"""Manifests that hold the images themselves, and their embeddings where there are some.

    .tfrecord  image_raw, label; with embeddings also those of a list (image_names, image_classes,
               embeddings), and identity
    .tar       IDENTITY/NAME.jpg, NAME.cls; with embeddings also NAME.npy
    .parquet   image, label, identity, key; with embeddings also embeddings

An image whose head or tail is damaged is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from faceprep.core.arrays import Reals
from faceprep.core.io.image_header import is_image_name
from faceprep.core.io.npz import npy_bytes
from faceprep.core.names import identity_of
from faceprep.core.types import Outcome, Sink
from faceprep.sets import tfrecord, webdataset
from faceprep.sets.containers import open_set
from faceprep.sets.distinct_keys import strip_suffix
from faceprep.sets.image_set import CheckedSample, check_sample
from faceprep.sets.manifests.layout import PART, Layout, Part
from faceprep.sets.manifests.soundness import load_kept
from faceprep.sets.parquet_writer import ParquetWriter, Vectors
from faceprep.sets.tfrecord_set import features_of


class _Entry(NamedTuple):
    """An image of a manifest: its checked sample, its class and its embedding (dim,), if any."""

    checked: CheckedSample
    label: int
    vector: Reals | None


def _entries(part: Part) -> Iterator[_Entry | Outcome]:
    with open_set(part.sink.scratch) as images:
        for piece in part.pieces():
            vectors = piece.embeddings()
            samples = images.read(piece.block.positions)
            for i, (sample, label) in enumerate(zip(samples, piece.block.classes, strict=True)):
                checked = check_sample(sample)
                if isinstance(checked, Outcome):
                    yield checked
                else:
                    yield _Entry(checked, label, None if vectors is None else vectors[i])


def _write(part: Part, add: Callable[[_Entry], object]) -> Iterator[Outcome]:
    for entry in _entries(part):
        if isinstance(entry, Outcome):
            yield entry
        else:
            add(entry)
            yield Outcome(entry.checked.sample.key)


def write_tfrecord(part: Part) -> Iterator[Outcome]:
    """Write the records of a part; the first of a file has the facts, where it has embeddings."""
    file = part.open()
    about: dict[str, int] = {}
    if part.is_first and part.layout.dim:
        about = part.about

    def add(entry: _Entry) -> None:
        file.write(tfrecord.frame(tfrecord.encode_example(_features(entry) | about)))
        about.clear()

    return _write(part, add)


def _features(entry: _Entry) -> dict[str, bytes | int]:
    sample, header = entry.checked
    if entry.vector is None:
        return {"image_raw": bytes(sample.data), "label": entry.label}
    features = features_of(sample, entry.label, header.suffix)
    return features | {"image_classes": entry.label, "embeddings": entry.vector.tobytes()}


def write_tar(part: Part) -> Iterator[Outcome]:
    """Write the samples of a part; the last part of a file ends it."""
    file, twins = part.open(), frozenset(part.layout.twins)

    def add(entry: _Entry) -> None:
        sample, header = entry.checked
        stem = strip_suffix(sample.key)
        if is_image_name(stem) or identity_of(stem) in twins:
            stem = sample.key
        key = webdataset.key_of(stem)
        file.write(webdataset.sample_bytes(key, sample.data, header.suffix, entry.label))
        if entry.vector is not None:
            vector = webdataset.sample_pieces(key, [(".npy", npy_bytes(entry.vector))])
            file.write(b"".join(vector))

    yield from _write(part, add)
    if part.is_last:
        file.write(webdataset.END)


def write_parquet(part: Part) -> Iterator[Outcome]:
    """Write the rows of a part."""
    writer = _open_parquet(part.layout, part.sink, part.open())

    def add(entry: _Entry) -> None:
        sample, header = entry.checked
        suffix = "" if is_image_name(sample.key) else header.suffix
        writer.add(sample, entry.label, suffix, entry.vector)

    with writer:
        yield from _write(part, add)


def join_parquet(sink: Sink, layout: Layout, name: str, file: BinaryIO) -> None:
    """Join the parts of a file."""
    with _open_parquet(layout, sink, file) as writer:
        for shard_id in layout.files[name].shards:
            writer.add_part(sink.part_path(shard_id, PART))


def _open_parquet(layout: Layout, sink: Sink, file: BinaryIO) -> ParquetWriter:
    names = [row.name for row in load_kept(layout, sink)]
    vectors = Vectors(layout.dim, layout.dtype) if layout.dim else None
    return ParquetWriter(file, names, vectors)
