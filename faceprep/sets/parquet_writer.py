"""A writer of Parquet files with images, which Hugging Face's `datasets` reads as image folders.

The bytes of the images are neither compressed nor encoded, so that an image can be read by its
offset in the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceprep.core.arrays import Reals
from faceprep.core.errors import OutputError
from faceprep.core.io.image_header import is_image_name
from faceprep.core.io.npz import EMBEDDINGS
from faceprep.core.io.parquet import open_parquet, vector_column
from faceprep.core.types import Outcome, Sink
from faceprep.sets.folder import BAD_NAME
from faceprep.sets.image_set import CheckedSample, Found, Sample
from faceprep.sets.listing import describe_bad_name, is_text
from faceprep.sets.parquet_columns import BYTES, HUGGINGFACE, IDENTITY, IMAGE, KEY, LABEL, PATH
from faceprep.sets.set_writer import PART, Capabilities, OutPart, SetWriter, write_each

_ROWS = 256
_MOST_BYTES = 256 << 20
_STRUCT = pa.struct([(BYTES, pa.binary()), (PATH, pa.string())])
_LARGE = [f"{IMAGE}.{BYTES}", f"{EMBEDDINGS}.list.element"]
_SMALL = [f"{IMAGE}.{PATH}", LABEL, IDENTITY, KEY]


class Vectors(NamedTuple):
    """The column of embeddings: each has `dim` numbers of `dtype`, float32 or float16."""

    dim: int
    dtype: str


class ParquetWriter:
    """Writes images to an open file, 256 to a row group; `classes` are the names of the classes.

    With `vectors`, each image has an embedding. Raises OutputError for a name that is not UTF-8,
    which Parquet cannot hold.
    """

    def __init__(
        self, file: BinaryIO, classes: Sequence[str], vectors: Vectors | None = None
    ) -> None:
        for name in classes:
            _check_text(name)
        self._schema = _make_schema(classes, vectors)
        self._writer = pq.ParquetWriter(
            file,
            self._schema,
            use_dictionary=[IDENTITY],
            compression=dict.fromkeys(_SMALL, "snappy") | dict.fromkeys(_LARGE, "none"),
            write_statistics=[LABEL],
        )
        self._rows: list[dict[str, Any]] = []
        self._n_bytes = 0

    def add(
        self, sample: Sample, class_number: int, suffix: str, vector: Reals | None = None
    ) -> None:
        """Add an image; `suffix` is that of its format, with the dot, `vector` (dim,) its own."""
        data = bytes(sample.data)
        image = {BYTES: data, PATH: _check_text(f"{sample.key}{suffix}")}
        identity = _check_text(sample.identity)
        row = {IMAGE: image, LABEL: class_number, IDENTITY: identity, KEY: sample.key}
        self._rows.append(row | {EMBEDDINGS: vector})
        self._n_bytes += len(data)
        if len(self._rows) == _ROWS or self._n_bytes >= _MOST_BYTES:
            self._write_rows()

    def add_part(self, path: Path) -> None:
        """Add the row groups of a file that another writer made of a part of the set."""
        with open_parquet(path) as part:
            for group in range(part.num_row_groups):
                self._writer.write_table(part.read_row_group(group))

    def _write_rows(self) -> None:
        columns = []
        for field in self._schema:
            values = [row[field.name] for row in self._rows]
            if field.name == EMBEDDINGS:
                columns.append(vector_column(np.stack(values)))
            else:
                columns.append(pa.array(values, field.type))
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._rows, self._n_bytes = [], 0

    def close(self) -> None:
        """Complete the content; the file stays open."""
        if self._rows:
            self._write_rows()
        self._writer.close()

    def __enter__(self) -> ParquetWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Complete the content, or give it up after an error: pyarrow would complain later."""
        try:
            if kind is None:
                self.close()
        finally:
            self._writer.is_open = False


def _make_schema(classes: Sequence[str], vectors: Vectors | None) -> pa.Schema:
    text = {"dtype": "string", "_type": "Value"}
    features: dict[str, Any] = {
        IMAGE: {"_type": "Image"},
        LABEL: {"names": list(classes), "_type": "ClassLabel"},
        IDENTITY: text,
        KEY: text,
    }
    fields = [(IMAGE, _STRUCT), (LABEL, pa.int64()), (IDENTITY, pa.string()), (KEY, pa.string())]
    if vectors:
        numbers = pa.from_numpy_dtype(vectors.dtype)
        fields.append((EMBEDDINGS, pa.list_(numbers, vectors.dim)))
        each = {"dtype": vectors.dtype, "_type": "Value"}
        features[EMBEDDINGS] = {"feature": each, "length": vectors.dim, "_type": "Sequence"}
    metadata = {HUGGINGFACE: json.dumps({"info": {"features": features}}).encode()}
    return pa.schema(fields, metadata=metadata)


def _check_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise OutputError(
            f"the name {text!r} is not UTF-8, which Parquet cannot hold",
            remedy="Rename it, or write another container.",
        ) from None
    return text


class ParquetFileWriter(SetWriter):
    """Writes a row for each image, in the columns that Hugging Face's `datasets` reads."""

    kind: ClassVar[str] = "parquet-images"
    can: ClassVar[Capabilities] = Capabilities(suffixes=True, any_bytes=False)

    def write(self, found: Iterator[Found], part: OutPart, sink: Sink) -> Iterator[Outcome]:
        with self._open(part.open(sink)) as writer:

            def add(_: int, checked: CheckedSample) -> Outcome | None:
                sample, suffix = checked.sample, checked.header.suffix
                if not is_text(sample.key + sample.identity):
                    return Outcome(sample.key, BAD_NAME, describe_bad_name(sample.key))
                if is_image_name(sample.key):
                    suffix = ""
                writer.add(sample, self.classes.number(sample.identity), suffix)
                return None

            yield from write_each(found, part, add)

    def _open(self, file: BinaryIO) -> ParquetWriter:
        names = [name if is_text(name) else ascii(name) for name in self.classes.names]
        return ParquetWriter(file, names)

    def join(self, name: str, parts: Sequence[tuple[str, OutPart]], sink: Sink) -> None:
        with sink.open(name) as file, self._open(file) as writer:
            for shard_id, _ in parts:
                writer.add_part(sink.part_path(shard_id, PART))
