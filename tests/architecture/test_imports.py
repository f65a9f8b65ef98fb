"""Nothing heavy is loaded before it is needed, and help comes at once."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import time

import pytest

from tests.real import ROOT

HEAVY = {
    "numpy",
    "cv2",
    "pyarrow",
    "imageio",
    "tqdm",
    "google_crc32c",
    "deflate",
    "tensorflow",
    "torch",
    "onnxruntime",
    "ray",
    "ai_edge_litert",
}
PACKAGE = ROOT / "faceprep"


def loaded_by(program: str) -> set[str]:
    """The top-level modules that are there after `program`."""
    told = (
        f"{program}\nimport json, sys\nprint(json.dumps(sorted({{name.partition('.')[0] for "
        f"name in sys.modules}})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_package_loads_nothing_heavy() -> None:
    assert loaded_by("import faceprep") & (HEAVY | {"click"}) == set()


def test_help_loads_nothing_heavy() -> None:
    run = (
        "import sys; sys.argv = ['faceprep', '--help']\nfrom faceprep.cli import main\nassert "
        "main() == 0"
    )
    assert loaded_by(run) & HEAVY == set()


def test_worker_and_runner_load_nothing_heavy() -> None:
    """A worker starts quickly: what is heavy comes with the job."""
    assert (
        loaded_by("import faceprep.run.processes, faceprep.run.engine") & (HEAVY | {"click"})
        == set()
    )


def test_help_takes_a_few_times_as_long_as_click() -> None:
    """Both on the same machine, which may be busy."""
    commands = [sys.executable, "-m", "faceprep", "--help"], [sys.executable, "-c", "import click"]
    seconds: tuple[list[float], list[float]] = [], []
    for _ in range(5):
        for command, found in zip(commands, seconds, strict=True):
            started = time.monotonic()
            subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
            found.append(time.monotonic() - started)
    assert min(seconds[0]) < 4 * min(seconds[1])


def test_public_names_can_be_loaded() -> None:
    import faceprep

    assert set(faceprep.__all__) <= set(dir(faceprep))
    for name in faceprep.__all__:
        assert getattr(faceprep, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'NoSuch'"):
        _ = faceprep.NoSuch


def test_examples_import_only_public_names() -> None:
    for path in sorted((ROOT / "examples").glob("*.py")):
        names = {name for node in ast.parse(path.read_text()).body for name in _imported(node)}
        own = {name for name in names if name.startswith("faceprep.")}
        assert own <= {"faceprep.synthetic"}, path


def test_optional_packages_are_imported_inside_functions() -> None:
    """No module may need an extra to be imported."""
    optional = {"tensorflow", "torch", "onnxruntime", "ray", "av", "insightface", "waitress"}
    optional |= {"ai_edge_litert", "onnx"}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            assert not {name.partition(".")[0] for name in _imported(node)} & optional, path


def _imported(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def test_no_module_is_loose() -> None:
    """Every module lies in a room: the top level holds the package and its entry point alone."""
    loose = {path.name for path in PACKAGE.glob("*.py")}
    assert loose == {"__init__.py", "__main__.py"}


def test_every_room_has_a_docstring_and_a_layer() -> None:
    """The import contract is exhaustive: a room that it does not name fails it."""
    contract = (ROOT / "pyproject.toml").read_text().partition("[tool.importlinter]")[2]
    rooms = {path.parent for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == {path for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    for room in rooms:
        assert re.search(rf"\b{room.name}\b", contract), f"{room.name} has no layer"
