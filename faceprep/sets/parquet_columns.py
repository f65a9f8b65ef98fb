"""The columns of a Parquet file with images: which holds what, ours and Hugging Face's.

Ours are `image`, a struct of bytes and path, `label`, `identity` and `key`. Hugging Face names the
image column and the classes in the metadata of the schema:

    huggingface: {"info": {"features": {"image": {"_type": "Image"},
                                        "label": {"_type": "ClassLabel", "names": [...]}}}}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from faceprep.core.errors import SourceError
from faceprep.core.io.json_line import parse_json
from faceprep.core.io.parquet import open_parquet
from faceprep.core.types import Buffer
from faceprep.sets.distinct_keys import join_key, keep_key
from faceprep.sets.recordio.records import IdentityNames

HUGGINGFACE = b"huggingface"
IMAGE, LABEL, IDENTITY, KEY = "image", "label", "identity", "key"
BYTES, PATH = "bytes", "path"
_IMAGES = (IMAGE, "image_bytes", "jpg", "jpeg", "png", "img")
_LABELS = (LABEL, "labels", "class", "image_classes")
_FILES = ("file_name", "filename", "image_names")
_NO_CLASS = -1
"""The label of an image without an identity, in our layout and in Hugging Face's."""
Value = int | float | Buffer | None
"""A label or an identity as its column holds it: strings as bytes, whole numbers as such."""
_real_names = IdentityNames()


class Columns(NamedTuple):
    """The names of the columns, empty for one that is missing, and the names of the classes.

    `unusable` are columns of labels or identities with their types, which cannot be read as such.
    """

    image: str
    is_struct: bool
    has_path: bool
    label: str
    identity: str
    key: str
    file: str
    classes: tuple[str, ...]
    unusable: tuple[str, ...]

    @property
    def bytes_leaf(self) -> str:
        """The path of the column of bytes."""
        return f"{self.image}.{BYTES}" if self.is_struct else self.image

    @property
    def small(self) -> list[str]:
        """The columns to read for the index."""
        name = self.key or self.file
        if not name and self.has_path:
            name = f"{self.image}.{PATH}"
        return [column for column in (self.label, self.identity, name) if column]


class Facts(NamedTuple):
    """Label, identity and name of one image; a label that is not finite is kept as it is."""

    label: int | float | None
    identity: str
    name: str


def find_columns(schema: pa.Schema) -> Columns | None:
    """Find the columns of images; None where no column holds images."""
    features = _read_features(schema.metadata or {})
    types = {field.name: field.type for field in schema}
    marked = [name for name in types if _feature(features, name).get("_type") == "Image"]
    image = next((name for name in (*marked, *_IMAGES) if _holds_bytes(types.get(name))), None)
    if image is None:
        return None
    parts = {field.name: field.type for field in _fields_of(types[image])}
    classes = [name for name in types if _feature(features, name).get("_type") == "ClassLabel"]
    label, no_labels = _first_of((*_LABELS, *classes), types, _is_value)
    identity, no_identities = _first_of((IDENTITY,), types, _is_value)
    names = _feature(features, label).get("names")
    if not isinstance(names, list):
        names = []
    return Columns(
        image,
        bool(parts),
        _is_text(parts.get(PATH)),
        label,
        identity,
        _first_of((KEY,), types, _is_text)[0],
        _first_of(_FILES, types, _is_text)[0],
        tuple(map(str, names)),
        (*no_labels, *no_identities),
    )


def columns_of(file: Path) -> Columns | None:
    """Find the columns of images in a file. Raises SourceError."""
    with open_parquet(file) as opened:
        return find_columns(opened.schema_arrow)


def share_columns(files: Sequence[Path]) -> tuple[Columns, list[str]]:
    """Return the columns of all files, and the names of those that are not read.

    Raises SourceError if the columns that are read differ between files, or a file has no images.
    """
    first: Columns | None = None
    others: dict[str, None] = {}
    for file in files:
        with open_parquet(file) as opened:
            schema = opened.schema_arrow
            leaves = [opened.schema.column(number).path for number in range(len(opened.schema))]
        columns = find_columns(schema)
        if columns is None:
            raise SourceError(
                "a table without images",
                path=file,
                expected="a column image of bytes, or of bytes and path",
                found=", ".join(schema.names) or "no columns",
                remedy="Name another file, or remove it from the set.",
            )
        _refuse_two_numbers(file, columns)
        _refuse_equal_names(file, columns, leaves)
        if first is not None and columns != first:
            raise SourceError(
                "other columns or other class names than the first file of the set",
                path=file,
                expected=f"those of {files[0].name}",
                remedy="Name one file to read it alone.",
            )
        first = columns
        others |= dict.fromkeys(_find_others(schema, columns))
    if first is None:
        raise SourceError("no files in this set", path=None)
    return first, list(others)


def _refuse_two_numbers(file: Path, columns: Columns) -> None:
    """Raise SourceError for a class name with two numbers: their images would be one identity."""
    numbers: dict[str, int] = {}
    for number, name in enumerate(columns.classes):
        before = numbers.setdefault(name, number)
        if before != number:
            raise SourceError(
                f"the column {columns.label} gives two classes the same name",
                path=file,
                expected="one number for each name of a ClassLabel",
                found=f"{name!r} as {before} and as {number}",
                remedy="Correct the features in the metadata of the file.",
            )


def _refuse_equal_names(file: Path, columns: Columns, leaves: Sequence[str]) -> None:
    """Raise SourceError where two columns have the name of one that is read."""
    for name in (columns.bytes_leaf, *columns.small):
        if leaves.count(name) > 1:
            raise SourceError(
                f"{leaves.count(name)} columns are called {name}",
                path=file,
                expected="one",
                remedy="Rename the others.",
            )


def _find_others(schema: pa.Schema, columns: Columns) -> list[str]:
    """Return the names of the columns that are not read, and of such parts of the images."""
    read = {columns.image, columns.label, columns.identity, columns.key, columns.file}
    parts = {field.name for field in _fields_of(schema.field(columns.image).type)} - {BYTES, PATH}
    others = [name for name in schema.names if name not in read]
    return others + [f"{columns.image}.{part}" for part in sorted(parts)]


def read_facts(batch: pa.RecordBatch, columns: Columns) -> Iterator[Facts]:
    """Yield label, identity and name of each row; a name is empty where there is none."""
    labels = _values(batch, columns.label)
    identities = map(_to_text, _values(batch, columns.identity))
    if columns.key or columns.file:
        names = _values(batch, columns.key or columns.file)
    else:
        names = _struct_paths(batch, columns)
    join = keep_key if columns.key else join_key
    for label, own, name in zip(labels, identities, map(_decode, names), strict=True):
        identity = own
        if not own and (label != _NO_CLASS or not columns.identity):
            identity = _class_name(label, columns.classes)
        if isinstance(label, bytes) or (isinstance(label, float) and identity):
            label = None
        yield Facts(label, identity, join(identity, name))


def _class_name(label: Value, classes: Sequence[str]) -> str:
    """Return the identity of a label: Hugging Face writes -1 where a class is not known."""
    if label == _NO_CLASS and classes:
        return ""
    if isinstance(label, int) and 0 <= label < len(classes):
        return classes[label]
    return _to_text(label)


def _to_text(value: Value) -> str:
    """Return a value as the name of an identity; empty for null, NaN and infinity."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _real_names[value]
    return _decode(value)


def _read_features(metadata: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    try:
        found = parse_json(metadata.get(HUGGINGFACE, b"{}"))
    except ValueError:
        return {}
    for name in ("info", "features"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _feature(features: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = features.get(name)
    return found if isinstance(found, dict) else {}


def _first_of(
    names: Sequence[str], types: Mapping[str, pa.DataType], is_fit: Callable[[pa.DataType], bool]
) -> tuple[str, list[str]]:
    """Return the first of the columns that is fit, empty for none, and the unfit ones before it.

    A column of nulls alone is like none.
    """
    unfit: list[str] = []
    for name in names:
        if name not in types or pa.types.is_null(types[name]):
            continue
        if is_fit(types[name]):
            return name, unfit
        unfit.append(f"{name} ({types[name]})")
    return "", unfit


def _fields_of(kind: pa.DataType) -> list[pa.Field]:
    if not pa.types.is_struct(kind):
        return []
    return [kind.field(number) for number in range(kind.num_fields)]


def _holds_bytes(kind: pa.DataType | None) -> bool:
    parts = {field.name: field.type for field in _fields_of(kind)} if kind else {}
    held = parts.get(BYTES, kind)
    return held is not None and _is_binary(_decoded(held))


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    tests = (types.is_binary, types.is_large_binary, types.is_binary_view)
    return any(test(kind) for test in tests)


def _is_value(kind: pa.DataType) -> bool:
    """Return whether the values of a column can be read as labels or as names of identities."""
    kind = _decoded(kind)
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or _is_text(kind)


def _is_text(kind: pa.DataType | None) -> bool:
    """Return whether values are strings; some programs write them as bytes."""
    if kind is None:
        return False
    kind, types = _decoded(kind), pa.types
    tests = (types.is_string, types.is_large_string, types.is_string_view, _is_binary)
    return any(test(kind) for test in tests)


def _decoded(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _values(batch: pa.RecordBatch, name: str) -> Sequence[Any]:
    """Return the values of a column, strings as bytes, since they may not be UTF-8."""
    if not name:
        return [None] * len(batch)
    found: Sequence[Any] = _plain(batch.column(name))
    return found


def _struct_paths(batch: pa.RecordBatch, columns: Columns) -> Sequence[Any]:
    if not columns.has_path:
        return [None] * len(batch)
    found: Sequence[Any] = _plain(batch.column(columns.image).field(PATH))
    return found


def _plain(column: pa.Array) -> Any:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_uint64(column.type):  # may not fit in int64
        column = column.cast(pa.string())
    if _is_text(column.type):
        column = column.cast(pa.large_binary())
    values = column.to_pylist()
    if pa.types.is_floating(column.type):
        return list(map(_whole, values))
    return values


def _whole(value: float | None) -> int | float | None:
    """Return a whole number of 63 bits as such, and another value as it is."""
    if value is not None and value.is_integer() and abs(value) < 1 << 63:
        return int(value)
    return value


def _decode(text: Buffer | None) -> str:
    return bytes(text or b"").decode("utf-8", "surrogateescape")
