"""What a run knows of itself, on disk: which shards are done, with which outputs and outcomes.

    STATE/run.json            command, options, version, fingerprint of the source
    STATE/ledger/SHARD.jsonl  a finished shard: its outputs [name, bytes], its counts, its outcomes
    STATE/staging/SHARD/      a shard at work
    STATE/parts/              intermediate files of finished shards
    STATE/failures.csv        every failed input with its reason

STATE is `OUT/.faceprep`, or `.faceprep/NAME` beside an output that is one file.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from faceprep import storage
from faceprep.staging import Staging, recover_shard
from faceprep.types import Outcome, Shard, ShardReport

STATE = ".faceprep"
_PARTS = "parts"


class Places:
    """Where a run keeps its things. Small and picklable: workers get a copy.

    `root` is the folder that output names are relative to.
    """

    def __init__(self, output: Path, is_file: bool) -> None:
        self.root = output.parent if is_file else output
        self.state = self.root / STATE / output.name if is_file else output / STATE
        self.scratch = self.state / "scratch"
        self._state_name = self.state.relative_to(self.root).as_posix()

    def page(self, shard_id: str) -> Path:
        return self.state / "ledger" / f"{shard_id}.jsonl"

    def staging(self, shard_id: str) -> Path:
        return self.state / "staging" / shard_id

    def part_name(self, shard_id: str, suffix: str) -> str:
        return f"{self._state_name}/{_PARTS}/{shard_id}{suffix}"

    def is_part(self, name: str) -> bool:
        return name.startswith(f"{self._state_name}/{_PARTS}/")


class ShardSink:
    """The Sink of one shard: stages its files and commits them with its ledger page."""

    def __init__(self, places: Places, shard_id: str) -> None:
        self._places, self._id = places, shard_id
        self._staging = Staging(places.root, places.staging(shard_id))
        self.write = self._staging.write  # the hot path: no call in between

    write: Any

    @property
    def scratch(self) -> Path:
        return self._places.scratch

    def open(self, name: str) -> BinaryIO:
        return self._staging.open(name)

    def open_part(self, suffix: str) -> BinaryIO:
        return self._staging.open(self._places.part_name(self._id, suffix), durable=False)

    def part_path(self, shard_id: str, suffix: str) -> Path:
        return self._places.root / self._places.part_name(shard_id, suffix)

    def commit(self, outcomes: Sequence[Outcome]) -> ShardReport:
        by_status = dict(sorted(Counter(outcome.status for outcome in outcomes).items()))
        n_outputs = sum(not self._places.is_part(name) for name, _ in self._staging.outputs)
        report = ShardReport(self._id, len(outcomes), by_status, n_outputs)
        counts = {"shard": self._id, "inputs": report.n_inputs, "by_status": by_status, "outputs": n_outputs}
        self._staging.commit([counts, outcomes], self._places.page(self._id))
        return report

    def discard(self) -> None:
        self._staging.discard()


class Ledger:
    """Reads and tidies the state of a run; only the driver holds one, under its lock."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._run = places.state / "run.json"

    def load_run(self) -> dict[str, Any] | None:
        """What the run before was asked for; None when there was none."""
        if not self._run.is_file():
            return None
        run = json.loads(storage.read_bytes(self._run))
        return run if isinstance(run, dict) else None

    def save_run(self, run: Mapping[str, Any]) -> None:
        storage.write_file(self._run, (json.dumps(run, indent=1, sort_keys=True) + "\n").encode())

    def recover(self) -> None:
        """Bring the state of a run that was killed into order."""
        staging = self._places.staging("")
        if staging.is_dir():
            for folder in sorted(staging.iterdir()):
                recover_shard(self._places.root, folder, self._places.page(folder.name))

    def load_report(self, shard_id: str, with_parts: bool = True) -> ShardReport | None:
        """The report of a finished shard whose outputs are all there with their sizes, else None."""
        try:
            with self._places.page(shard_id).open("rb") as file:
                outputs, counts = json.loads(file.readline()), json.loads(file.readline())
            for name, n_bytes in outputs:
                if with_parts or not self._places.is_part(name):
                    path = f"{self._places.root}/{name}"
                    if storage.size_of(path) != n_bytes:
                        return None
        except (OSError, ValueError):
            return None
        return ShardReport(counts["shard"], counts["inputs"], counts["by_status"], counts["outputs"])

    def outcomes(self, shard_id: str) -> Iterator[Outcome]:
        """One Outcome for every input of a finished shard."""
        with self._places.page(shard_id).open("rb") as file:
            file.readline()
            file.readline()
            for key, status, reason in json.loads(file.readline()):
                yield Outcome(key, status, reason)

    def write_failures(self, reports: Iterable[ShardReport], shards: Mapping[str, Shard]) -> None:
        """Name every failed input with its reason in failures.csv."""
        with storage.AtomicFile(self._places.state / "failures.csv") as file:
            text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="", write_through=True)
            rows = csv.writer(text, lineterminator="\n")
            rows.writerow(("input", "status", "reason"))
            for report in sorted(reports, key=lambda report: report.shard_id):
                if report.crash:
                    shard = shards[report.shard_id]
                    rows.writerow((f"{shard.source} [{shard.start}:{shard.stop}]", "crashed", report.crash))
                elif any(Outcome("", status).is_failure for status in report.by_status):
                    failed = (outcome for outcome in self.outcomes(report.shard_id) if outcome.is_failure)
                    rows.writerows((outcome.key, outcome.status, outcome.reason) for outcome in failed)
            text.detach()

    def forget(self) -> None:
        """Remove every output that the ledger lists, and the ledger: nothing that the run did not write."""
        pages = self._places.page("").parent
        for page in sorted(pages.glob("*.jsonl")) if pages.is_dir() else ():
            try:
                outputs = json.loads(page.read_bytes().splitlines()[0])
            except (ValueError, IndexError):
                outputs = []
            storage.remove_outputs(self._places.root, [name for name, _ in outputs])
            storage.remove_file(page)
        storage.remove_file(self._run)

    def drop_intermediates(self) -> None:
        for folder in (self._places.state / _PARTS, self._places.scratch, self._places.staging("")):
            storage.remove_tree(folder)
