"""`finish`: join what several processes with `--shard` have made of one run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from faceprep.core.errors import SourceError
from faceprep.core.job import Continuation, Job
from faceprep.core.os_errors import missing_source
from faceprep.core.paths import exists
from faceprep.core.restored_job import restore_job
from faceprep.core.state_file import RUN, find_state, load_record
from faceprep.core.types import Request
from faceprep.core.urls import as_paths, is_remote
from faceprep.run.store_output import find_run


@dataclass(frozen=True)
class Finish(Continuation):
    """Join the output of several processes that share a run.

    OUT is the output of the commands with --shard I/N. Stages that they left undone are carried out
    first, with the options of those commands.
    """

    command: ClassVar[str] = "finish"

    def resume(self, output: str | Path) -> tuple[Job, Request]:
        (output,) = as_paths(output)
        run = _load_run(output)
        job = restore_job(run, output)
        sources = tuple(Path(source) for source in run["sources"])
        return job, Request(sources, output, limit=run["options"].get("limit"), joins=True)


def _load_run(output: Path) -> Mapping[str, Any]:
    """Return the description of the run that makes `output`. Raises SourceError."""
    if is_remote(output):
        run = find_run(output)
        if run and run.get("command"):
            return run
        if not exists(output):
            raise missing_source(output)
        raise _nothing_to_finish(output)
    folder, inner = output, [RUN]
    if not output.is_dir():
        folder, inner = Path(os.path.abspath(output)).parent, [f"{output.name}/{RUN}"]
    state = find_state(folder) if folder.is_dir() else None
    if state is not None:
        if output.is_dir():
            inner += [name for name in state.names() if name.endswith(f"/{RUN}")]
        runs = [run for name in inner if (run := load_record(state, name)).get("command")]
        if len(runs) == 1:
            return runs[0]
    raise _nothing_to_finish(output)


def _nothing_to_finish(output: Path) -> SourceError:
    return SourceError(
        "no run to finish here",
        path=output,
        expected="the output of a command with --shard",
        remedy="Check the path.",
    )
