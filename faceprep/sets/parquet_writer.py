"""A writer of Parquet files with images, which Hugging Face's `datasets` reads as image folders.

The bytes of the images are neither compressed nor encoded, so that an image can be read by its
offset in the file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceprep.core.arrays import Reals
from faceprep.core.errors import OutputError
from faceprep.core.io.npz import EMBEDDINGS
from faceprep.core.io.parquet import open_parquet, vector_column
from faceprep.sets.image_set import Sample
from faceprep.sets.parquet_columns import BYTES, HUGGINGFACE, IDENTITY, IMAGE, KEY, LABEL, PATH

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
        self._vectors = vectors
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
