"""`.params`: read(write(x)) == x in every version of the layout; damaged files are one line."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from faceprep.core.errors import SourceError
from faceprep.core.storage import ByteSource
from faceprep.models.mxnet.params import Params
from tests.models.mxnet_files import FIRST, OLDEST, SECOND, TYPES, params_bytes
from tests.real import MXNET_PYTHON, needs_mxnet

ON_A_FILE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ARRAYS = st.sampled_from(TYPES).flatmap(
    lambda kind: npst.arrays(kind, npst.array_shapes(max_dims=4, max_side=3))
)
FILE = params_bytes({"a": np.arange(6, dtype="<f4").reshape(2, 3), "b": np.ones(1, "<f8")})


def read_all(path: Path, names: list[str]) -> list[npt.NDArray[np.generic]]:
    with ByteSource(path) as source:
        params = Params(source)
        return [params.read(name) for name in names if name in params]


@pytest.mark.parametrize("version", [OLDEST, FIRST, SECOND])
@ON_A_FILE
@given(arrays=st.lists(ARRAYS, min_size=1, max_size=4))
def test_what_is_written_is_read(
    version: str, arrays: list[npt.NDArray[np.generic]], tmp_path: Path
) -> None:
    named = {f"w{row}": array for row, array in enumerate(arrays)}
    path = tmp_path / "a-0000.params"
    path.write_bytes(params_bytes(named, version))
    for found, array in zip(read_all(path, list(named)), arrays, strict=True):
        assert found.dtype == array.dtype and found.shape == array.shape
        assert found.tobytes() == array.tobytes()


_MXNET_READS = """
import sys
import mxnet
for path in sys.argv[1:]:
    for name, array in sorted(mxnet.nd.load(path).items()):
        print(name, array.asnumpy().ravel().tolist())
"""


@needs_mxnet
def test_mxnet_reads_the_files_of_these_tests(tmp_path: Path) -> None:
    arrays = {"a": np.arange(4, dtype="<f4").reshape(2, 2), "b_moving_var": np.ones(2, "<f2")}
    paths = []
    for version in (OLDEST, FIRST, SECOND):
        paths.append(tmp_path / f"{version}.params")
        paths[-1].write_bytes(params_bytes(arrays, version))
    done = subprocess.run(
        [MXNET_PYTHON, "-c", _MXNET_READS, *paths], capture_output=True, text=True, check=True
    )
    lines = ["arg:a [0.0, 1.0, 2.0, 3.0]", "aux:b_moving_var [1.0, 1.0]"]
    assert done.stdout.splitlines() == 3 * lines


# Damaged files


@pytest.mark.parametrize("n", range(len(FILE)))
def test_a_file_that_is_cut_off_anywhere_is_refused(n: int, tmp_path: Path) -> None:
    path = tmp_path / "cut-0000.params"
    path.write_bytes(FILE[:n])
    with pytest.raises(SourceError, match=r"cut-0000\.params: .* at offset \d+: expected"):
        read_all(path, ["a"])


@ON_A_FILE
@given(place=st.integers(0, len(FILE) - 8), number=st.sampled_from((1 << 63, 1 << 31, 1 << 20, 0)))
def test_a_wrong_number_is_refused_or_harmless(place: int, number: int, tmp_path: Path) -> None:
    path = tmp_path / "a-0000.params"
    path.write_bytes(FILE[:place] + struct.pack("<Q", number) + FILE[place + 8 :])
    try:
        found = read_all(path, ["a", "b"])
    except SourceError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert sum(array.nbytes for array in found) <= len(FILE)


@ON_A_FILE
@given(data=st.binary(max_size=200))
def test_bytes_of_any_kind_are_one_line(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a-0000.params"
    path.write_bytes(FILE[:24] + data)
    try:
        read_all(path, [])
    except SourceError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((0, struct.pack("<Q", 0x113)), "expected 0x112, found 0x113"),
        ((16, struct.pack("<Q", 1 << 40)), "expected at most .* arrays"),
        ((28, struct.pack("<i", 1)), "expected a dense array, found storage row_sparse"),
        ((32, struct.pack("<I", 33)), "expected at most 32 dimensions, found 33"),
        ((36, struct.pack("<q", -1)), "expected sides of 0 or more"),
        ((36, struct.pack("<q", 1 << 60)), "cut off"),
        ((60, struct.pack("<i", 12)), "expected a type of 0 to 6, found 12"),
    ],
)
def test_a_refusal_says_what_was_expected(
    change: tuple[int, bytes], message: str, tmp_path: Path
) -> None:
    place, data = change
    path = tmp_path / "a-0000.params"
    path.write_bytes(FILE[:place] + data + FILE[place + len(data) :])
    with pytest.raises(SourceError, match=message):
        read_all(path, [])


@pytest.mark.parametrize("names", [(b"arg:a", b"arg:a"), (b"arg:a", b"fc:bb")])
def test_names_are_distinct_and_have_a_prefix(names: tuple[bytes, bytes], tmp_path: Path) -> None:
    data = params_bytes({"a": np.ones(1, "<f4"), "b": np.ones(1, "<f4")})
    head = data[: data.index(b"arg:a") - 8]
    path = tmp_path / "a-0000.params"
    path.write_bytes(head + b"".join(struct.pack("<Q", len(name)) + name for name in names))
    with pytest.raises(SourceError, match=r"'arg:a' again|'a' again|found 'fc:bb'"):
        read_all(path, [])
