"""Inspections of containers with an index, and of lists, tables, plans and videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

from faceprep.core.errors import SourceError
from faceprep.core.io import parquet
from faceprep.core.io.contents import Contents
from faceprep.core.io.image_bytes import read_image_bytes
from faceprep.core.io.npz import describe as describe_npz
from faceprep.core.scratch import scratch_folder
from faceprep.core.slow_step import Progress
from faceprep.core.types import Outcome
from faceprep.core.urls import url_of
from faceprep.jobs.inspect.inspection import Inspection, spread
from faceprep.sets import kinds, lists, tfrecord
from faceprep.sets.containers import index_set
from faceprep.steps.embedded_sets import check_embeddings
from faceprep.tables import embeddings_csv
from faceprep.tables.embeddings import load_embeddings
from faceprep.tables.embeddings_parquet import files_of
from faceprep.tables.frames import read_frame_tables
from faceprep.tables.matches import read_matches
from faceprep.tables.plan import read_plan


def inspect_set(
    path: Path,
    kind: str,
    deep: bool,
    limit: int | None,
    progress: Progress,
    relative_to: Path | None = None,
) -> Inspection:
    """Read every image of a container through its index. Raises SourceError."""
    found = Inspection(url_of(path), kind)
    counts: Counter[str] = Counter()
    width = 1
    with scratch_folder() as scratch, index_set(path, scratch, relative_to=relative_to) as images:
        n = len(images) if limit is None else min(limit, len(images))
        for number, each in enumerate(images.read(range(n)), 1):
            progress(number, n)
            if isinstance(each, Outcome):
                found.add_damage(each.reason)
            elif found.add_image(each.place or each.key, each.data, deep):
                counts[each.identity] += 1
                width = max(width, len(each.labels))
        if limit is None:
            for fault in images.faults():
                found.add_damage(fault.reason)
        n_files = images.n_files
    without = counts.pop("", 0)
    found.identities = len(counts)
    found.details = {
        "files": n_files,
        "per_identity": spread(list(counts.values())),
        "no_identity": without,
        "label_width": width,
    }
    return found


def inspect_list(path: Path, kind: str, inspect_images: Callable[[], Inspection]) -> Inspection:
    """Inspect the images of a list, and name its fields.

    A list that is damaged, or without an image, is described up to there.
    """
    described = _contents(LISTS[kind])(path, kind)
    if described.failed or not described.images:
        return described
    found = inspect_images()
    found.details |= described.details
    return found


def _contents(describe: Callable[[Path], Contents]) -> Callable[[Path, str], Inspection]:
    """Return an inspection of a table, up to its first damage."""

    def inspect(path: Path, kind: str) -> Inspection:
        found = describe(path)
        damage = [found.damage] if found.damage else []
        return Inspection(
            url_of(path),
            kind,
            found.n_images,
            found.n_classes,
            damaged=len(damage),
            damage=damage,
            details={"fields": list(found.fields)},
        )

    return inspect


def _faces(path: Path, kind: str) -> Inspection:
    """Count the rows as faces, because a photo may have several."""
    found = _contents(parquet.describe)(path, kind)
    found.details = {"faces": found.images} | found.details
    found.has_images = False
    return found


def _frames(path: Path, kind: str) -> Inspection:
    """Count the frames by status, and the videos that they are of."""
    by_status: Counter[str] = Counter()
    videos: set[str] = set()
    for table in read_frame_tables(path, ("source", "status")):
        counts = table.group_by("status").aggregate([("source", "count")])
        for row in counts.to_pylist():
            by_status[row["status"]] += row["source_count"]
        videos.update(table["source"].unique().to_pylist())
    details = {
        "frames": by_status.total(),
        "videos": len(videos),
        "by_status": dict(by_status.most_common()),
    }
    return Inspection(url_of(path), kind, details=details, has_images=False)


LISTS: Mapping[str, Callable[[Path], Contents]] = {
    kinds.NPZ_LIST: describe_npz,
    kinds.CSV_LIST: lists.describe_csv,
    kinds.PARQUET_LIST: parquet.describe,
    kinds.LST: lists.describe_lst,
}
"""Lists that are described before their images are read."""

_DESCRIBE_EMBEDDINGS: Mapping[str, Callable[[Path], Contents]] = {
    ".npz": describe_npz,
    ".parquet": parquet.describe,
    ".csv": embeddings_csv.describe,
}


def _embeddings(path: Path, kind: str) -> Inspection:
    describe = _DESCRIBE_EMBEDDINGS[path.suffix.lower()]
    found = _contents(describe)(path, kind)
    if found.damaged or len(files_of(path)) > 1:
        return found
    try:
        left_out = check_embeddings(load_embeddings(path)).left_out
    except SourceError as error:
        found.add_damage(str(error))
        return found
    for outcome in left_out:
        found.remove_image(f"{outcome.key}: {outcome.reason}")
    return found


def _matches(path: Path, kind: str) -> Inspection:
    """Count the probes and the rows of a table of matches."""
    n_rows = n_probes = 0
    for row in read_matches(path):
        n_rows += 1
        n_probes += row.rank == 1
    details = {"probes": n_probes, "rows": n_rows}
    return Inspection(url_of(path), kind, details=details, has_images=False)


def _plan(path: Path, kind: str) -> Inspection:
    header, decisions = read_plan(path)
    counts = Counter(f"{each.action} {each.verdict}" for each in decisions)
    details = {
        "command": header.get("command"),
        "source": header.get("source"),
        "decisions": dict(counts.most_common()),
    }
    return Inspection(url_of(path), kind, details=details, has_images=False)


def inspect_video(path: Path, deep: bool, limit: int | None, progress: Progress) -> Inspection:
    """Describe a video by its container and its first frame, and decode the others with `deep`."""
    from faceprep.video.reader import VideoReader
    from faceprep.video.sampling import ALL_FRAMES, FIRST_FRAME

    with VideoReader(path) as reader:
        n = len(reader)
        found = Inspection(
            url_of(path), kinds.VIDEO, details={"frames": n}, has_images=False, is_deep=deep
        )
        if n:
            duration = reader.index.duration
            found.details["seconds"] = None if duration is None else round(duration, 3)
            if duration is None:
                found.details["note"] = "its duration is unknown"
        for frame in islice(reader.frames(ALL_FRAMES if deep else FIRST_FRAME), limit):
            progress(frame.number + 1, n)
        if reader.damage:
            found.add_damage(reader.damage)
        if reader.notes:
            found.details["converted"] = "; ".join(reader.notes)
    return found


def _image(path: Path, kind: str) -> Inspection:
    found = Inspection(url_of(path), kind)
    data = read_image_bytes(path, path.name)
    if isinstance(data, Outcome):
        found.add_damage(data.reason)
    else:
        found.add_image(path.name, data, deep=True)
    return found


DESCRIBED: Mapping[str, Callable[[Path, str], Inspection]] = {
    kinds.TFRECORD_LIST: _contents(tfrecord.describe),
    kinds.FACES: _faces,
    kinds.FRAMES: _frames,
    kinds.SCORES: _contents(parquet.describe),
    kinds.EMBEDDINGS: _embeddings,
    kinds.MATCHES: _matches,
    kinds.PLAN: _plan,
    kinds.IMAGE: _image,
}
"""Kinds that are described without an index of images."""
