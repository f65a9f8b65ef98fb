"""A writer of Parquet files with images, which Hugging Face's `datasets` reads as image folders.

The bytes of the images are neither compressed nor encoded, so that an image can be read by its
offset in the file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from faceprep.core.errors import OutputError
from faceprep.core.io.parquet import open_parquet
from faceprep.sets.image_set import Sample
from faceprep.sets.parquet_columns import BYTES, HUGGINGFACE, IDENTITY, IMAGE, KEY, LABEL, PATH

_ROWS = 256
_MOST_BYTES = 256 << 20
_STRUCT = pa.struct([(BYTES, pa.binary()), (PATH, pa.string())])
_SMALL = [f"{IMAGE}.{PATH}", LABEL, IDENTITY, KEY]


class ParquetWriter:
    """Writes images to an open file, 256 to a row group; `classes` are the names of the classes.

    Raises OutputError for a name that is not UTF-8, which Parquet cannot hold.
    """

    def __init__(self, file: BinaryIO, classes: Sequence[str]) -> None:
        for name in classes:
            _check_text(name)
        self._schema = _make_schema(classes)
        self._writer = pq.ParquetWriter(
            file,
            self._schema,
            use_dictionary=[IDENTITY],
            compression=dict.fromkeys(_SMALL, "snappy") | {f"{IMAGE}.{BYTES}": "none"},
            write_statistics=[LABEL],
        )
        self._rows: list[dict[str, Any]] = []
        self._n_bytes = 0

    def add(self, sample: Sample, class_number: int, suffix: str) -> None:
        """Add an image; `suffix` is that of its format, with the dot."""
        data = bytes(sample.data)
        image = {BYTES: data, PATH: _check_text(f"{sample.key}{suffix}")}
        identity = _check_text(sample.identity)
        row = {IMAGE: image, LABEL: class_number, IDENTITY: identity, KEY: sample.key}
        self._rows.append(row)
        self._n_bytes += len(data)
        if len(self._rows) == _ROWS or self._n_bytes >= _MOST_BYTES:
            self._write_rows()

    def add_part(self, path: Path) -> None:
        """Add the row groups of a file that another writer made of a part of the set."""
        with open_parquet(path) as part:
            for group in range(part.num_row_groups):
                self._writer.write_table(part.read_row_group(group))

    def _write_rows(self) -> None:
        columns = [
            pa.array([row[field.name] for row in self._rows], field.type) for field in self._schema
        ]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._rows, self._n_bytes = [], 0

    def close(self) -> None:
        """Complete the content; the file stays open."""
        if self._rows:
            self._write_rows()
        self._writer.close()


def _make_schema(classes: Sequence[str]) -> pa.Schema:
    text = {"dtype": "string", "_type": "Value"}
    features = {
        IMAGE: {"_type": "Image"},
        LABEL: {"names": list(classes), "_type": "ClassLabel"},
        IDENTITY: text,
        KEY: text,
    }
    fields = [(IMAGE, _STRUCT), (LABEL, pa.int64()), (IDENTITY, pa.string()), (KEY, pa.string())]
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
