"""Pickles that would run code: the reader refuses each, and nothing runs.

Every attack carries a canary: a folder that its own code would make. Where Python's pickle runs the
attack, a test shows that it does, so that a canary which stays away means something. An audit hook
of the interpreter watches too: it sees every import, compilation, file and process, whoever starts
it.
"""

from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hostile_pickles import attacks, short_text
from tests.sets.pairs_bin.pickles import refusal

NAMES = [
    *[
        "os.system",
        "posix.system",
        "nt.system",
        "subprocess.Popen",
        "pty.spawn",
        "shutil.rmtree",
        "os.popen",
    ],
    *[
        "builtins.eval",
        "builtins.exec",
        "builtins.getattr",
        "builtins.open",
        "builtins.__import__",
        "builtins.print",
    ],
    *[
        "__builtin__.eval",
        "__builtin__.apply",
        "__builtin__.getattr",
        "__builtin__.file",
        "__builtin__.list",
    ],
    *[
        "importlib.import_module",
        "runpy.run_path",
        "code.interact",
        "timeit.timeit",
        "cProfile.run",
        "pdb.run",
    ],
    *[
        "operator.attrgetter",
        "operator.methodcaller",
        "functools.partial",
        "types.FunctionType",
        "types.CodeType",
    ],
    *[
        "pickle.loads",
        "_pickle.loads",
        "marshal.loads",
        "shelve.open",
        "copyreg._reconstructor",
        "codecs.encode",
    ],
    *[
        "numpy.load",
        "numpy.memmap",
        "numpy.fromfile",
        "numpy.core.multiarray.fromfile",
        "numpy.void",
        "numpy.bool_",
    ],
    *[
        "numpy.testing._private.utils.runstring",
        "numpy.core.multiarray._vec_string",
        "numpy.f2py.os.system",
    ],
    *[
        "numpy.core.multiarray.frombuffer",
        "numpy.ndarray.tofile",
        "numpy.dtype.__new__",
        "numpy.core.os.system",
    ],
    *[
        "torch.load",
        "torch._utils._rebuild_tensor_v2",
        "sys.modules",
        "pip.main",
        "webbrowser.open",
        "ctypes.CDLL",
    ],
    *[
        "_codecs.decode",
        "_codecs.lookup",
        "_codecs.register",
        "builtins.bytes.fromhex",
        ".",
        "os.",
        ".system",
    ],
]


@pytest.mark.parametrize("name", NAMES)
def test_no_other_name(name: str) -> None:
    for cut in [at for at, letter in enumerate(name) if letter == "."]:
        module, attribute = name[:cut], name[cut + 1 :]
        by_lines = f"c{module}\n{attribute}\n".encode()
        by_stack = b"\x80\x04" + short_text(module) + b"\x94" + short_text(attribute) + b"\x94\x93"
        through_memo = (
            b"\x80\x04" + short_text(attribute) + b"q\x07" + short_text(module) + b"h\x07\x93"
        )
        by_old_strings = f"S'{module}'\nS'{attribute}'\n\x93".encode("latin-1")
        for start in (by_lines, by_stack, through_memo, by_old_strings):
            for end in (b".", b")R.", b"N\x85R.", b"0N.", b")\x81."):
                assert repr(name) in refusal(start + end)


@pytest.mark.parametrize("name", attacks(Path("canary")))
def test_an_attack_is_refused_and_nothing_runs(tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    refusal(attacks(canary)[name])
    assert not canary.exists()


@pytest.mark.parametrize("name", attacks(Path("canary")))
def test_the_attacks_are_real(tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    with suppress(Exception):
        pickle.loads(attacks(canary)[name], encoding="bytes")
    assert canary.is_dir()
