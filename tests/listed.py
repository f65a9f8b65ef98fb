"""Lists of files in every format, as their programs write them, and what is read of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceprep.core.types import Outcome
from faceprep.sets import containers, lists
from faceprep.sets.image_set import ImageSet, Sample

Write = Callable[[Path, Sequence[str], Sequence[int]], None]


def write_npz(path: Path, names: Sequence[str], classes: Sequence[int]) -> None:
    np.savez(path, image_names=np.array(names), image_classes=np.array(classes))


def write_npz_bytes(path: Path, names: Sequence[str], classes: Sequence[int]) -> None:
    np.savez(
        path,
        image_names=np.array([name.encode() for name in names]),
        image_classes=np.array(classes, np.float32),
    )


def write_parquet(path: Path, names: Sequence[str], classes: Sequence[int]) -> None:
    pq.write_table(pa.table({"image_names": names, "image_classes": classes}), path)


def write_dictionary(path: Path, names: Sequence[str], classes: Sequence[int]) -> None:
    frame = pd.DataFrame({"image_classes": classes, "image_names": pd.Categorical(names)})
    frame.to_parquet(path, engine="pyarrow")


def write_csv(path: Path, names: Sequence[str], classes: Sequence[int]) -> None:
    path.write_bytes(lists.csv_header() + lists.csv_lines(names, classes, [""] * len(names)))


def write_excel(path: Path, names: Sequence[str], classes: Sequence[int]) -> None:
    frame = pd.DataFrame({"image_names": names, "image_classes": classes})
    frame.to_csv(path, sep=";", index=False, encoding="utf-8-sig", lineterminator="\r\n")


def write_lst(path: Path, names: Sequence[str], classes: Sequence[int]) -> None:
    path.write_bytes("\ufeff".encode() + lists.lst_lines(names, classes))


def write_insightface(path: Path, names: Sequence[str], classes: Sequence[int]) -> None:
    rows = zip(names, classes, strict=True)
    path.write_text("".join(f"1\t{name}\t{label}\n" for name, label in rows))


def write_txt(path: Path, names: Sequence[str], classes: Sequence[int]) -> None:
    path.write_bytes("".join(map("{} {}\n".format, names, classes)).encode())


FORMATS: dict[str, tuple[str, str, Write]] = {
    "npz": ("a.npz", "npz-list", write_npz),
    "npz of bytes": ("a.npz", "npz-list", write_npz_bytes),
    "parquet": ("a.parquet", "parquet-list", write_parquet),
    "parquet of categories": ("a.PARQUET", "parquet-list", write_dictionary),
    "csv": ("a.csv", "csv-list", write_csv),
    "csv of Excel": ("a.csv", "csv-list", write_excel),
    "im2rec": ("a.lst", "lst", write_lst),
    "insightface": ("a.lst", "lst", write_insightface),
    "txt": ("a.txt", "txt-list", write_txt),
}
every_format = pytest.mark.parametrize("form", FORMATS)


SCRATCH = "scratch of the index"
"""Folder of the index beside a list: longer than any drawn name."""


def opened(path: Path, **options: Path) -> ImageSet:
    scratch = path.parent / SCRATCH
    for old in scratch.rglob("*"):
        if old.is_file():
            old.unlink()
    return containers.index_set(path, scratch, **options)


def everything(images: ImageSet) -> list[Sample | Outcome]:
    return list(images.read(range(len(images))))


def samples(images: ImageSet) -> list[Sample]:
    found = everything(images)
    assert not [each for each in found if isinstance(each, Outcome)]
    return [each for each in found if isinstance(each, Sample)]


def outcomes(images: ImageSet) -> dict[str, Outcome]:
    return {each.key: each for each in everything(images) if isinstance(each, Outcome)}


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
