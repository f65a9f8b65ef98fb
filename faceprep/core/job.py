"""The contract between a command and the engine that runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from faceprep.core.options import check_ranges
from faceprep.core.types import Outcome, Request, Shard, Sink, Work


class Command(ABC):
    """A command; the fields of its dataclass are its options."""

    command: ClassVar[str]
    """Name on the command line."""

    def __post_init__(self) -> None:
        check_ranges(self)


class Job(Command):
    """A command that runs in shards.

    Every hook that the engine and the command line call is declared here, with its default.
    """

    has_file_output: ClassVar[bool] = False
    """Whether the output is always one file."""
    may_ask: ClassVar[bool] = False
    """Whether planning raises Unconfirmed where a person has to confirm the run."""
    siblings: ClassVar[tuple[str, ...]] = ()
    """Endings of the folders beside the output that the job fills too, such as ``_multi``."""

    @abstractmethod
    def plan(self, request: Request, scratch: Path) -> Work:
        """Look at the source and cut the work into shards.

        The driver calls it once for each run. It writes nothing but to `scratch`, a folder that
        the shards find at `Sink.scratch`. Raises FaceprepError for a source that cannot be used.
        """

    @abstractmethod
    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        """Carry out one shard in a worker; yield one Outcome for each of its inputs."""

    def examine(self, question: Any) -> Any:
        """Answer a question that `plan` has asked with `core.examination`, in a worker."""
        raise NotImplementedError(f"{self.command} examines nothing")

    def check_places(self, request: Request) -> None:  # noqa: B027
        """Refuse places that another command line fits better, before anything is looked at.

        Raises FaceprepError.
        """

    def writes_file(self, output: Path) -> bool:
        """Return whether `output` is a file, or named after one; its state then lies beside it."""
        return self.has_file_output

    def may_write_to_store(self, output: Path) -> bool:
        """Return whether `output` may lie in an object store: nothing in it names its own place."""
        return False

    def finish(self, work: Work, request: Request, sink: Sink) -> None:  # noqa: B027
        """Join the parts of all shards into the output, once all are done."""

    def warm_up(self) -> None:  # noqa: B027
        """Load what the first shard will need, while the driver still plans."""

    def uses_gpu(self) -> bool:
        """Return whether a worker takes a GPU where there is one."""
        return False

    def writes_in_place(self, request: Request) -> bool:
        """Return whether the output replaces the input."""
        return False

    def state_of(self, request: Request) -> str | None:
        """Return the name of the run's state where several runs may share the output folder.

        None says that the folder belongs to this run alone.
        """
        return None

    def output_of(self, sources: Sequence[Path]) -> Path:
        """Return the output of a command that names none in its arguments."""
        raise NotImplementedError(f"{self.command} has an output among its arguments")

    def details(self, output: Path) -> Mapping[str, Any]:
        """Return figures of the finished output for the summary."""
        return {}

    def sentence(self, found: Mapping[str, Any]) -> str:
        """State the figures of `details` in one sentence for the terminal; may be empty."""
        return ""


class Continuation(Command):
    """A command that resumes the run of another command."""

    @abstractmethod
    def resume(self, output: str | Path) -> tuple[Job, Request]:
        """Return the job that made `output` as far as it is, and the request to resume with."""


class Look(Command):
    """A command that looks at something and prints a result; it runs no shards."""

    stopped: ClassVar[str] = "stopped; nothing was written"
    """Sentence for Ctrl-C."""

    @abstractmethod
    def look(self, *places: Any) -> Any:
        """Return the result for the places on the command line and a progress counter."""

    def exit_status(self, result: Any) -> int:
        """Return the exit status: 3 if inputs failed, else 0."""
        return 3 if result.failed else 0


class Service(Command):
    """A command that serves a page until it is stopped."""

    @property
    @abstractmethod
    def stopped(self) -> str:
        """Return the sentence for Ctrl-C."""

    @abstractmethod
    def serve(self, plan: str | Path, announce: Callable[[str], None]) -> Any:
        """Serve the plan at `plan` and return the result; `announce` prints the address."""
