"""The list of failures of a run: every failed input with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from faceprep.core import storage
from faceprep.core.io.csv import csv_line
from faceprep.core.types import Outcome, Shard, ShardReport, count_failures
from faceprep.run.ledger import Ledger
from faceprep.run.places import Places, names_in
from faceprep.tables.ledger import FAILURES

_HEAD = ("input", "status", "reason")


def write_failures(
    places: Places,
    reports: Iterable[ShardReport],
    shards: Mapping[str, Shard],
    lost: Sequence[Outcome] = (),
) -> None:
    """Write failures.csv: every failed input with its reason, those that were `lost` first.

    A folder of images has that file only where something failed.
    """
    reports = list(reports)
    if places.is_alone and not lost and not any(map(_has_failures, reports)):
        storage.remove_tree(places.failures)
    else:
        _write(places, reports, shards, lost)
    if places.store:
        places.store.put_failures(places.failures, places.shown_failures)


def _write(
    places: Places,
    reports: Sequence[ShardReport],
    shards: Mapping[str, Shard],
    lost: Sequence[Outcome],
) -> None:
    rows = chain((each[:3] for each in lost), _failures(Ledger(places), reports, shards))
    with storage.AtomicFile(places.failures) as file:
        for row in chain([_HEAD], rows):
            file.write(csv_line(row).encode("utf-8", "backslashreplace"))
    if places.all_failures:
        _gather_failures(places.all_failures)


def _failures(
    ledger: Ledger, reports: Iterable[ShardReport], shards: Mapping[str, Shard]
) -> Iterator[Sequence[str]]:
    for report in sorted(reports, key=lambda report: report.shard_id):
        if report.crash:
            shard = shards[report.shard_id]
            place = shard.subject or f"{shard.source} [{shard.start}:{shard.stop}]"
            yield place, "crashed", report.crash
        elif _has_failures(report):
            for outcome in ledger.outcomes(report.shard_id):
                if outcome.is_failure:
                    yield outcome[:3]


def _has_failures(report: ShardReport) -> bool:
    return bool(report.crash) or count_failures(report.by_status) > 0


def _gather_failures(target: Path) -> None:
    """Join the failures of all runs in the folder."""
    paths = [target.parent / name / FAILURES for name in names_in(target.parent)]
    lists = [storage.read_bytes(path) for path in paths if storage.size_of(path) is not None]
    rows = [each.partition(b"\n")[2] for each in lists]
    storage.write_file(target, b"".join([csv_line(_HEAD).encode(), *rows]))
