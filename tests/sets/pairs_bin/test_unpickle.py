"""The pickle reader against what real pickles say, and against arguments and sizes that hurt."""

from __future__ import annotations

import pickle
import pickletools
import time
import tracemalloc
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceprep.core.errors import SourceError
from faceprep.sets.pairs_bin.unpickle import read_pickle
from tests.hostile_pickles import nothing_runs, short_text
from tests.sets.pairs_bin.pickles import read, refusal

# What real pickles say

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple),
    max_leaves=12,
)


@given(plain, st.integers(0, 5))
def test_data_of_every_protocol(value: Any, protocol: int) -> None:
    assert read(pickle.dumps(value, protocol)) == value


@given(st.binary(max_size=2000), st.integers(0, 5))
def test_byte_arrays(value: bytes, protocol: int) -> None:
    assert read(pickle.dumps(bytearray(value), protocol)) == value


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["u1", "b1", "<i8", ">i4", "i2"])
@pytest.mark.parametrize("shape", [(6,), (6, 1), (2, 3), (0,), ()])
@pytest.mark.parametrize("numpy_1", [False, True])
def test_arrays(protocol: int, dtype: str, shape: tuple[int, ...], numpy_1: bool) -> None:
    numbers = (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2).astype(dtype)
    data = pickle.dumps(numbers, protocol)
    found = read(as_numpy_1(data) if numpy_1 else data)
    assert found.dtype == numbers.dtype and found.shape == shape and (found == numbers).all()


def as_numpy_1(data: bytes) -> bytes:
    """The same pickle with the module names of NumPy 1."""
    if data[2:3] == b"\x95":
        data = data[:2] + data[11:]  # without its frame, whose length would not fit
    return (
        data.replace(b"\x8c\x16numpy._core", b"\x8c\x15numpy.core")
        .replace(b"\x8c\x13numpy._core", b"\x8c\x12numpy.core")
        .replace(b"numpy._core", b"numpy.core")
    )


@pytest.mark.parametrize("protocol", range(6))
def test_numpy_truth_values(protocol: int) -> None:
    found = read(pickle.dumps([np.bool_(True), np.bool_(False)], protocol))
    assert [each.item() for each in found] == [True, False]


@pytest.mark.parametrize(
    "data",
    [
        b"S'\\xff\\xd8 \\'\\n\\\\'\n.",
        b'S"\\xff\\xd8 \'\\n\\\\"\n.',
        b"U\x07\xff\xd8 '\n\\\\."[:9] + b".",
        b"\x80\x02T\x06\x00\x00\x00\xff\xd8 '\n\\.",
    ],
)
def test_python_2_strings(data: bytes) -> None:
    assert read(data) == pickle.loads(data, encoding="bytes")


def test_the_same_value_twice() -> None:
    image = bytes(300)
    assert read(pickle.dumps([image, image, [image]], 4)) == [image, image, [image]]


# Allowed names with arguments that hurt

U1 = b"cnumpy\ndtype\n(Vu1\nI00\nI01\ntR"
EMPTY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"


SHORT = "a NumPy array of shape (9,) and type u1 in 2 bytes"


def array(shape: bytes, dtype: bytes = U1, data: bytes = b"S'abcd'\n") -> bytes:
    return EMPTY + b"(I1\n" + shape + dtype + b"I00\n" + data + b"tb."


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"cbuiltins\nbytearray\nL1000000000000L\n\x85R.", "text that is not encoded as latin1"),
        (b"cbuiltins\nbytes\nJ\xff\xff\xff\x7f\x85R.", "text that is not encoded as latin1"),
        (b"cbuiltins\nbytearray\n](K\x01e\x85R.", "text that is not encoded as latin1"),
        (b"c_codecs\nencode\nVabc\nVzip\n\x86R.", "text that is not encoded as latin1"),
        (b"c_codecs\nencode\nVabc\nVrot13\n\x86R.", "text that is not encoded as latin1"),
        (
            b"c_codecs\nencode\nVabc\nVlatin1\nVbackslashreplace\n\x87R.",
            "text that is not encoded as latin1",
        ),
        (b"c_codecs\nencode\nVabc\n\x85R.", "text that is not encoded as latin1"),
        (b"cnumpy\ndtype\n(VO\nI00\nI01\ntR.", "the NumPy type 'O'"),
        (b"cnumpy\ndtype\n(V|O8\nI00\nI01\ntR.", "the NumPy type '|O8'"),
        (b"cnumpy\ndtype\n(VV1000000000\nI00\nI01\ntR.", "the NumPy type 'V1000000000'"),
        (b"cnumpy\ndtype\n(Vg16\nI00\nI01\ntR.", "the NumPy type 'g16'"),
        (b"cnumpy\ndtype\n(Vu1,u1\nI00\nI01\ntR.", "the NumPy type 'u1,u1'"),
        (b"cnumpy\ndtype\n((Vu1\n(I9\nttI00\nI01\ntR.", "the NumPy type ''"),
        (b"cnumpy\ndtype\n](Vu1\ne\x85R.", "the NumPy type ''"),
        (b"cnumpy\ndtype\n)R.", "the NumPy type ''"),
        (U1 + b"(I3\nV|\nVa\nNNI-1\nI-1\nI0\ntb.", "a state of 8 values for a NumPy dtype"),
        (U1 + b"(I3\nVx\nNNNI-1\nI-1\nI0\ntb.", "the NumPy byte order 'x'"),
        (U1 + b"N\x85b.", "a state of 1 values for a NumPy dtype"),
        (b"cnumpy\nndarray\n(I9\ntR.", "a call of the name numpy.ndarray"),
        (b"cnumpy\nndarray\n)b.", "a state of 0 values for the name numpy.ndarray"),
        (EMPTY.replace(b"(I0", b"(L999999999999L"), "a NumPy array that does not begin empty"),
        (EMPTY.replace(b"ndarray", b"dtype"), "a NumPy array that does not begin empty"),
        (
            array(b"(L999999999999L\nt"),
            "a NumPy array of shape (999999999999,) and type u1 in 4 bytes",
        ),
        (array(b"(I4\nI999999\nt"), "a NumPy array of shape (4, 999999) and type u1 in 4 bytes"),
        (array(b"(I-4\nt"), "a NumPy array that is not made of bytes, a number type and a shape"),
        (array(b"(I01\nt"), "a NumPy array that is not made of bytes, a number type and a shape"),
        (
            array(b"(I1\nI1\nI1\nI1\nI4\nt"),
            "a NumPy array that is not made of bytes, a number type and a shape",
        ),
        (array(b"I4\n"), "a NumPy array that is not made of bytes, a number type and a shape"),
        (
            array(b"(I4\nt", data=b"](K\x01e"),
            "a NumPy array that is not made of bytes, a number type and a shape",
        ),
        (
            array(b"(I4\nt", data=b"N"),
            "a NumPy array that is not made of bytes, a number type and a shape",
        ),
        (
            array(b"(I4\nt", dtype=b"Vu1\n"),
            "a NumPy array that is not made of bytes, a number type and a shape",
        ),
        (
            array(b"(I4\nt", data=b"V\\u0100abc\n"),
            "a NumPy array in a string that cannot be decoded",
        ),
        (EMPTY + b"N\x85b.", "a state of 1 values for a NumPy array"),
        (
            b"cnumpy.core.multiarray\nscalar\n(" + U1 + b"S'ab'\ntR.",
            "a NumPy array of shape () and type u1 in 2 bytes",
        ),
        (
            b"cnumpy.core.multiarray\nscalar\n(" + U1 + b"tR.",
            "a NumPy scalar without its type or bytes",
        ),
        (b"cnumpy.core.numeric\n_frombuffer\n(S'ab'\n" + U1 + b"(I9\ntVC\ntR.", SHORT),
        (
            b"cnumpy.core.numeric\n_frombuffer\n)R.",
            "a NumPy array without its bytes, type, shape or order",
        ),
        (b"])R.", "a call of a list"),
        (b"K\x01)R.", "a call of a number"),
        (b"S'os'\n)R.", "a call of a string"),
        (b"cnumpy\ndtype\n]R.", "a list where arguments belong"),
        (b"]](K\x01eb.", "a list where arguments belong"),
        (b"])b.", "a state of 0 values for a list"),
        (b"S'a'\n)b.", "a state of 0 values for a string"),
        (b"(K\x01(K\x02e.", "values to append, but no list"),
        (b")K\x01a.", "values to append, but no list"),
        (EMPTY + b"K\x01a.", "values to append, but no list"),
    ],
)
def test_arguments_that_hurt(data: bytes, found: str) -> None:
    assert f"found {found}" in refusal(data)


CALLS = {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"}
NO_CALLS = {
    *("DUP", "POP", "POP_MARK"),
    *("PERSID", "BINPERSID"),
    *("NEXT_BUFFER", "READONLY_BUFFER"),
}


@pytest.mark.parametrize("name", sorted(CALLS | NO_CALLS))
def test_instructions_that_no_set_needs(name: str) -> None:
    """Only those that call something need the warning."""
    (code,) = [each.code for each in pickletools.opcodes if each.name == name]
    message = refusal(b"\x80\x02]](" + code.encode("latin-1") + bytes(8) + b".")
    assert f"found the instruction {name}." in message
    assert ("Do not open this file with pickle" in message) == (name in CALLS)


@pytest.mark.parametrize(
    "byte", sorted(set(range(256)) - {ord(code.code) for code in pickletools.opcodes})
)
def test_bytes_that_are_no_instruction(byte: int) -> None:
    assert f"found the byte {byte:#04x}, which is not an instruction" in refusal(
        bytes([byte]) + bytes(8)
    )


# Sizes, depth and order

LIES = [
    *(
        b"T\xff\xff\xff\x7f",
        b"T\xff\xff\xff\xff",
        b"U\xff",
        b"B\xff\xff\xff\xff",
        b"C\xff",
        b"X\xff\xff\xff\xff",
        b"\x8c\xff",
    ),
    *(
        code + bytes([255] * 7) + top
        for code in (b"\x8e", b"\x96", b"\x8d", b"\x95")
        for top in (b"\x7f", b"\xff")
    ),
    *(
        b"\x8a\xff",
        b"\x8b\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\xff",
        b"\x8a\x09123456789.",
        b"\x80\x06.",
        b"\x80\xff.",
    ),
    *(
        b"I" + b"9" * 100_000 + b"\n.",
        b"L" + b"9" * 5000 + b"L\n.",
        b"I1e9\n.",
        b"I\n.",
        b"L0x10L\n.",
        b"I 1\n.",
    ),
    *(
        b"c" + b"a" * 100_000 + b"\nb\n.",
        b"S'abc\n.",
        b"S\n.",
        b"S'\n.",
        b"Sabc\n.",
        b"V",
        b"S'",
        b"cos",
        b"cos\nsystem",
    ),
]
DISORDER = [
    *(
        b"",
        b".",
        b"K",
        b"K\x01",
        b"K\x01K\x02.",
        b"(.",
        b"(K\x01.",
        b"e.",
        b"t.",
        b"l.",
        b"a.",
        b"K\x01a.",
        b"\x85.",
    ),
    *(
        b"K\x01\x86.",
        b"K\x01K\x02\x87.",
        b"R.",
        b"b.",
        b"K\x01b.",
        b")b.",
        b"h\x00.",
        b"g7\n.",
        b"j\xff\xff\xff\xff.",
    ),
    *(
        b"p0\n.",
        b"q\x00.",
        b"\x94.",
        b"\x93.",
        b"\x8c\x02os\x93.",
        b"K\x01.K\x02.",
        b"K\x01.\n",
        b"g-1\n.",
        b"p\n.",
    ),
]


@pytest.mark.parametrize("data", LIES + DISORDER)
def test_sizes_that_lie_and_instructions_out_of_order(data: bytes) -> None:
    tracemalloc.start()
    try:
        refusal(data)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        b")" + b"\x85" * 900_000 + b".",
        b"(" * 500_000 + b"t" * 500_000 + b".",
        b"(" * 500_000 + b"l" * 500_000 + b".",
        b"]q\x00h\x00a.",
        b"]q\x00" + (b"](" + b"h\x00" * 10 + b"eq\x00") * 30 + b"\x86" * 30 + b".",
    ],
    ids=[
        "tuples in tuples",
        "tuples in marks",
        "lists in marks",
        "a list in itself",
        "ten to the power of 30 lists",
    ],
)
def test_depth_and_repetition_cost_nothing(data: bytes) -> None:
    with nothing_runs():
        assert read_pickle(data, "a.bin")


def test_instructions_are_bounded_by_the_size_of_the_file() -> None:
    started = time.monotonic()
    assert "more than 1,114,112 instructions" in refusal(b"N" * (1 << 21))
    assert time.monotonic() - started < 20


def test_names_in_messages_are_harmless() -> None:
    name = short_text("os\n\x1b[31m") + short_text("system")
    assert r"'os\n\x1b[31m.system'" in refusal(b"\x80\x04" + name + b"\x93.")


# Anything at all

pieces = st.sampled_from(
    [bytes([code]) for code in range(256)]
    + [
        b"cnumpy\ndtype\n",
        b"cnumpy\nndarray\n",
        b"cnumpy.core.multiarray\n_reconstruct\n",
        b"c_codecs\nencode\n",
        b"cbuiltins\nbytearray\n",
        b"cnumpy._core.numeric\n_frombuffer\n",
        b"cnumpy.core.multiarray\nscalar\n",
        b"Vlatin1\n",
        b"Vu1\n",
        b"K\x01",
        b"U\x03abc",
        b"(I0\nt",
        b"(K\x03t",
        U1,
        EMPTY,
        b"q\x00",
        b"h\x00",
        b"S'\\xff'\n",
    ]
)


@settings(max_examples=600)
@given(st.lists(pieces | st.binary(max_size=6), max_size=30).map(b"".join))
def test_anything_is_data_or_refused(data: bytes) -> None:
    with nothing_runs(), suppress(SourceError):
        read_pickle(data, "a.bin")
