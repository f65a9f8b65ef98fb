"""Shards spread over a Ray cluster.

The driver and the nodes share a file system: a node reads the sources and writes its part of the
output under the same paths. Each worker of the cluster is an actor. It holds one process of
`run.processes`, so an item that crashes or hangs costs one item here too. A worker has one shard at
a time. Where a worker is lost, by itself or with its node, another one gets the shard. An answer
that comes late does no harm, because the first commit of a shard counts.

Ray's own messages are kept out, since they would end up between those of the command.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TextIO, cast

from faceprep import __version__
from faceprep.core.errors import FaceprepError, SourceError, loading
from faceprep.core.paths import exists
from faceprep.core.types import ITEM_TIMEOUT_S, CarryOut, Shard, ShardReport, ShardWork
from faceprep.run.processes import ProcessRunner
from faceprep.run.ray_address import AT_HAND, LOCAL, check_address, choose_address
from faceprep.run.shard_task import crashed

log = logging.getLogger("faceprep")
_LOOK_S = 1.0
_START_S = 120.0
"""Seconds within which the first worker must have started."""
_SILENCE_S = 60.0
"""Seconds without a sign of life after which a worker is given up."""
_N_TRIES = 5
_OBJECT_STORE = 100 << 20
"""Bytes of Ray's object store: shards and reports are small."""
_PULSE_S = 5.0


class Hello(NamedTuple):
    """What a worker and its driver must agree on."""

    version: str
    folders: Sequence[str]
    """Folders that both must see; the first is the working directory, which paths may start at."""
    level: int
    """The level of the log."""


@dataclass(frozen=True)
class RayRunner:
    """A runner of shards on a Ray cluster, with up to `n_workers` at a time; 0 for all its cores.

    `address` is HOST:PORT of a cluster. Without it, a running cluster is used, or else one
    is started on this machine. Raises OptionError for an address that cannot be reached.
    """

    n_workers: int = 0
    item_timeout: float = ITEM_TIMEOUT_S
    address: str = ""
    silence: float = _SILENCE_S

    def __post_init__(self) -> None:
        with loading("--runner ray needs the package {0.name}", "pip install 'faceprep[ray]'"):
            import ray.exceptions
        if not ray.is_initialized():
            check_address(self.address)

    @contextmanager
    def start(self, work: ShardWork) -> Iterator[CarryOut]:
        with _connected(self.address):
            pool = _ActorPool(work, self)
            try:
                pool.fill()
                yield pool.carry_out
            finally:
                pool.close()


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Connect to a cluster, or start one. Raises FaceprepError."""
    import ray

    if ray.is_initialized():  # the caller's own connection
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report to its makers
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with _BareErrors():
            _connect(address, options)
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = _first_line(error).rstrip(".")
        raise FaceprepError(
            f"cannot connect to Ray: {reason}", remedy="Check the cluster with `ray status`."
        ) from error
    finally:
        if handler is not None:
            signal.signal(signal.SIGTERM, handler)  # Ray has replaced it
    with redirect_stdout(cast(Any, _WithoutRay(sys.stdout))):
        try:
            yield
        finally:
            with redirect_stdout(io.StringIO()):  # Ray prints what it has buffered
                ray.shutdown()


class _BareErrors:
    """A block in which Ray may raise a bare Exception, which becomes a RuntimeError."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if kind is Exception:
            raise RuntimeError(str(error)) from error


class _WithoutRay:
    """The standard output, without what a thread of Ray prints about lost workers and nodes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if threading.current_thread().name.startswith("ray_"):
            log.debug("Ray: %s", text.strip())
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _connect(address: str, options: dict[str, Any]) -> None:
    import ray

    chosen = choose_address(address)
    if chosen != LOCAL:
        try:
            ray.init(chosen, **options)
            return
        except ConnectionError:
            if chosen != AT_HAND:
                raise
    ray.init(LOCAL, include_dashboard=False, object_store_memory=_OBJECT_STORE, **options)


class _Worker:
    """An actor of the cluster. It carries out shards in a process of its node."""

    def __init__(self, work: ShardWork, item_timeout: float, hello: Hello) -> None:
        self._work, self._item_timeout, self._hello = work, item_timeout, hello
        self._open = ExitStack()
        self._carry_out: CarryOut | None = None

    def greet(self) -> str:
        """Return why this worker cannot take part, empty if it can."""
        hello, node = self._hello, socket.gethostname()
        if hello.version != __version__:
            return f"node {node} has faceprep {__version__}, and the driver {hello.version}"
        for folder in hello.folders:
            if not os.path.isdir(folder):
                return f"node {node} does not see the folder {folder}"
        os.chdir(hello.folders[0])
        return ""

    def is_alive(self) -> bool:
        """Respond to the driver while a shard is carried out."""
        return True

    def run(self, shard: Shard) -> tuple[ShardReport | FaceprepError, list[logging.LogRecord]]:
        """Carry out a shard; return its report and what was logged."""
        collector = _Collector(self._hello.level)
        with collector.collecting():
            try:
                answer: ShardReport | FaceprepError = self._run(shard)
            except FaceprepError as error:
                answer = error
        return answer, collector.records

    def _run(self, shard: Shard) -> ShardReport:
        import ray

        if shard.source and not exists(shard.source):
            raise SourceError(
                f"node {socket.gethostname()} does not see this source",
                path=shard.source,
                remedy="Mount its file system on every node, under the same path.",
            )
        if self._carry_out is None:
            n_cores = int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1))
            runner = ProcessRunner(1, self._item_timeout, max(n_cores, 1))
            self._carry_out = self._open.enter_context(runner.start(self._work))
        (report,) = self._carry_out([shard])
        return report


class _Collector(logging.Handler):
    """Keeps the log records of a shard for the driver."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args = record.getMessage(), None
        record.exc_info = record.exc_text = record.stack_info = None
        self.records.append(record)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Take the records of the library in place of every other handler."""
        handlers, log.handlers = log.handlers, [self]
        log.propagate = False
        log.setLevel(self.level)
        try:
            yield
        finally:
            log.handlers = handlers


@dataclass(eq=False)
class _Member:
    """A worker as the driver sees it. `news` is what it will answer next, None for an idle one."""

    actor: Any
    news: Any
    shard: Shard | None = None
    """The shard that it holds; none until it has answered the greeting."""
    pulse: Any = None
    heard: float = field(default_factory=time.monotonic)

    @property
    def is_at_work(self) -> bool:
        """Return whether it holds a shard, which may have no items."""
        return self.shard is not None

    def give(self, shard: Shard) -> None:
        self.shard, self.news = shard, self.actor.run.remote(shard)
        self.pulse, self.heard = None, time.monotonic()

    def is_silent(self, seconds: float) -> bool:
        """Return whether a worker with a shard has not responded for too long."""
        import ray

        now = time.monotonic()
        if self.pulse is not None and ray.wait([self.pulse], timeout=0)[0]:
            self.pulse, self.heard = None, now
        if self.pulse is None and now - self.heard >= min(_PULSE_S, seconds / 2):
            self.pulse = self.actor.is_alive.options(concurrency_group="life").remote()
        return now - self.heard > seconds


class _ActorPool:
    """The workers of a run."""

    def __init__(self, work: ShardWork, runner: RayRunner) -> None:
        import ray

        resources = ray.cluster_resources()
        self._n = runner.n_workers or max(int(resources.get("CPU", 1)), 1)
        self._silence = runner.silence
        n_gpus = 0.0
        if work.uses_gpu:
            n_gpus = min(resources.get("GPU", 0.0) / self._n, 1.0)
        self._actor = ray.remote(
            num_cpus=1, num_gpus=n_gpus, max_restarts=0, concurrency_groups={"life": 1}
        )(_Worker)
        hello = Hello(__version__, (os.getcwd(), work.folder), log.getEffectiveLevel())
        self._given = ray.put(work), runner.item_timeout, hello
        self._members: list[_Member] = []
        self._n_starts_lost = 0
        self._since = time.monotonic()
        """When a worker was last heard of."""

    def fill(self) -> None:
        """Ask for workers until there are as many as wanted."""
        while len(self._members) < self._n:
            actor = self._actor.remote(*self._given)
            self._members.append(_Member(actor, actor.greet.remote()))

    def close(self) -> None:
        """End all workers."""
        import ray

        for member in self._members:
            ray.kill(member.actor)
        self._members.clear()

    def carry_out(self, shards: Iterable[Shard]) -> Generator[ShardReport, None, None]:
        """Yield the report of each shard. Raises FaceprepError where the run has to stop."""
        waiting, losses = deque(shards), Counter[str]()
        while waiting or any(member.is_at_work for member in self._members):
            self.fill()
            for member in self._members:
                if member.news is None and waiting:
                    member.give(waiting.popleft())
            for member in self._with_news():
                shard, answer = member.shard, self._take(member)
                if isinstance(answer, ShardReport):
                    yield answer
                elif shard is not None and answer:
                    losses[shard.id] += 1
                    if losses[shard.id] < _N_TRIES:
                        waiting.append(shard)
                    else:
                        yield crashed(shard, answer)

    def _with_news(self) -> list[_Member]:
        """Wait for news; return the workers that have some, are lost, or have fallen silent."""
        import ray

        waited_for = [member for member in self._members if member.news is not None]
        ready, _ = ray.wait([member.news for member in waited_for], timeout=_LOOK_S)
        found = [member for member in waited_for if member.news in ready]
        for member in waited_for:
            if member.is_at_work and member not in found and member.is_silent(self._silence):
                ray.kill(member.actor)
                found.append(member)
        if found or any(member.is_at_work for member in self._members):
            self._since = time.monotonic()
        elif time.monotonic() - self._since > _START_S:
            raise FaceprepError(
                f"no worker of the Ray cluster has started within {_START_S:.0f} s",
                remedy="Look at `ray status`: the cluster may be full, or --workers too many.",
            )
        return found

    def _take(self, member: _Member) -> ShardReport | str:
        """Return the report of a worker, or what became of it; empty for an answered greeting.

        A lost worker leaves. Raises FaceprepError where the run has to stop.
        """
        import ray

        was_greeted = member.is_at_work
        try:
            answer = ray.get(member.news)
        except ray.exceptions.RayError as error:  # also if a worker was killed
            self._members.remove(member)
            reason = f"a worker of the Ray cluster was lost: {_first_line(error)}"
            log.warning(reason)
            if not was_greeted:
                self._n_starts_lost += 1
            if self._n_starts_lost > _N_TRIES:
                raise FaceprepError(reason, remedy="Look at `ray status`.") from error
            return reason
        member.news = member.shard = None
        if not was_greeted:
            self._n_starts_lost = 0
            if answer:
                raise FaceprepError(
                    answer, remedy="Give every node the same faceprep and the same file system."
                )
            return ""
        report: ShardReport | FaceprepError
        report, records = answer
        for record in records:
            log.handle(record)
        if isinstance(report, FaceprepError):
            raise report
        return report


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
