"""A set that was compressed, or that has the suffix of another, is refused in one line.

The line says how to unpack or to name it.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceprep.core.errors import SourceError
from faceprep.core.types import Request
from faceprep.jobs.convert import Convert
from faceprep.run.engine import run_job
from faceprep.synthetic import write_folder
from tests.set_reading import read_set


@pytest.mark.parametrize("suffix", [".tar", ".tfrecord", ".rec", ".zip", ".bin"])
@pytest.mark.parametrize(
    ("compress", "name", "program"),
    [
        (gzip.compress, "gzip", "gunzip"),
        (bz2.compress, "bzip2", "bunzip2"),
        (lzma.compress, "xz", "unxz"),
    ],
)
def test_a_compressed_set_is_named_as_such(
    suffix: str,
    compress: Callable[[bytes], bytes],
    name: str,
    program: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(compress(bytes(range(256)) * 20))
    with pytest.raises(SourceError) as refused:
        read_set(path)
    assert str(refused.value) == (
        f"{path}: the file is compressed with {name}. "
        f"Unpack it first: {program} < a{suffix} > NEW{suffix}."
    )
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "unpacked"), [("a.tar.gz", "NEW.tar"), ("a.tgz", "NEW.tar"), ("a.gz", "NEW")]
)
def test_a_suffix_of_a_compression_is_no_unknown_kind(
    name: str, unpacked: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(bytes(2000)))
    with pytest.raises(SourceError, match=f"gunzip < {name} > {unpacked}[.]$"):
        read_set(path)


NAMES = [
    *("a.tar", "a.zip", "a.rec", "a.bin", "a.tfrecord", "a.parquet", "a.npz", "a.csv", "a.lst"),
    *("a.txt", "a.jsonl", "a"),
]


@pytest.mark.parametrize("suffix", [".rec", ".parquet"])
@pytest.mark.parametrize("name", NAMES)
def test_a_set_with_the_suffix_of_another(suffix: str, name: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "set", 2, 2)
    run_job(Convert(allow_loss=True), Request((tmp_path / "set",), tmp_path / f"b{suffix}"))
    path = (tmp_path / f"b{suffix}").rename(tmp_path / name)
    if name.endswith(suffix):
        assert len(read_set(path)) == 4
        return
    with pytest.raises(SourceError) as refused:
        read_set(path)
    assert str(refused.value) == f"{path}: the file is a {suffix}. End its name in {suffix}."


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".tar", ".zip", ".npz"])
def test_an_archive_with_the_suffix_of_another(suffix: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if suffix == ".tar":
        with tarfile.open(path, "w") as tar:
            tar.addfile(tarfile.TarInfo("0.jpg"))
    elif suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("0/0.jpg", b"")
    else:
        with path.open("wb") as file:
            np.savez(file, embeddings=np.zeros(2))
    if name.endswith(suffix) or (suffix, name) == (".npz", "a.zip"):
        return
    with pytest.raises(SourceError) as refused:
        read_set(path)
    assert str(refused.value) == f"{path}: the file is a {suffix}. End its name in {suffix}."


def test_a_zip_of_something_else_is_no_set(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", b"")
    with pytest.raises(SourceError, match=r"not a set of images: .* found [.]pt$"):
        read_set(path)
