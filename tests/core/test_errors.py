"""One clear line, also after a journey from a worker."""

from __future__ import annotations

import copy
import pickle

import pytest

from faceprep.core import errors
from faceprep.core.errors import FaceprepError, loading

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, FaceprepError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_fields_survive_pickling_and_copying(kind: type[FaceprepError]) -> None:
    error = kind(
        "bad magic",
        path="a.rec",
        where="offset 8",
        expected="x",
        found="y",
        remedy="Copy it again.",
    )
    error.add_note("seen by a worker")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert (
            str(again)
            == str(error)
            == "a.rec: bad magic at offset 8: expected x, found y. Copy it again."
        )
        assert (again.problem, again.path, again.where) == ("bad magic", "a.rec", "offset 8")
        assert (again.expected, again.found, again.remedy) == ("x", "y", "Copy it again.")


def test_what_is_not_known_is_not_said() -> None:
    assert str(FaceprepError("no room")) == "no room"
    assert str(FaceprepError("no room", found="3")) == "no room: found 3"
    assert str(FaceprepError("no room", where="top", remedy="Go.")) == "no room at top. Go."
    assert str(FaceprepError("no room", found="one chair.", remedy="Go.")).endswith("chair. Go.")


def test_whatever_is_in_a_name_it_is_one_line() -> None:
    error = FaceprepError("bad\nname", path="a\x1b[31m\r.rec", found="\x7f\0")
    assert str(error) == r"a\x1b[31m\r.rec: bad\nname: found \x7f\x00"
    assert error.path == "a\x1b[31m\r.rec", "as it is"


def test_ctrl_c_in_an_import_stays_one() -> None:
    with pytest.raises(KeyboardInterrupt), loading("no ONNX Runtime ({0})", "pip install it"):
        raise ImportError("initialization failed") from KeyboardInterrupt()
