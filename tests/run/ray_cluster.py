"""A Ray cluster of three nodes on this machine, and what befalls it while commands run on it.

    python -m tests.run.ray_cluster FOLDER

FOLDER/NAME gets the output of each run, and stdout one JSON object: the last run's status and
stdout by NAME.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from faceprep import Request, run_job
from faceprep.core.shards import whole_stage
from faceprep.core.types import Outcome, Shard, Sink, Stage, Work
from faceprep.run.ray import RayRunner
from tests.fakes import Lines, write_lines
from tests.real import ROOT
from tests.turns import points_of_the_day

TRIALS = points_of_the_day(["worker", "killed", "frozen", "node"], 2)
_SILENCE_S = 8.0
_REST, _DONE = "rest", ".done"
_STORE = 80 << 20


@dataclass(frozen=True)
class SlowLines(Lines):
    """Takes its time for each line, and notes the processes that work.

    Its last stage stands for no line, and takes longer than the driver waits for news at a time.
    """

    def plan(self, request: Request, scratch: Path) -> Work:
        work = super().plan(request, scratch)
        rest = Stage(_REST, [whole_stage(_REST, request.sources[0])])
        return replace(work, stages=[*work.stages, rest])

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        assert sink.part_path(_REST, _DONE).exists()

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        if shard.stage == _REST:
            time.sleep(2)
            sink.open_part(_DONE).close()
            return
        with open(f"{self.diary}.pids", "a") as file:
            print(os.getpid(), file=file)
        for outcome in super().run(shard, sink):
            time.sleep(0.2)
            yield outcome


def drive(address: str, source: str, output: str) -> None:
    """Run one command on the cluster, as the command line does."""
    from tests.run.ray_cluster import SlowLines  # workers cannot load it from __main__

    job = SlowLines(diary=f"{output}.diary")
    runner = RayRunner(3, address=address, silence=_SILENCE_S)
    summary = run_job(job, Request((Path(source),), Path(output)), runner)
    sys.stdout.write(json.dumps(summary.as_json()))


class Trial:
    """Runs on one cluster."""

    def __init__(self, root: Path) -> None:
        from ray.cluster_utils import Cluster

        self.root, self.source = root, write_lines(root / "source.txt", 60)
        self._cluster: Any = Cluster(True, head_node_args=self._node() | {"num_cpus": 1})
        self.nodes = [self._add(), self._add()]
        self.done: dict[str, Any] = {}

    def _node(self) -> dict[str, Any]:
        return {"object_store_memory": _STORE, "include_dashboard": False}

    def _add(self) -> Any:
        return self._cluster.add_node(num_cpus=1, object_store_memory=_STORE)

    def run(self, name: str, befall: Callable[[subprocess.Popen[str]], None]) -> None:
        """Start a command, let something befall it in the middle, and keep how it ended."""
        self._pids = self.root / f"{name}.diary.pids"
        words = ["drive", self._cluster.address, str(self.source), str(self.root / name)]
        program = [sys.executable, "-m", "tests.run.ray_cluster", *words]
        with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True) as driver:
            _wait_until(lambda: _n_begun(self.root / f"{name}.diary") >= 4)
            befall(driver)
            printed = driver.communicate(timeout=120)[0]
        self.done[name] = [driver.returncode, printed]

    def befall(self, name: str) -> None:
        """Run commands until one ends."""
        if name == "worker":
            self.run(name, self.lose_a_worker)
        elif name == "killed":
            self.run(name, self.kill)
            self.run(name, self.nothing)
        elif name == "frozen":
            self.run(name, self.freeze_a_node)
        else:
            self.run(name, self.lose_a_node)

    def close(self) -> None:
        self._cluster.shutdown()

    # What may befall a run

    def nothing(self, driver: subprocess.Popen[str]) -> None:
        """Leave it alone."""

    def lose_a_worker(self, driver: subprocess.Popen[str]) -> None:
        working = self._working()
        next(each for each in _children(psutil.Process()) if each.pid in working).kill()

    def lose_a_node(self, driver: subprocess.Popen[str]) -> None:
        node = self._working_node()
        self.nodes.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)

    def freeze_a_node(self, driver: subprocess.Popen[str]) -> None:
        """Stop a node for longer than a worker may be silent."""
        raylet = _raylet(self._working_node())
        frozen = [raylet, *_children(raylet)]
        for process in frozen:
            process.suspend()
        time.sleep(2 * _SILENCE_S)
        for process in frozen:
            process.resume()

    def kill(self, driver: subprocess.Popen[str]) -> None:
        driver.send_signal(signal.SIGKILL)

    def _working(self) -> set[int]:
        return set(map(int, self._pids.read_text().split()))

    def _working_node(self) -> Any:
        """Return a node whose worker has begun a shard: one that is slow to start loses none."""

        def find() -> list[Any]:
            working = self._working()
            return [
                node
                for node in self.nodes
                if any(each.pid in working for each in _children(_raylet(node)))
            ]

        _wait_until(find)
        return find()[0]


def _raylet(node: Any) -> psutil.Process:
    return psutil.Process(node.all_processes["raylet"][0].process.pid)


def _children(root: psutil.Process) -> list[psutil.Process]:
    found: list[psutil.Process] = root.children(recursive=True)
    return found


def _n_begun(diary: Path) -> int:
    return diary.read_text().count("\n") if diary.exists() else 0


def _wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def main(root: Path) -> None:
    trial = Trial(root)
    try:
        for name in TRIALS:
            trial.befall(name)
    finally:
        trial.close()
    sys.stdout.write(json.dumps(trial.done))


if __name__ == "__main__":
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # stay on the loopback address
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if sys.argv[1] == "drive":
        drive(*sys.argv[2:])
    else:
        main(Path(sys.argv[1]))
