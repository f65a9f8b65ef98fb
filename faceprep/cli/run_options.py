"""The options of every command that carries out work: how it runs, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, cast

from faceprep.core import registry
from faceprep.core.cpu import n_cores
from faceprep.core.errors import OptionError
from faceprep.core.options import Values, option
from faceprep.core.text import parse_whole
from faceprep.core.types import ITEM_TIMEOUT, ITEM_TIMEOUT_S, LIMIT, MAX_FAILURES, Runner, Share

_PROCESSES, _RAY = "processes", "ray"


@dataclass(frozen=True)
class WorkOptions:
    """The options that say how the shards are run."""

    heading: ClassVar[str] = "Run options"

    workers: int | None = option(
        None, "Use this many processes.", values=Values(least=1, default="one per core")
    )
    runner: str = option(
        _PROCESSES, "Choose how the shards are run.", choices=tuple(registry.RUNNERS)
    )
    ray_address: str | None = option(
        None,
        "Use the Ray cluster at this address.",
        values=Values("HOST:PORT", default="a running cluster, else this machine"),
    )
    item_timeout: float | None = option(
        None,
        "Give up on an image, or on a step in a video, after this many seconds. A later start with "
        "a larger value tries it again. --runner serial cannot stop an image.",
        values=ITEM_TIMEOUT,
    )
    max_failures: int | None = option(
        None, "Stop when more inputs than this have failed.", values=MAX_FAILURES
    )

    dry_run: bool = option(
        False, "Plan the run and check that it may begin, then stop. Nothing is written."
    )

    def make_runner(self) -> Runner:
        """Return the runner that the options ask for. Raises OptionError."""
        item_timeout = self.item_timeout or ITEM_TIMEOUT_S
        make = registry.load(registry.RUNNERS, self.runner)
        if self.runner == _RAY:
            return cast(Runner, make(self.workers or 0, item_timeout, self.ray_address or ""))
        if self.ray_address:
            raise OptionError("--ray-address needs --runner ray")
        return cast(Runner, make(self.workers or n_cores(), item_timeout))

    def make_local_runner(self) -> Runner:
        """Return the runner of a preview, which leaves a cluster alone. Raises OptionError."""
        if self.runner != _RAY:
            return self.make_runner()
        return replace(self, runner=_PROCESSES, ray_address=None).make_runner()


@dataclass(frozen=True)
class RunOptions(WorkOptions):
    """The options of a command that begins a run."""

    heading: ClassVar[str] = "Run options"

    shard: str | None = option(
        None,
        "Carry out only part I of N. Other processes carry out the others, and `faceprep finish` "
        "joins them.",
        values=Values("I/N"),
    )
    limit: int | None = option(None, "Process only the first N inputs.", values=LIMIT)
    overwrite: bool = option(
        False, "Start again: remove the output of the earlier run, or replace the file DST."
    )

    def share(self) -> Share | None:
        """Return the share that --shard names. Raises OptionError."""
        if self.shard is None:
            return None
        first, _, last = self.shard.partition("/")
        number, n = parse_whole(first), parse_whole(last)
        if number is None or not n:
            raise OptionError("--shard", expected="I/N, such as 1/4", found=repr(self.shard))
        return Share(number, n)


@dataclass(frozen=True)
class ConfirmedRunOptions(RunOptions):
    """The options of a command that may ask a person."""

    heading: ClassVar[str] = "Run options"

    yes: bool = option(False, "Continue without asking for confirmation.")
