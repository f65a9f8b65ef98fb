"""`score`: measure sharpness, light and pose of each crop, and what models say; plan drops."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from faceprep.core import storage
from faceprep.core.errors import OptionError, SourceError
from faceprep.core.io import parquet
from faceprep.core.job import Job
from faceprep.core.options import Values, option
from faceprep.core.shards import cut_evenly
from faceprep.core.text import count_noun
from faceprep.core.types import ACCEPTED, DROP, Decision, Outcome, Request, Shard, Sink, Stage, Work
from faceprep.sets.containers import faults_after, index_set, open_set
from faceprep.sets.image_paths import ImagePaths, path_in_identity
from faceprep.sets.image_set import Sample
from faceprep.sets.listing import Listing, is_text, list_set, refuse_bad_name
from faceprep.steps.earlier_plan import keep_reviewed
from faceprep.steps.list_options import ListOptions
from faceprep.steps.listed_set import state_of
from faceprep.steps.model_scores import ModelOptions, ScoredCrop
from faceprep.steps.place_images import plan_header
from faceprep.tables import plan as plan_jsonl
from faceprep.tables import scores as score_table
from faceprep.tables.faces import read_face_tables
from faceprep.vision.load_image import load_image_bytes
from faceprep.vision.pose import estimate_pose
from faceprep.vision.quality import MEASURES, measure_crop

log = logging.getLogger("faceprep")
_SHARD = 512
_PART = ".parquet"
_STATE = "state"
_POSE = ("roll", "lean", "yaw")
_COLUMNS = ("path", "identity", "height", "width")
_EXACT_DIGITS = 17
"""Significant digits that distinguish any two floats."""


@dataclass(frozen=True)
class Score(ModelOptions, ListOptions, Job):
    """Score sharpness, exposure, contrast and pose of each crop.

    SRC is any set of crops. OUT.parquet gets one row for each image: path, identity, height, width,
    laplacian_variance, laplacian_count, tenengrad, brenner, smd, smd2, variance, vollath,
    brightness, contrast, dark_share, bright_share, and laplacian_count_256. --faces adds roll, lean
    and yaw, and each --model adds a column. With --drop-below or --drop-above, OUT.plan.jsonl lists
    the images to drop, with the reason; nothing is deleted. Compare crops of one size only, except
    by laplacian_count_256. A model that takes another size gets the crops scaled to it.
    """

    command: ClassVar[str] = "score"
    has_file_output: ClassVar[bool] = True

    faces: Path | None = option(
        None,
        "Add the pose from this faces.parquet of the command that made the crops.",
        values=Values("TABLE"),
    )
    drop_below: tuple[str, ...] = option(
        (),
        "Plan to drop crops whose MEASURE is below VALUE, such as laplacian_variance=20. May be "
        "repeated.",
        values=Values("MEASURE=VALUE"),
    )

    drop_above: tuple[str, ...] = option(
        (),
        "Plan to drop crops whose MEASURE is above VALUE, such as bright_share=0.3. May be "
        "repeated.",
        values=Values("MEASURE=VALUE"),
    )

    def __post_init__(self) -> None:
        self.check_models((*_COLUMNS, *_POSE, *MEASURES))
        for name, limits in (("--drop-below", self.drop_below), ("--drop-above", self.drop_above)):
            for text in limits:
                measure, _, value = text.partition("=")
                if measure not in self._measures() or not _is_number(value):
                    names = ", ".join(self._measures())
                    raise OptionError(
                        name, expected=f"MEASURE=VALUE with one of {names}", found=text
                    )

    def _limits(self) -> dict[str, tuple[str, ...]]:
        """Return the limits that are given, by the name of their option."""
        limits = {"drop_below": self.drop_below, "drop_above": self.drop_above}
        return {name: given for name, given in limits.items() if given}

    def _measures(self) -> tuple[str, ...]:
        pose = _POSE if self.faces else ()
        return (*pose, *MEASURES, *self.columns())

    def plan(self, request: Request, scratch: Path) -> Work:
        source, output = request.sources[0], request.output
        if output.suffix.lower() != ".parquet":
            raise OptionError(
                "the table is a Parquet file", expected="OUT.parquet", found=output.name
            )
        keep_reviewed(output.with_suffix(".plan.jsonl"), request.overwrite)
        with index_set(source, scratch, relative_to=self.relative_to) as images:
            whole = list_set(images)
            storage.write_file(scratch / _STATE, state_of(images, whole).encode(), durable=False)
            listing = whole if request.limit is None else list_set(images, request.limit)
            fingerprint = images.index.fingerprint
        self.refuse_unfit_crops(source)
        if self.model:
            fingerprint += f", {self.announce_models()}"
        poses = self._load_poses(listing)
        shards = []
        for shard in cut_evenly(len(listing), _SHARD, source):
            keys = listing.files[shard.start : shard.stop]
            own = {key: poses[key] for key in keys if key in poses}
            # Millions of dicts would take gigabytes; as JSON they take little more than the names.
            shards.append(replace(shard, payload=json.dumps(own).encode()))
        if self.faces is not None:
            fingerprint += f", {storage.fingerprint_of(self.faces)}"
        files = [output.name, *([output.with_suffix(".plan.jsonl").name] if self._limits() else [])]
        return Work(
            [Stage("score", shards)],
            fingerprint,
            files=files,
            n_files=2,
            n_bytes=300 * len(listing),
        )

    def _load_poses(self, listing: Listing) -> Mapping[str, Sequence[float]]:
        """Return roll, lean and yaw by path.

        Raises SourceError when the table is about other images.
        """
        if self.faces is None:
            return {}
        wanted = set(listing.prefixed_paths(""))
        poses: dict[str, Sequence[float]] = {}
        for table in read_face_tables(self.faces, ("output", "landmarks")):
            places = [
                i for i, name in enumerate(table.column("output").to_pylist()) if name in wanted
            ]
            rows = table.take(np.array(places, np.int64))
            landmarks = rows.column("landmarks").combine_chunks().flatten().to_numpy()
            pose = estimate_pose(landmarks.reshape(-1, 5, 2))
            values = np.stack([pose.roll, pose.lean, pose.yaw], axis=1).tolist()
            poses.update(zip(rows.column("output").to_pylist(), values, strict=True))
        if not poses:
            found = f"none of the {len(wanted):,} images of SRC"
            expected = "paths below SRC in its column output"
            raise SourceError(
                "is about other images", path=self.faces, expected=expected, found=found
            )
        if len(poses) < len(wanted):
            log.warning(
                "%s: lacks %s of %s images: their pose is left empty",
                self.faces,
                f"{len(wanted) - len(poses):,}",
                f"{len(wanted):,}",
            )
        return poses

    def run(self, shard: Shard, sink: Sink) -> Iterator[Outcome]:
        rows: list[Mapping[str, Any]] = []
        poses = json.loads(shard.payload)
        with open_set(sink.scratch) as images:
            samples = images.read(range(shard.start, shard.stop))
            for each in self.score_rows(_measure(sample, poses) for sample in samples):
                if isinstance(each, Outcome):
                    yield each
                else:
                    rows.append(each.row)
                    yield self.outcome(each)
            yield from faults_after(images, shard.stop)
        score_table.write_scores(sink.open_part(_PART), (*_COLUMNS, *self._measures()), rows)

    def finish(self, work: Work, request: Request, sink: Sink) -> None:
        """Join the parts into one table, and write the plan."""
        shards, (table, *plan) = work.stages[0].shards, work.files or ()
        parts = [sink.part_path(shard.id, _PART) for shard in shards]
        digest = score_table.join_scores(parts, sink.open(table))
        state = storage.read_bytes(sink.scratch / _STATE).decode()
        options = self._limits() | self.list_options()
        if self.model:
            options["model"] = self.model
        judged = plan_header(self.command, Path(shards[0].source), state, options)
        for name in plan:
            about = judged | {"table": table, "sha256": digest}
            about["digest"] = plan_jsonl.digest_of(self._decisions(parts, sink.scratch))
            plan_jsonl.write_plan(sink.open(name), about, self._decisions(parts, sink.scratch))

    def details(self, output: Path) -> Mapping[str, Any]:
        """Count the images that the plan drops, where there is a plan."""
        if not self._limits():
            return {}
        _, decisions = plan_jsonl.read_plan(output.with_suffix(".plan.jsonl"))
        return {"dropped": sum(each.verdict == ACCEPTED for each in decisions)}

    def sentence(self, found: Mapping[str, Any]) -> str:
        """State how many images the plan drops."""
        return f"the plan drops {count_noun(found['dropped'], 'image')}; apply carries it out"

    def _decisions(self, parts: Sequence[Path], scratch: Path) -> Iterator[Decision]:
        with open_set(scratch) as images:
            form, below = ImagePaths(images).form, images.below
        found = (row for part in parts for row in parquet.read_rows(part))
        rows = (_name_in_plan(row, form, below) for row in found)
        return plan_drops(rows, self.drop_below, self.drop_above)


def plan_drops(
    rows: Iterator[Mapping[str, Any]], below: Sequence[str], above: Sequence[str] = ()
) -> Iterator[Decision]:
    """Yield a decision for each row below or above one of the limits (MEASURE=VALUE).

    >>> rows = iter([{"path": "a", "smd": 3.14159}])
    >>> [decision.reason for decision in plan_drops(rows, ["smd=4", "smd=2"], ["smd=3"])]
    ['smd 3.14 < 4, smd 3.14 > 3']
    """
    limits = [(*_parse_limit(text), "<") for text in below]
    limits += [(*_parse_limit(text), ">") for text in above]
    for row in rows:
        found = [
            (
                row[name],
                f"{name} {_round_beyond(row[name], limit, sign)} {sign} {_in_digits(limit)}",
            )
            for name, limit, sign in limits
            if row[name] is not None and _is_beyond(row[name], limit, sign)
        ]
        if found:
            reason = ", ".join(text for _, text in found)
            yield Decision(DROP, row["path"], score=found[0][0], reason=reason)


def _parse_limit(text: str) -> tuple[str, float]:
    measure, _, value = text.partition("=")
    return measure, float(value)


def _is_beyond(value: float, limit: float, sign: str) -> bool:
    return value < limit if sign == "<" else value > limit


def _round_beyond(value: float, limit: float, sign: str) -> str:
    """Round a value to three digits or a whole number, with more where it must stay beyond `limit`.

    >>> _round_beyond(1999.6, 2000, "<"), _round_beyond(1234.6, 2000, "<")
    ('1,999.6', '1,235')
    """
    least = min(max(3, len(f"{abs(value):.0f}")), _EXACT_DIGITS)
    texts = (f"{value:.{n_digits}g}" for n_digits in range(least, _EXACT_DIGITS + 1))
    return _in_digits(next(text for text in texts if _is_beyond(float(text), limit, sign)))


def _in_digits(number: float | str) -> str:
    """Format a number without an exponent, with commas between thousands.

    >>> _in_digits(100000.0), _in_digits("1e-05"), _in_digits(0.35)
    ('100,000', '0.00001', '0.35')
    """
    return f"{Decimal(str(number)).normalize():,f}"


def _name_in_plan(row: Mapping[str, Any], form: str, below: str) -> Mapping[str, Any]:
    """Return a row with the path that a plan names its image by; absolute keys are in `below`."""
    key = row["path"].removeprefix(f"{below}/") if below else row["path"]
    return {**row, "path": path_in_identity(key, row["identity"], form)}


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _measure(
    sample: Sample | Outcome, poses: Mapping[str, Sequence[float]]
) -> ScoredCrop | Outcome:
    """Return the row and the pixels of an image, or its outcome if it has none."""
    if isinstance(sample, Outcome):
        return sample
    key = sample.key
    if not is_text(key + sample.identity):
        return refuse_bad_name(key)
    crop = load_image_bytes(sample.data, key, sample.place)
    if isinstance(crop, Outcome):
        return crop
    height, width = crop.shape[:2]
    row = {"path": key, "identity": sample.identity, "height": height, "width": width}
    angles = zip(_POSE, poses.get(key, ()), strict=False)
    pose = {name: angle for name, angle in angles if math.isfinite(angle)}
    return ScoredCrop(row | pose | measure_crop(crop), crop)
