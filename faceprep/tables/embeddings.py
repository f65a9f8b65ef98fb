"""Files of embeddings: .npz, Parquet in one file or in shards, or CSV.

.npz      image_names (n,) str, image_classes (n,) int64, embeddings (n, d) float32 or float16;
          Keras_insightface reads them; identities (classes,) their names by number;
          model, one line of JSON; root, the folder that the images were found in; prefix,
          what image_names have in front of the path below it
.parquet  image_names, image_classes, identity, embeddings; model, root and prefix
          in the metadata of the schema. Of NAME-00000-of-00008.parquet the others are read, too
.csv      the same, with one column for each number; see `embeddings_csv`

The vectors of another program may be called `image_embs`.

Classes are numbered 0 to C-1 in the order of their names, as numbers if all are numbers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from faceprep.core.arrays import Floats
from faceprep.core.embeddings import Embeddings, Model, load_model
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.io import npz, parquet
from faceprep.core.io.columns import (
    DictionaryColumn,
    DictionaryEncoder,
    encode_strings,
    pack_strings,
)
from faceprep.core.io.npz import CLASSES, EMBEDDINGS, NAMES, Member, NpzFile
from faceprep.core.large_arrays import allocate
from faceprep.core.names import identity_of, sort_names
from faceprep.core.paths import is_file
from faceprep.core.text import count_noun
from faceprep.tables import embeddings_csv, embeddings_parquet
from faceprep.tables.embedded_rows import EmbeddedRows

_Path = str | os.PathLike[str]
SUFFIXES = (".npz", ".parquet", ".csv")
_IDENTITIES, _MODEL, _ROOT, _PREFIX = "identities", "model", "root", "prefix"
_ROWS = 1 << 14
_IN_MEMORY = 1 << 28
"""An .npz with more bytes of vectors than this is memory-mapped if possible."""


@dataclass(frozen=True, slots=True)
class Place:
    """The origin of images: `root` is their folder; keys in a file's image_names start with
    `prefix`.
    """

    root: str = ""
    prefix: str = ""


def number_classes(identities: Sequence[str]) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Assign class numbers; return (class of each image, class names in order).

    >>> number_classes(["10", "9", "10"])
    (array([1, 0, 1]), ['9', '10'])
    """
    names = sort_names(set(identities))
    numbers = {name: number for number, name in enumerate(names)}
    return np.fromiter((numbers[name] for name in identities), np.int64, len(identities)), names


# Writing


def write_npz(file: BinaryIO, embeddings: Embeddings, place: Place, fp16: bool = False) -> None:
    """Write embeddings as .npz; `file` must be seekable."""
    classes, names = number_classes(embeddings.identities)
    width = len(place.prefix) + max(map(len, embeddings.keys), default=1)
    n, dtype = len(embeddings), np.dtype("<f2" if fp16 else "<f4")
    spelled = f"<U{max(width, 1)}"
    cuts = range(0, n, _ROWS)
    keys = (
        np.array([place.prefix + key for key in embeddings.keys[i : i + _ROWS]], spelled).tobytes()
        for i in cuts
    )
    rows = (embeddings.vectors[i : i + _ROWS].astype(dtype).tobytes() for i in cuts)
    members = [
        Member(NAMES, spelled, (n,), keys),
        npz.member_of(CLASSES, classes),
        Member(EMBEDDINGS, dtype, (n, embeddings.vectors.shape[1]), rows, compress=False),
        npz.member_of(_IDENTITIES, np.array(names, np.str_)),
        *(
            npz.member_of(key, np.array(text))
            for key, text in _about(embeddings.model, place).items()
        ),
    ]
    npz.write_npz(file, members)


def write_parquet(
    files: Sequence[Callable[[], BinaryIO]],
    embeddings: Embeddings,
    place: Place,
    fp16: bool = False,
) -> None:
    """Write embeddings to several files, with about the same number of rows each.

    `files` open them, one after the other, as a process may have few files open at once.
    """
    classes, _ = number_classes(embeddings.identities)
    n = len(embeddings)
    edges = [k * n // len(files) for k in range(len(files) + 1)]
    for open_file, start, stop in zip(files, edges, edges[1:], strict=False):
        cuts = [*range(start, stop, _ROWS), stop] if stop > start else [start, start]
        pieces = (
            _table(embeddings, classes, place, slice(first, last), fp16)
            for first, last in zip(cuts, cuts[1:], strict=False)
        )
        with open_file() as file:
            parquet.write_tables(file, pieces, plain_column=EMBEDDINGS)


def write_csv(
    file: BinaryIO, embeddings: Embeddings, place: Place, fp16: bool = False
) -> dict[str, str]:
    """Write embeddings as CSV; return the facts that belong beside it."""
    classes, _ = number_classes(embeddings.identities)
    embeddings_csv.write_header(file, embeddings.vectors.shape[1])
    for start in range(0, len(embeddings), _ROWS):
        rows = slice(start, start + _ROWS)
        names = [place.prefix + key for key in embeddings.keys[rows]]
        vectors = embeddings.vectors[rows]
        if fp16:
            vectors = vectors.astype(np.float16).astype(np.float32)
        identities = embeddings.identities[rows]
        embeddings_csv.write_rows(file, names, classes[rows].tolist(), identities, vectors)
    return _about(embeddings.model, place)


def shard_names(name: str, n: int) -> list[str]:
    """Return the names of `n` files.

    >>> shard_names("a.parquet", 1), shard_names("a.parquet", 2)
    (['a.parquet'], ['a-00000-of-00002.parquet', 'a-00001-of-00002.parquet'])
    """
    stem, suffix = os.path.splitext(name)
    if n == 1:
        return [name]
    return [f"{stem}-{number:05d}-of-{n:05d}{suffix}" for number in range(n)]


def _table(
    embeddings: Embeddings, classes: npt.NDArray[np.int64], place: Place, rows: slice, fp16: bool
) -> pa.Table:
    vectors: npt.NDArray[np.floating[Any]] = embeddings.vectors[rows].astype(
        np.float16 if fp16 else np.float32
    )
    names = [place.prefix + key for key in embeddings.keys[rows]]
    table = parquet.table_of(names, classes[rows].tolist(), embeddings.identities[rows], vectors)
    return table.replace_schema_metadata(_about(embeddings.model, place))


def _about(model: Model, place: Place) -> dict[str, str]:
    return {_MODEL: model.as_json(), _ROOT: place.root, _PREFIX: place.prefix}


# Reading


def is_embeddings(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a file of embeddings, by suffix and content.

    Raises SourceError for a damaged one.
    """
    kind = _kind(path)
    if not kind or not is_file(path):
        return False
    if kind == ".npz":
        with NpzFile(path) as file:
            return EMBEDDINGS in file.keys
    return _READERS[kind].is_such(path)


def load_embeddings(path: str | os.PathLike[str]) -> Embeddings:
    """Load the whole file; vectors of a large .npz are memory-mapped. Raises SourceError.

    Keys are the paths of the images below the set. A file of another program has no model. Its
    identities are the class numbers, or without classes the folders in the names.
    """
    if _kind(path) == ".npz":
        return _load_npz(path)
    reader = _reader_of(path)
    return _load_pieces(path, reader.count_rows(path), reader.read_pieces(path))


def count_embeddings(path: str | os.PathLike[str]) -> int:
    """Count the embeddings of a file, or of a file in shards. Raises SourceError."""
    if _kind(path) == ".npz":
        with NpzFile(path) as file:
            (n, *_), _ = file.header(EMBEDDINGS)
            return int(n)
    return _reader_of(path).count_rows(path)


def load_place(path: str | os.PathLike[str]) -> Place:
    """Load the origin of the images; empty where the file does not name it. Raises SourceError."""
    return _place_of(_load_about(path))


def load_origin(path: str | os.PathLike[str]) -> Model:
    """Load the facts about the model that made the vectors, without the vectors.

    Raises SourceError.
    """
    return _model_of(path, _load_about(path))


def _kind(path: str | os.PathLike[str]) -> str:
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    return suffix if suffix in SUFFIXES else ""


def _load_about(path: str | os.PathLike[str]) -> dict[str, str]:
    if _kind(path) == ".npz":
        with NpzFile(path) as file:
            return _about_npz(file)
    return _reader_of(path).load_about(path)


def _about_npz(file: NpzFile) -> dict[str, str]:
    return {key: str(file.load(key)) for key in (_MODEL, _ROOT, _PREFIX) if key in file.keys}


def _place_of(about: dict[str, str]) -> Place:
    return Place(about.get(_ROOT, ""), about.get(_PREFIX, ""))


def _model_of(path: str | os.PathLike[str], about: dict[str, str]) -> Model:
    try:
        return load_model(about[_MODEL]) if _MODEL in about else Model()
    except (ValueError, TypeError, OptionError) as error:
        raise SourceError(
            f"its model cannot be read: {error}", path=path, remedy="Make the file again."
        ) from error


def _load_npz(path: str | os.PathLike[str]) -> Embeddings:
    with NpzFile(path) as file:
        about = _about_npz(file)
        place = _place_of(about)
        names = (npz.decode_names(path, piece) for piece in file.chunks(NAMES))
        keys = pack_strings(key for piece in names for key in _keys_of(piece, place))
        identities = _identities_npz(path, file, keys)
        vectors = _checked(path, file.map(EMBEDDINGS, _IN_MEMORY))
    _expect_as_many(path, len(keys), len(identities), len(vectors))
    return Embeddings(keys, identities, vectors, _model_of(path, about))


def _identities_npz(
    path: str | os.PathLike[str], file: NpzFile, keys: Sequence[str]
) -> DictionaryColumn:
    if CLASSES not in file.keys:
        return encode_strings(map(identity_of, keys))
    classes = file.load(CLASSES)
    if classes.ndim != 1 or classes.dtype.kind not in "iu":
        found = f"{classes.dtype} of shape {classes.shape}"
        raise SourceError(
            f"{CLASSES} are not class numbers",
            path=path,
            expected="one integer per image",
            found=found,
        )
    if _IDENTITIES not in file.keys:
        return encode_strings(map(str, classes))
    names = npz.decode_names(path, file.load(_IDENTITIES), _IDENTITIES)
    if classes.size and not 0 <= int(classes.min()) <= int(classes.max()) < len(names):
        found = f"{int(classes.min())} to {int(classes.max())}"
        raise SourceError(
            f"{CLASSES} out of range", path=path, expected=f"0 to {len(names) - 1}", found=found
        )
    return DictionaryColumn(names, classes)


def _keys_of(names: Sequence[str], place: Place) -> list[str]:
    n = len(place.prefix)
    return [name[n:] if n and name.startswith(place.prefix) else name for name in names]


def _checked(path: str | os.PathLike[str], vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        found = f"{vectors.dtype} of shape {vectors.shape}"
        raise SourceError(
            "its embeddings are not vectors",
            path=path,
            expected="(n, d) float32 or float16",
            found=found,
        )
    with np.errstate(over="ignore"):  # the value is infinite then, and its row is named
        return vectors.astype(np.float32, copy=False)


def _expect_as_many(path: str | os.PathLike[str], *counts: int) -> None:
    if len(set(counts)) > 1:
        found = ", ".join(
            map(count_noun, counts, ("name", "class", "embedding"), ("", "classes", ""))
        )
        raise SourceError(
            "its arrays differ in length", path=path, expected="arrays of equal length", found=found
        )


def _load_pieces(
    path: str | os.PathLike[str], n: int, pieces: Iterable[EmbeddedRows]
) -> Embeddings:
    """Read `n` rows straight to their place, so that a large set is in memory once."""
    about = _load_about(path)
    place, identities, vectors = _place_of(about), DictionaryEncoder(), _VectorRows(n)

    def keys() -> Iterator[str]:
        for piece in pieces:
            vectors.add(_checked(piece.path, piece.vectors), piece.path)
            named = _keys_of(piece.names, place)
            given = piece.identities or map(identity_of, named)
            identities.add(given)
            yield from named

    packed = pack_strings(keys())
    return Embeddings(packed, identities.column(), vectors.rows, _model_of(path, about))


class _VectorRows:
    """The vectors (n, d) of all images, filled some rows at a time."""

    def __init__(self, n: int) -> None:
        self.rows: Floats = np.empty((n, 0), np.float32)
        self._n_filled = 0

    def add(self, rows: Floats, path: str | os.PathLike[str]) -> None:
        """Append rows (m, d). Raises SourceError for another d than before."""
        if not self.rows.shape[1]:
            self.rows = allocate((len(self.rows), rows.shape[1]), np.float32)
        if len(rows) and rows.shape[1] != self.rows.shape[1]:
            raise SourceError(
                "its embeddings differ in length", path=path, remedy="Make the files again."
            )
        if len(rows):
            self.rows[self._n_filled : self._n_filled + len(rows)] = rows
        self._n_filled += len(rows)


class _Reader(Protocol):
    """A module that reads tables of one kind."""

    def is_such(self, path: _Path) -> bool: ...
    def count_rows(self, path: _Path) -> int: ...
    def load_about(self, path: _Path) -> dict[str, str]: ...
    def read_pieces(self, path: _Path) -> Iterator[EmbeddedRows]: ...


def _reader_of(path: str | os.PathLike[str]) -> _Reader:
    """Return the reader of a table. Raises SourceError where the suffix is that of none."""
    kind = _kind(path)
    if kind not in _READERS:
        raise SourceError(
            "not a file of embeddings",
            path=path,
            expected=" ".join(SUFFIXES),
            found=os.path.splitext(path)[1] or "a name without suffix",
            remedy="Name the output of embed.",
        )
    return _READERS[kind]


_READERS: dict[str, _Reader] = {".parquet": embeddings_parquet, ".csv": embeddings_csv}
