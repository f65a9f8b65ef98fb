"""The .npz manifest: NumPy reads it, it is the same every time, and nothing in a foreign one
can run or crash.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.core.io import npz
from faceprep.sets.manifests.embedding_join import fetch, lay_out, load_table, match

NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12),
    max_size=6,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("npz") / "a.npz"


def manifest(names: list[str], dim: int = 0) -> bytes:
    file = io.BytesIO()
    members = [
        npz.member_of("image_names", np.array(names, "U12")),
        npz.member_of("image_classes", np.arange(len(names))),
    ]
    if dim:
        embeddings = np.arange(len(names) * dim, dtype=np.float32).reshape(len(names), dim)
        members.append(replace(npz.member_of("embeddings", embeddings), compress=False))
    npz.write_npz(file, members)
    return file.getvalue()


def load_all(path: Path) -> dict[str, np.ndarray]:
    with npz.NpzFile(path) as file:
        return {key: file.load(key) for key in file.keys}


@given(names=NAMES, dim=st.integers(0, 3))
def test_numpy_and_we_read_it_back(path: Path, names: list[str], dim: int) -> None:
    data = manifest(names, dim)
    path.write_bytes(data)
    ours = load_all(path)
    with np.load(io.BytesIO(data), allow_pickle=False) as theirs:
        assert (
            set(theirs)
            == set(ours)
            == {"image_names", "image_classes"} | ({"embeddings"} if dim else set())
        )
        for key in theirs:
            np.testing.assert_array_equal(theirs[key], ours[key], strict=True)
    assert ours["image_names"].tolist() == names
    assert ours["image_classes"].dtype == np.int64
    contents = npz.describe(path)
    assert (contents.n_images, contents.n_classes) == (len(names), len(names))


def test_members_from_chunks_equal_whole_ones() -> None:
    rows = np.arange(12, dtype="<f4").reshape(6, 2)
    chunks = npz.Member("embeddings", "float32", (6, 2), [rows[:1].tobytes(), rows[1:].tobytes()])
    whole, parts = io.BytesIO(), io.BytesIO()
    npz.write_npz(whole, [npz.member_of("embeddings", rows)])
    npz.write_npz(parts, [chunks])
    assert whole.getvalue() == parts.getvalue()


def test_headers_have_a_fixed_date() -> None:
    with zipfile.ZipFile(io.BytesIO(manifest(["a"], 2))) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@given(cut=st.integers(0))
def test_a_cut_off_file_is_refused(path: Path, cut: int) -> None:
    data = manifest(["a", "b"], 2)
    path.write_bytes(data[: cut % len(data)])
    with pytest.raises(SourceError, match=r"a\.npz: "):
        load_all(path)


@given(at=st.integers(0), byte=st.integers(1, 255))
def test_a_changed_byte_does_no_harm(path: Path, at: int, byte: int) -> None:
    data = bytearray(manifest(["a", "b"], 2))
    data[at % len(data)] ^= byte
    path.write_bytes(data)
    for read in (load_all, npz.describe, load_table):
        try:
            read(path)
        except SourceError as error:
            assert "a.npz" in str(error)


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("it ran",)


def test_pickled_objects_are_refused(path: Path) -> None:
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        array, {"descr": "|O", "fortran_order": False, "shape": (1,)}
    )
    array.write(pickle.dumps(Bomb()))
    with zipfile.ZipFile(path, "w") as archive:
        for key in ("image_names", "image_classes"):
            archive.writestr(f"{key}.npy", array.getvalue())
    for read in (load_all, npz.describe):
        with pytest.raises(SourceError, match="cannot read the array"):
            read(path)


def test_missing_and_mismatched_arrays(path: Path) -> None:
    np.savez(path, image_names=np.array(["a"]))
    with pytest.raises(SourceError, match="no array 'image_classes' in it: .*found image_names"):
        npz.describe(path)
    np.savez(path, image_names=np.array(["a"]), image_classes=np.arange(2))
    with pytest.raises(SourceError, match="differ in length: .* 1 image_names, 2 image_classes"):
        npz.describe(path)


def write_array(path: Path, header: bytes, data: bytes, compression: int) -> None:
    """Write an .npz whose one array `embeddings` has this header in words, true or not."""
    array = b"\x93NUMPY\x02\0" + len(header).to_bytes(4, "little") + header + data
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("embeddings.npy", array)


@given(
    descr=st.sampled_from(["'<f4'", "'<U0'", "'<U5'", "'|S3'", "'|O'", "[('a', '<i4')]", "'<f4"]),
    is_fortran=st.sampled_from(["True", "False", "None"]),
    shape=st.lists(st.sampled_from([0, 1, 2, 3, True, -1, 1 << 40, 1 << 70]), max_size=3),
    data=st.binary(max_size=64),
    compression=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
)
def test_headers_that_lie_do_no_harm(
    path: Path, descr: str, is_fortran: str, shape: list[int], data: bytes, compression: int
) -> None:
    dims = "".join(f"{n}, " for n in shape)
    header = f"{{'descr': {descr}, 'fortran_order': {is_fortran}, 'shape': ({dims})}}".encode()
    write_array(path, header, data, compression)
    with npz.NpzFile(path) as file:
        for read in (file.load, file.map, lambda key: np.concatenate(list(file.chunks(key)))):
            try:
                array = read("embeddings")
            except SourceError as error:
                assert str(error).startswith(f"{path}: cannot ")
            except ValueError as error:
                assert "need at least one array to concatenate" in str(error)  # no chunks
            else:
                assert array.nbytes <= len(data)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("'<f4', 'fortran_order': False, 'shape': (1099511627776, 4)", "17,592,186,044,416 *** 16"),
        ("'<U0', 'fortran_order': False, 'shape': (1000000000000,)", "shape (1000000000000,)"),
        ("'<f4', 'fortran_order': False, 'shape': (1000000000000, 0)", "shape (1000000000000, 0)"),
        (f"'<f4', 'fortran_order': False, 'shape': {'-' * 9000}1", "nested too deeply"),
    ],
)
def test_headers_that_lie_are_refused_without_memory(path: Path, header: str, reason: str) -> None:
    write_array(path, f"{{'descr': {header}}}".encode(), bytes(16), zipfile.ZIP_STORED)
    match = ".*".join(map(re.escape, reason.split(" *** ")))
    with npz.NpzFile(path) as file:
        for read in (file.load, file.map, lambda key: list(file.chunks(key))):
            with pytest.raises(SourceError, match=match):
                read("embeddings")


# Embeddings by name


@pytest.mark.parametrize(
    "names",
    [np.array(["a/1.jpg", "b/ä.jpg", "c"]), np.array([b"a/1.jpg", "b/ä.jpg".encode(), b"c"])],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_are_found_by_name(tmp_path: Path, names: np.ndarray, dtype: type, order: str) -> None:
    embeddings = np.asarray(np.arange(6).reshape(3, 2), dtype, order=order)  # type: ignore[call-overload]
    np.savez_compressed(tmp_path / "e.npz", image_names=names, embeddings=embeddings)
    table = load_table(tmp_path / "e.npz")
    lay_out(table, tmp_path / "rows")
    rows = match(table, [lambda: ["/x/a", "/x/b"], lambda: ["b/ä.jpg", "missing", "a/1.jpg"]])
    assert rows.tolist() == [1, -1, 0]
    found = fetch(tmp_path / "rows", [1, 0], table.dim, table.dtype)
    np.testing.assert_array_equal(found, embeddings[[1, 0]], strict=True)


def test_embeddings_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    floats = np.zeros((2, 3), np.float32)
    for names, embeddings, why in (
        (["a"], floats, "expected one embedding for each of 1 name, found 2 embeddings"),
        (["a", "b"], floats[:, 0], r"expected 2 dimensions, found \(2,\)"),
        (["a", "b"], floats.astype(int), "expected float32 or float16, found int64"),
        ([1, 2], floats, r"expected text \(n,\), found int64"),
    ):
        np.savez(path, image_names=np.array(names), embeddings=embeddings)
        with pytest.raises(SourceError, match=why):
            load_table(path)
    np.savez(path, image_names=np.array(["a", "b"]), embeddings=floats)
    with pytest.raises(
        SourceError, match="expected names like '/set/1', found names like 'a'. See --relative-to"
    ):
        match(load_table(path), [lambda: ["/set/1"]])
