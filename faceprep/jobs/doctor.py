"""`doctor`: report what is installed, what the machine has, and what each command lacks."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import platform
import resource
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from faceprep import __version__
from faceprep.core import cpu as cores
from faceprep.core import dependencies as installed
from faceprep.core import registry, storage
from faceprep.core.disk_space import free_space
from faceprep.core.errors import FaceprepError, MissingExtra
from faceprep.core.job import Look
from faceprep.core.mounts import find_lone_locks
from faceprep.core.os_errors import missing_source
from faceprep.core.paths import exists, full_path, is_folder
from faceprep.core.scratch import scratch_place
from faceprep.core.slow_step import Progress, ignore_progress
from faceprep.core.store_writes import can_put
from faceprep.core.text import count_noun, join_lines
from faceprep.core.urls import is_remote

_MODULES = {"opencv-python": "cv2", "google-crc32c": "google_crc32c"}
_FOR_DEVELOPERS = ("test", "dev", "all")
_FEW_FILES = 1024
_GIB = 1 << 30
_LONE = "with several machines, start each --shard only once, and run finish last"


@dataclass(frozen=True)
class Lack:
    """A need of an extra, and what does not work without it."""

    extra: str
    problems: tuple[str, ...]
    commands: tuple[str, ...]
    models: tuple[str, ...]

    @property
    def pip(self) -> str:
        return f"pip install 'faceprep[{self.extra}]'"


@dataclass(frozen=True)
class StoreState:
    """What an object store answers about a name: what is `found` there, or the `problem`.

    `takes_outputs` says whether faceprep writes to stores of this kind. Nothing is written to try.
    """

    url: str
    found: str = ""
    problem: str = ""
    takes_outputs: bool = False

    def __str__(self) -> str:
        if self.problem:
            return self.problem
        writes = "outputs are not written to stores of this kind"
        if self.takes_outputs:
            writes = "writing was not tried; it needs conditional writes (If-None-Match, If-Match)"
        return f"{self.url}: {self.found}; {writes}"


@dataclass(frozen=True)
class Diagnosis:
    """The findings; `broken` names what even the base install needs."""

    versions: Mapping[str, str | None]
    providers: Sequence[str]
    cores: Mapping[str, float | None]
    memory_limit: int | None
    space: Mapping[str, tuple[int, int | None]]
    open_files: tuple[int, int]
    lone_locks: Mapping[str, str]
    lacks: Sequence[Lack]
    broken: Sequence[str]
    store: StoreState | None = None
    failed: ClassVar[int] = 0

    @property
    def exit_status(self) -> int:
        return 1 if self.broken or (self.store and self.store.problem) else 0

    def as_json(self) -> dict[str, Any]:
        return {
            "command": "doctor",
            "versions": dict(self.versions),
            "providers": list(self.providers),
            "cores": dict(self.cores),
            "memory_limit_bytes": self.memory_limit,
            "space": {
                path: {"free_bytes": n, "free_files": files}
                for path, (n, files) in self.space.items()
            },
            "locks_of_one_machine": dict(self.lone_locks),
            "store": asdict(self.store) if self.store else None,
            "open_files": {"soft": self.open_files[0], "hard": self.open_files[1]},
            "missing": [
                {
                    "extra": lack.extra,
                    "problems": lack.problems,
                    "commands": lack.commands,
                    "models": lack.models,
                }
                | {"pip": lack.pip}
                for lack in self.lacks
            ],
            "broken": list(self.broken),
        }

    def __str__(self) -> str:
        versions = [_row(name, version or "-") for name, version in self.versions.items()]
        lines = ["versions", *versions, "machine", *self._describe_machine()]
        if self.lacks:
            lines.append("missing")
        for lack in self.lacks:
            lines += _describe_lack(lack)
        if self.broken:
            lines += ["broken", *(f"  {line}" for line in self.broken)]
        elif self.exit_status:
            lines.append("the base install is sound, but the object store cannot be used")
        else:
            lines.append("the base install is sound")
        return join_lines(lines)

    def _describe_machine(self) -> list[str]:
        """Return a row for each fact about this machine, or for each place of it."""
        rows = [_row("ONNX Runtime runs on", ", ".join(self.providers) or "-")]
        usable, machine, quota = (self.cores[name] for name in ("usable", "machine", "quota"))
        limit = f", {quota:g} by the quota of its control group" if quota else ""
        rows.append(_row("cores", f"{usable:g} of {machine:g} may be used{limit}"))
        if self.memory_limit:
            rows.append(_row("memory limit", f"{self.memory_limit / _GIB:,.1f} GiB"))
        few = " (few: raise it with ulimit -n)" if self.open_files[0] < _FEW_FILES else ""
        rows.append(_row("open files", f"{self.open_files[0]:,}{few}"))
        for path, (n_bytes, n_files) in self.space.items():
            files = "" if n_files is None else f", {count_noun(n_files, 'file')}"
            rows.append(_row("free space", f"{n_bytes / _GIB:,.1f} GiB{files} at {path}"))
        if self.store:
            rows.append(_row("object store", str(self.store)))
        for path, mount in self.lone_locks.items():
            rows.append(_row("locks", f"seen on one machine only at {path} ({mount}): {_LONE}"))
        return rows


@dataclass(frozen=True)
class Doctor(Look):
    """Check the installation, this machine, and what each command still needs.

    PATH is a folder to write to, which need not exist yet: its free space is reported too, and
    whether other machines see its locks. If PATH is in an object store, the result says whether the
    store answers and what is there; nothing is written. Exit status 1 means that something that
    every command needs is broken, or that the store cannot be used.
    """

    command: ClassVar[str] = "doctor"

    def exit_status(self, result: Diagnosis) -> int:
        """Return 1 where something that is installed does not work, else 0."""
        return result.exit_status

    def look(self, path: Path | None = None, progress: Progress = ignore_progress) -> Diagnosis:
        needed = installed.requirements()
        is_in_store = path is not None and is_remote(path)
        first = "." if path is None or is_in_store else path
        places = dict.fromkeys(os.path.abspath(place) for place in (first, ".", scratch_place()))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        return Diagnosis(
            versions=_versions(needed),
            providers=_providers(),
            cores={
                "usable": cores.n_cores(),
                "machine": os.cpu_count() or 1,
                "quota": cores.quota(),
            },
            memory_limit=cores.memory_limit(),
            space={place: free_space(place)[:2] for place in places},
            open_files=(soft, hard),
            lone_locks={place: found for place in places if (found := find_lone_locks(place))},
            lacks=_lacks(needed),
            broken=_broken(needed[installed.BASE]),
            store=_look_at_store(path) if path and is_in_store else None,
        )


def _look_at_store(path: Path) -> StoreState:
    """Ask an object store what is at `path`."""
    url = full_path(path)
    try:
        if is_folder(url):
            found = f"{count_noun(sum(map(len, storage.list_folder(url))), 'name')} listed"
        elif exists(url):
            found = "an object that can be read"
        else:
            error = missing_source(url)
            if "bucket" in error.problem:
                raise error
            found = "nothing there yet, and listing is allowed"
    except FaceprepError as error:
        return StoreState(url, problem=str(error))
    return StoreState(url, found, takes_outputs=can_put(url))


def _versions(needed: Mapping[str, Sequence[str]]) -> dict[str, str | None]:
    """Return the versions of faceprep, of Python and of all packages that a user may need, base
    first.
    """
    versions = {
        "faceprep": __version__,
        "Python": platform.python_version(),
        "system": platform.platform(),
    }
    extras = [extra for extra in needed if extra not in _FOR_DEVELOPERS]
    projects = dict.fromkeys(
        installed.project_of(each) for extra in extras for each in needed[extra]
    )
    return versions | {project: installed.version_of(project) for project in projects}


def _providers() -> list[str]:
    """Return the execution providers of ONNX Runtime here; none where it cannot be loaded."""
    try:
        from faceprep.models import (
            onnx_session as runtime,  # needs NumPy, which may be what is broken
        )

        return list(runtime.onnxruntime().get_available_providers())
    except (MissingExtra, ImportError):
        return []


def _lacks(needed: Mapping[str, Sequence[str]]) -> list[Lack]:
    found = []
    for extra in needed:
        if extra == installed.BASE or extra in _FOR_DEVELOPERS:
            continue
        problems = tuple(filter(None, map(installed.problem_of, needed[extra])))
        if problems:
            commands = tuple(
                name for name, entry in registry.COMMANDS.items() if entry.extra == extra
            )
            found.append(Lack(extra, problems, commands, _models_without(extra)))
    return found


def _models_without(extra: str) -> tuple[str, ...]:
    """Return the models of the extra that cannot be used.

    A model with packages of its own needs only those.
    """
    entries = [
        (name, entry)
        for table in (registry.DETECTORS, registry.EMBEDDERS)
        for name, entry in table.items()
    ]
    missing = [name for name, entry in entries if entry.extra == extra and not _has(entry.packages)]
    return tuple(dict.fromkeys(missing))


def _has(packages: Sequence[str]) -> bool:
    return bool(packages) and all(installed.version_of(each) for each in packages)


def _broken(base: Sequence[str]) -> list[str]:
    """Name the packages of the base install that are missing, too old, or cannot be loaded."""
    problems = []
    for requirement in base:
        project = installed.project_of(requirement)
        problem = installed.problem_of(requirement)
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # OpenCV prints what it lacks
                importlib.import_module(_MODULES.get(project, project))
        except (ImportError, OSError, AttributeError, ValueError) as error:  # ill-matched NumPy
            problem = problem or f"{project} cannot be loaded: {' '.join(str(error).split())}"
        if problem:
            problems.append(f"{problem}; pip install --force-reinstall '{requirement}'")
    return problems


def _row(name: str, text: str) -> str:
    return f"  {name:24s}{text}"


def _describe_lack(lack: Lack) -> list[str]:
    what = ", ".join((*lack.commands, *(f"the model {name}" for name in lack.models))) or lack.extra
    return [f"  for {what}: {lack.pip}", *(f"    {problem}" for problem in lack.problems)]
