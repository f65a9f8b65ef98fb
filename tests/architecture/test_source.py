"""The rules of the source: sizes, docstrings, where the disk is written and where exceptions
are caught.
"""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real import ROOT

FILES = sorted((ROOT / "faceprep").rglob("*.py"))
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in FILES}
WRITES_TO_DISK = {
    "faceprep/cli/streams.py",  # standard output and error, and nothing else
    "faceprep/core/storage.py",
    "faceprep/core/staged_file.py",
    "faceprep/core/output_tree.py",
    "faceprep/core/journal.py",
    "faceprep/core/scratch.py",
    "faceprep/core/signatures.py",  # a key that only its owner may read
    "faceprep/core/locks.py",
    "faceprep/run/staging.py",
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def walk(*kinds: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    for name, module in TREES.items():
        for node in ast.walk(module):
            if isinstance(node, kinds):
                yield f"{name}:{getattr(node, 'lineno', 0)}", node


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


# Exceptions


def test_one_place_catches_every_exception() -> None:
    broad = [
        where
        for where, node in walk(ast.ExceptHandler)
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or "Exception" in {part.strip("() ") for part in ast.unparse(node.type).split(",")}
        )
    ]
    assert [where.partition(":")[0] for where in broad] == ["faceprep/run/shard_task.py"], broad


def test_nothing_swallows_every_exception() -> None:
    for where, node in walk(ast.Call):
        if isinstance(node, ast.Call) and called(node) in ("suppress", "contextlib.suppress"):
            assert not {ast.unparse(kind) for kind in node.args} & {"Exception", "BaseException"}, (
                where
            )


def test_no_assert_and_no_print() -> None:
    assert [where for where, _ in walk(ast.Assert)] == []
    assert [
        where
        for where, node in walk(ast.Call)
        if isinstance(node, ast.Call) and called(node) == "print"
    ] == []


def test_the_library_configures_no_logging() -> None:
    calls = {
        where.partition(":")[0]
        for where, node in walk(ast.Attribute)
        if ast.unparse(node) == "logging.StreamHandler"
    }
    assert calls <= {"faceprep/cli/log_lines.py"}
    for where, node in walk(ast.Call):
        if isinstance(node, ast.Call):
            assert called(node) != "logging.basicConfig", where
            if called(node) == "logging.getLogger":
                assert ast.unparse(node.args[0]) == "'faceprep'", where


# Names


def test_methods_have_names() -> None:
    """A call is found by no search for its name; a WSGI application has to be one."""
    calls = [
        where.partition(":")[0]
        for where, node in walk(ast.FunctionDef)
        if isinstance(node, ast.FunctionDef) and node.name == "__call__"
    ]
    assert calls == ["faceprep/pages/review/app.py"]


# The disk

_IN_OS = """write pwrite writev rename renames replace link symlink unlink remove removedirs
rmdir mkdir makedirs truncate ftruncate fsync chmod chown utime mknod sendfile copy_file_range"""
_IN_SHUTIL = "copy copy2 copyfile copytree move rmtree"
_IN_NUMPY = "save savez savez_compressed savetxt"
_OF_PATHS = (
    "write_bytes write_text mkdir touch unlink rmdir rename symlink_to hardlink_to chmod tofile"
)
_WRITING_CALLS = {
    f"{module}.{name}"
    for module, names in (
        ("os", _IN_OS),
        ("shutil", _IN_SHUTIL),
        ("np", _IN_NUMPY),
        ("cv2", "imwrite"),
    )
    for name in names.split()
}
_OPENS = {"open", "io.open", "os.fdopen", "gzip.open"}
_WRITING_MODE = re.compile("(?=.*[wax+])[rwaxbt+]{1,3}")


def writes(node: ast.Call) -> bool:
    """Return whether a call seems to change a path on disk."""
    name = called(node)
    if name in _WRITING_CALLS or name.startswith("tempfile."):
        return True
    if name == "os.open":
        return ast.unparse(node.args[1]) != "os.O_RDONLY"
    if name == "np.memmap":
        return "'r'" not in map(
            ast.unparse, [*node.args[2:3], *(keyword.value for keyword in node.keywords)]
        )
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if name in _OPENS or method == "open":
        modes = [keyword.value for keyword in node.keywords if keyword.arg == "mode"]
        modes += node.args[1:2] if name in _OPENS else node.args[:1]
        return any(
            isinstance(mode, ast.Constant) and _WRITING_MODE.fullmatch(str(mode.value))
            for mode in modes
        )
    return method in _OF_PATHS.split()


def test_the_disk_is_written_in_one_place() -> None:
    found = [
        f"{where} {called(node)}"
        for where, node in walk(ast.Call)
        if isinstance(node, ast.Call)
        and where.partition(":")[0] not in WRITES_TO_DISK
        and writes(node)
    ]
    assert not found, "\n".join(found)


_WRITE = """open(p, 'w'); open(p, mode='ab'); p.open('wb'); os.rename(a, b); p.write_text(t)
os.open(p, os.O_RDWR)
shutil.rmtree(p); np.save(p, a); p.mkdir(); open(p, 'r+b'); cv2.imwrite(p, a); tempfile.mkdtemp()
np.memmap(p)"""
_DO_NOT = (
    "open(p, 'rb'); p.open('rb'); sink.open('a.txt'); os.open(p, os.O_RDONLY); "
    "text.replace(a, b); sink.write(n, d)"
)


def test_the_look_for_writes_finds_them() -> None:
    assert [
        text for text in _WRITE.replace("\n", "; ").split("; ") if not writes(call_of(text))
    ] == []
    assert [text for text in _DO_NOT.split("; ") if writes(call_of(text))] == []


def call_of(text: str) -> ast.Call:
    node = ast.parse(text, mode="eval").body
    assert isinstance(node, ast.Call)
    return node


# Images

DECODES = {
    "codec.decode_noted": ["faceprep/vision/load_image.py"],
    "decode_heic": ["faceprep/vision/codec.py"],
    "cv2.imdecode": ["faceprep/vision/codec.py"],
    "check_image": [
        "faceprep/core/io/image_bytes.py",
        "faceprep/core/io/image_end.py",
        "faceprep/vision/codec.py",
    ],
}


@pytest.mark.parametrize("name", DECODES)
def test_images_are_decoded_and_checked_in_one_place(name: str) -> None:
    """Every job gets the same status and sentence for an unsound image."""
    calls = [
        where.partition(":")[0]
        for where, node in walk(ast.Call)
        if isinstance(node, ast.Call) and called(node) == name
    ]
    assert calls == DECODES[name]


# Arrays


def test_each_type_of_array_has_one_definition() -> None:
    aliases = {
        where.partition(":")[0]
        for where, node in walk(ast.Assign)
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("npt.NDArray")
    }
    assert aliases == {"faceprep/core/arrays.py"}


# Sizes and docstrings


@pytest.mark.parametrize("name", TREES)
def test_no_file_over_400_lines(name: str) -> None:
    assert len((ROOT / name).read_text().splitlines()) <= 400


def test_no_function_over_50_lines_or_6_parameters() -> None:
    for where, node in walk(ast.FunctionDef, ast.AsyncFunctionDef):
        assert isinstance(node, Function)
        n_lines = (node.end_lineno or 0) - node.lineno + 1
        assert n_lines <= 50, f"{where} {node.name} has {n_lines} lines"
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = [argument.arg for argument in arguments if argument.arg not in ("self", "cls")]
        is_error = node.name == "__init__" and where.startswith(
            "faceprep/core/errors.py"
        )  # what, where, expected, found …
        assert len(names) <= 6 or is_error, f"{where} {node.name} has {len(names)} parameters"


def test_what_is_public_says_what_it_is() -> None:
    """Modules, classes, functions; a method only where its class and name do not say it."""
    silent = []
    for name, module in TREES.items():
        if not ast.get_docstring(module):
            silent.append(name)
        for node in module.body:
            if (
                isinstance(node, ast.ClassDef | Function)
                and not node.name.startswith("_")
                and not ast.get_docstring(node)
            ):
                silent.append(f"{name}:{node.lineno} {node.name}")
    assert not silent, "\n".join(silent)


_OF_OTHERS = {"show_frame"}
"""Names of a standard, not of the code."""


def test_the_names_in_docstrings_are_in_the_code() -> None:
    """A function that is renamed is renamed in the texts that point to it."""
    named: dict[str, str] = {}
    known = {part for name in TREES for part in Path(name).with_suffix("").parts} | _OF_OTHERS
    for where, node in walk(ast.AST):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            words = re.findall(r"`([a-z_]*[a-z]_[a-z_]+)`", str(node.value.value))
            named |= dict.fromkeys(words, where)
        for field in ("id", "attr", "arg", "name"):
            known.add(str(getattr(node, field, "")))
        if isinstance(node, ast.Constant) and not isinstance(node.value, bytes):
            known.add(str(node.value))
    lost = {word: where for word, where in named.items() if word not in known}
    assert not lost, lost


def test_names_that_say_nothing_are_not_taken() -> None:
    bad = {"utils", "util", "common", "helpers", "helper", "base", "manager", "handler", "misc"}
    assert not {part for name in TREES for part in Path(name).with_suffix("").parts} & bad
    for where, node in walk(ast.ClassDef):
        assert isinstance(node, ast.ClassDef)
        assert not node.name.lower().endswith(("manager", "handler", "helper", "utils")), where


def test_no_unfinished_business() -> None:
    for path in FILES:
        text = path.read_text()
        assert not [word for word in ("TODO", "FIXME", "XXX", "/work/", "/tmp/") if word in text], (
            path
        )


# The two files of settings


def test_no_key_lives_in_both() -> None:
    shipped = configparser.ConfigParser()
    shipped.read(ROOT / "setup.cfg")
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(checked) == {"build-system", "tool"}, "what is shipped is said in setup.cfg"
    assert "setuptools" not in checked["tool"]
    assert {section.partition(".")[0] for section in shipped.sections()} <= {"metadata", "options"}
    tools = set(checked["tool"])
    assert not {section for section in shipped.sections() if section.split(":")[0] in tools}


_EXTRAS = {
    "detect",
    "video",
    "heic",
    "embed",
    "insightface",
    "tensorflow",
    "tflite",
    "ray",
    "s3",
    "gcs",
    "azure",
    "review",
    "report",
    "test",
    "docs",
    "dev",
    "all",
}


def test_extras_are_all_there() -> None:
    shipped = configparser.ConfigParser()
    shipped.read(ROOT / "setup.cfg")
    extras = dict(shipped["options.extras_require"])
    assert set(extras) == _EXTRAS
    for line in shipped["options"]["install_requires"].split():
        assert ">=" in line, f"{line} has no floor"


def test_every_file_of_the_package_is_shipped() -> None:
    shipped = configparser.ConfigParser()
    shipped.read(ROOT / "setup.cfg")
    package = ROOT / "faceprep"
    patterns = shipped["options.package_data"]["faceprep"].split()
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    files = {path for path in package.rglob("*") if path.is_file() and path.suffix != ".py"}
    left_out = {path for path in files - packed if "__pycache__" not in path.parts}
    assert not left_out, "name them in [options.package_data] of setup.cfg"
