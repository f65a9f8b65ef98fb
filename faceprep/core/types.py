"""Types that all rooms share, and the Protocols between the rooms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from faceprep.core.options import Values, check_ranges
from faceprep.core.urls import as_output, as_paths

OK = "ok"
FEW_IMAGES = "few_images"
NO_FACE, MANY_FACES, LOW_SCORE = "no_face", "many_faces", "low_score"
DROPPED, NOT_DRAWN = "dropped", "not_drawn"
NO_CROP, REPAIRED, SPARE_FACE_ROWS = "no_crop", "repaired", "spare_face_rows"
CONVERTED = "converted"
NOT_MARKED = "not_marked"
SOUND_STATUSES = frozenset(
    {
        OK,
        FEW_IMAGES,
        DROPPED,
        NOT_DRAWN,
        NO_FACE,
        MANY_FACES,
        LOW_SCORE,
        NO_CROP,
        REPAIRED,
        SPARE_FACE_ROWS,
        CONVERTED,
        NOT_MARKED,
    }
)
"""Outcomes that are counted but are not failures."""

Buffer = bytes | bytearray | memoryview


class Outcome(NamedTuple):
    """The result of one input. Every input has exactly one.

    `unit` is empty for the inputs that a run counts. An outcome of something else, such as a whole
    video among frames, names its unit and has a count of its own.
    """

    key: str
    status: str = OK
    reason: str = ""
    unit: str = ""

    @property
    def is_failure(self) -> bool:
        return self.status not in SOUND_STATUSES


_OF = " of a "


def count_name(outcome: Outcome) -> str:
    """Return the name under which an outcome is counted: its status, with its unit if it has one.

    >>> count_name(Outcome("a.mp4", "cut_off", unit="video")), count_name(Outcome("a.mp4#3"))
    ('cut_off of a video', 'ok')
    """
    if outcome.unit:
        return f"{outcome.status}{_OF}{outcome.unit}"
    return outcome.status


def split_count_name(name: str) -> tuple[str, str]:
    """Return the (status, unit) of a name that `count_name` made.

    >>> split_count_name("cut_off of a video"), split_count_name("ok")
    (('cut_off', 'video'), ('ok', ''))
    """
    status, _, unit = name.partition(_OF)
    return status, unit


def join_units(by_name: Mapping[str, int]) -> dict[str, int]:
    """Return how often each status occurs, whatever the unit; sorted."""
    by_status: Counter[str] = Counter()
    for name, n in by_name.items():
        by_status[split_count_name(name)[0]] += n
    return dict(sorted(by_status.items()))


def count_failures(by_status: Mapping[str, int]) -> int:
    """Count the failures of all units."""
    return sum(
        n for name, n in by_status.items() if split_count_name(name)[0] not in SOUND_STATUSES
    )


@dataclass(frozen=True, slots=True)
class PairSet:
    """Verification pairs: pair i is images 2i and 2i+1; `same[i]` is whether they show one person.

    `images` are encoded (JPEG, PNG), bytes as found; `same` has half as many entries.
    """

    images: Sequence[Buffer]
    same: Sequence[bool]

    def __len__(self) -> int:
        return len(self.same)


DROP, MERGE, MOVE, RENAME, RESTORE = "drop", "merge", "move", "rename", "restore"
ACTIONS = (DROP, MERGE, MOVE, RENAME, RESTORE)
ACCEPTED, REFUSED, UNDECIDED = "accepted", "refused", "undecided"
VERDICTS = (ACCEPTED, REFUSED, UNDECIDED)


class Decision(NamedTuple):
    """One decision of a plan about `subject`, with its reason.

    `into` is the identity or image that the subject goes to, if any. Only accepted decisions are
    carried out. `evidence` is for a person: `for` and `against` are [image, image, similarity] of
    the pair that supports it most and of the pair that contradicts it most, `images` and `pairs`
    are counts, and `kept` is the image that stays for one that is dropped.
    """

    action: str
    subject: str
    into: str = ""
    score: float | None = None
    reason: str = ""
    verdict: str = ACCEPTED
    evidence: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Shard:
    """The unit of parallelism, retry, resume and output: items [start, stop) of `source`."""

    id: str
    source: str
    start: int
    stop: int
    stage: str = ""
    """The kind of work, for a job that has several kinds."""
    payload: Any = field(default=None, compare=False, repr=False)
    """The worker's input; it is pickled, and a resumed run plans it anew."""
    subject: str = field(default="", compare=False)
    """The input that all its items are part of, such as a video; empty for several inputs."""

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class ShardReport:
    """The report of a shard from its worker: counts, never pixels."""

    shard_id: str
    n_inputs: int
    by_status: Mapping[str, int]
    n_outputs: int = 0
    crash: str = ""
    """Why the shard has no output at all, when it has none: a bug, or the death of its worker."""
    retry: bool = False
    """Whether a fault of the environment has cost it an input, so that the next start tries it."""
    late: bool = False
    """Whether an input was given up after too long, so that a start with more time tries it."""
    answer: Any = None
    """What an examination for the plan has found, see `core.examination`."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Shards that may run in any order, after all shards of the stage before."""

    name: str
    shards: Sequence[Shard]
    unit: str = ""
    """The unit of the progress display, where it is not that of the work."""


@dataclass(frozen=True)
class Work:
    """The whole work of a job on a source.

    `fingerprint` names the state of the source (sizes, times); a resumed run must find the same.
    `files` are the names, below the output folder, that the run will create; None means that it
    needs the folder for itself.
    """

    stages: Sequence[Stage]
    fingerprint: str
    unit: str = "img"
    """The unit of the progress display, and of the inputs unless `counted_unit` names another."""
    counted_unit: str = ""
    files: Sequence[str] | None = None
    n_files: int = 0
    n_bytes: int = 0
    n_part_bytes: int = 0
    """Estimates of the files and bytes of the output, and of the bytes of its temporary parts."""
    n_aside: int = 0
    """Entries of the shards that are not inputs, such as the identity records of a .rec."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Files of the source that the job does not take, counted by suffix."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Inputs that the plan leaves out, counted by their status."""
    choices: Mapping[str, Any] = field(default_factory=dict)
    """Choices that depend on the machine or the moment; a later start gets them in its request."""
    made_from: Sequence[Path] = ()
    """The sets that the output is made from, where they are not the sources of the request."""

    @property
    def figures(self) -> dict[str, Any]:
        """Return the figures for the summary of the run."""
        return {"skipped": dict(self.skipped)} if self.skipped else {}


COPY, HARDLINK, SYMLINK = "copy", "hardlink", "symlink"
PLACING_MODES = (COPY, HARDLINK, SYMLINK)


class Sink(Protocol):
    """The output of a shard. Nothing is visible outside before the shard is complete."""

    @property
    def scratch(self) -> Path:
        """Return the folder of the run for its own intermediate files."""
        ...

    def write(self, name: str, data: Buffer, beside: str = "") -> None:
        """Stage one file of the output, `name` relative to the output folder.

        `beside` is one of the job's `siblings`: the folder beside the output whose name has that
        ending.
        """
        ...

    def write_new(self, name: str, data: Buffer) -> None:
        """Stage one file of the output that is not there yet.

        A shard ends in MadeMeanwhile if another run makes the file before the shard is complete.
        """
        ...

    def write_many(self, names: Sequence[str], contents: Sequence[Buffer]) -> None:
        """Stage several files at less cost per file."""
        ...

    def place(self, name: str, path: str, mode: str) -> None:
        """Stage the file at the absolute `path` as it is, with the time of its last change.

        `mode` is one of PLACING_MODES: bytes, or a link. Raises SourceError and stages nothing.
        """
        ...

    def open(self, name: str) -> BinaryIO:
        """Stage one file of the output that is too large for one `write`."""
        ...

    def open_part(self, suffix: str) -> BinaryIO:
        """Stage one intermediate file of this shard, later found at `part_path`."""
        ...

    def part_path(self, shard_id: str, suffix: str) -> Path:
        """Return the path of a finished shard's intermediate file."""
        ...


@dataclass(frozen=True)
class Share:
    """Part `number`, from 1, of the `n` parts that as many processes carry out of one run."""

    number: int
    n: int

    def __str__(self) -> str:
        return f"{self.number}/{self.n}"

    @property
    def folder(self) -> str:
        """Return the name of the folder for what is this process's own."""
        return f"{self.number}-of-{self.n}"

    def take(self, shards: Sequence[Shard]) -> Sequence[Shard]:
        """Return the shards of this part: every `n`-th.

        >>> Share(2, 3).take("abcdefg")
        'be'
        """
        return shards[self.number - 1 :: self.n]


ITEM_TIMEOUT_S = 60.0
"""Seconds after which an item that is decoded or given to a model is given up."""
LIMIT, MAX_FAILURES = Values(least=1), Values(least=0)
ITEM_TIMEOUT = Values("SECONDS", least=0.1, default=f"{ITEM_TIMEOUT_S:g}")


@dataclass(frozen=True)
class Request:
    """The arguments of a run, besides the job's own options.

    `sources` and `output` are the paths of the command line, and may be given as text; one source
    needs no tuple. `limit`, `overwrite`, `max_failures` and `item_timeout` are its options.

    >>> Request("set", "set.tar") == Request((Path("set"),), Path("set.tar"))
    True
    """

    sources: tuple[Path, ...]
    output: Path
    limit: int | None = field(default=None, metadata={"values": LIMIT})
    overwrite: bool = False
    max_failures: int | None = field(default=None, metadata={"values": MAX_FAILURES})
    share: Share | None = None
    """The part that this process carries out of a run that it shares with others."""
    joins: bool = False
    """Whether the run is the end of one that was shared."""
    is_confirmed: bool = False
    """Whether a person has confirmed what the job asks about, see `Job.may_ask`."""
    item_timeout: float | None = field(default=None, metadata={"values": ITEM_TIMEOUT})
    """The limit of an item in seconds that was asked for, None for the usual one.

    Items that an earlier start gave up after fewer seconds are tried again.
    """
    choices: Mapping[str, Any] = field(default_factory=dict)
    """The choices of the plan of an earlier start, or of another process of the run."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", as_paths(self.sources))
        object.__setattr__(self, "output", as_output(self.output))
        check_ranges(self)


class ShardWork(Protocol):
    """A job made ready for workers: picklable, run on one shard at a time."""

    @property
    def folder(self) -> str:
        """Return the absolute path of the run's state, which every worker must see."""
        ...

    @property
    def uses_gpu(self) -> bool:
        """Return whether a worker takes a GPU where there is one."""
        ...

    def run(self, shard: Shard) -> ShardReport:
        """Carry out one shard. Raises FaceprepError where the whole run has to stop."""
        ...

    def warm_up(self) -> None:
        """Load what the first shard will need."""
        ...


CarryOut = Callable[[Iterable[Shard]], Generator[ShardReport, None, None]]
"""Carries out shards in any order and yields each one's report."""


class Runner(Protocol):
    """A way to run shards. A plain function is not accepted."""

    def start(self, work: ShardWork) -> AbstractContextManager[CarryOut]:
        """Provide workers for as long as the context is open.

        They may start while the shards are not known yet.
        """
        ...


@dataclass(frozen=True)
class Summary:
    """The result of a run, as `--json` prints it.

    `inputs` and `ok` count one `unit`. `failed` and `by_status` count every outcome, and `others`
    says which of them belong to other units: unit to status to count.
    """

    command: str | None
    unit: str | None = None
    inputs: int = 0
    ok: int = 0
    failed: int = 0
    by_status: Mapping[str, int] = field(default_factory=dict)
    others: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    outputs: int = 0
    seconds: float = 0.0
    output: str | None = None
    details: Mapping[str, Any] = field(default_factory=lambda: {"failures": None})

    def as_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        plain = asdict(self)
        details: dict[str, Any] = plain.pop("details")
        return plain | details
