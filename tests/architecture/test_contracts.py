"""The engine and the command line ask a job for nothing that its base class does not declare."""

from __future__ import annotations

import ast

import pytest

from faceprep.core import registry
from faceprep.core.job import Job
from tests.architecture.test_source import TREES

ROOMS = ("faceprep/run/", "faceprep/jobs/", "faceprep/cli/", "faceprep/steps/")
MODULES = {"os", "state", "args"}
"""What may be asked for an attribute that need not exist: modules of the standard library."""
NO_RUNS = {"convert-model", "inspect", "models", "doctor", "finish", "report", "review", "verify"}
"""Commands that look at something and run no shards."""


@pytest.mark.parametrize("name", [name for name in TREES if name.startswith(ROOMS)])
def test_no_hook_is_found_by_its_name(name: str) -> None:
    for node in ast.walk(TREES[name]):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) not in ("getattr", "hasattr"):
            continue
        asked, attribute = node.args[0], node.args[1]
        if isinstance(attribute, ast.Constant) and ast.unparse(asked) not in MODULES:
            pytest.fail(f"{name}:{node.lineno} asks {ast.unparse(asked)} for {attribute.value!r}")


@pytest.mark.parametrize("name", sorted(set(registry.COMMANDS) - NO_RUNS))
def test_commands_in_shards_are_jobs(name: str) -> None:
    job = registry.load(registry.COMMANDS, name)
    assert issubclass(job, Job) and not job.__abstractmethods__
    declared = {hook for hook in vars(Job) if not hook.startswith("_")}
    assert {"plan", "run", "finish", "warm_up", "details", "sentence"} <= declared


@pytest.mark.parametrize("name", [name for name in TREES if name != "faceprep/core/shards.py"])
def test_shards_are_cut_in_one_place(name: str) -> None:
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Shard":
            pytest.fail(f"{name}:{node.lineno} makes a shard by hand, not with core/shards.py")
