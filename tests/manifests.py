"""Shared by the tests of manifest: running it, and reading back all it wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from faceprep.core.io import npz, parquet
from faceprep.core.types import Request, Runner, Summary
from faceprep.jobs.manifest import Manifest
from faceprep.run.engine import run_job
from faceprep.run.serial import SerialRunner
from faceprep.sets import lists, tfrecord, webdataset
from faceprep.synthetic import encode_face
from tests.failures import read_failures

JPEG, PNG = encode_face(1, 1), encode_face(1, 1, ".png")
Row = tuple[str, int]


def run(
    source: Path,
    output: Path,
    runner: Runner | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Summary:
    """Run the command; a .tfrecord gets embeddings where the options ask for no images."""
    request = Request((source,), output, overwrite=overwrite, limit=options.pop("limit", None))
    if output.suffix == ".tfrecord" and not {"embeddings", "with_images"} & options.keys():
        options["embeddings"] = _vectors_beside(source)
    return run_job(Manifest(**{"seed": 1} | options), request, runner or SerialRunner())


def _vectors_beside(source: Path) -> Path:
    """Make embeddings of a folder beside it, unless they are there."""
    path = source.with_name(f"{source.name}-vectors.npz")
    if path.exists():
        with np.load(path) as arrays:
            if arrays["image_names"].tolist() == _names_in(source):
                return path
    embeddings_of(source, path)
    return path


def _names_in(source: Path) -> list[str]:
    found = [*source.rglob("*.jpg"), *source.rglob("*.png")]
    return [str(image.relative_to(source)) for image in sorted(found) if not image.is_dir()]


def failures(output: Path) -> dict[str, str]:
    """Input -> status."""
    return {row["input"]: row["status"] for row in read_failures(output)}


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz, as NumPy reads them."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _of_npz(path: Path) -> list[Row]:
    with npz.NpzFile(path) as file:
        names, classes = file.load(npz.NAMES), file.load(npz.CLASSES)
    return list(zip(npz.decode_names(path, names), classes.tolist(), strict=True))


def _of_tfrecord(path: Path) -> list[Row]:
    examples: list[Any] = list(tfrecord.read_examples(path))
    return [(each["image_names"][0].decode(), each["image_classes"][0]) for each in examples]


def _of_parquet(path: Path) -> list[Row]:
    names = "image_names", "image_classes"
    tables = parquet.read_columns(path, names)
    return [
        row
        for table in tables
        for row in zip(*(table[name].to_pylist() for name in names), strict=True)
    ]


READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".npz": _of_npz,
    ".tfrecord": _of_tfrecord,
    ".parquet": _of_parquet,
    ".csv": lambda path: [(row.name, int(row.label)) for row in lists.read_csv(path)],
    ".lst": lambda path: [(row.name, int(row.label)) for row in lists.read_lst(path)],
    ".tar": lambda path: [
        (sample.key, int(sample.files["cls"])) for sample in webdataset.read_samples(path)
    ],
}
SUFFIXES = tuple(READERS)


def rows(path: Path) -> list[Row]:
    """(name as written, class) of every entry of a manifest; the key in place of the name for
    .tar.
    """
    return READERS[path.suffix](path)


def class_map_of(folder: Path) -> Path:
    """The class map that was written last."""
    return max(folder.glob("*_classes.csv"), key=lambda path: path.stat().st_mtime_ns)


def files(root: Path) -> dict[str, str]:
    """Name -> hash of what a user sees in a folder."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.iterdir()
        if path.is_file()
    }


def make(root: Path, *names: str, data: bytes = JPEG) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def embeddings_of(
    source: Path, path: Path, prefix: str = "", dtype: type = np.float32
) -> dict[str, np.ndarray]:
    names = [prefix + name for name in _names_in(source)]
    vectors = np.random.default_rng(1).standard_normal((len(names), 5)).astype(dtype)
    np.savez(
        path, image_names=np.array(names), image_classes=np.zeros(len(names)), embeddings=vectors
    )
    return {name.removeprefix(prefix): vector for name, vector in zip(names, vectors, strict=True)}
